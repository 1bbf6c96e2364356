//! A market, its channels and offers, and requests that are right until a test changes them.

use std::collections::BTreeMap;

use xbr_core::channel::ChannelState;
use xbr_core::ids::OfferId;
use xbr_core::offer::{KeyOffer, UriPrefix};
use xbr_core::wire::{BuyRequest, ChannelType, MarketDomain, PlaceOffer, UnsignedOffer};
use xbr_core::{
    Address, Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, DelegateKey, KeyId, MarketId, ProviderId,
    Signature, Signer,
};
use xbr_market::maker::account::Market;
use xbr_market::maker::book::{Book, Limits};
use xbr_market::maker::offer::Caller;

pub(crate) const PAYMENT: ChannelId = ChannelId::new([0xb1; 16]);
pub(crate) const PAYING: ChannelId = ChannelId::new([0x51; 16]);
pub(crate) const SECOND: ChannelId = ChannelId::new([0x52; 16]);
pub(crate) const KEY: KeyId = KeyId::new([1; 16]);
pub(crate) const OTHER: KeyId = KeyId::new([2; 16]);
pub(crate) const FREE: KeyId = KeyId::new([3; 16]);
pub(crate) const PRICE: u128 = 35;
pub(crate) const DEPOSIT: u128 = 1000;
/// Now, unless a test says otherwise.
pub(crate) const NOW: u64 = 1_700_000_000_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
pub(crate) const SIGNATURE: Signature = Signature::new([0xaa; 65]);

pub(crate) fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

pub(crate) fn state(seq: u32, balance: u128) -> ChannelState {
    ChannelState { seq: ChannelSeq::new(seq), balance: units(balance) }
}

pub(crate) fn maker_key() -> DelegateKey {
    DelegateKey::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn buyer_key() -> DelegateKey {
    DelegateKey::from_bytes(&[8; 32]).unwrap()
}

pub(crate) fn seller_key() -> DelegateKey {
    DelegateKey::from_bytes(&[9; 32]).unwrap()
}

pub(crate) fn provider() -> ProviderId {
    ProviderId::new("provider_1").unwrap()
}

pub(crate) fn market() -> Market {
    Market {
        domain: MarketDomain {
            chain_id: units(1),
            verifying_contract: Address::new([0x0c; 20]),
            market_id: MarketId::new([0x31; 16]),
        },
        market_maker: maker_key().address(),
        close_at: units(1),
    }
}

pub(crate) fn limits() -> Limits {
    Limits { channels: 4, offers: 8, purchases: 64, sales_per_channel: 4 }
}

/// A curve25519 key that is not of low order.
pub(crate) fn receive_key() -> BuyerKey {
    BuyerKey::new([9; 32])
}

pub(crate) fn offer(key_id: KeyId, price: u128) -> PlaceOffer {
    let offer = KeyOffer {
        key_id,
        api_id: ApiId::new([0xa1; 16]),
        uri: UriPrefix::new("io.example").unwrap(),
        valid_from_ns: NOW - 10 * SECOND_NS,
        price: units(price),
        categories: BTreeMap::new(),
        expires_ns: None,
        copies: None,
    };
    UnsignedOffer { offer, delegate: seller_key().address(), provider_id: provider() }
        .sign(&market().domain, &seller_key())
        .unwrap()
}

pub(crate) fn open(
    book: &mut Book,
    channel_id: ChannelId,
    kind: ChannelType,
    delegate: Address,
    amount: u128,
) {
    let entry = book.open(channel_id, kind, [delegate; 3], units(amount), NOW).unwrap().unwrap();
    book.apply(entry);
}

pub(crate) fn place(book: &mut Book, request: PlaceOffer) {
    let offer_id = OfferId::new(*request.unsigned.offer.key_id.as_bytes());
    let entry = book.place(request, true, offer_id, Caller::default(), NOW).unwrap();
    book.apply(entry);
}

/// One buyer and one seller with a channel each, two keys for sale and a free one.
pub(crate) fn book() -> Book {
    let mut book = Book::new(market(), limits());
    open(&mut book, PAYMENT, ChannelType::Payment, buyer_key().address(), DEPOSIT);
    open(&mut book, PAYING, ChannelType::Paying, seller_key().address(), DEPOSIT);
    place(&mut book, offer(KEY, PRICE));
    place(&mut book, offer(OTHER, PRICE));
    place(&mut book, offer(FREE, 0));
    book
}

/// What the buyer asks for next, by the books: its signature is not a real one.
pub(crate) fn buy(book: &Book, key_id: KeyId) -> BuyRequest {
    let account = book.account(PAYMENT).unwrap();
    let price = book.offer(key_id).map_or(Amount::ZERO, |offer| offer.price);
    BuyRequest {
        delegate: buyer_key().address(),
        buyer_key: receive_key(),
        key_id,
        channel_id: PAYMENT,
        channel_seq: ChannelSeq::new(account.state.seq.value() + 1),
        amount: price,
        balance: account.state.balance.checked_sub(price).unwrap_or_default(),
        signature: SIGNATURE,
    }
}
