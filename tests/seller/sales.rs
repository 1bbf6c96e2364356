//! Sales through the supervisor: what is delivered, and what is refused for which reason.

use xbr_actors::ChannelReport;
use xbr_actors::messages::CloseChannel;
use xbr_actors::seller::Balance;
use xbr_core::crypto::sealed_box_open;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::{Address, Amount, BuyerKey, ChannelId, KeyId, Signature, Signer};
use xbr_store::{MemoryStore, Store};

use crate::support::fake_market::with;
use crate::support::{CHANNEL, buyer, close, market_maker, sale, state};
use crate::{selling, spawn};

#[actix_rt::test]
async fn a_sale_delivers_the_key_to_the_buyer_and_the_money_to_the_ledger() {
    let it = selling().await;
    let key = it.key().await;
    let receipt = it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    assert_eq!((receipt.key_id, receipt.balance), (key, Amount::from_xbr(965)));
    assert_eq!(sealed_box_open(&buyer().0, &receipt.sealed_key).unwrap().len(), 32);
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    let balance = it.seller.send(Balance).await.unwrap().unwrap();
    let [ChannelReport { local, remote }] = &balance[..] else { panic!("one channel: {balance:?}") };
    assert_eq!((local.channel.state, local.channel.earned), (state(2, 965), Amount::from_xbr(35)));
    assert_eq!(remote.as_ref().unwrap().state(), state(2, 965));
}

#[actix_rt::test]
async fn what_is_wrong_with_a_sale_is_said_in_order_of_precedence() {
    let it = selling().await;
    let key = it.key().await;
    // Each row repairs one more mistake; the next one is then the answer.
    let mut request = sale(key, state(1, 966), 34);
    request.market_maker = Address::new([9; 20]);
    request.key_id = KeyId::new([9; 16]);
    request.buyer_key = BuyerKey::new([0; 32]);
    request.channel_id = ChannelId::new([9; 16]);
    request.signature = Signature::new([0; 65]);
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::UnexpectedMarketMaker));
    request.market_maker = market_maker().address();
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::NoSuchKey));
    request.key_id = key;
    // Whether the channel exists is found out on the way to sealing.
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::UnexpectedChannel));
    request.channel_id = CHANNEL;
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::InvalidBuyerKey));
    request.buyer_key = buyer().1;
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::UnprovenSeq));
    request.channel_seq = state(2, 0).seq;
    request.balance = Amount::from_xbr(967);
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::UnprovenBalance));
    request.balance = Amount::from_xbr(966);
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::InvalidSignature));
    request.signature = sale(key, state(2, 966), 34).signature;
    assert!(matches!(it.sell(request.clone()).await, Err(SaleReject::InsufficientAmount { .. })));
    assert!(it.sell(sale(key, state(2, 965), 35)).await.is_ok());
    assert_eq!(it.status().await.channels[0].channel.sales, 1);
}

#[actix_rt::test]
async fn a_retired_key_is_said_to_be_retired() {
    let it = selling().await;
    let retired = KeyId::new([8; 16]);
    let record = match it.store.key(it.key().await).await.unwrap() {
        xbr_store::KeyLookup::Found(record) => xbr_store::KeyRecord { key_id: retired, ..record },
        other => panic!("{other:?}"),
    };
    it.store.insert_key(record).await.unwrap();
    it.store.retire_key(retired).await.unwrap();
    assert_eq!(it.sell(sale(retired, state(2, 965), 35)).await, Err(SaleReject::KeyRetired));
}

#[actix_rt::test]
async fn keys_of_an_earlier_life_are_sold() {
    let it = selling().await;
    let key = it.key().await;
    it.stop().await;
    let restarted = spawn(it.store.clone());
    assert_eq!(restarted.start().await, Ok(()));
    assert!(restarted.sell(sale(key, state(2, 965), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_stopped_seller_says_so() {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    let key = it.key().await;
    let answer = it.sell(sale(key, state(2, 965), 35)).await;
    assert_eq!(answer, Err(SaleReject::Unavailable { reason: "the seller is not started" }));
    let answer = it.seller.send(CloseChannel { request: close(state(1, 1000), true) }).await.unwrap();
    assert!(matches!(answer, Err(CloseReject::Unavailable { .. })));
}

#[actix_rt::test]
async fn a_sale_that_was_made_keeps_its_receipt_when_its_key_is_retired() {
    let it = selling().await;
    let key = it.key().await;
    let request = sale(key, state(2, 965), 35);
    let receipt = it.sell(request.clone()).await.unwrap();
    it.stop().await;
    it.store.retire_key(key).await.unwrap();
    let restarted = spawn(it.store.clone());
    with(&restarted.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    restarted.start().await.unwrap();
    assert_eq!(restarted.sell(request).await, Ok(receipt));
    assert_eq!(restarted.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::KeyRetired));
}
