//! The actor between a buyer and a seller that errs on request. Time is not paused, since it would run away
//! while the threads that sign and store are at work; no test waits for it to pass.

use std::time::Duration;

use tokio::sync::oneshot;
use xbr_core::channel::ChannelState;
use xbr_core::wire::*;
use xbr_core::{Address, Amount, ChannelId, ChannelSeq, Eip712, Signature, Signer as _, Value};
use xbr_market::maker::messages::SessionLost;
use xbr_market::maker::procedures::Request;
use xbr_market::maker::purchase::Stage;
use xbr_market::maker::reject::*;
use xbr_market::maker::{ChannelReport, MakerState, OfferPolicy};

use super::fake_realm::*;
use super::support::*;

fn is_unavailable(reject: MakerReject) -> bool {
    matches!(reject, MakerReject::Buy(BuyReject::Unavailable { .. }))
}

/// What remains after so many keys at [`PRICE`].
fn after(keys: u32) -> ChannelState {
    state(keys + 1, DEPOSIT - u128::from(keys) * PRICE)
}

#[actix_rt::test]
async fn a_key_is_bought_from_the_seller_and_both_channels_agree() {
    let mut world = World::started().await;
    let receipt = world.buy(KEY, PRICE).await.unwrap();
    assert_eq!((receipt.amount_paid, receipt.free_rated), (units(PRICE), Some(false)));
    world.buy(FREE, 0).await.unwrap();
    world.buy(OTHER, PRICE).await.unwrap();
    world.assert_at(state(4, DEPOSIT - 2 * PRICE), state(4, DEPOSIT - 2 * PRICE)).await;
    let status = world.maker.observe().await.unwrap();
    assert_eq!((status.state, status.sold, status.pending, status.offers), (MakerState::Running, 3, 0, 3));
    let accounts = world.maker.purchases(0, 10).await.unwrap();
    assert!(accounts.iter().all(|purchase| matches!(purchase.stage, Stage::Settled(_))));
}

#[actix_rt::test]
async fn an_identical_repeat_gets_the_same_receipt_byte_for_byte_and_another_is_refused() {
    let world = World::started().await;
    let request = world.request(KEY, PRICE);
    let first = world.ask(Request::Buy(Box::new(request.clone()))).await.unwrap();
    assert_eq!(world.ask(Request::Buy(Box::new(request.clone()))).await.unwrap(), first);
    let world = world.crashed().await;
    assert_eq!(world.ask(Request::Buy(Box::new(request.clone()))).await.unwrap(), first);
    assert_eq!(world.realm(|realm| realm.asked.len()).await, 1);
    let other = BuyRequest { key_id: OTHER, ..request };
    let reject = world.send(other).await.unwrap_err();
    assert!(matches!(reject, MakerReject::Buy(BuyReject::UnexpectedSeq { expected: 3, .. })), "{reject:?}");
}

#[actix_rt::test]
async fn nothing_happens_without_the_buyers_signature() {
    let world = World::started().await;
    let request = BuyRequest { signature: Signature::new([7; 65]), ..world.request(KEY, PRICE) };
    assert_eq!(world.send(request).await.unwrap_err(), BuyReject::InvalidSignature.into());
    let request = world.request(KEY, PRICE);
    let signature = market().state(world.payment, request.state(), false).sign(&seller_key()).unwrap();
    let request = BuyRequest { signature, ..request };
    assert_eq!(world.send(request).await.unwrap_err(), BuyReject::InvalidSignature.into());
    world.assert_at(after(0), after(0)).await;
    assert!(world.maker.purchases(0, 1).await.unwrap().is_empty());
}

