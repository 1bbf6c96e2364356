//! The buyer's actor when all goes well, and the limits that it keeps.

use std::time::Duration;

use tokio::sync::oneshot;
use xbr_core::{KeyId, Value};
use xbr_market::buyer::wallet::PaymentReject;
use xbr_market::buyer::{BuyError, BuyerState, StartError, UnwrapError};

use super::support::*;

#[actix_rt::test]
async fn a_payload_is_decrypted_after_its_key_was_bought() {
    let world = World::started().await;
    let ciphertext =
        data_key(KEY).encrypt_dynamic(&xbr_core::crypto::UserspaceEntropy, &Value::from("hello"));
    assert_eq!(world.buyer.unwrap(KEY, "cbor", &ciphertext).await, Ok(Value::from("hello")));
    assert_eq!(world.buyer.unwrap(KEY, "cbor", &ciphertext).await, Ok(Value::from("hello")));
    assert_eq!(world.requests().await.len(), 1);
    assert_eq!(world.local().await, state(2, 1000 - PRICE));

    let json = UnwrapError::Serializer { actual: "json".into() };
    assert_eq!(world.buyer.unwrap(KEY, "json", &ciphertext).await, Err(json));
    assert!(matches!(world.buyer.unwrap(KEY, "cbor", &[0; 60]).await, Err(UnwrapError::Decrypt(_))));

    let report = world.buyer.balance().await.unwrap();
    assert_eq!((report.local, report.spent), (state(2, 1000 - PRICE), amount(PRICE)));
    assert_eq!(report.remote.unwrap().state(), report.local);
}

#[actix_rt::test]
async fn many_waiters_make_one_purchase() {
    let world = World::started().await;
    let (release, held) = oneshot::channel();
    world.trick(Trick::Hold(held)).await;
    let waiters = (0..500).map(|_| {
        let buyer = world.buyer.clone();
        actix_rt::spawn(async move { buyer.key(KEY).await })
    });
    let waiters: Vec<_> = waiters.collect();
    while world.buyer.observe().await.unwrap().waiting < 500 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    for waiter in waiters {
        assert_key(&waiter.await.unwrap().unwrap(), KEY);
    }
    assert_eq!(world.requests().await.len(), 1);
    assert_eq!(world.buyer.observe().await.unwrap().waiting, 0);
}

#[actix_rt::test]
async fn purchases_of_different_keys_follow_one_another() {
    let world = World::started().await;
    world
        .market(|market| {
            for byte in 10..30 {
                let key_id = KeyId::new([byte; 16]);
                market.offers.insert(key_id, (data_key(key_id), amount(u128::from(byte))));
            }
        })
        .await;
    let purchases: Vec<_> = (10..30)
        .map(|byte| {
            let buyer = world.buyer.clone();
            actix_rt::spawn(async move { buyer.key(KeyId::new([byte; 16])).await })
        })
        .collect();
    for (purchase, byte) in purchases.into_iter().zip(10..) {
        assert_key(&purchase.await.unwrap().unwrap(), KeyId::new([byte; 16]));
    }
    let requests = world.requests().await;
    let seqs: Vec<_> = requests.iter().map(|request| request.channel_seq.value()).collect();
    assert_eq!(seqs, (2..22).collect::<Vec<_>>());
    let spent: u128 = (10..30).sum();
    assert_eq!(world.local().await, state(21, 1000 - spent));
}

#[actix_rt::test]
async fn a_price_above_the_maximum_is_not_signed() {
    let world = World::started().await;
    world.market(|market| market.offers.get_mut(&KEY).unwrap().1 = amount(101)).await;
    let expected = PaymentReject::PriceAboveMax { price: amount(101), limit: amount(100) };
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), expected.into());
    assert_eq!(world.requests().await, []);
}

#[actix_rt::test]
async fn a_free_key_costs_nothing() {
    let world = World::started().await;
    world.market(|market| market.offers.get_mut(&KEY).unwrap().1 = amount(0)).await;
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.local().await, state(2, 1000));
}

