//! A master key is made once, kept private, and never replaced by mistake.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use xbr_store::{MasterKey, MasterKeyError, SqliteStore, Store, StoreError};

use crate::support::{key, key_id, open};

#[test]
fn a_created_key_is_private_and_loads_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Missing { .. })));
    let key = MasterKey::load_or_create(&path, false).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.trim().len(), 64);
    assert!(matches!(MasterKey::create(&path), Err(MasterKeyError::Exists { .. })));
    MasterKey::load_or_create(&path, true).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "left as it was");
    let shown = format!("{key:?}");
    assert!(!shown.contains(&text[..8]), "{shown}");
}

#[test]
fn the_key_of_an_existing_store_is_never_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    let error = MasterKey::load_or_create(&path, true).unwrap_err();
    assert!(matches!(error, MasterKeyError::Lost { .. }));
    assert!(error.to_string().contains("restore"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_key_file_that_others_can_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    MasterKey::create(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = MasterKey::load_or_create(&path, false).unwrap_err();
        assert_eq!(error, MasterKeyError::Exposed { path: path.display().to_string(), mode: mode & 0o077 });
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    MasterKey::load(&path).unwrap();
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    assert!(MasterKey::from_hex("XBR_MASTER_KEY", &format!(" {}\n", "aB".repeat(32))).is_ok());
    for bad in ["", "aB", &"aB".repeat(33), &"xy".repeat(32), &format!("0x{}", "aB".repeat(31))] {
        let error = MasterKey::from_hex("XBR_MASTER_KEY", bad).unwrap_err().to_string();
        assert!(error.contains("XBR_MASTER_KEY") && !error.contains("aB"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    MasterKey::create(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Empty { .. })));
    fs::write(&path, "a".repeat(100_000)).unwrap();
    assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Syntax { .. })));
    assert!(matches!(
        MasterKey::load(dir.path()),
        Err(MasterKeyError::Exposed { .. } | MasterKeyError::Io { .. })
    ));
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_spoils_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.insert_key(key(1)).await.unwrap();
    store.close().await.unwrap();
    let error = SqliteStore::open(&path, MasterKey::from_bytes([1; 32])).unwrap_err();
    assert_eq!(error, StoreError::WrongMasterKey);
    assert!(matches!(open(&path).key(key_id(1)).await, Ok(xbr_store::KeyLookup::Found(_))));
}
