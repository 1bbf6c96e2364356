//! A damaged file is reported, whatever is broken, and never crashes the reader.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use rusqlite::Connection;
use xbr_store::{KeyLookup, MasterKey, SqliteStore, Store, StoreError};

use crate::support::{
    MASTER, beside, channel, channel_id, close, key, key_id, nth_sale, open, sell_evidence, try_contents,
};

async fn made(path: &Path) {
    let store = open(path);
    for n in 1..=2 {
        store.attach_channel(channel(n)).await.unwrap();
    }
    for i in 1..=40 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
    }
    for n in 1..=15 {
        store.insert_key(key(n)).await.unwrap();
    }
    store.keep_evidence(sell_evidence(1)).await.unwrap();
    store.close().await.unwrap();
}

/// Opens a store and reads all of it; or the first error.
async fn read(path: &Path) -> Result<Vec<String>, StoreError> {
    let store = SqliteStore::open(path, MasterKey::from_bytes(MASTER))?;
    let result = try_contents(&store).await;
    store.close().await.unwrap();
    result
}

/// Reads all that was stored, and looks nothing up that was not: a row says best what is wrong with it.
async fn read_rows(path: &Path) -> Result<(), StoreError> {
    let store = SqliteStore::open(path, MasterKey::from_bytes(MASTER))?;
    store.channels().await?;
    for i in 1..=40 {
        store.sale(channel_id(1), nth_sale(1, i).state.seq).await?;
    }
    for n in 1..=15 {
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
    read_rows(&path).await.unwrap_err()
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
async fn what_somebody_has_changed_is_not_what_was_written() {
    for sql in [
        // Figures that add up, and parse.
        "UPDATE channel SET adopted_balance = CAST(x'01' || substr(adopted_balance, 2) AS BLOB),
             balance = CAST(x'01' || substr(balance, 2) AS BLOB)",
        "UPDATE channel SET sales = sales - 1",
        "UPDATE channel SET close_at = CAST(x'01' || substr(close_at, 2) AS BLOB)",
        "UPDATE sale SET signature = CAST(x'01' || substr(signature, 2) AS BLOB) WHERE id = 7",
        "UPDATE sale SET key_id = zeroblob(16) WHERE id = 7",
        "UPDATE data_key SET price = zeroblob(32) WHERE id = 3",
        "UPDATE data_key SET offered_ns = 1 WHERE id = 3",
        "UPDATE data_key SET sealed_key = NULL WHERE id = 3",
        "UPDATE evidence SET received_ns = received_ns + 1",
        "UPDATE sale SET mac = (SELECT mac FROM sale WHERE id = 8) WHERE id = 7",
        "UPDATE channel SET mac = NULL",
    ] {
        let error = after(sql).await;
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_channel_that_went_back_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    store.close().await.unwrap();
    let keep = "CREATE TABLE kept AS SELECT * FROM channel";
    Connection::open(&path).unwrap().execute_batch(keep).unwrap();
    let store = open(&path);
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    store.close().await.unwrap();
    // As when the page of the channel was not written, and that of the sale was.
    let back = "UPDATE channel SET (seq, balance, earned, surplus, sales, mac) =
                    (SELECT seq, balance, earned, surplus, sales, mac FROM kept)";
    Connection::open(&path).unwrap().execute_batch(back).unwrap();
    let error = read(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what } if what.contains("behind a sale")), "{error}");
}

#[tokio::test]
async fn a_channel_does_not_lose_its_final_close() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    let state = channel(1).state;
    store.commit_close(close(1, state, state, true)).await.unwrap();
    store.close().await.unwrap();
    Connection::open(&path).unwrap().execute_batch("DELETE FROM channel_close").unwrap();
    let error = read(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what } if what.contains("final close")), "{error}");
}

/// The files of a store, without and with a write-ahead log, and what can be read of it.
struct Sound {
    contents: Vec<String>,
    emptied: Vec<u8>,
    contents_emptied: Vec<String>,
    database: Vec<u8>,
    log: Vec<u8>,
}

/// Made once for all cases.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        wait(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("seller.db");
            made(&path).await;
            let (emptied, contents_emptied) = (fs::read(&path).unwrap(), read(&path).await.unwrap());
            let store = open(&path);
            for i in 41..=60 {
                store.commit_sale(nth_sale(1, i)).await.unwrap();
            }
            let (database, log) = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
            store.close().await.unwrap();
            let contents = read(&path).await.unwrap();
            Sound { contents, emptied, contents_emptied, database, log }
        })
    })
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// What is read when a bit of one of the files is another.
fn flipped(database: &[u8], log: Option<&[u8]>, bit: usize) -> Result<Vec<String>, StoreError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    match log {
        None => fs::write(&path, flip(database)).unwrap(),
        Some(log) => {
            fs::write(&path, database).unwrap();
            fs::write(beside(&path, "-wal"), flip(log)).unwrap();
        }
    }
    wait(read(&path))
}

fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Corrupt { .. } | StoreError::Open { .. } | StoreError::Schema { .. } => true,
        // Damage that shows at a commit leaves open what became of it.
        StoreError::Unknown { reason } => reason.contains("the store is damaged"),
        _ => false,
    }
}

/// How many sales of 41 to 60 are missing, all others being there.
fn missing(contents: &[String]) -> Option<usize> {
    let whole = &sound().contents;
    let is_late = |line: &String| (41..=60).any(|i| *line == format!("{:?}", nth_sale(1, i)));
    let (late, rest): (Vec<_>, Vec<_>) = contents.iter().partition(|line| is_late(line));
    let same = whole.iter().filter(|line| !is_late(line) && !line.starts_with("Channel")).collect::<Vec<_>>()
        == rest.into_iter().filter(|line| !line.starts_with("Channel")).collect::<Vec<_>>();
    same.then(|| 20 - late.len())
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").map_or(200, |text| text.parse().unwrap());
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_flipped_bit_of_the_database_is_reported_or_changes_nothing(bit: usize) {
        match flipped(&sound().emptied, None, bit) {
            Ok(contents) => prop_assert_eq!(&contents, &sound().contents_emptied),
            Err(error) => prop_assert!(is_damage(&error), "{}", error),
        }
    }

    /// A log that is torn in its last transaction is what a crash leaves, and cannot be told from one that
    /// was damaged there. A flip may also make the end of a transaction look like the middle of a longer one.
    #[test]
    fn a_flipped_bit_of_the_log_is_reported_unless_it_looks_like_a_crash_in_the_end(bit: usize) {
        match flipped(&sound().database, Some(&sound().log), bit) {
            Ok(contents) => prop_assert!(missing(&contents).is_some_and(|missing| missing <= 2)),
            Err(error) => prop_assert!(is_damage(&error), "{}", error),
        }
    }
}
