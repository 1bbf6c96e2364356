//! What everything is made of: hashes, signatures, boxes, the encoding of a payload. `cargo bench -p xbr-benches --bench
//! primitives`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use xbr_benches::support::{CHANNEL, buyer, seller_key, terms_of};
use xbr_benches::wrap::{Bytes, SIZES};
use xbr_core::crypto::{self, Entropy, UserspaceEntropy};
use xbr_core::{ChannelSeq, DataKey, Eip712, Signer, cbor};

fn signatures(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signature");
    let (signer, terms) = (seller_key(), terms_of(CHANNEL));
    let state = terms.state(ChannelSeq::new(7), terms.amount, false);
    let digest = state.digest();
    let signature = signer.sign_digest(&digest).unwrap();
    group.bench_function("keccak-256 of 64 B", |bencher| {
        bencher.iter(|| crypto::keccak256(black_box(&[7; 64])));
    });
    group.bench_function("digest of a channel state", |bencher| bencher.iter(|| black_box(&state).digest()));
    group.bench_function("sign", |bencher| bencher.iter(|| signer.sign_digest(black_box(&digest))));
    group.bench_function("recover", |bencher| {
        bencher.iter(|| crypto::recover(black_box(&digest), black_box(&signature)));
    });
    group.finish();
}

fn boxes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("box");
    let (key, buyer_key) = (DataKey::from_bytes([7; 32]), buyer().1);
    group.bench_function("seal a key to a buyer", |bencher| {
        bencher.iter(|| key.seal_to(black_box(&buyer_key)));
    });
    group.bench_function("nonce", |bencher| {
        bencher.iter(|| {
            let mut nonce = [0; 24];
            UserspaceEntropy.fill(&mut nonce);
            nonce
        });
    });
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let encoded = cbor::to_vec(&Bytes::of(size)).unwrap();
        group.bench_with_input(BenchmarkId::new("secretbox", size), &encoded, |bencher, encoded| {
            bencher.iter(|| crypto::secretbox_seal(&[7; 32], &[9; 24], black_box(encoded)));
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (payload, mut buffer) = (Bytes::of(size), Vec::with_capacity(size + 16));
        group.bench_with_input(BenchmarkId::new("cbor", size), &payload, |bencher, payload| {
            bencher.iter(|| {
                buffer.clear();
                cbor::to_vec_into(black_box(payload), &mut buffer)
            });
        });
    }
    group.finish();
}

criterion_group!(primitives, signatures, boxes, encoding);
criterion_main!(primitives);
