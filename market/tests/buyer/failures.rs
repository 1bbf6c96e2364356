//! What the buyer makes of a market maker, or a network, that fails or cheats.

use std::time::Duration;

use xbr_core::Signature;
use xbr_market::buyer::wallet::{Drift, PaymentReject, ReceiptFault};
use xbr_market::buyer::{BuyError, MarketError};

use super::support::*;

#[actix_rt::test]
async fn a_failure_wakes_all_its_waiters_and_the_next_event_tries_again() {
    let world = World::started().await;
    let (release, held) = tokio::sync::oneshot::channel();
    world.trick(Trick::Hold(held)).await;
    world.trick(Trick::Refuse("xbr.error.no")).await;
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let buyer = world.buyer.clone();
            actix_rt::spawn(async move { buyer.key(KEY).await })
        })
        .collect();
    while world.buyer.observe().await.unwrap().waiting < 50 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap_err(), BuyError::Market(refused("xbr.error.no")));
    }
    assert_eq!(world.local().await, state(1, 1000));
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.requests().await.len(), 2);
}

#[actix_rt::test]
async fn a_key_that_failed_is_not_tried_again_at_once() {
    let world = World::with(|options| options.retry_pause = Duration::from_secs(3600));
    world.buyer.start().await.unwrap();
    world.trick(Trick::Refuse("xbr.error.no")).await;
    for _ in 0..3 {
        assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Market(refused("xbr.error.no")));
    }
    assert_eq!(world.requests().await.len(), 1);
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
}

#[actix_rt::test]
async fn a_lost_request_or_reply_is_repeated_identically() {
    for trick in [Trick::LoseRequest, Trick::LoseReply] {
        let world = World::started().await;
        world.trick(trick).await;
        assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
        let requests = world.requests().await;
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0], requests[1]);
        assert_eq!(world.local().await, state(2, 1000 - PRICE));
        assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
        assert_eq!(world.local().await, state(3, 1000 - 2 * PRICE));
    }
}

#[actix_rt::test]
async fn a_market_maker_that_charges_a_repeat_again_is_followed_within_the_maximum() {
    let world = World::started().await;
    world.market(|market| market.replays = false).await;
    world.trick(Trick::LoseReply).await;
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.local().await, state(3, 1000 - 2 * PRICE));
    assert_eq!(world.buyer.balance().await.unwrap().lost, amount(PRICE));
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);

    // 60 twice is above the maximum of 100: that is not followed.
    let world = World::started().await;
    world
        .market(|market| {
            market.replays = false;
            market.offers.get_mut(&KEY).unwrap().1 = amount(60);
        })
        .await;
    world.trick(Trick::LoseReply).await;
    let error = world.buyer.key(KEY).await.unwrap_err();
    assert!(matches!(error, BuyError::Drift(Drift::TookTooMuch { .. })), "{error:?}");
    let error = world.buyer.key(OTHER).await.unwrap_err();
    assert!(matches!(error, BuyError::Drift(Drift::TookTooMuch { .. })), "{error:?}");
    assert_eq!(world.requests().await.len(), 2);
}

#[actix_rt::test]
async fn a_market_maker_that_charges_repeats_is_not_given_the_chance_to_go_above_the_maximum() {
    let world = World::started().await;
    world.market(|market| market.replays = false).await;
    world.trick(Trick::LoseReply).await;
    world.trick(Trick::LoseReply).await;
    let (paid, error) = (amount(2 * PRICE), unanswered());
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::TakenWithoutKey { paid, error });
    assert_eq!(world.requests().await.len(), 2);
    assert_eq!(world.local().await, state(3, 1000 - 2 * PRICE));
    assert!(matches!(
        world.buyer.key(KEY).await,
        Err(BuyError::Payment(PaymentReject::PriceAboveMax { .. }))
    ));
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
}

#[actix_rt::test]
async fn an_outcome_that_stays_unknown_is_settled_before_the_next_payment() {
    let world = World::with(|options| options.repeats = 0);
    world.buyer.start().await.unwrap();
    world.trick(Trick::LoseReply).await;
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Market(unanswered()));
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
    let requests = world.requests().await;
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0], requests[1]);
    assert_eq!(requests[2].key_id, OTHER);
    // Settling it brought the key.
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.requests().await.len(), 3);
    assert_eq!(world.local().await, state(3, 1000 - 2 * PRICE));
}

#[actix_rt::test]
async fn a_failed_sale_that_raised_seq_is_followed() {
    let world = World::started().await;
    world.trick(Trick::FailSale).await;
    world.trick(Trick::FailSale).await;
    for _ in 0..2 {
        assert!(matches!(world.buyer.key(KEY).await, Err(BuyError::Market(MarketError::Refused { .. }))));
    }
    assert_eq!(world.local().await, state(3, 1000));
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.local().await, state(4, 1000 - PRICE));
}

