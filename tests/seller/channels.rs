//! Channels: first use, halting, closing.

use xbr_core::channel::Reconciliation;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::{Address, Amount, ChannelId, Signature};

use xbr_store::Store;

use crate::support::fake_market::with;
use crate::support::{close, sale, sale_on, state};
use crate::{selling, settle, spawn};

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
