//! What a sale and a rotation cannot do without, one step after the other on every core: no actors, no messages, no
//! ledger, and nobody who waits for an answer. What selling or rotating takes beside it is the price of those.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::runtime::Runtime;
use xbr_core::channel::{Channel, ChannelState, ChannelTerms, SaleRecord};
use xbr_core::crypto::{UserspaceEntropy, recover};
use xbr_core::offer::OfferTerms;
use xbr_core::wire::UnsignedOffer;
use xbr_core::{
    Amount, ApiId, ChannelId, ChannelSeq, DataKey, DelegateKey, Eip712, KeyId, ProviderId, Signer,
};
use xbr_store::{Clock, KeyRecord, SqliteStore, Store, StoreFuture, SystemClock};

use crate::measure::{cpu_time, median};
use crate::sell::{PRICE, database, terms};
use crate::support::{API, buyer, domain, market_maker, seller_key, terms_of};

/// So many sales are stored together: as many as the ledger puts into a group.
const GROUP: usize = 32;

/// So many keys are stored together: about as many as come while a commit of them is under way.
const KEYS_TOGETHER: u32 = 64;

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub struct BareSale {
    /// Processor time of the four primitives of a sale, every sale with inputs of its own, us.
    pub primitives_us: f64,
    /// The same with the sale in the database, us.
    pub durable_us: f64,
    /// Durable sales a second, on all cores.
    pub per_s: f64,
}

/// Sells on a channel for each core, so many sales on each.
pub fn sales(rounds: usize, sales: u32, cores: usize) -> BareSale {
    let folder = tempfile::tempdir().unwrap();
    let store = database(folder.path());
    let mut tills: Vec<_> = (0..cores).map(|number| Till::open(number, &store)).collect();
    let mut rows: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        tills.iter_mut().for_each(|till| till.take_requests(sales));
        let (_, computed) = at_once(sales, &mut tills, |_| Box::pin(std::future::ready(Ok(()))));
        let (per_s, stored) = at_once(sales, &mut tills, |record| store.commit_sale(record.clone()));
        for (row, figure) in rows.iter_mut().zip([computed, stored, per_s]) {
            row.push(figure);
        }
    }
    let [primitives_us, durable_us, per_s] = rows.map(median);
    BareSale { primitives_us, durable_us, per_s }
}

/// Computes all sales of every core, and does something with each group of them, for which it waits after the next
/// group; sales a second, and processor time of each, us.
fn at_once(
    sales: u32,
    tills: &mut [Till],
    act: impl Fn(&SaleRecord) -> StoreFuture<()> + Sync,
) -> (f64, f64) {
    let count = f64::from(sales) * tills.len() as f64;
    let (start, cpu, act) = (Instant::now(), cpu_time(), &act);
    std::thread::scope(|scope| {
        for Till { channel, signer, records } in tills.iter_mut() {
            scope.spawn(move || {
                let (runtime, mut before) = (runtime(), Vec::new());
                for group in records.chunks_mut(GROUP) {
                    group.iter_mut().for_each(|record| compute(&channel.terms, signer, record));
                    let now = group.iter().map(act).collect();
                    wait(&runtime, std::mem::replace(&mut before, now));
                }
                wait(&runtime, before);
            });
        }
    });
    (count / start.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64() * 1e6 / count)
}

/// The last one first: it comes when the others are there.
fn wait(runtime: &Runtime, stored: Vec<StoreFuture<()>>) {
    runtime.block_on(async {
        for stored in stored.into_iter().rev() {
            stored.await.unwrap();
        }
    });
}

/// The digest, whose signature it is, the key for the buyer, and the receipt.
fn compute(terms: &ChannelTerms, signer: &DelegateKey, record: &mut SaleRecord) {
    let digest = terms.state(record.state.seq, record.state.balance, false).digest();
    assert_eq!(recover(&digest, &record.market_maker_signature), Ok(terms.market_maker));
    let sealed_key = DataKey::from_bytes([7; 32]).seal_to(&record.buyer_key).unwrap();
    record.sealed_key = sealed_key.to_vec();
    record.signature = signer.sign_digest(&digest).unwrap();
    record.sold_ns = SystemClock.now_ns();
}

