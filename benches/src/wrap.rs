//! Wrapping payloads through the handle, set beside the three primitives that it cannot do without: encoding, a nonce,
//! and XSalsa20-Poly1305.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use libsodium_rs::crypto_secretbox;
use serde::{Serialize, Serializer};
use tokio::runtime::Runtime;
use xbr_actors::{ApiOptions, Rotation, SellerHandle};
use xbr_core::cbor;
use xbr_core::crypto::{Entropy, UserspaceEntropy};

use crate::measure::{SLICE, cpu_time, median, ns_per_call, thread_cpu_time};
use crate::sell::{memory_seller, terms};
use crate::support::{API, URI};

/// Lengths of payloads, in bytes.
pub const SIZES: [usize; 4] = [64, 1024, 64 * 1024, 1024 * 1024];

/// How many callers there are when there are many, and how many payloads a batch has.
const MANY: usize = 64;

/// A byte string, as CBOR knows it.
#[derive(Debug, Clone)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// One of this length; the reference wraps the very same.
    pub fn of(length: usize) -> Self {
        Self((0..length).map(|index| (index * 31 % 251) as u8).collect())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// Medians, ns of wall clock for a payload unless something else is said.
#[derive(Debug, Serialize)]
pub struct WrapFigures {
    /// The payload, bytes.
    pub size: usize,
    /// Encoding into a buffer that is there.
    pub encode_ns: f64,
    /// A nonce of 24 bytes.
    pub nonce_ns: f64,
    /// XSalsa20-Poly1305 by libsodium.
    pub seal_ns: f64,
    /// All three on 64 payloads, one after the other, on every core at once, each result dropped at once: what callers
    /// do. Processor time.
    pub raw_ns: f64,
    /// The same on one core, when the results of all 64 are kept together: what a batch does. Processor time.
    pub raw_kept_ns: f64,
    /// One caller who awaits each.
    pub one_caller_ns: f64,
    /// 64 callers at once: processor time for a payload, whatever the number of cores.
    pub many_callers_cpu_ns: f64,
    /// The same, payloads a second.
    pub many_callers_per_s: f64,
    /// Batches of 64. Processor time.
    pub batch_ns: f64,
}

/// Measures all sizes, each in so many rounds.
pub fn run(rounds: usize, cores: usize) -> Vec<WrapFigures> {
    let many =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build().unwrap();
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (seller, _) = one.block_on(memory_seller(ApiOptions {
        terms: terms(),
        rotation: Rotation { interval: None, count: Some(u64::MAX - 1) },
    }));
    SIZES.iter().map(|size| measure(*size, rounds, &seller, &one, &many, cores)).collect()
}

fn measure(
    size: usize,
    rounds: usize,
    seller: &SellerHandle,
    one: &Runtime,
    many: &Runtime,
    cores: usize,
) -> WrapFigures {
    let payload = Bytes::of(size);
    let mut rows: [Vec<f64>; 9] = Default::default();
    for _ in 0..rounds {
        let (per_payload, per_s) = many_callers(seller, &payload, many);
        let figures = [
            encode(&payload),
            nonce(),
            seal(&payload),
            raw(&payload, 1, cores),
            raw(&payload, MANY, 1),
            one.block_on(one_caller(seller, &payload)),
            per_payload,
            per_s,
            one.block_on(batch(seller, &payload)),
        ];
        for (row, figure) in rows.iter_mut().zip(figures) {
            row.push(figure);
        }
    }
    let [
        encode_ns,
        nonce_ns,
        seal_ns,
        raw_ns,
        raw_kept_ns,
        one_caller_ns,
        many_callers_cpu_ns,
        many_callers_per_s,
        batch_ns,
    ] = rows.map(median);
    WrapFigures {
        size,
        encode_ns,
        nonce_ns,
        seal_ns,
        raw_ns,
        raw_kept_ns,
        one_caller_ns,
        many_callers_cpu_ns,
        many_callers_per_s,
        batch_ns,
    }
}

fn calls_of(payload: &Bytes) -> u32 {
    let calls = (1 << 16_usize) / payload.0.len().max(1);
    u32::try_from(calls).unwrap_or(1).max(1)
}

fn encode(payload: &Bytes) -> f64 {
    let mut buffer = Vec::with_capacity(payload.0.len() + 16);
    ns_per_call(calls_of(payload), || {
        buffer.clear();
        cbor::to_vec_into(black_box(payload), &mut buffer).unwrap();
    })
}

fn nonce() -> f64 {
    ns_per_call(100, || {
        let mut nonce = [0; 24];
        UserspaceEntropy.fill(&mut nonce);
        black_box(nonce);
    })
}

/// The binding's own function: what it allocates counts as part of the primitive.
fn seal(payload: &Bytes) -> f64 {
    libsodium_rs::ensure_init().unwrap();
    let encoded = cbor::to_vec(payload).unwrap();
    let (key, nonce) = ([7; 32].into(), crypto_secretbox::Nonce::from_bytes([9; 24]));
    ns_per_call(calls_of(payload), || {
        black_box(crypto_secretbox::seal(black_box(&encoded), &nonce, &key));
    })
}

/// The three primitives, by themselves, on as many payloads as there are callers or as a batch has, on so many cores. So
/// many results are kept. Processor time: more of it where a core shares its units with another one.
fn raw(payload: &Bytes, kept: usize, cores: usize) -> f64 {
    let (cpu, calls) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| raw_calls(payload, kept))).collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.fold((Duration::ZERO, 0), |(cpu, calls), (its_cpu, its_calls)| {
            (cpu + its_cpu, calls + its_calls)
        })
    });
    cpu.as_nanos() as f64 / calls as f64
}

