//! An archive of a million data keys: a seller sells from it without holding it in memory. The archive is made by a process
//! of its own, so that what the making needs is in nobody's way.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::try_join_all;
use support::fake_market::FakeMarket;
use support::{API, every, sale, seller_options, state};
use xbr_actors::SellerHandle;
use xbr_actors::messages::MarketPort;
use xbr_core::{Amount, DataKey, KeyId};
use xbr_store::{KeyRecord, MasterKey, SqliteStore, Store};

/// Where the other process makes the archive.
const CHILD: &str = "XBR_ARCHIVE_CHILD";
/// In memory each key would take 150 bytes at least.
const KEYS: u64 = 1_000_000;
/// SQLite's page caches, of 8 MiB for each connection, and the seller itself.
const MAX_GROWTH_KIB: u64 = 36 * 1024;

fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder.join("seller.db"), MasterKey::from_bytes([0x4d; 32])).unwrap()
}

fn key_id(number: u64) -> KeyId {
    KeyId::new(u128::from(number).to_be_bytes())
}

fn key(number: u64) -> KeyRecord {
    KeyRecord {
        key_id: key_id(number),
        api_id: API,
        key: DataKey::from_bytes([7; 32]),
        price: Amount::from_xbr(35),
        created_ns: number,
        expires_ns: None,
        offered_ns: Some(number),
    }
}

/// What this process has in memory, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Not a test: what [`a_million_keys_are_not_held_in_memory`] starts.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&folder));
    for first in (0..KEYS).step_by(5000) {
        try_join_all((first..first + 5000).map(|number| store.insert_key(key(number)))).await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_million_keys_are_not_held_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child"]).env(CHILD, folder.path()).stdout(Stdio::null());
    assert!(child.status().unwrap().success());

    let before_kib = resident_kib();
    let store = open(folder.path());
    let options = seller_options(Arc::new(store.clone()));
    let make_factory = || -> Box<dyn FnMut(_) -> _> {
        let market = FakeMarket::default().start();
        let mut watches = Vec::new();
        Box::new(move |watch| {
            watches.push(watch);
            MarketPort::new(&market)
        })
    };
    let seller = SellerHandle::spawn_with(options, make_factory).unwrap();
    seller.add_api(support::api(every(3600))).await.unwrap();
    seller.start().await.unwrap();
    for number in 0..20 {
        let (sold, left) = (u32::try_from(number).unwrap() + 2, 965 - 35 * number);
        let request = sale(key_id(number * (KEYS / 20)), state(sold, left), 35);
        seller.sell(request).await.unwrap();
    }
    let grown_kib = resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < MAX_GROWTH_KIB, "{grown_kib} KiB for {KEYS} keys");
    seller.stop(Duration::from_secs(10)).await;
    store.close().await.unwrap();
}
