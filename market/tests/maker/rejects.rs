//! One row for each reason to refuse, in the order in which they are checked: each request is wrong in what
//! the row says and in everything after it.

use xbr_core::wire::{BuyRequest, ChannelType, MarketCloseRequest};
use xbr_core::{Address, Amount, BuyerKey, ChannelId, ChannelSeq, KeyId, Signer as _};
use xbr_market::maker::book::{Book, Close, Prior};
use xbr_market::maker::offer::Caller;
use xbr_market::maker::reject::*;

use super::support::*;

/// What `buy_key` answers: a repeat is looked for first.
fn judge(book: &Book, request: &BuyRequest, signed: bool) -> Result<(), BuyReject> {
    match book.repeat(request, signed)? {
        Prior::InFlight(_) => Ok(()),
        Prior::New | Prior::Past => book.reserve(request, signed, NOW).map(drop),
    }
}

#[test]
fn a_purchase_is_refused_for_the_first_reason_that_applies() {
    let mut book = book();
    let revoked = book.revoke(OTHER, &Caller::default(), NOW - 1).unwrap().unwrap();
    book.apply(revoked);
    let mut sold_out = offer(KeyId::new([4; 16]), PRICE);
    sold_out.unsigned.offer.copies = Some(1);
    place(&mut book, sold_out);
    let good = buy(&book, KEY);
    let sold = book.reserve(&buy(&book, KeyId::new([4; 16])), true, NOW).unwrap();
    book.apply(sold);
    let good = BuyRequest { channel_seq: ChannelSeq::new(3), balance: units(930), ..good };

    // From the last reason to the first, each on top of the ones before.
    let unsigned = good.clone();
    let price = units(PRICE);
    assert_eq!(judge(&book, &unsigned, false), Err(BuyReject::InvalidSignature));
    let balance = BuyRequest { balance: units(931), ..unsigned };
    let (expected, actual) = (units(930), units(931));
    assert_eq!(judge(&book, &balance, false), Err(BuyReject::UnexpectedBalance { expected, actual }));
    let seq = BuyRequest { channel_seq: ChannelSeq::new(5), ..balance };
    let reject = BuyReject::UnexpectedSeq { expected: 3, actual: ChannelSeq::new(5) };
    assert_eq!(judge(&book, &seq, false), Err(reject));
    let dear = BuyRequest { amount: units(36), ..seq.clone() };
    let reject = BuyReject::ExcessiveAmount { expected: price, actual: units(36) };
    assert_eq!(judge(&book, &dear, false), Err(reject));
    let cheap = BuyRequest { amount: units(34), ..seq };
    let reject = BuyReject::InsufficientAmount { expected: price, actual: units(34) };
    assert_eq!(judge(&book, &cheap, false), Err(reject));
    let sold_out = BuyRequest { key_id: KeyId::new([4; 16]), ..cheap };
    assert_eq!(judge(&book, &sold_out, false), Err(BuyReject::SoldOut));
    let expired = BuyRequest { key_id: OTHER, ..sold_out };
    assert_eq!(judge(&book, &expired, false), Err(BuyReject::OfferExpired));
    let unknown = BuyRequest { key_id: KeyId::new([99; 16]), ..expired };
    assert_eq!(judge(&book, &unknown, false), Err(BuyReject::NoOffer));
    let mut closed = book.clone();
    open(&mut closed, SECOND, ChannelType::Payment, buyer_key().address(), 10);
    let close = closed.close_exhausted(SECOND, SIGNATURE).unwrap();
    closed.apply(close);
    let not_open = BuyRequest { channel_id: SECOND, ..unknown };
    assert_eq!(judge(&closed, &not_open, false), Err(BuyReject::ChannelNotOpen));
    let stranger = BuyRequest { delegate: Address::new([1; 20]), ..not_open };
    assert_eq!(judge(&closed, &stranger, false), Err(BuyReject::UnexpectedDelegate));
    for channel_id in [ChannelId::new([1; 16]), PAYING] {
        let no_channel = BuyRequest { channel_id, ..stranger.clone() };
        assert_eq!(judge(&closed, &no_channel, false), Err(BuyReject::NoSuchChannel));
    }
    let low_order = BuyRequest { buyer_key: BuyerKey::new([0; 32]), ..stranger };
    assert_eq!(judge(&closed, &low_order, false), Err(BuyReject::InvalidBuyerKey));

    assert_eq!(judge(&book, &good, true), Ok(()));
}