/// The processor time of a thread, and how many payloads it has done in that.
fn raw_calls(payload: &Bytes, kept: usize) -> (Duration, u64) {
    let payloads: Vec<_> = (0..MANY).map(|_| payload.clone()).collect();
    let key = [7; 32].into();
    let mut buffer = Vec::with_capacity(payload.0.len() + 16);
    let (start, cpu, mut calls) = (Instant::now(), thread_cpu_time(), 0);
    while start.elapsed() < SLICE {
        let mut results = VecDeque::with_capacity(MANY);
        for payload in black_box(&payloads) {
            buffer.clear();
            cbor::to_vec_into(payload, &mut buffer).unwrap();
            let mut nonce = [0; 24];
            UserspaceEntropy.fill(&mut nonce);
            if results.len() == kept {
                results.pop_front();
            }
            results.push_back(crypto_secretbox::seal(
                &buffer,
                &crypto_secretbox::Nonce::from_bytes(nonce),
                &key,
            ));
        }
        black_box(results);
        calls += MANY as u64;
    }
    (thread_cpu_time() - cpu, calls)
}

async fn one_caller(seller: &SellerHandle, payload: &Bytes) -> f64 {
    let batch = calls_of(payload);
    let start = Instant::now();
    let mut calls = 0_u64;
    while start.elapsed() < SLICE {
        for _ in 0..batch {
            black_box(seller.wrap(API, URI, black_box(payload)).await.unwrap());
        }
        calls += u64::from(batch);
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn many_callers(seller: &SellerHandle, payload: &Bytes, runtime: &Runtime) -> (f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_time());
    let callers: Vec<_> = (0..MANY)
        .map(|_| {
            let (seller, payload, batch) = (seller.clone(), payload.clone(), calls_of(payload));
            runtime.spawn(async move {
                let mut calls = 0_u64;
                while start.elapsed() < SLICE {
                    for _ in 0..batch {
                        black_box(seller.wrap(API, URI, black_box(&payload)).await.unwrap());
                    }
                    calls += u64::from(batch);
                    tokio::task::yield_now().await;
                }
                calls
            })
        })
        .collect();
    let calls: u64 = runtime.block_on(async move {
        let mut calls = 0;
        for caller in callers {
            calls += caller.await.unwrap();
        }
        calls
    });
    let used = cpu_time() - cpu;
    (used.as_nanos() as f64 / calls as f64, calls as f64 / start.elapsed().as_secs_f64())
}

async fn batch(seller: &SellerHandle, payload: &Bytes) -> f64 {
    let payloads: Vec<_> = (0..MANY).map(|_| payload.clone()).collect();
    let (start, cpu, mut calls) = (Instant::now(), thread_cpu_time(), 0_u64);
    while start.elapsed() < SLICE {
        black_box(seller.wrap_batch(API, URI, black_box(&payloads)).await.unwrap());
        calls += MANY as u64;
    }
    (thread_cpu_time() - cpu).as_nanos() as f64 / calls as f64
}