#[actix_rt::test]
async fn a_refused_sale_leaves_no_trace_in_the_channels_and_the_next_one_succeeds() {
    for strict in [false, true] {
        let mut world = World::started().await;
        world.realm(move |realm| realm.strict = strict).await;
        for uri in ["crossbar.error.no_such_object", "xbr.error.key_retired", "wamp.error.no_such_procedure"]
        {
            world.trick(Trick::Refuse(uri)).await;
            let reject = world.buy(KEY, PRICE).await.unwrap_err();
            let expected = if uri.starts_with("wamp") { "xbr.error.transaction_failed" } else { uri };
            assert_eq!(reject.uri(), expected);
            world.assert_at(after(0), after(0)).await;
        }
        // A buyer that knows of no refund signs the same state for another key.
        world.buy(OTHER, PRICE).await.unwrap();
        world.assert_at(after(1), after(1)).await;
    }
}

#[actix_rt::test]
async fn a_receipt_that_does_not_hold_is_not_paid_for() {
    let changes: [Change; 5] = [
        Box::new(|receipt| receipt.signature = Signature::new([1; 65])),
        Box::new(|receipt| receipt.sealed_key.truncate(79)),
        Box::new(|receipt| receipt.key_id = OTHER),
        Box::new(|receipt| receipt.balance = Amount::ZERO),
        Box::new(|receipt| receipt.channel_seq = ChannelSeq::new(9)),
    ];
    for change in changes {
        let mut world = World::started().await;
        world.trick(Trick::Tamper(change)).await;
        let reject = world.buy(KEY, PRICE).await.unwrap_err();
        assert_eq!(reject.uri(), "xbr.error.transaction_failed");
        world.assert_at(after(0), after(0)).await;
    }
}

#[actix_rt::test]
async fn a_lost_call_is_repeated_as_it_was_until_the_seller_answers() {
    for trick in
        [Trick::LoseRequest, Trick::LoseReply, Trick::NotSent, Trick::Refuse("wamp.error.unavailable")]
    {
        let mut world = World::started().await;
        world.trick(trick).await;
        world.trick(Trick::LoseReply).await;
        world.trick(Trick::Refuse("wamp.error.canceled")).await;
        world.trick(Trick::Refuse("wamp.error.no_such_procedure")).await;
        world.buy(KEY, PRICE).await.unwrap();
        let asked = world.realm(|realm| realm.asked.clone()).await;
        assert!(asked.windows(2).all(|pair| pair[0] == pair[1]));
        world.buy(OTHER, PRICE).await.unwrap();
        world.assert_at(after(2), after(2)).await;
    }
}

#[actix_rt::test]
async fn a_buyer_that_waited_too_long_gets_its_receipt_with_the_same_call() {
    let world = World::with(|options| options.buy_patience = Duration::from_millis(20)).await;
    let (release, released) = oneshot::channel();
    world.trick(Trick::Hold(released)).await;
    let request = world.request(KEY, PRICE);
    while world.realm(|realm| realm.asked.is_empty()).await {
        assert!(is_unavailable(world.send(request.clone()).await.unwrap_err()));
    }
    assert_eq!(world.channel(ChannelType::Payment).await.inflight, units(PRICE));
    release.send(()).unwrap();
    while let Err(reject) = world.send(request.clone()).await {
        assert!(is_unavailable(reject));
    }
    assert_eq!(world.realm(|realm| realm.asked.len()).await, 1);
    world.assert_at(after(1), after(1)).await;
}

#[actix_rt::test]
async fn a_seller_that_answers_no_repeat_keeps_the_money_and_the_buyer_gets_its_back() {
    let mut world = World::started().await;
    world.realm(|realm| realm.strict = true).await;
    world.trick(Trick::LoseReply).await;
    let reject = world.buy(KEY, PRICE).await.unwrap_err();
    assert_eq!(reject.uri(), "xbr.error.transaction_failed");
    world.assert_at(after(0), after(1)).await;
    assert_eq!(world.channel(ChannelType::Paying).await.conceded, units(PRICE));
    world.buy(KEY, PRICE).await.unwrap();
    world.assert_at(after(1), after(2)).await;
}

