//! What survives a crash, and what the store's failures lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xbr_core::{ChannelId, KeyId};
use xbr_market::buyer::store::{BoughtKey, ReceiveKey, StoreError, StoredKey};
use xbr_market::buyer::wallet::{Payment, Settlement, Wallet};
use xbr_market::buyer::{BuyError, BuyerStore, MemoryBuyerStore};
use xbr_store::StoreFuture;

use super::support::*;
use actix::Actor as _;

#[actix_rt::test]
async fn keys_that_were_bought_are_not_bought_again() {
    let world = World::started().await;
    world.buyer.key(KEY).await.unwrap();
    let world = world.crashed().await;
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    world.buyer.start().await.unwrap();
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.requests().await.len(), 1);
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
    assert_eq!(world.local().await, state(3, 1000 - 2 * PRICE));
}

#[actix_rt::test]
async fn a_payment_that_a_crash_left_behind_is_sent_again_as_it_was() {
    for (trick, arrived) in [(Trick::LoseRequest, false), (Trick::LoseReply, true)] {
        let world = World::with(|options| options.repeats = 0);
        world.buyer.start().await.unwrap();
        world.trick(trick).await;
        assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Market(unanswered()));
        assert!(world.store.wallet(CHANNEL).await.unwrap().unwrap().pending.is_some());
        assert_eq!(world.market(|market| *market.state()).await.seq.value() == 2, arrived);
        let world = world.crashed().await;
        world.buyer.start().await.unwrap();
        // Settled without anybody asking for it.
        while world.store.key(KEY).await.unwrap().key.is_none() {
            tokio::task::yield_now().await;
        }
        let requests = world.requests().await;
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0], requests[1]);
        assert_eq!(world.local().await, state(2, 1000 - PRICE));
    }
}

#[actix_rt::test]
async fn a_payment_that_emptied_its_channel_is_settled_before_another_channel_is_used() {
    let other = ChannelId::new([0xc2; 16]);
    let world = World::with(|options| options.repeats = 0);
    world.market(|market| market.offers.get_mut(&KEY).unwrap().1 = amount(100)).await;
    world.market(|market| *market.state() = state(1, 100)).await;
    world.buyer.start().await.unwrap();
    world.trick(Trick::LoseReply).await;
    assert_eq!(world.buyer.key(KEY).await.unwrap_err(), BuyError::Market(unanswered()));
    world
        .market(move |market| {
            market.channels.insert(other, state(1, 1000));
            market.active = Some(other);
        })
        .await;
    let world = world.crashed().await;
    world.buyer.start().await.unwrap();
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.local().await, state(2, 0));
    assert_key(&world.buyer.key(OTHER).await.unwrap(), OTHER);
    let channels: Vec<_> = world.requests().await.iter().map(|request| request.channel_id).collect();
    assert_eq!(channels, [CHANNEL, CHANNEL, other]);
}

#[actix_rt::test]
async fn a_crash_before_the_refund_was_seen_is_settled_by_the_figures() {
    let world = World::with(|options| options.repeats = 0);
    world.buyer.start().await.unwrap();
    world.trick(Trick::LoseRequest).await;
    world.buyer.key(KEY).await.unwrap_err();
    world.market(|market| *market.state() = state(2, 1000)).await;
    let world = world.crashed().await;
    world.buyer.start().await.unwrap();
    assert_eq!(world.local().await, state(2, 1000));
    assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
    assert_eq!(world.local().await, state(3, 1000 - PRICE));
}

/// A store that fails once at a payment or a settlement, before or after it is written.
#[derive(Debug)]
struct Faulty {
    inner: MemoryBuyerStore,
    begin: AtomicBool,
    settle: AtomicBool,
    written: bool,
}

impl Faulty {
    fn disturb(&self, fault: &AtomicBool, write: impl FnOnce() -> StoreFuture<()>) -> StoreFuture<()> {
        if !fault.swap(false, Ordering::SeqCst) {
            return write();
        }
        let written = self.written.then(write);
        Box::pin(async move {
            if let Some(written) = written {
                written.await.unwrap();
            }
            Err(StoreError::Unknown { reason: "on request".into() })
        })
    }
}

impl BuyerStore for Faulty {
    fn receive_key(&self) -> StoreFuture<ReceiveKey> {
        self.inner.receive_key()
    }
    fn wallet(&self, channel_id: ChannelId) -> StoreFuture<Option<Wallet>> {
        self.inner.wallet(channel_id)
    }
    fn unsettled(&self) -> StoreFuture<Vec<Wallet>> {
        self.inner.unsettled()
    }
    fn attach(&self, wallet: Wallet) -> StoreFuture<()> {
        self.inner.attach(wallet)
    }
    fn begin(&self, payment: Payment) -> StoreFuture<()> {
        self.disturb(&self.begin, || self.inner.begin(payment))
    }
    fn settle(&self, id: ChannelId, settlement: Settlement, bought: Option<BoughtKey>) -> StoreFuture<()> {
        self.disturb(&self.settle, || self.inner.settle(id, settlement, bought))
    }
    fn key(&self, key_id: KeyId) -> StoreFuture<StoredKey> {
        self.inner.key(key_id)
    }
}

#[actix_rt::test]
async fn a_payment_that_is_not_durable_is_not_sent_and_a_key_that_is_not_durable_not_used() {
    for (begin, written) in [(true, true), (true, false), (false, true), (false, false)] {
        let store = Arc::new(Faulty {
            inner: MemoryBuyerStore::new().unwrap(),
            begin: AtomicBool::new(begin),
            settle: AtomicBool::new(!begin),
            written,
        });
        let world = World::on(FakeMarket::default().start(), store, |_| ());
        world.buyer.start().await.unwrap();
        assert!(matches!(world.buyer.key(KEY).await, Err(BuyError::Store(StoreError::Unknown { .. }))));
        assert_eq!(world.requests().await.len(), usize::from(!begin));
        assert_key(&world.buyer.key(KEY).await.unwrap(), KEY);
        assert_eq!(world.local().await, state(2, 1000 - PRICE), "begin {begin}, written {written}");
    }
}
