//! What the store's failures lead to: nobody hears of what is not durable, and the market goes on from what is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix::Actor as _;
use xbr_core::{ChannelId, ChannelSeq};
use xbr_market::maker::account::Market;
use xbr_market::maker::book::Entry;
use xbr_market::maker::procedures::Request;
use xbr_market::maker::purchase::{Purchase, PurchaseId};
use xbr_market::maker::store::{MakerStore, MemoryMakerStore, Snapshot, StoreError};
use xbr_store::StoreFuture;

use super::fake_realm::*;
use super::support::*;

/// A store that fails at the nth commit from now, before or after it is written.
#[derive(Debug)]
struct Faulty {
    inner: MemoryMakerStore,
    countdown: AtomicU32,
    written: bool,
}

impl MakerStore for Faulty {
    fn load(&self, market: Market) -> StoreFuture<Snapshot> {
        self.inner.load(market)
    }

    fn commit(&self, entry: Entry) -> StoreFuture<()> {
        let left = self.countdown.load(Ordering::SeqCst);
        self.countdown.store(left.saturating_sub(1), Ordering::SeqCst);
        if left != 1 {
            return self.inner.commit(entry);
        }
        let written = self.written.then(|| self.inner.commit(entry));
        Box::pin(async move {
            if let Some(written) = written {
                written.await?;
            }
            Err(StoreError::Unknown { reason: "on request".into() })
        })
    }

    fn purchase(&self, channel_id: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<Purchase>> {
        self.inner.purchase(channel_id, seq)
    }

    fn purchases(&self, after: PurchaseId, limit: u32) -> StoreFuture<Vec<Purchase>> {
        self.inner.purchases(after, limit)
    }

    fn flush(&self) -> StoreFuture<()> {
        self.inner.flush()
    }
}

#[actix_rt::test]
async fn the_same_call_gets_its_receipt_after_the_store_failed_at_any_step() {
    // The first commit of a purchase reserves it, the second settles it.
    for (nth, written) in [(1, false), (1, true), (2, false), (2, true)] {
        let inner = MemoryMakerStore::new().unwrap();
        let store = Arc::new(Faulty { inner, countdown: AtomicU32::new(0), written });
        let mut world = World::on(FakeRealm::default().start(), store.clone(), |_| ()).await;
        world.ask(Request::Place(Box::new(offer(KEY, PRICE)))).await.unwrap();
        world.payment = world.channel(xbr_core::wire::ChannelType::Payment).await.channel_id;
        store.countdown.store(nth, Ordering::SeqCst);
        let request = world.request(KEY, PRICE);
        let mut failures = 0;
        while let Err(reject) = world.send(request.clone()).await {
            assert_eq!(reject.uri(), "wamp.error.unavailable");
            failures += 1;
        }
        assert!(failures > 0, "{nth} {written}");
        let after = state(2, DEPOSIT - PRICE);
        world.assert_at(after, after).await;
        assert_eq!(world.maker.purchases(0, 10).await.unwrap().len(), 1);
        assert_eq!(world.realm(|realm| realm.ledgers.values().copied().collect::<Vec<_>>()).await, [after]);
    }
}

#[actix_rt::test]
async fn an_offer_that_is_not_durable_is_not_taken() {
    let inner = MemoryMakerStore::new().unwrap();
    let store = Arc::new(Faulty { inner, countdown: AtomicU32::new(0), written: false });
    let world = World::on(FakeRealm::default().start(), store.clone(), |_| ()).await;
    store.countdown.store(1, Ordering::SeqCst);
    let reject = world.ask(Request::Place(Box::new(offer(KEY, PRICE)))).await.unwrap_err();
    assert_eq!(reject.uri(), "wamp.error.unavailable");
    while let Err(reject) = world.ask(Request::Place(Box::new(offer(KEY, PRICE)))).await {
        assert_eq!(reject.uri(), "wamp.error.unavailable");
    }
}