#[actix_rt::test]
async fn overlapping_purchases_reach_the_seller_in_order_without_waiting_for_each_other() {
    let mut world = World::started().await;
    let mut held = Vec::new();
    let mut answers = Vec::new();
    for n in 0..8_u32 {
        let (release, released) = oneshot::channel();
        world.trick(Trick::Hold(released)).await;
        held.push(release);
        let request = world.request(if n % 2 == 0 { KEY } else { OTHER }, PRICE);
        world.buyer = request.state();
        answers.push(world.send_off(request).await);
    }
    world.until_asked(8).await;
    let seqs =
        world.realm(|realm| realm.asked.iter().map(|asked| asked.channel_seq.value()).collect::<Vec<_>>());
    assert_eq!(seqs.await, (2..10).collect::<Vec<_>>());
    // The answers come in the other order.
    for release in held.into_iter().rev() {
        release.send(()).unwrap();
    }
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().state(), after(u32::try_from(n).unwrap() + 1));
    }
    world.assert_at(after(8), after(8)).await;
}

#[actix_rt::test]
async fn what_a_seller_refuses_for_a_gap_only_is_sold_all_the_same() {
    let (world, paying) = refused_below_another(true).await;
    assert_eq!(world.realm(|realm| realm.asked.len()).await, 3, "the second one twice");
    assert_eq!((paying.seq, paying.settled), (ChannelSeq::new(2), units(PRICE)));
    assert!(paying.conceded.is_zero());
}

#[actix_rt::test]
async fn what_a_seller_holds_a_signature_for_is_conceded_and_shown() {
    let (world, paying) = refused_below_another(false).await;
    assert_eq!(world.realm(|realm| realm.asked.len()).await, 2);
    assert_eq!((paying.seq, paying.settled), (ChannelSeq::new(3), units(PRICE)));
    assert_eq!(paying.conceded, units(PRICE));
}

/// A sale is refused while a later one is out, which a strict seller refuses for the gap. The later one is
/// sold in the end; gives the paying channel then.
async fn refused_below_another(strict: bool) -> (World, ChannelReport) {
    let mut world = World::started().await;
    world.realm(move |realm| realm.strict = strict).await;
    let (release, released) = oneshot::channel();
    world.trick(Trick::RefuseLater(released, "crossbar.error.no_such_object")).await;
    let first = world.request(KEY, PRICE);
    world.buyer = first.state();
    let second = world.request(OTHER, PRICE);
    let (first, second) = (world.send_off(first).await, world.send_off(second).await);
    world.until_asked(2).await;
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap_err().uri(), "crossbar.error.no_such_object");
    assert_eq!(second.await.unwrap().state(), after(2));
    let payment = world.channel(ChannelType::Payment).await;
    assert_eq!((payment.remaining, payment.settled), (units(DEPOSIT - PRICE), units(PRICE)));
    let paying = world.channel(ChannelType::Paying).await;
    assert!(payment.inflight.is_zero() && paying.inflight.is_zero());
    (world, paying)
}

#[actix_rt::test]
async fn purchases_in_flight_are_taken_up_again_after_a_crash() {
    for trick in [Trick::LoseRequest, Trick::LoseReply] {
        let world = World::with(|options| {
            (options.repeat_delay, options.buy_patience) =
                (Duration::from_secs(3600), Duration::from_millis(20));
        });
        let world = world.await;
        world.trick(trick).await;
        let request = world.request(KEY, PRICE);
        while world.realm(|realm| realm.asked.is_empty()).await {
            assert!(is_unavailable(world.send(request.clone()).await.unwrap_err()));
        }
        let world = world.crashed().await;
        world.send(request).await.unwrap();
        let asked = world.realm(|realm| realm.asked.clone()).await;
        assert_eq!((asked.len(), asked.first()), (2, asked.last()));
        world.assert_at(after(1), after(1)).await;
    }
}

