//! Selling in process, through the handle, set beside the primitives that a sale cannot do without: one digest, one
//! recovery, one sealed box, one signature. The requests are signed beforehand.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::unconstrained;
use xbr_actors::messages::MarketPort;
use xbr_actors::{ApiOptions, Rotation, SellerHandle, SellerOptions};
use xbr_core::channel::ChannelState;
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::wire::SellRequest;
use xbr_core::{Amount, ChannelSeq, DataKey, Eip712, KeyId, Signer, crypto};
use xbr_store::{MasterKey, MemoryStore, SqliteStore, Store};

use crate::measure::{Latency, cpu_time, median, ns_per_call};
use crate::support::fake_market::FakeMarket;
use crate::support::{API, CHANNEL, URI, buyer, market_maker, seller_key, terms_of};

/// How many sales are in flight when they are pipelined.
const IN_FLIGHT: usize = 64;

/// Which row that is, of those that are measured.
const DURABLE_AND_PIPELINED: usize = 2;

/// What a key costs, 10^-18 XBR: a thousandth of an XBR.
pub const PRICE: u64 = 1_000_000_000_000_000;

/// The terms that all scenarios sell on.
pub fn terms() -> OfferTerms {
    OfferTerms {
        api_id: API,
        prefix: UriPrefix::new(URI).unwrap(),
        price: Amount::from_units(PRICE.into()),
        categories: BTreeMap::new(),
        expires_after: None,
        copies: None,
    }
}

/// A started seller whose market maker is an actor beside it, and the key that it sells first.
pub async fn seller(store: Arc<dyn Store>, api: ApiOptions) -> (SellerHandle, KeyId) {
    seller_in(store, api, |market| market).await
}

/// The same in a market that was adjusted.
pub async fn seller_in(
    store: Arc<dyn Store>,
    api: ApiOptions,
    adjust: impl Fn(MarketPort) -> MarketPort + Send + 'static,
) -> (SellerHandle, KeyId) {
    let mut options = SellerOptions::new(market_maker().address(), seller_key(), store);
    options.channel_poll = None;
    let handle = SellerHandle::spawn_with(options, || {
        let market = FakeMarket::default().start();
        let mut watches = Vec::new();
        Box::new(move |watch| {
            watches.push(watch);
            adjust(MarketPort::new(&market))
        })
    })
    .unwrap();
    let api_id = api.terms.api_id;
    handle.add_api(api).await.unwrap();
    handle.start().await.unwrap();
    let key = handle.wrap(api_id, URI, &0).await.unwrap().key_id;
    (handle, key)
}

/// The same over a store in memory.
pub async fn memory_seller(api: ApiOptions) -> (SellerHandle, KeyId) {
    seller(Arc::new(MemoryStore::new()), api).await
}

/// The same over a new database in a folder.
pub fn database(folder: &std::path::Path) -> SqliteStore {
    SqliteStore::open(folder.join("seller.db"), MasterKey::from_bytes([0x4d; 32])).unwrap()
}

/// An API whose first key serves for ever.
pub fn one_key() -> ApiOptions {
    ApiOptions {
        terms: terms(),
        rotation: Rotation { interval: Some(Duration::from_secs(86_400)), count: None },
    }
}

/// The requests of sales number `from` (counted from 0) and on, signed.
pub fn requests(from: u32, key_ids: impl IntoIterator<Item = KeyId>) -> Vec<SellRequest> {
    let (signer, terms, buyer_key) = (market_maker(), terms_of(CHANNEL), buyer().1);
    let all = (from..).zip(key_ids).map(|(number, key_id)| {
        let paid = u128::from(PRICE) * (u128::from(number) + 1);
        let balance = terms.amount.checked_sub(Amount::from_units(paid)).unwrap();
        let state = ChannelState { seq: ChannelSeq::new(2 + number), balance };
        SellRequest {
            market_maker: signer.address(),
            buyer_key,
            key_id,
            channel_id: CHANNEL,
            channel_seq: state.seq,
            amount: Amount::from_units(PRICE.into()),
            balance,
            signature: terms.state(state.seq, balance, false).sign(&signer).unwrap(),
        }
    });
    all.collect()
}

