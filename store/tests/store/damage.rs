//! A damaged file is reported, whatever is broken, and never crashes the reader.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::Connection;
use xbr_core::ChannelSeq;
use xbr_store::{KeyLookup, MasterKey, SqliteStore, Store, StoreError};

use crate::support::{MASTER, channel, channel_id, key, key_id, nth_sale, open, sell_evidence};

async fn made(path: &Path) {
    let store = open(path);
    for n in 1..=2 {
        store.attach_channel(channel(n)).await.unwrap();
    }
    for i in 1..=40 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
    }
    for n in 1..=20 {
        store.insert_key(key(n)).await.unwrap();
    }
    store.keep_evidence(sell_evidence(1)).await.unwrap();
    store.close().await.unwrap();
}

/// Opens a store and reads all of it; the first error, if any.
async fn read(path: &Path) -> Result<(), StoreError> {
    let store = SqliteStore::open(path, MasterKey::from_bytes(MASTER))?;
    let result = read_all(&store).await;
    store.close().await.unwrap();
    result
}

async fn read_all(store: &SqliteStore) -> Result<(), StoreError> {
    store.channels().await?;
    for seq in 2..=41 {
        store.sale(channel_id(1), ChannelSeq::new(seq)).await?;
    }
    for n in 1..=20 {
        store.key(key_id(n)).await?;
    }
    store.evidence().await.map(|_| ())
}

/// What is read after somebody has changed rows behind the store's back.
async fn after(sql: &str) -> StoreError {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    made(&path).await;
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(&format!("PRAGMA ignore_check_constraints = ON; {sql}")).unwrap();
    connection.close().unwrap();
    read(&path).await.unwrap_err()
}

#[tokio::test]
async fn a_row_that_does_not_parse_is_named() {
    for (sql, named) in [
        ("UPDATE sale SET signature = zeroblob(64) WHERE id = 7", "table sale, row 7: signature"),
        ("UPDATE sale SET amount = zeroblob(32) WHERE id = 7", "table sale, row 7"),
        ("UPDATE sale SET sealed_key = zeroblob(79) WHERE id = 7", "table sale, row 7"),
        ("UPDATE data_key SET sealed_key = zeroblob(88) WHERE id = 3", "table data_key, row 3: sealed_key"),
        ("UPDATE data_key SET created_ns = -1 WHERE id = 3", "table data_key, row 3: created_ns"),
        ("UPDATE evidence SET kind = 'gift'", "table evidence, row 1: kind"),
        ("UPDATE evidence SET reject = CAST(x'ff' AS TEXT)", "table evidence, row 1: reject"),
        ("UPDATE channel SET earned = zeroblob(32) WHERE id = 1", "channel"),
        ("UPDATE channel SET seq = 4294967296 WHERE id = 1", "channel"),
        ("UPDATE store SET verifier = zeroblob(75)", "table store, row 1: verifier"),
        ("DELETE FROM store", "table store"),
        ("DROP TABLE evidence", "evidence"),
        ("DROP INDEX channel_close_final", "channel_close_final"),
    ] {
        let error = after(sql).await;
        assert!(matches!(&error, StoreError::Corrupt { what } if what.contains(named)), "{sql}: {error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
}

#[tokio::test]
async fn a_key_does_not_pass_for_another() {
    let error = after(
        "CREATE TEMP TABLE other AS SELECT key_id, sealed_key FROM data_key WHERE id IN (1, 2);
         UPDATE data_key SET sealed_key = (SELECT sealed_key FROM other WHERE other.key_id <> data_key.key_id)
         WHERE id IN (1, 2)",
    )
    .await;
    assert!(matches!(&error, StoreError::Corrupt { what } if what.contains("another key id")), "{error}");
}

#[tokio::test]
async fn damage_in_one_key_leaves_the_others_readable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    made(&path).await;
    let sql = "UPDATE data_key SET sealed_key = zeroblob(88) WHERE id = 3";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let store = open(&path);
    assert!(matches!(store.key(key_id(3)).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.key(key_id(4)).await, Ok(KeyLookup::Found(_))));
}

#[tokio::test]
async fn a_cut_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    made(&path).await;
    let whole = fs::read(&path).unwrap();
    for len in [1, 15, 100, 511, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let result = read(&path).await;
        assert!(
            matches!(result, Err(StoreError::Corrupt { .. } | StoreError::Open { .. })),
            "{len}: {result:?}"
        );
    }
    fs::write(&path, "").unwrap();
    fs::write(dir.path().join("seller.db-wal"), "what was committed last").unwrap();
    let error = read(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what } if what.contains("write-ahead log")), "{error}");
    fs::write(&path, "this is no database, however long it goes on. ".repeat(1000)).unwrap();
    assert!(matches!(read(&path).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_flipped_bit_never_panics_and_is_reported_as_damage_where_it_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    made(&path).await;
    let len = fs::metadata(&path).unwrap().len();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut reported = 0;
    for _ in 0..150 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (random >> 16) % len;
        let bit = 1 << (random >> 60 & 7);
        flip(&path, offset, bit);
        match read(&path).await {
            // A row that is missing its index entry, or a signature with another bit, still parses.
            Ok(()) => {}
            Err(StoreError::Corrupt { .. } | StoreError::Open { .. } | StoreError::Schema { .. }) => {
                reported += 1
            }
            Err(other) => panic!("offset {offset}, bit {bit}: {other}"),
        }
        flip(&path, offset, bit);
    }
    assert!(reported > 15, "{reported}");
    assert_eq!(read(&path).await, Ok(()), "as it was");
}

fn flip(path: &Path, offset: u64, bit: u8) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    byte[0] ^= bit;
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&byte).unwrap();
}