#[actix_rt::test]
async fn an_exhausted_paying_channel_is_closed_and_the_sale_goes_on_with_another() {
    let mut world = World::started().await;
    let dear = offer(xbr_core::KeyId::new([9; 16]), 600);
    world.ask(Request::Place(Box::new(dear))).await.unwrap();
    let key = xbr_core::KeyId::new([9; 16]);
    let payment =
        world.maker.open_channel(ChannelType::Payment, buyer_key().address(), units(5000)).await.unwrap();
    (world.payment, world.buyer) = (payment.channel_id, state(1, 5000));
    world.buy(key, 600).await.unwrap();
    let first = world.channel(ChannelType::Paying).await;
    // There is no other channel: the buyer keeps its money.
    let reject = world.buy(key, 600).await.unwrap_err();
    assert_eq!(reject, BuyReject::InsufficientPayingBalance.into());
    assert_eq!(world.realm(|realm| realm.closes).await, 1);
    assert!(!world.channel(ChannelType::Paying).await.is_open);
    let topics = |events: &[xbr_market::maker::messages::Publish]| {
        events.iter().map(|event| event.topic.clone()).collect::<Vec<_>>()
    };
    let published = world.realm(move |realm| topics(&realm.published)).await;
    for topic in [uri::ON_PAYING_CHANNEL_CLOSING, uri::ON_PAYING_CHANNEL_EMPTY] {
        assert!(published.iter().any(|it| it == topic), "{topic}");
    }
    assert!(published.contains(&uri::on_channel_closed(&provider())));
    let second =
        world.maker.open_channel(ChannelType::Paying, seller_key().address(), units(DEPOSIT)).await.unwrap();
    assert_ne!(second.channel_id, first.channel_id);
    world.buy(key, 600).await.unwrap();
    assert_eq!(world.channel(ChannelType::Payment).await.settled, units(1200));
}

#[actix_rt::test]
async fn a_seller_that_does_not_close_costs_the_buyer_nothing() {
    let mut world = World::with(|options| options.channels[1].amount = units(PRICE + 1)).await;
    world.realm(|realm| realm.refuses_to_close = true).await;
    let paying = world.channel(ChannelType::Paying).await.channel_id;
    world.realm(move |realm| realm.ledgers.insert(paying, state(1, PRICE + 1))).await;
    world.buy(KEY, PRICE).await.unwrap();
    for _ in 0..2 {
        let reject = world.buy(KEY, PRICE).await.unwrap_err();
        assert_eq!(reject, BuyReject::InsufficientPayingBalance.into());
    }
    world.assert_at(after(1), state(2, 1)).await;
    assert!(world.channel(ChannelType::Paying).await.is_open);
}