#[actix_rt::test]
async fn an_empty_channel_is_left_for_the_next_one() {
    let world = World::new();
    world.market(|market| *market.state() = state(9, 30)).await;
    world.buyer.start().await.unwrap();
    let empty = PaymentReject::InsufficientBalance { price: amount(PRICE), remaining: amount(30) };
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), empty.into());
    assert_eq!(world.requests().await, []);

    let next = xbr_core::ChannelId::new([0xc2; 16]);
    world
        .market(move |market| {
            market.channels.insert(next, state(1, 500));
            market.active = Some(next);
        })
        .await;
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.buyer.balance().await.unwrap().channel_id, next);
    assert_eq!(world.local().await, state(9, 30));
}

#[actix_rt::test]
async fn waiters_are_bounded() {
    let world = World::with(|options| options.max_waiting = 1);
    world.buyer.start().await.unwrap();
    let (release, held) = oneshot::channel();
    world.trick(Trick::Hold(held)).await;
    let buyer = world.buyer.clone();
    let first = actix_rt::spawn(async move { buyer.key(KEY).await });
    while world.buyer.observe().await.unwrap().waiting < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Busy { max: 1 });
    release.send(()).unwrap();
    first.await.unwrap().unwrap();
}

#[actix_rt::test]
async fn a_start_names_what_is_wrong() {
    let world = World::new();
    world.market(|market| market.active = None).await;
    let delegate = world.buyer.address();
    assert_eq!(world.buyer.start().await, Err(StartError::NoPaymentChannel { delegate }));
    assert_eq!(*world.buyer.state().borrow(), BuyerState::Stopped);

    world.market(|market| market.market_maker = CONTRACT).await;
    let expected = market_maker_address();
    assert_eq!(world.buyer.start().await, Err(StartError::OtherMarketMaker { expected, actual: CONTRACT }));
    world
        .market(move |market| {
            market.active = Some(CHANNEL);
            market.market_maker = expected;
            *market.state() = state(1, 1001);
        })
        .await;
    assert!(matches!(world.buyer.start().await, Err(StartError::Channel { .. })));
    world.market(|market| *market.state() = state(1, 1000)).await;
    world.buyer.start().await.unwrap();
}

fn market_maker_address() -> xbr_core::Address {
    use xbr_core::Signer as _;
    market_maker().address()
}

#[actix_rt::test]
async fn before_the_start_and_after_the_stop_nothing_is_bought_but_known_keys_serve() {
    let world = World::new();
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::NotRunning);
    world.buyer.start().await.unwrap();
    world.buyer.key(KEY).await.unwrap();
    world.buyer.stop(Duration::from_secs(1)).await;
    assert_eq!(*world.buyer.state().borrow(), BuyerState::Stopped);
    assert_eq!(world.buyer.key(OTHER).await.unwrap_err(), BuyError::NotRunning);
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    world.buyer.start().await.unwrap();
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
}

#[actix_rt::test]
async fn a_stop_lets_the_purchase_under_way_finish_and_turns_the_others_away() {
    let world = World::started().await;
    let (release, held) = oneshot::channel();
    world.trick(Trick::Hold(held)).await;
    let (first, second) = (world.buyer.clone(), world.buyer.clone());
    let first = actix_rt::spawn(async move { first.key(KEY).await });
    while world.requests().await.is_empty() {
        tokio::task::yield_now().await;
    }
    let second = actix_rt::spawn(async move { second.key(OTHER).await });
    while world.buyer.observe().await.unwrap().waiting < 2 {
        tokio::task::yield_now().await;
    }
    world.store.key(OTHER).await.unwrap();
    world.buyer.observe().await.unwrap();
    let buyer = world.buyer.clone();
    let stop = actix_rt::spawn(async move { buyer.stop(Duration::from_secs(60)).await });
    assert_eq!(second.await.unwrap().unwrap_err(), BuyError::NotRunning);
    release.send(()).unwrap();
    assert_key(&first.await.unwrap().unwrap(), KEY);
    stop.await.unwrap();
}
