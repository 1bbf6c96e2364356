//! Which files there are, who may read them, what is in them, and which ones are refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use xbr_core::channel::SaleRecord;
use xbr_store::{KeyLookup, MasterKey, SqliteStore, Store, StoreError};

use crate::support::{
    MASTER, beside, channel, channel_id, close, close_evidence, contents, key, key_id, nth_sale, open, sale,
    sell_evidence, state,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refusal(path: &Path) -> StoreError {
    SqliteStore::open(path, MasterKey::from_bytes(MASTER)).unwrap_err()
}

/// What a schema version knew of a sale.
type Known = fn(SaleRecord) -> SaleRecord;

/// Before version 3 neither time nor API was kept; the API comes from the archive, where the key is known.
fn before_3(record: SaleRecord) -> SaleRecord {
    let known = (1..=4).any(|n| record.key_id == key_id(n));
    SaleRecord { sold_ns: 0, api_id: record.api_id.filter(|_| known), ..record }
}

/// A bit of everything, as it is in the fixture of each schema version.
async fn fill(store: &dyn Store, known: Known) {
    for n in 1..=3 {
        store.attach_channel(channel(n)).await.unwrap();
    }
    for i in 1..=3 {
        store.commit_sale(known(nth_sale(1, i))).await.unwrap();
    }
    let last = nth_sale(1, 3).state;
    store.commit_close(close(1, last, last, true)).await.unwrap();
    store.commit_close(close(2, state(1, 1_000_000), state(4, 999_000), false)).await.unwrap();
    store.commit_sale(known(sale(2, state(4, 999_000), state(u32::MAX, 0)))).await.unwrap();
    for n in 1..=4 {
        store.insert_key(key(n)).await.unwrap();
    }
    store.mark_offered(key_id(2), 1_700_000_000_000_000_001).await.unwrap();
    store.retire_key(key_id(3)).await.unwrap();
    for evidence in [sell_evidence(1), close_evidence(2, true), close_evidence(3, false)] {
        store.keep_evidence(evidence).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_of_any_schema_version_is_read_as_it_was_written() {
    let fixtures: [(u32, &str, Known); 3] = [
        (1, include_str!("v1.sql"), before_3),
        (2, include_str!("v2.sql"), before_3),
        (3, include_str!("v3.sql"), |record| record),
    ];
    for (version, text, known) in fixtures {
        let expected = xbr_store::MemoryStore::new();
        fill(&expected, known).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seller.db");
        Connection::open(&path).unwrap().execute_batch(text).unwrap();
        for start in 1..=2 {
            let store = open(&path);
            assert_eq!(contents(&store).await, contents(&expected).await, "version {version}, start {start}");
            store.close().await.unwrap();
        }
        let store = open(&path);
        let last = known(sale(2, state(4, 999_000), state(u32::MAX, 0)));
        assert_eq!(store.sale(channel_id(2), last.state.seq).await, Ok(Some(last)));
        store.commit_sale(nth_sale(3, 1)).await.unwrap();
    }
}

#[tokio::test]
async fn every_file_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    assert!(!SqliteStore::exists(&path));
    let store = open(&path);
    assert!(SqliteStore::exists(&path));
    store.insert_key(key(1)).await.unwrap();
    for suffix in ["", "-wal", "-shm", "-lock"] {
        assert_eq!(mode(&beside(&path, suffix)), 0o600, "{suffix:?}");
    }
    store.close().await.unwrap();
    assert!(!beside(&path, "-wal").exists(), "emptied into the database");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(open(&path));
    assert_eq!(mode(&path), 0o600, "tightened");
}

#[tokio::test]
async fn no_data_key_is_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    for n in 1..=9 {
        store.insert_key(key(n)).await.unwrap();
    }
    let bytes = |suffix| fs::read(beside(&path, suffix)).unwrap();
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let log = bytes("-wal");
    assert!(holds(&log, key_id(1).as_bytes()), "the row is there");
    store.retire_key(key_id(9)).await.unwrap();
    store.close().await.unwrap();
    let database = bytes("");
    for n in 1..=9 {
        let key = key(n).key;
        for bytes in [&log, &database] {
            assert!(!holds(bytes, &key.expose_secret()[..8]), "key {n}");
            assert!(!holds(bytes, &MASTER[..8]));
        }
    }
}

#[tokio::test]
async fn a_retired_key_is_overwritten_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.insert_key(key(1)).await.unwrap();
    store.close().await.unwrap();
    let sealed: Vec<u8> = Connection::open(&path)
        .unwrap()
        .query_row("SELECT sealed_key FROM data_key", [], |row| row.get(0))
        .unwrap();
    let store = open(&path);
    store.retire_key(key_id(1)).await.unwrap();
    store.close().await.unwrap();
    let database = fs::read(&path).unwrap();
    assert!(!database.windows(16).any(|window| window == &sealed[24..40]));
}

#[tokio::test]
async fn a_store_has_one_user_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    let error = refusal(&path);
    assert!(matches!(&error, StoreError::Open { reason, .. } if reason.contains("open already")), "{error}");
    let other_handle = store.clone();
    store.close().await.unwrap();
    let next = open(&path);
    for result in
        [other_handle.insert_key(key(1)).await, other_handle.flush().await, other_handle.close().await]
    {
        assert!(matches!(result, Err(StoreError::Closed) | Ok(())), "{result:?}");
    }
    assert_eq!(other_handle.key(key_id(1)).await.map(|_| ()), Err(StoreError::Closed));
    assert!(matches!(next.key(key_id(1)).await, Ok(KeyLookup::Unknown)));
}

#[tokio::test]
async fn the_last_handle_takes_everything_called_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    drop(store.attach_channel(channel(1)));
    for i in 1..=50 {
        drop(store.commit_sale(nth_sale(1, i)));
    }
    let last = store.insert_key(key(1));
    drop(store);
    last.await.unwrap();
    // The threads end on their own, soon after they have answered.
    let reopened = loop {
        match SqliteStore::open(&path, MasterKey::from_bytes(MASTER)) {
            Err(StoreError::Open { .. }) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_eq!(reopened.channels().await.unwrap()[0].sales, 50);
}

#[test]
fn what_is_no_store_of_ours_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1")
        .unwrap();
    let before = fs::read(&path).unwrap();
    let error = refusal(&path);
    assert!(
        matches!(&error, StoreError::Open { reason, .. } if reason.contains("another program")),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(matches!(refusal(dir.path()), StoreError::Open { .. } | StoreError::Corrupt { .. }));
    assert!(matches!(refusal(&dir.path().join("none/seller.db")), StoreError::Open { .. }));
}

#[tokio::test]
async fn an_empty_file_becomes_a_store_and_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    fs::write(&path, "").unwrap();
    assert!(!SqliteStore::exists(&path));
    let store = open(&path);
    store.insert_key(key(1)).await.unwrap();
    store.close().await.unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert_eq!(refusal(&path), StoreError::Schema { supported: 3, actual: 7 });
}
