//! Looking into a store that is in use, was left by a crash, or cannot be read.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use xbr_core::channel::Reconciliation;
use xbr_store::{MasterKey, Store, StoreError, inspect};

use crate::support::{DEPOSIT, MASTER, channel, channel_id, nth_sale, open, own_close, sell_evidence, state};

fn look(path: &Path) -> Result<xbr_store::Inspection, StoreError> {
    inspect(path, MasterKey::from_bytes(MASTER))
}

#[tokio::test]
async fn a_store_in_use_shows_what_is_durable_and_stays_usable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    store.note_comparison(channel_id(1), nth_sale(1, 1).state, state(1, DEPOSIT)).await.unwrap();
    store.keep_evidence(sell_evidence(1)).await.unwrap();
    let seen = look(&path).unwrap();
    assert_eq!(seen.channels, store.channels().await.unwrap());
    assert!(matches!(seen.channels[0].reconciliation, Reconciliation::Behind { .. }));
    assert_eq!(seen.evidence, [sell_evidence(1)]);
    store.commit_own_close(own_close(1, nth_sale(1, 1).state, 7)).await.unwrap();
    assert_eq!(look(&path).unwrap().channels[0].own_close, Some(own_close(1, nth_sale(1, 1).state, 7)));
}

#[tokio::test]
async fn a_store_that_a_crash_left_is_read_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    let left = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("seller.db{suffix}");
        fs::copy(dir.path().join(&name), left.path().join(&name)).unwrap();
    }
    assert_eq!(look(&left.path().join("seller.db")).unwrap().channels, [channel(1)]);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    assert!(matches!(look(&path), Err(StoreError::Open { .. })));
    assert!(!path.exists(), "looking makes no store");
    open(&path).close().await.unwrap();
    let other = inspect(&path, MasterKey::from_bytes([1; 32]));
    assert_eq!(other, Err(StoreError::WrongMasterKey));
    let old = dir.path().join("old.db");
    Connection::open(&old).unwrap().execute_batch(include_str!("v1.sql")).unwrap();
    let Err(StoreError::Open { reason, .. }) = look(&old) else { panic!("an older version is not read") };
    assert!(reason.contains("older version"), "{reason}");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert_eq!(look(&path), Err(StoreError::Schema { supported: 3, actual: 7 }));
}
