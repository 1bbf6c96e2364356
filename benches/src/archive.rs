//! Selling from an archive of many keys, after the process that made it was killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use serde::Serialize;
use xbr_core::{DataKey, KeyId};
use xbr_store::{KeyRecord, Store};

use crate::measure::{Latency, resident_mb};
use crate::sell::{database, one_key, requests, sell_all, seller, terms};
use crate::support::API;

/// So many keys share a group of writes while the archive is made.
const GROUP: u64 = 5000;

/// What was measured of one archive.
#[derive(Debug, Serialize)]
pub struct ArchiveFigures {
    /// How many keys it has.
    pub keys: u64,
    /// How long opening took, after the kill, ms.
    pub open_ms: f64,
    /// What the process has in memory after all sales, MB.
    pub resident_mb: f64,
    /// Sales of keys all over the archive, one at a time.
    pub latency: Latency,
    /// The same sales, 64 in flight, a second.
    pub per_s: f64,
}

fn key_id(number: u64) -> KeyId {
    KeyId::new(u128::from(number).to_be_bytes())
}

/// Makes an archive in a folder, and dies by SIGKILL: nothing is closed.
pub fn make(folder: &Path, keys: u64) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = database(folder);
        for first in (0..keys).step_by(GROUP as usize) {
            let group = first..keys.min(first + GROUP);
            try_join_all(group.map(|number| store.insert_key(key(number)))).await.unwrap();
        }
    });
    let this = rustix::process::getpid();
    loop {
        rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
    }
}

fn key(number: u64) -> KeyRecord {
    KeyRecord {
        key_id: key_id(number),
        api_id: API,
        key: DataKey::from_bytes([7; 32]),
        price: terms().price,
        created_ns: number,
        expires_ns: None,
        offered_ns: Some(number),
    }
}

/// Opens the archive of [`make`] and sells `sales` keys from all over it, one at a time, then ten times as many 64 in flight.
pub fn run(folder: &Path, keys: u64, sales: u32) -> ArchiveFigures {
    let start = Instant::now();
    let store = database(folder);
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (seller, _) = seller(Arc::new(store), one_key()).await;
        // A multiplier that is prime to every power of ten goes through all of them in no order.
        let scattered = |number: u32| key_id(u64::from(number).wrapping_mul(7_368_787) % keys);
        let lone = requests(0, (0..sales).map(scattered));
        let latency = Latency::of(sell_all(&seller, lone, 1).await);
        let many = requests(sales, (sales..11 * sales).map(scattered));
        let start = Instant::now();
        sell_all(&seller, many, 64).await;
        let per_s = f64::from(10 * sales) / start.elapsed().as_secs_f64();
        ArchiveFigures { keys, open_ms, resident_mb: resident_mb(), latency, per_s }
    })
}