#[test]
fn a_buyer_pays_no_more_than_remains_and_a_seller_that_cannot_be_paid_sells_nothing() {
    let mut book = book();
    place(&mut book, offer(KeyId::new([5; 16]), DEPOSIT + 1));
    let request = buy(&book, KeyId::new([5; 16]));
    let (price, remaining) = (units(DEPOSIT + 1), units(DEPOSIT));
    assert_eq!(judge(&book, &request, true), Err(BuyReject::InsufficientPaymentBalance { price, remaining }));
    let mut unpaid = Book::new(market(), limits());
    open(&mut unpaid, PAYMENT, ChannelType::Payment, buyer_key().address(), DEPOSIT);
    place(&mut unpaid, offer(KEY, PRICE));
    assert_eq!(judge(&unpaid, &buy(&unpaid, KEY), true), Err(BuyReject::InsufficientPayingBalance));
}

#[test]
fn an_offer_is_refused_for_the_first_reason_that_applies() {
    let mut book = book();
    let place = |book: &Book, request, signed| {
        book.place(request, signed, xbr_core::ids::OfferId::new([1; 16]), Caller::default(), NOW).map(drop)
    };
    let again = offer(KEY, PRICE);
    assert_eq!(place(&book, again.clone(), true), Err(OfferReject::AlreadyOffered));
    assert_eq!(place(&book, again.clone(), false), Err(OfferReject::InvalidSignature));
    for expires_ns in [NOW, NOW + 289 * SECOND_NS, NOW + 86_401 * SECOND_NS, 0] {
        let mut early = again.clone();
        early.unsigned.offer.expires_ns = Some(expires_ns);
        assert!(matches!(place(&book, early, false), Err(OfferReject::InvalidArgument(_))), "{expires_ns}");
    }
    let mut wordy = again;
    wordy.unsigned.offer.categories = [("x".into(), "y".repeat(5000))].into();
    assert!(matches!(place(&book, wordy, false), Err(OfferReject::InvalidArgument(_))));
    for n in 10..15 {
        super::support::place(&mut book, offer(KeyId::new([n; 16]), 1));
    }
    let full = place(&book, offer(KeyId::new([16; 16]), 1), true);
    assert!(matches!(full, Err(OfferReject::Unavailable { .. })));
}

#[test]
fn only_who_placed_an_offer_revokes_it_as_far_as_the_router_tells() {
    let caller = |session, authid: Option<&str>| Caller { session, authid: authid.map(str::to_owned) };
    for (placed_by, caller, may) in [
        (caller(None, None), caller(Some(1), Some("anybody")), true),
        (caller(Some(1), None), caller(Some(1), None), true),
        (caller(Some(1), None), caller(Some(2), None), false),
        (caller(Some(1), None), caller(None, None), false),
        (caller(Some(1), Some("seller")), caller(Some(2), Some("seller")), true),
        (caller(Some(1), Some("seller")), caller(Some(1), Some("other")), false),
        (caller(Some(1), Some("seller")), caller(Some(1), None), false),
    ] {
        let mut book = Book::new(market(), limits());
        let request = offer(KEY, PRICE);
        let entry = book.place(request, true, xbr_core::ids::OfferId::new([1; 16]), placed_by, NOW).unwrap();
        book.apply(entry);
        let revoked = book.revoke(KEY, &caller, NOW);
        assert_eq!(revoked.is_ok(), may, "{caller:?}");
        if let Ok(Some(entry)) = revoked {
            book.apply(entry);
            assert_eq!(book.quote(KEY, NOW), Err(QueryReject::OfferExpired));
            assert_eq!(book.revoke(KEY, &caller, NOW), Ok(None));
        }
    }
    assert_eq!(book().revoke(KeyId::new([9; 16]), &Caller::default(), NOW), Err(RevokeReject::NoOffer));
}

