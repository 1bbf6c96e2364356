//! Channels: first use, halting, closing.

use std::time::Duration;

use tokio::time::advance;
use xbr_actors::Alarm;
use xbr_actors::seller::AddApi;
use xbr_core::channel::Reconciliation;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::{Address, Amount, ChannelId, Signature};
use xbr_store::{MemoryStore, Store};

use crate::support::fake_market::with;
use crate::support::{CHANNEL, after, api, close, sale, sale_on, state};
use crate::{selling, settle, spawn, spawn_adjusted};

#[actix_rt::test]
async fn a_channel_first_seen_in_a_sale_is_fetched_checked_and_sold_on() {
    let it = selling().await;
    let key = it.key().await;
    let new = ChannelId::new([0xc2; 16]);
    let first = sale_on(new, key, state(2, 965), 35);
    assert_eq!(
        it.sell(first.clone()).await,
        Err(SaleReject::UnexpectedChannel),
        "the market maker has none such"
    );
    // The market maker's figures include the sale already.
    with(&it.market, move |market| market.channels.insert(new, state(2, 965))).await;
    let mut unsigned = first.clone();
    unsigned.signature = Signature::new([0; 65]);
    assert_eq!(
        it.sell(unsigned).await,
        Err(SaleReject::UnexpectedChannel),
        "only its signature makes us ask"
    );
    assert!(it.sell(first).await.is_ok());
    assert!(it.sell(sale_on(new, key, state(3, 930), 35)).await.is_ok());
    let status = it.status().await;
    let channel =
        &status.channels.iter().find(|status| status.channel.terms.channel_id == new).unwrap().channel;
    assert_eq!((channel.adopted, channel.earned), (state(1, 1000), Amount::from_xbr(70)));
}

#[actix_rt::test]
async fn a_sale_that_was_in_flight_when_its_channel_was_adopted_is_made() {
    let it = spawn(MemoryStore::new());
    it.seller.send(AddApi(api(after(1_000_000)))).await.unwrap().unwrap();
    with(&it.market, |market| {
        market.channels.insert(CHANNEL, state(2, 965));
        market.inflight.insert(CHANNEL, Amount::from_xbr(35));
    })
    .await;
    it.start().await.unwrap();
    settle().await;
    it.sell(sale(it.key().await, state(2, 965), 35)).await.unwrap();
    let [channel] = it.store.channels().await.unwrap().try_into().unwrap();
    assert_eq!((channel.adopted, channel.earned), (state(1, 1000), Amount::from_xbr(35)));
}

#[actix_rt::test]
async fn a_market_maker_that_fell_behind_halts_the_channel_at_the_start() {
    let it = selling().await;
    let key = it.key().await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    it.stop().await;
    // By its books nothing was ever sold.
    let restarted = spawn(it.store.clone());
    assert_eq!(restarted.start().await, Ok(()));
    let channel = restarted.status().await.channels.remove(0).channel;
    assert!(matches!(channel.reconciliation, Reconciliation::Behind { .. }));
    assert_eq!(restarted.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::ChannelHalted));
}

#[actix_rt::test]
async fn a_close_is_signed_for_the_configured_market_maker_only() {
    let it = selling().await;
    let request = close(state(1, 1000), true);
    let mut other = request.clone();
    other.market_maker = Address::new([9; 20]);
    assert_eq!(it.close_channel(other).await, Err(CloseReject::UnexpectedDelegate));
    let mut other = request.clone();
    other.channel_id = ChannelId::new([9; 16]);
    assert_eq!(it.close_channel(other).await, Err(CloseReject::UnexpectedChannel));
    assert!(it.close_channel(request).await.is_ok());
    let key = it.key().await;
    assert_eq!(it.sell(sale(key, state(2, 965), 35)).await, Err(SaleReject::ChannelClosed));
}

#[actix_rt::test]
async fn sales_that_are_the_first_of_a_channel_together_are_both_made() {
    let it = selling().await;
    let key = it.key().await;
    let new = ChannelId::new([0xc2; 16]);
    with(&it.market, move |market| market.channels.insert(new, state(3, 930))).await;
    let first = it.sell(sale_on(new, key, state(2, 965), 35));
    let second = it.sell(sale_on(new, key, state(3, 930), 35));
    let (first, second) = futures_util::join!(first, second);
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert!(it.store.evidence().await.unwrap().is_empty());
}

