//! Subscriptions: decrypted, in order, bounded.

use std::sync::Arc;

use xbr_core::Value;
use xbr_core::crypto::UserspaceEntropy;
use xbr_market::buyer::messages::RawEvent;
use xbr_market::buyer::{BuyError, UnwrapError};
use xbr_wamp::Match;

use super::support::*;

fn event(key_id: xbr_core::KeyId, number: u64) -> RawEvent {
    let ciphertext = data_key(key_id).encrypt_dynamic(&UserspaceEntropy, &Value::from(number));
    let args = vec![key_id.as_bytes().as_slice().into(), "cbor".into(), ciphertext.into()];
    RawEvent { topic: Arc::from("a.topic"), args }
}

async fn publish(world: &World, event: RawEvent) {
    world.market(move |market| market.subscriptions.iter().for_each(|s| s.outlet.put(event.clone()))).await;
}

#[actix_rt::test]
async fn events_come_decrypted_and_in_order_each_key_bought_once() {
    let world = World::started().await;
    let mut events = world.buyer.subscribe("a.topic", Match::Exact).await.unwrap();
    for number in 0..100 {
        publish(&world, event(if number % 2 == 0 { KEY } else { OTHER }, number)).await;
    }
    for number in 0..100_u64 {
        let event = events.next().await.unwrap();
        assert_eq!((event.payload, event.missed), (Ok(Value::from(number)), 0));
    }
    assert_eq!(world.requests().await.len(), 2);
}

#[actix_rt::test]
async fn what_is_no_encrypted_event_or_cannot_be_bought_is_said_and_does_not_end_the_stream() {
    let world = World::started().await;
    let mut events = world.buyer.subscribe("a.topic", Match::Prefix).await.unwrap();
    publish(&world, RawEvent { topic: Arc::from("a.topic"), args: vec![Value::Null] }).await;
    publish(&world, event(xbr_core::KeyId::new([99; 16]), 0)).await;
    publish(&world, event(KEY, 1)).await;
    assert!(matches!(events.next().await.unwrap().payload, Err(UnwrapError::NotEncrypted(_))));
    assert_eq!(
        events.next().await.unwrap().payload,
        Err(UnwrapError::Buy(BuyError::Market(refused("no offer"))))
    );
    assert_eq!(events.next().await.unwrap().payload, Ok(Value::from(1_u64)));
}

#[actix_rt::test]
async fn what_a_slow_subscriber_misses_is_counted() {
    let world = World::with(|options| options.event_capacity = 2);
    world.buyer.start().await.unwrap();
    let mut events = world.buyer.subscribe("a.topic", Match::Exact).await.unwrap();
    for number in 0..5 {
        publish(&world, event(KEY, number)).await;
    }
    let first = events.next().await.unwrap();
    assert_eq!((first.payload, first.missed), (Ok(Value::from(0_u64)), 3));
    assert_eq!(events.next().await.unwrap().payload, Ok(Value::from(1_u64)));
}

#[actix_rt::test]
async fn a_subscription_from_before_the_start_or_a_lost_session_is_made_with_the_next_one() {
    let world = World::new();
    let mut events = world.buyer.subscribe("a.topic", Match::Exact).await.unwrap();
    assert_eq!(world.market(|market| market.subscriptions.len()).await, 0);
    world.buyer.start().await.unwrap();
    while world.market(|market| market.subscriptions.len()).await < 1 {
        tokio::task::yield_now().await;
    }
    publish(&world, event(KEY, 1)).await;
    assert_eq!(events.next().await.unwrap().payload, Ok(Value::from(1_u64)));
    let lost = world
        .market(|market| {
            market.subscriptions.clear();
            market.lost.clone().unwrap()
        })
        .await;
    lost.send(xbr_market::buyer::messages::SessionLost { reason: "on request".into() }).await.unwrap();
    while world.market(|market| market.subscriptions.len()).await < 1 {
        tokio::task::yield_now().await;
    }
    publish(&world, event(KEY, 2)).await;
    assert_eq!(events.next().await.unwrap().payload, Ok(Value::from(2_u64)));
}