#[test]
fn a_close_is_refused_for_the_first_reason_that_applies_and_repeated_for_the_same() {
    let mut book = book();
    let good = MarketCloseRequest {
        channel_id: PAYMENT,
        chain_id: 1,
        block_number: 17,
        verifying_contract: market().domain.verifying_contract,
        balance: units(DEPOSIT),
        seq: ChannelSeq::new(1),
        is_final: true,
        signature: SIGNATURE,
    };
    let balance = MarketCloseRequest { balance: units(1), ..good.clone() };
    let (expected, actual) = (units(DEPOSIT), units(1));
    assert_eq!(book.close(&balance, true), Err(CloseReject::UnexpectedBalance { expected, actual }));
    let seq = MarketCloseRequest { seq: ChannelSeq::new(2), ..balance };
    let (expected, actual) = (ChannelSeq::new(1), ChannelSeq::new(2));
    assert_eq!(book.close(&seq, true), Err(CloseReject::UnexpectedSeq { expected, actual }));
    let mut busy = book.clone();
    let reserved = busy.reserve(&buy(&busy, KEY), true, NOW).unwrap();
    busy.apply(reserved);
    assert_eq!(busy.close(&good, true), Err(CloseReject::InFlight));
    let paying = MarketCloseRequest { channel_id: PAYING, ..good.clone() };
    assert_eq!(busy.close(&paying, true), Err(CloseReject::InFlight));
    let open = MarketCloseRequest { is_final: false, ..seq };
    assert_eq!(busy.close(&open, true), Err(CloseReject::NotFinal));
    assert_eq!(busy.close(&open, false), Err(CloseReject::InvalidSignature));
    let elsewhere = MarketCloseRequest { chain_id: 2, ..open };
    assert_eq!(busy.close(&elsewhere, false), Err(CloseReject::UnexpectedDomain));
    let nowhere = MarketCloseRequest { channel_id: SECOND, ..elsewhere };
    assert_eq!(busy.close(&nowhere, false), Err(CloseReject::NoSuchChannel));

    let Ok(Close::New(entry)) = book.close(&good, true) else { panic!() };
    book.apply(entry);
    let answer = book.account(PAYMENT).unwrap().closing(book.market());
    assert_eq!(book.close(&good, true), Ok(Close::Repeat(answer)));
    assert_eq!(book.close(&good, false), Err(CloseReject::InvalidSignature));
    let other = MarketCloseRequest { block_number: 18, ..good };
    assert_eq!(book.close(&other, true), Err(CloseReject::ChannelNotOpen));
}

#[test]
fn a_channel_is_opened_once_and_not_on_other_terms() {
    let mut book = book();
    let parties = [buyer_key().address(); 3];
    let open =
        |book: &Book, id, amount: u128| book.open(id, ChannelType::Payment, parties, units(amount), NOW);
    assert_eq!(open(&book, PAYMENT, DEPOSIT), Ok(None));
    assert_eq!(open(&book, PAYMENT, DEPOSIT + 1), Err(OpenReject::Exists));
    assert_eq!(open(&book, PAYING, DEPOSIT), Err(OpenReject::Exists));
    for n in 0..2 {
        let entry = open(&book, ChannelId::new([n; 16]), 1).unwrap().unwrap();
        book.apply(entry);
    }
    assert!(matches!(open(&book, SECOND, 1), Err(OpenReject::Unavailable { .. })));
}

#[test]
fn every_reason_has_the_references_uri() {
    let uri = |reject: MakerReject| reject.uri().to_owned();
    let amounts = (Amount::ZERO, Amount::ZERO);
    for (reject, expected) in [
        (BuyReject::NoSuchChannel, "crossbar.error.no_such_object"),
        (BuyReject::NoOffer, "crossbar.error.no_such_object"),
        (BuyReject::InvalidSignature, "xbr.error.invalid_signature"),
        (BuyReject::InsufficientPayingBalance, "xbr.error.insufficient_paying_balance"),
        (
            BuyReject::InsufficientAmount { expected: amounts.0, actual: amounts.1 },
            "xbr.error.insufficient_amount",
        ),
        (
            BuyReject::InsufficientPaymentBalance { price: amounts.0, remaining: amounts.1 },
            "xbr.error.insufficient_payment_balance",
        ),
        (
            BuyReject::NotSold { uri: "xbr.error.key_retired".into(), text: String::new() },
            "xbr.error.key_retired",
        ),
        (BuyReject::Unavailable { reason: "x" }, "wamp.error.unavailable"),
    ] {
        assert_eq!(uri(reject.into()), expected);
    }
    assert_eq!(uri(OfferReject::AlreadyOffered.into()), "wamp.error.runtime_error");
    assert!(OfferReject::AlreadyOffered.to_string().contains("already offered"));
    assert_eq!(uri(CloseReject::NoSuchChannel.into()), "xbr.error.invalid_channel");
    assert_eq!(uri(CloseReject::ChannelNotOpen.into()), "xbr.error.channel_not_open");
    assert_eq!(uri(QueryReject::OfferExpired.into()), "xbr.error.offer_expired");
}
