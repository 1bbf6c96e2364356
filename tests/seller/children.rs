//! Actors that die are replaced.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::advance;
use xbr_actors::seller::{AddApi, PauseApi, ResumeApi, RotateApi, SetPrice};
use xbr_core::Amount;
use xbr_core::reject::SaleReject;
use xbr_store::MemoryStore;

use crate::support::fake_market::with;
use crate::support::{API, CHANNEL, PanickingClock, after, api, every, sale, state};
use crate::{settle, spawn_with};

#[actix_rt::test]
async fn a_key_series_that_dies_is_replaced_and_wraps_on() {
    let clock = Arc::new(PanickingClock::default());
    let it = spawn_with(MemoryStore::new(), clock.clone());
    it.seller.send(AddApi(api(every(10)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    let before = it.key().await;
    clock.0.store(true, Ordering::SeqCst);
    // The next key is due, and making it is what kills the series.
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert!(!clock.0.load(Ordering::SeqCst), "the series did not die");
    let after = it.key().await;
    assert_ne!(before, after);
    assert!(with(&it.market, |market| market.offered()).await.contains(&after));
    assert!(it.sell(sale(after, state(2, 965), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_ledger_that_dies_is_replaced_from_what_is_durable() {
    let clock = Arc::new(PanickingClock::default());
    let it = spawn_with(MemoryStore::new(), clock.clone());
    // A series without a timer, so that it does not read the clock first.
    it.seller.send(AddApi(api(after(1000)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    settle().await;
    let key = it.key().await;
    let receipt = it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    clock.0.store(true, Ordering::SeqCst);
    // Keeping evidence reads the clock, which kills the ledger in the middle of the request.
    let contradiction = it.sell(sale(key, state(3, 999), 35)).await;
    assert!(matches!(contradiction, Err(SaleReject::Unavailable { .. })), "{contradiction:?}");
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(it.state().await as u8, 2);
    assert_eq!(it.sell(sale(key, state(2, 965), 35)).await.unwrap(), receipt);
    assert!(it.sell(sale(key, state(3, 930), 35)).await.is_ok());
}

#[actix_rt::test]
async fn the_successor_of_a_key_series_is_paused_as_it_was_and_knows_the_price() {
    let clock = Arc::new(PanickingClock::default());
    let it = spawn_with(MemoryStore::new(), clock.clone());
    it.seller.send(AddApi(api(after(1000)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    settle().await;
    let price = Amount::from_xbr(7);
    it.seller.send(SetPrice { api_id: API, price }).await.unwrap();
    it.seller.send(PauseApi(API)).await.unwrap();
    clock.0.store(true, Ordering::SeqCst);
    // The market maker that comes back is offered the keys, and looking for them reads the clock.
    it.lose_session().await;
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert!(!clock.0.load(Ordering::SeqCst), "the series did not die");
    assert!(it.status().await.apis[0].is_paused);
    assert!(it.seller.send(ResumeApi(API)).await.unwrap());
    let key = it.seller.send(RotateApi(API)).await.unwrap().unwrap();
    let status = it.status().await.apis.remove(0);
    assert_eq!((status.key_id, status.price, status.is_paused), (Some(key), price, false));
}
