//! Backups hold everything and nothing secret, are found out when they do not add up, and come back marked.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;
use xbr_core::channel::{Channel, Reconciliation};
use xbr_core::payload::DataKey;
use xbr_store::{Holdings, MasterKey, ReadOnlyStore, RestoreOptions, Store, StoreError, restore};

use crate::support::{
    DEPOSIT, MASTER, beside, channel, channel_id, close, contents, key, key_id, nth_sale, open,
    sell_evidence, state, units,
};

const REPLACE: RestoreOptions = RestoreOptions { replace: true, newest: false };

fn master() -> MasterKey {
    MasterKey::from_bytes(MASTER)
}

fn read(path: &Path) -> ReadOnlyStore {
    ReadOnlyStore::open(path, master()).unwrap()
}

async fn contents_of(path: &Path) -> Vec<String> {
    let store = open(path);
    let contents = contents(&store).await;
    store.close().await.unwrap();
    contents
}

async fn channels_of(path: &Path) -> Vec<Channel> {
    let store = open(path);
    let channels = store.channels().await.unwrap();
    store.close().await.unwrap();
    channels
}

/// A store in use with a bit of everything, and a backup of it.
async fn backed_up() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let [path, backup] = ["seller.db", "backup.db"].map(|name| dir.path().join(name));
    let store = open(&path);
    for n in [1, 2] {
        store.attach_channel(channel(n)).await.unwrap();
    }
    for i in 1..=3 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
    }
    let last = state(1, DEPOSIT);
    store.commit_close(close(2, last, last, true)).await.unwrap();
    for n in 1..=3 {
        store.insert_key(key(n)).await.unwrap();
    }
    store.retire_key(key_id(3)).await.unwrap();
    store.keep_evidence(sell_evidence(1)).await.unwrap();
    store.note_comparison(channel_id(1), nth_sale(1, 3).state, nth_sale(1, 3).state).await.unwrap();
    read(&path).back_up(&backup).unwrap();
    // What comes later is not in it.
    store.commit_sale(nth_sale(1, 4)).await.unwrap();
    store.close().await.unwrap();
    (dir, path, backup)
}

#[tokio::test]
async fn a_backup_is_one_file_with_everything_of_its_moment() {
    let (_dir, path, backup) = backed_up().await;
    let holdings =
        Holdings { channels: 2, sales: 3, earned: units(15), closes: 1, keys: 2, retired: 1, evidence: 1 };
    assert_eq!(read(&backup).verify(), Ok(holdings));
    assert_eq!(read(&path).verify(), Ok(Holdings { sales: 4, earned: units(20), ..holdings }));
    for suffix in ["-wal", "-shm"] {
        assert!(!beside(&backup, suffix).exists(), "{suffix}");
    }
    let bytes = fs::read(&backup).unwrap();
    let secret: DataKey = key(1).key;
    assert!(!bytes.windows(8).any(|window| window == &secret.expose_secret()[..8] || window == &MASTER[..8]));
    let again = read(&path).back_up(&backup);
    assert!(matches!(again, Err(StoreError::Refused { reason }) if reason.contains("exists already")));
    assert_eq!(fs::read(&backup).unwrap(), bytes);
}

#[tokio::test]
async fn what_does_not_add_up_is_found_when_all_is_looked_through() {
    let table = [
        ("a sale that is missing", "DELETE FROM sale WHERE seq = 2"),
        ("a sale that was changed", "UPDATE sale SET sold_ns = 5 WHERE seq = 2"),
        ("a channel that is missing", "DELETE FROM comparison; DELETE FROM channel WHERE seq > 1"),
        ("a key that was changed", "UPDATE data_key SET price = zeroblob(32)"),
        ("a close that is missing", "DELETE FROM channel_close"),
        ("a proof that was changed", "UPDATE evidence SET received_ns = 1"),
    ];
    for (name, damage) in table {
        let (_dir, path, backup) = backed_up().await;
        let raw = Connection::open(&backup).unwrap();
        raw.execute_batch(&format!("PRAGMA foreign_keys = OFF; {damage}")).unwrap();
        drop(raw);
        assert!(matches!(read(&backup).verify(), Err(StoreError::Corrupt { .. })), "{name}");
        let before = fs::read(&path).unwrap();
        assert!(restore(&backup, &path, &master(), REPLACE).is_err(), "{name}");
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
        assert!(!beside(&path, ".old").exists(), "{name}");
    }
}

#[tokio::test]
async fn a_restored_store_is_marked_until_the_figures_agree() {
    let (_dir, path, backup) = backed_up().await;
    assert!(matches!(
        restore(&backup, &path, &master(), RestoreOptions::default()),
        Err(StoreError::Open { .. })
    ));
    let before = contents_of(&path).await;
    let in_use = open(&path);
    assert!(matches!(restore(&backup, &path, &master(), REPLACE), Err(StoreError::Open { .. })));
    in_use.close().await.unwrap();
    assert_eq!(restore(&backup, &path, &master(), REPLACE).unwrap().sales, 3);
    assert_eq!(contents_of(&beside(&path, ".old")).await, before, "what was there is kept");

    let store = open(&path);
    let [first, second]: [Channel; 2] = store.channels().await.unwrap().try_into().unwrap();
    assert!(first.restored && first.reconciliation == Reconciliation::Equal, "{first:?}");
    assert!(!second.restored, "it is closed");
    let (ours, theirs) = (nth_sale(1, 3).state, nth_sale(1, 4).state);
    store.note_comparison(channel_id(1), ours, theirs).await.unwrap();
    store.close().await.unwrap();
    let store = open(&path);
    let halted = store.channels().await.unwrap()[0].clone();
    assert_eq!(halted.reconciliation, Reconciliation::Outdated { ours, theirs }, "it outlives a restart");
    store.note_comparison(channel_id(1), ours, ours).await.unwrap();
    assert!(!store.channels().await.unwrap()[0].restored);
    store.commit_sale(nth_sale(1, 4)).await.unwrap();
    assert!(!store.channels().await.unwrap()[0].restored);
    store.close().await.unwrap();

    fs::remove_file(beside(&path, ".old")).unwrap();
    let newest = RestoreOptions { replace: true, newest: true };
    restore(&backup, &path, &master(), newest).unwrap();
    assert!(!channels_of(&path).await[0].restored, "somebody answers for it");
}

#[tokio::test]
async fn a_backup_of_an_older_version_and_a_copied_log_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let [old, path] = ["old.db", "seller.db"].map(|name| dir.path().join(name));
    Connection::open(&old).unwrap().execute_batch(include_str!("v2.sql")).unwrap();
    assert_eq!(restore(&old, &path, &master(), RestoreOptions::default()).unwrap().sales, 4);
    assert!(channels_of(&path).await.iter().any(|channel| channel.restored));
    // As a copy of the files of a store in use has it.
    let using = dir.path().join("using.db");
    let store = open(&using);
    store.attach_channel(channel(1)).await.unwrap();
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(beside(&using, suffix), beside(&dir.path().join("copy.db"), suffix)).unwrap();
    }
    let copied = restore(&dir.path().join("copy.db"), &dir.path().join("new.db"), &master(), REPLACE);
    assert_eq!(copied.unwrap().sales, 1);
    let other = restore(&old, &path, &MasterKey::from_bytes([1; 32]), REPLACE);
    assert_eq!(other, Err(StoreError::WrongMasterKey));
}
