//! The ways through the seller: wrapping, the parts of a sale, sales in process. `cargo bench -p xbr-benches --bench
//! paths`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use xbr_benches::sell::{database, memory_seller, one_key, requests, sell_all, seller};
use xbr_benches::support::{API, CHANNEL, URI, seller_key, state, terms_of};
use xbr_benches::wrap::{Bytes, SIZES};
use xbr_core::channel::{Channel, Reconcile};
use xbr_core::wire::SellRequest;
use xbr_core::{Eip712, KeyId};
use xbr_store::{MemoryStore, Store};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn wrapping(criterion: &mut Criterion) {
    let runtime = runtime();
    let (seller, _) = runtime.block_on(memory_seller(one_key()));
    let wrapper = seller.wrapper(API).unwrap();
    let mut group = criterion.benchmark_group("wrap");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let payload = Bytes::of(size);
        group.bench_with_input(BenchmarkId::new("handle", size), &payload, |bencher, payload| {
            bencher.iter(|| runtime.block_on(seller.wrap(API, URI, black_box(payload))).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("wrapper", size), &payload, |bencher, payload| {
            bencher.iter(|| runtime.block_on(wrapper.wrap(URI, black_box(payload))).unwrap());
        });
    }
    group.finish();
}

fn parts_of_a_sale(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sale");
    let request = requests(0, [KeyId::new([7; 16])]).remove(0);
    let args = request.to_args();
    let digest = terms_of(CHANNEL).state(request.channel_seq, request.balance, false).digest();
    let signature = xbr_core::Signer::sign_digest(&*seller_key(), &digest).unwrap();
    group.bench_function("parse", |bencher| bencher.iter(|| SellRequest::parse(black_box(&args), &[])));
    let channel = Channel::adopt(terms_of(CHANNEL), state(1, 1000));
    let claim = request.claim(true);
    group.bench_function("decide", |bencher| {
        bencher.iter(|| channel.decide_sale(black_box(&claim), request.amount, None, Reconcile::Surplus));
    });
    group.bench_function("verify", |bencher| {
        bencher.iter(|| xbr_core::crypto::recover(black_box(&digest), black_box(&signature)));
    });
    group.finish();
}

fn selling(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let stores: [(&str, Arc<dyn Store>); 2] =
        [("memory", Arc::new(MemoryStore::new())), ("sqlite", Arc::new(database(folder.path())))];
    let mut group = criterion.benchmark_group("sell");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(5));
    for (name, store) in stores {
        let (seller, key_id) = runtime.block_on(seller(store, one_key()));
        let mut sold = 0;
        for in_flight in [1, 16, 64] {
            group.bench_function(BenchmarkId::new(name, in_flight), |bencher| {
                bencher.iter_custom(|sales| {
                    let sales = u32::try_from(sales).unwrap();
                    let requests = requests(sold, (0..sales).map(|_| key_id));
                    sold += sales;
                    let start = Instant::now();
                    runtime.block_on(sell_all(&seller, requests, in_flight));
                    start.elapsed()
                });
            });
        }
    }
    group.finish();
}

fn storing(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let store = database(folder.path());
    let mut group = criterion.benchmark_group("store");
    group.bench_function("flush of an idle store", |bencher| {
        bencher.iter_batched(|| store.flush(), |flush| runtime.block_on(flush), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(paths, wrapping, parts_of_a_sale, selling, storing);
criterion_main!(paths);