#[actix_rt::test]
async fn a_payment_that_is_taken_without_a_key_is_written_off_and_counts() {
    let world = World::started().await;
    for _ in 0..2 {
        world.trick(Trick::TakeAndRefuse).await;
        world.trick(Trick::Refuse("xbr.error.no")).await;
        let paid = amount(PRICE);
        let error = refused("xbr.error.no");
        assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::TakenWithoutKey { paid, error });
    }
    assert_eq!(world.local().await, state(3, 1000 - 2 * PRICE));
    assert_eq!(world.requests().await.len(), 4);
    // 70 are gone for this key: 35 more would be above the maximum of 100.
    let limit = amount(100 - 2 * PRICE);
    let expected = PaymentReject::PriceAboveMax { price: amount(PRICE), limit };
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), expected.into());
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
}

#[actix_rt::test]
async fn a_receipt_that_does_not_hold_yields_no_key() {
    let tamper = |change: fn(&mut xbr_core::wire::BuyReceipt)| Trick::Tamper(Box::new(change));
    let field = |field| ReceiptFault::Field { field };
    let (seq, balance) = (state(2, 0).seq, amount(1000 - PRICE));
    let cases = [
        (Trick::SignBy(delegate_key(9)), ReceiptFault::Signature),
        (Trick::SealToOther, ReceiptFault::SealedKey),
        (tamper(|receipt| receipt.key_id = OTHER), field("key_id")),
        (tamper(|receipt| receipt.delegate = CONTRACT), field("delegate")),
        (tamper(|receipt| receipt.channel_id = xbr_core::ChannelId::new([9; 16])), field("payment_channel")),
        (tamper(|receipt| receipt.amount = amount(1)), field("amount")),
        (tamper(|receipt| receipt.amount_paid = amount(1)), field("amount_paid")),
        (tamper(|receipt| receipt.sealed_key.truncate(79)), ReceiptFault::SealedKey),
        (tamper(|receipt| receipt.remaining = amount(1)), ReceiptFault::Signature),
        (tamper(|receipt| receipt.signature = Signature::new([0; 65])), ReceiptFault::Signature),
        (
            tamper(|receipt| resign(receipt, state(1, 1000 - PRICE))),
            ReceiptFault::Seq { expected: seq, actual: state(1, 0).seq },
        ),
        (
            tamper(|receipt| resign(receipt, state(2, 900))),
            ReceiptFault::Balance { expected: balance, actual: amount(900) },
        ),
    ];
    for (trick, fault) in cases {
        let world = World::started().await;
        world.trick(trick).await;
        assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Receipt(fault));
        // The market maker took it: written off. The next purchase is not hindered.
        assert_eq!(world.local().await, state(2, 1000 - PRICE), "{fault}");
        assert!(world.store.key(KEY).await.unwrap().key.is_none());
        assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
    }
}

/// Signs another state.
fn resign(receipt: &mut xbr_core::wire::BuyReceipt, state: xbr_core::channel::ChannelState) {
    use xbr_core::{Eip712 as _, Signer as _};
    (receipt.channel_seq, receipt.remaining) = (state.seq, state.balance);
    let message = terms(CHANNEL).state(state.seq, state.balance, false);
    receipt.signature = market_maker().sign_digest(&message.digest()).unwrap();
}

#[actix_rt::test]
async fn figures_that_the_signed_states_do_not_bear_out_stop_the_buying_until_they_agree() {
    let world = World::started().await;
    world.buyer.key(KEY).await.unwrap();
    world.trick(Trick::Refuse("xbr.error.no")).await;
    world.market(|market| *market.state() = state(5, 100)).await;
    // The payment was pending, so that the price of one key might have been taken: but 865 were.
    let error = world.buyer.key(OTHER).await.unwrap_err();
    assert!(matches!(error, BuyError::Drift(Drift::TookTooMuch { .. })), "{error:?}");
    let requests = world.requests().await.len();
    assert!(matches!(world.buyer.key(OTHER).await, Err(BuyError::Drift(_))));
    assert_eq!(world.requests().await.len(), requests, "nothing is signed or sent meanwhile");

    world.market(|market| *market.state() = state(5, 1000 - PRICE)).await;
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
    assert_eq!(world.local().await, state(6, 1000 - 2 * PRICE));
}

#[actix_rt::test]
async fn a_market_maker_that_lost_its_data_is_not_followed() {
    let world = World::started().await;
    world.buyer.key(KEY).await.unwrap();
    world.trick(Trick::Refuse("xbr.error.no")).await;
    world.market(|market| *market.state() = state(1, 1000)).await;
    let (expected, actual) = (state(2, 0).seq, state(1, 0).seq);
    assert_eq!(world.buyer.key(OTHER).await.unwrap_err(), Drift::Behind { expected, actual }.into());
}

#[actix_rt::test]
async fn a_lost_session_fails_the_waiters_and_is_joined_again() {
    let world = World::started().await;
    world.market(|market| market.reachable = false).await;
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Market(MarketError::NotJoined));
    let lost = world.market(|market| market.lost.clone().unwrap()).await;
    lost.send(xbr_market::buyer::messages::SessionLost { reason: "on request".into() }).await.unwrap();
    assert!(!world.buyer.observe().await.unwrap().connected || world.market(|m| m.joins).await > 1);
    world.market(|market| market.reachable = true).await;
    while !world.buyer.observe().await.unwrap().connected {
        tokio::task::yield_now().await;
    }
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert!(world.market(|market| market.joins).await >= 2);
}