#[actix_rt::test]
async fn a_lost_session_is_joined_again_and_what_was_in_flight_goes_on() {
    let mut world = World::started().await;
    world.trick(Trick::LoseRequest).await;
    world.trick(Trick::NotSent).await;
    let request = world.request(KEY, PRICE);
    let lost = world.realm(|realm| {
        realm.reachable = false;
        realm.lost.clone()
    });
    let lost = lost.await.unwrap();
    lost.send(SessionLost { reason: "on request".into() }).await.unwrap();
    assert!(!world.maker.observe().await.unwrap().connected);
    let pending = world.send(request);
    let back = async {
        while world.realm(|realm| realm.joins).await < 4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world.realm(|realm| realm.reachable = true).await;
    };
    let (receipt, ()) = tokio::join!(pending, back);
    world.buyer = receipt.unwrap().state();
    while !world.maker.observe().await.unwrap().connected {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.buy(OTHER, PRICE).await.unwrap();
    world.assert_at(after(2), after(2)).await;
}

#[actix_rt::test]
async fn offers_are_signed_unless_the_operator_does_without() {
    let world = World::started().await;
    let forged = PlaceOffer { signature: SIGNATURE, ..offer(xbr_core::KeyId::new([7; 16]), 1) };
    let placed = world.ask(Request::Place(Box::new(forged.clone()))).await;
    assert_eq!(placed.unwrap_err(), OfferReject::InvalidSignature.into());
    let again = world.ask(Request::Place(Box::new(offer(KEY, 1)))).await.unwrap_err();
    assert_eq!((again.uri(), again.to_string()), ("wamp.error.runtime_error", "key already offered".into()));
    let lax = World::with(|options| options.offers = OfferPolicy::Any).await;
    let placed = lax.ask(Request::Place(Box::new(forged))).await.unwrap();
    let offer = OfferInfo::parse(std::slice::from_ref(&placed)).unwrap();
    assert_eq!(lax.ask(Request::Offer(ByOffer { offer_id: offer.offer_id })).await.unwrap(), placed);
    assert!(lax.realm(move |realm| realm.published.last().unwrap().args == [placed]).await);
}

#[actix_rt::test]
async fn revoked_expired_and_sold_out_keys_are_not_sold() {
    let mut world = World::started().await;
    let mut scarce = offer(xbr_core::KeyId::new([7; 16]), 1);
    (scarce.unsigned.offer.copies, scarce.unsigned.offer.expires_ns) = (Some(1), Some(NOW + 600 * SECOND_NS));
    let scarce = scarce.unsigned.sign(&market().domain, &seller_key()).unwrap();
    let key = xbr_core::KeyId::new([7; 16]);
    world.ask(Request::Place(Box::new(scarce))).await.unwrap();
    world.trick(Trick::Refuse("xbr.error.key_retired")).await;
    world.buy(key, 1).await.unwrap_err();
    world.buy(key, 1).await.unwrap();
    assert_eq!(world.buy(key, 1).await.unwrap_err(), BuyReject::SoldOut.into());
    world.clock.0.store(NOW + 601 * SECOND_NS, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.buy(key, 1).await.unwrap_err(), BuyReject::OfferExpired.into());
    world.ask(Request::Revoke(ByKey { key_id: KEY })).await.unwrap();
    assert_eq!(world.buy(KEY, PRICE).await.unwrap_err(), BuyReject::OfferExpired.into());
    let quote = world.ask(Request::Quote(ByKey { key_id: KEY })).await.unwrap_err();
    assert_eq!(quote.uri(), "xbr.error.offer_expired");
}

#[actix_rt::test]
async fn only_the_market_makers_own_key_opens_channels() {
    let world = World::started().await;
    let unsigned = OpenChannel {
        actor: buyer_key().address(),
        market_id: market().domain.market_id,
        channel_id: ChannelId::new([0x77; 16]),
        chain_id: 1,
        block_number: 1,
        verifying_contract: market().domain.verifying_contract,
        channel_type: ChannelType::Payment,
        delegate: buyer_key().address(),
        market_maker: maker_key().address(),
        recipient: maker_key().address(),
        amount: units(77),
        signature: SIGNATURE,
    };
    let open = |request: OpenChannel| Request::Open(Box::new(request));
    assert_eq!(world.ask(open(unsigned.clone())).await.unwrap_err(), OpenReject::InvalidSignature.into());
    let signature = unsigned.message().sign(&buyer_key()).unwrap();
    let stolen = OpenChannel { signature, ..unsigned.clone() };
    assert_eq!(world.ask(open(stolen)).await.unwrap_err(), OpenReject::InvalidSignature.into());
    let elsewhere = OpenChannel { chain_id: 2, ..unsigned.clone() };
    assert_eq!(world.ask(open(elsewhere)).await.unwrap_err(), OpenReject::UnexpectedMarket.into());
    let signature = unsigned.message().sign(&maker_key()).unwrap();
    let good = OpenChannel { signature, ..unsigned };
    let info = world.ask(open(good.clone())).await.unwrap();
    assert_eq!(world.ask(open(good.clone())).await.unwrap(), info, "a repeat opens no second one");
    let richer = OpenChannel { amount: units(78), ..good };
    let signature = richer.message().sign(&maker_key()).unwrap();
    let reject = world.ask(open(OpenChannel { signature, ..richer })).await.unwrap_err();
    assert_eq!(reject, OpenReject::Exists.into());
    let by = ByChannel { channel_id: ChannelId::new([0x77; 16]) };
    assert_eq!(world.ask(Request::Channel(ChannelType::Payment, by.clone())).await.unwrap(), info);
    let balance = world.ask(Request::Balance(ChannelType::Payment, by)).await.unwrap();
    assert_eq!(ChannelBalance::parse(&[balance]).unwrap().state(), state(1, 77));
}

#[actix_rt::test]
async fn a_delegate_closes_its_channel_once_and_hears_the_same_again() {
    let mut world = World::started().await;
    world.buy(KEY, PRICE).await.unwrap();
    let mut request = MarketCloseRequest {
        channel_id: world.payment,
        chain_id: 1,
        block_number: 1234,
        verifying_contract: market().domain.verifying_contract,
        balance: world.buyer.balance,
        seq: world.buyer.seq,
        is_final: true,
        signature: SIGNATURE,
    };
    let close = |request: &MarketCloseRequest| Request::Close(Box::new(request.clone()));
    assert_eq!(world.ask(close(&request)).await.unwrap_err(), CloseReject::InvalidSignature.into());
    request.signature = request.message(market().domain.market_id).sign(&buyer_key()).unwrap();
    let closing = world.ask(close(&request)).await.unwrap();
    assert_eq!(ChannelClosing::parse(std::slice::from_ref(&closing)).unwrap().state, ChannelStatus::Closed);
    assert_eq!(world.buy(OTHER, PRICE).await.unwrap_err(), BuyReject::ChannelNotOpen.into());
    let world = world.crashed().await;
    assert_eq!(world.ask(close(&request)).await.unwrap(), closing);
    let by = ByDelegate { delegate: buyer_key().address() };
    assert_eq!(world.ask(Request::ActiveChannel(ChannelType::Payment, by)).await.unwrap(), Value::Null);
}

#[actix_rt::test]
async fn what_the_market_maker_tells_about_itself_is_what_signatures_are_bound_to() {
    let world = World::started().await;
    let config = world.ask(Request::Config(GetConfig::default())).await.unwrap();
    let config = MarketConfig::parse(&[config]).unwrap();
    assert_eq!((config.domain(), config.market_maker), (market().domain, maker_key().address()));
    let status = MarketStatus::parse(&[world.ask(Request::Status(GetStatus)).await.unwrap()]).unwrap();
    assert_eq!((status.chain, status.status), (0, MarketMakerStatus::Running));
    let unknown = Request::Balance(ChannelType::Paying, ByChannel { channel_id: ChannelId::new([0; 16]) });
    assert_eq!(world.ask(unknown).await.unwrap_err().uri(), "crossbar.error.no_such_object");
    let filtered = ChannelsByDelegate {
        delegate: Address::new([1; 20]),
        channel_type: ChannelType::Paying,
        filter_open: true,
    };
    assert_eq!(world.ask(Request::Channels(filtered)).await.unwrap(), Value::List(Vec::new()));
}

#[actix_rt::test]
async fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut world = World::started().await;
    let (release, released) = oneshot::channel();
    world.trick(Trick::Hold(released)).await;
    let (first, late) = (world.request(KEY, PRICE), world.request(OTHER, PRICE));
    let stopping = async {
        world.until_asked(1).await;
        let stopping = world.maker.stop(Duration::from_secs(5));
        let meanwhile = async {
            while *world.maker.state().borrow() != MakerState::Stopping {
                tokio::task::yield_now().await;
            }
            let reject = world.send(late).await.unwrap_err();
            assert_eq!(reject.uri(), "wamp.error.unavailable");
            release.send(()).unwrap();
        };
        tokio::join!(stopping, meanwhile);
    };
    let (receipt, ()) = tokio::join!(world.send(first), stopping);
    world.buyer = receipt.unwrap().state();
    assert_eq!(*world.maker.state().borrow(), MakerState::Stopped);
    world.maker.start().await.unwrap();
    world.buy(OTHER, PRICE).await.unwrap();
    world.assert_at(after(2), after(2)).await;
}