/// Sells, so many at a time; how long each took.
pub async fn sell_all(seller: &SellerHandle, requests: Vec<SellRequest>, in_flight: usize) -> Vec<Duration> {
    // In order: a future that tokio tells to give way before it has sent its request could be overtaken.
    let sales = stream::iter(requests).map(|request| {
        unconstrained(async {
            let start = Instant::now();
            seller.sell(request).await.map(|_| start.elapsed())
        })
    });
    sales.buffered(in_flight).try_collect().await.unwrap()
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub struct SellFigures {
    /// `memory` or `sqlite`.
    pub store: &'static str,
    /// How many sales were in flight.
    pub in_flight: usize,
    /// Sales a second.
    pub per_s: f64,
    /// Processor time of a sale, us.
    pub cpu_us: f64,
    /// Latency of the last round.
    pub latency: Latency,
}

/// What a sale is made of, us.
#[derive(Debug, Serialize)]
pub struct Primitives {
    /// The EIP-712 digest.
    pub digest_us: f64,
    /// Recovering the market maker's address.
    pub recover_us: f64,
    /// Sealing the data key to the buyer.
    pub seal_us: f64,
    /// Signing.
    pub sign_us: f64,
}

/// Measures both stores, pipelined and one at a time, so many sales a round, and the primitives in between; or only the
/// durable one, pipelined.
pub fn run(rounds: usize, sales: u32, durable: bool) -> (Primitives, Vec<SellFigures>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut primitives: [Vec<f64>; 4] = Default::default();
    let memory = runtime.block_on(memory_seller(one_key()));
    let sqlite = runtime.block_on(seller(Arc::new(database(folder.path())), one_key()));
    let mut rows = [
        Row::new("memory", &memory, IN_FLIGHT),
        Row::new("memory", &memory, 1),
        Row::new("sqlite", &sqlite, IN_FLIGHT),
        Row::new("sqlite", &sqlite, 1),
    ];
    let mut sold = [0, 0];
    for _ in 0..rounds {
        for (row, figure) in primitives.iter_mut().zip(measure_primitives()) {
            row.push(figure);
        }
        for (index, row) in rows.iter_mut().enumerate() {
            if durable && index != DURABLE_AND_PIPELINED {
                continue;
            }
            let from = sold.get_mut(index / 2).unwrap();
            // One at a time takes many times as long.
            let sales = if row.in_flight == 1 { sales / 10 } else { sales };
            row.round(&runtime, *from, sales);
            *from += sales;
        }
    }
    let [digest_us, recover_us, seal_us, sign_us] = primitives.map(median);
    (Primitives { digest_us, recover_us, seal_us, sign_us }, rows.map(Row::figures).into())
}

struct Row<'a> {
    store: &'static str,
    seller: &'a (SellerHandle, KeyId),
    in_flight: usize,
    per_s: Vec<f64>,
    cpu_us: Vec<f64>,
    latency: Latency,
}

impl<'a> Row<'a> {
    fn new(store: &'static str, seller: &'a (SellerHandle, KeyId), in_flight: usize) -> Self {
        Self { store, seller, in_flight, per_s: vec![], cpu_us: vec![], latency: Latency::of(vec![]) }
    }

    fn round(&mut self, runtime: &Runtime, from: u32, sales: u32) {
        let (seller, key_id) = self.seller;
        let requests = requests(from, (0..sales).map(|_| *key_id));
        let (start, cpu) = (Instant::now(), cpu_time());
        let times = runtime.block_on(sell_all(seller, requests, self.in_flight));
        self.per_s.push(f64::from(sales) / start.elapsed().as_secs_f64());
        self.cpu_us.push((cpu_time() - cpu).as_secs_f64() * 1e6 / f64::from(sales));
        self.latency = Latency::of(times);
    }

    fn figures(self) -> SellFigures {
        SellFigures {
            store: self.store,
            in_flight: self.in_flight,
            per_s: median(self.per_s),
            cpu_us: median(self.cpu_us),
            latency: self.latency,
        }
    }
}

/// Digest, recover, seal, sign: us.
fn measure_primitives() -> [f64; 4] {
    let (signer, terms, buyer_key) = (seller_key(), terms_of(CHANNEL), buyer().1);
    let data_key = DataKey::from_bytes([7; 32]);
    let state = terms.state(ChannelSeq::new(7), terms.amount, false);
    let digest = state.digest();
    let signature = signer.sign_digest(&digest).unwrap();
    let us = |ns: f64| ns / 1e3;
    [
        us(ns_per_call(100, || keep(black_box(&state).digest()))),
        us(ns_per_call(10, || keep(crypto::recover(black_box(&digest), &signature)))),
        us(ns_per_call(10, || keep(data_key.seal_to(black_box(&buyer_key))))),
        us(ns_per_call(10, || keep(signer.sign_digest(black_box(&digest))))),
    ]
}

/// Keeps the compiler from leaving out what computes it.
fn keep<T>(value: T) {
    let _ = black_box(value);
}