/// A channel, and the sales on it that are to come.
struct Till {
    channel: Channel,
    signer: Arc<DelegateKey>,
    records: Vec<SaleRecord>,
}

impl Till {
    fn open(number: usize, store: &SqliteStore) -> Self {
        let terms = terms_of(ChannelId::new([u8::try_from(number).unwrap(); 16]));
        let fresh = ChannelState { seq: ChannelSeq::new(1), balance: terms.amount };
        let channel = Channel::adopt(terms, fresh);
        runtime().block_on(store.attach_channel(channel.clone())).unwrap();
        Self { channel, signer: seller_key(), records: Vec::new() }
    }

    /// The next sales, signed by the market maker.
    fn take_requests(&mut self, count: u32) {
        let (amount, market_maker, buyer_key) = (Amount::from_units(PRICE.into()), market_maker(), buyer().1);
        let (terms, channel) = (&self.channel.terms.clone(), &mut self.channel);
        let next = |_| {
            let before = channel.state;
            let seq = ChannelSeq::new(before.seq.value() + 1);
            let state = ChannelState { seq, balance: before.balance.checked_sub(amount).unwrap() };
            let record = SaleRecord {
                channel_id: terms.channel_id,
                key_id: KeyId::new([7; 16]),
                buyer_key,
                before,
                state,
                amount,
                surplus: Amount::ZERO,
                sealed_key: vec![0; 80],
                market_maker_signature: terms.state(seq, state.balance, false).sign(&market_maker).unwrap(),
                signature: [0; 65].into(),
                sold_ns: 0,
                api_id: Some(API),
            };
            channel.apply_sale(&record);
            record
        };
        self.records = (0..count).map(next).collect();
    }
}

/// Processor time of a key that is made, stored, signed for its offer and noted as offered, us: each of so many series
/// makes one in each round.
pub fn rotation(rounds: usize, series: u32) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let store = database(folder.path());
    let (runtime, signer) = (runtime(), seller_key());
    let mut costs = Vec::new();
    for round in 0..rounds as u64 {
        let cpu = cpu_time();
        for first in (0..series).step_by(KEYS_TOGETHER as usize) {
            let keys: Vec<_> =
                (first..series.min(first + KEYS_TOGETHER)).map(|number| key(round, number)).collect();
            wait(&runtime, keys.iter().map(|key| store.insert_key(key.clone())).collect());
            keys.iter().for_each(|key| offer(key, &signer));
            wait(&runtime, keys.iter().map(|key| store.mark_offered(key.key_id, key.created_ns)).collect());
        }
        costs.push((cpu_time() - cpu).as_secs_f64() * 1e6 / f64::from(series));
    }
    median(costs)
}

fn offer(key: &KeyRecord, signer: &DelegateKey) {
    let offer = OfferTerms { api_id: key.api_id, ..terms() }.offer(key.key_id, key.created_ns);
    let provider_id = ProviderId::new("benchmark").unwrap();
    UnsignedOffer { offer, delegate: signer.address(), provider_id }.sign(&domain(), signer).unwrap();
}

fn key(round: u64, number: u32) -> KeyRecord {
    let created_ns = round * 1_000_000_000 + u64::from(number) * 100_000;
    let mut api_id = [0; 16];
    api_id[..4].copy_from_slice(&number.to_be_bytes());
    KeyRecord {
        key_id: KeyId::made_at(created_ns, &UserspaceEntropy),
        api_id: ApiId::new(api_id),
        key: DataKey::generate(&UserspaceEntropy),
        price: terms().price,
        created_ns,
        expires_ns: None,
        offered_ns: None,
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