#[actix_rt::test]
async fn a_contradiction_on_a_halted_channel_is_kept_as_evidence() {
    let it = selling().await;
    let key = it.key().await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    it.stop().await;
    let restarted = spawn(it.store.clone());
    assert_eq!(restarted.start().await, Ok(()));
    assert_eq!(restarted.sell(sale(key, state(3, 965), 35)).await, Err(SaleReject::ChannelHalted));
    settle().await;
    assert_eq!(it.store.evidence().await.unwrap().len(), 1);
}

#[actix_rt::test]
async fn a_sale_that_shows_a_rollback_halts_its_channel_only_until_the_figures_agree_again() {
    let it = selling().await;
    let key = it.key().await;
    let other = ChannelId::new([0xc2; 16]);
    with(&it.market, move |market| market.channels.insert(other, state(1, 1000))).await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    let back = it.sell(sale(key, state(3, 1000), 35)).await;
    assert!(matches!(back, Err(SaleReject::UnexpectedBalance { .. })), "{back:?}");
    assert_eq!(it.sell(sale(key, state(4, 930), 35)).await, Err(SaleReject::ChannelHalted));
    assert!(it.sell(sale(key, state(2, 965), 35)).await.is_ok(), "what was sold keeps its receipt");
    assert!(it.sell(sale_on(other, key, state(2, 965), 35)).await.is_ok(), "other channels sell on");
    let status = it.status().await.channels.remove(0);
    assert_eq!(status.alarm, Some(Alarm::RolledBack { ours: state(2, 965), theirs: state(3, 1000) }));
    assert_eq!((status.contradictions, it.store.evidence().await.unwrap().len()), (1, 1));
    // Durable, so that it is seen from outside and after a crash.
    let stored = it.store.channels().await.unwrap().remove(0);
    assert_eq!(stored.reconciliation, status.channel.reconciliation);
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    it.stop().await;
    it.start().await.unwrap();
    assert_eq!(it.status().await.channels[0].alarm, None);
    let key = it.key().await;
    assert!(it.sell(sale(key, state(3, 930), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_state_that_came_late_is_refused_and_halts_nothing() {
    let it = selling().await;
    let key = it.key().await;
    // Of two sales the first got lost on its way, and is repeated later.
    it.sell(sale(key, state(3, 930), 35)).await.unwrap();
    let late = it.sell(sale(key, state(2, 965), 35)).await;
    assert!(matches!(late, Err(SaleReject::UnexpectedSeq { .. })));
    assert!(it.sell(sale(key, state(4, 895), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_new_channel_is_found_by_looking_unless_a_sale_is_under_way_on_it() {
    let it = spawn_adjusted(MemoryStore::new(), |options| {
        options.channel_poll = Some(Duration::from_secs(60));
    });
    it.start().await.unwrap();
    let (quiet, busy) = (ChannelId::new([0xc2; 16]), ChannelId::new([0xc3; 16]));
    with(&it.market, move |market| {
        market.channels.insert(quiet, state(1, 1000));
        market.channels.insert(busy, state(2, 965));
        market.inflight.insert(busy, Amount::from_xbr(35));
    })
    .await;
    for _ in 0..130 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    let known: Vec<_> =
        it.status().await.channels.iter().map(|status| status.channel.terms.channel_id).collect();
    assert_eq!(known, [CHANNEL, quiet]);
}

#[actix_rt::test]
async fn a_seller_whose_channel_ended_waits_for_a_new_one() {
    let it = selling().await;
    let key = it.key().await;
    with(&it.market, |market| {
        market.active = None;
        market.channels.clear();
    })
    .await;
    it.stop().await;
    assert_eq!(it.start().await, Ok(()), "it had a channel once");
    let next = ChannelId::new([0xc2; 16]);
    with(&it.market, move |market| market.channels.insert(next, state(2, 965))).await;
    assert!(it.sell(sale_on(next, key, state(2, 965), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_channel_that_runs_low_is_shown_as_such() {
    let it = spawn_adjusted(MemoryStore::new(), |options| options.low_balance = Amount::from_xbr(950));
    it.seller.send(AddApi(api(after(1_000_000)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    let key = it.key().await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    assert!(!it.status().await.channels[0].is_low);
    it.sell(sale(key, state(3, 930), 35)).await.unwrap();
    assert!(it.status().await.channels[0].is_low);
}
