//! The supervisor: the order of starting and stopping, coming back, replacing what died, and sales through it. The
//! market maker's session is a fake; the ledger and the key series are the real ones.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod apis;
mod channels;
mod children;
mod closing;
mod life;
mod sales;
#[path = "../support/mod.rs"]
mod support;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use support::fake_market::{FakeMarket, Told, with};
use support::{StoppedClock, after, api, every, guarded, guarded_close, pause_time, seller_options};
use xbr_actors::messages::{CloseChannel, MarketError, MarketPort, Sell, SessionLost};
use xbr_actors::seller::{AddApi, Observe, Start, Stop};
use xbr_actors::{Clock, Seller, SellerOptions, SellerState, SellerStatus, StartError};
use xbr_core::KeyId;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_store::MemoryStore;

const GRACE: Duration = Duration::from_secs(10);

struct Market {
    seller: Addr<Seller>,
    market: Addr<FakeMarket>,
    store: MemoryStore,
}

/// A seller that is not started, on paused time.
fn spawn(store: MemoryStore) -> Market {
    spawn_with(store, Arc::new(StoppedClock))
}

fn spawn_with(store: MemoryStore, clock: Arc<dyn Clock>) -> Market {
    spawn_adjusted(store, |options| options.clock = clock)
}

fn spawn_adjusted(store: MemoryStore, adjust: impl FnOnce(&mut SellerOptions)) -> Market {
    pause_time();
    let market = FakeMarket::default().start();
    let port = MarketPort::new(&market);
    let mut options = seller_options(Arc::new(store.clone()));
    adjust(&mut options);
    let mut watches = Vec::new();
    let make_market = move |watch| {
        // What is dropped counts as dead.
        watches.push(watch);
        port.clone()
    };
    let seller = Seller::new(options, Box::new(make_market)).start();
    Market { seller, market, store }
}

/// A started seller with one API, whose keys last for an hour.
async fn started() -> Market {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    it.start().await.unwrap();
    it
}

/// A started seller with one API, whose keys last for so many uses that no timer is armed: time does not jump while
/// worker threads compute.
async fn selling() -> Market {
    let it = spawn(MemoryStore::new());
    it.seller.send(AddApi(api(after(1_000_000)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    settle().await;
    it
}

impl Market {
    async fn add_api(&self) {
        self.seller.send(AddApi(api(every(3600)))).await.unwrap().unwrap();
    }

    async fn start(&self) -> Result<(), StartError> {
        self.seller.send(Start).await.unwrap()
    }

    async fn stop(&self) {
        self.seller.send(Stop { grace: GRACE }).await.unwrap();
    }

    async fn status(&self) -> SellerStatus {
        self.seller.send(Observe).await.unwrap()
    }

    async fn state(&self) -> SellerState {
        self.status().await.state
    }

    async fn key(&self) -> KeyId {
        self.status().await.apis[0].key_id.unwrap()
    }

    async fn sell(&self, request: SellRequest) -> Result<SellReceipt, SaleReject> {
        let channel_id = request.channel_id;
        guarded(channel_id, self.seller.send(Sell::from(request)).await.unwrap())
    }

    async fn close_channel(&self, request: CloseRequest) -> Result<CloseReceipt, CloseReject> {
        guarded_close(self.seller.send(CloseChannel { request }).await.unwrap())
    }

    async fn told(&self) -> Vec<Told> {
        with(&self.market, |market| market.told.clone()).await
    }

    async fn fail(&self, name: &'static str, error: MarketError) {
        with(&self.market, move |market| market.fail.push_back((name, error))).await;
    }

    async fn lose_session(&self) {
        let lost = with(&self.market, |market| market.lost.clone()).await.unwrap();
        lost.send(SessionLost { reason: "a test".into() }).await.unwrap();
    }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
