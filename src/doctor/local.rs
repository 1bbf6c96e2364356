//! What is on this machine: the store, and the disk that it is on.

use std::fs;
use std::path::{Path, PathBuf};

use xbr_store::{MasterKey, ReadOnlyStore, SqliteStore};

use super::Diagnosis;
use crate::config::{Config, Secrets};

/// Below this many free bytes the disk fills soon.
const LOW_DISK: u64 = 256 << 20;
/// Below this many nothing can be sold.
const NO_DISK: u64 = 16 << 20;
/// A longer write-ahead log than this is not emptied as it should be.
const LONG_LOG: u64 = 256 << 20;

/// Notes that nothing of it can be looked at.
pub(super) fn skip(found: &mut Diagnosis, because: &str) {
    found.skip(&["store"], because);
}

/// Opens the store for reading and looks through all of it; `None` when there is none to be compared.
pub(super) fn store(config: &Config, secrets: &Secrets, found: &mut Diagnosis) -> Option<ReadOnlyStore> {
    let (name, path) = ("store", &config.store.path);
    if !SqliteStore::exists(path) {
        found.ok(name, format_args!("{} is made at the first start", path.display()));
        return None;
    }
    let key = match &secrets.master_key {
        Some(key) => Ok(key.clone()),
        None => MasterKey::load(&config.store.master_key_file),
    };
    let key =
        key.map_err(|error| found.fail(name, error, "restore the master key from your copy of it")).ok()?;
    let opened = ReadOnlyStore::open(path, key).and_then(|store| store.verify().map(|held| (store, held)));
    match opened {
        Ok((store, held)) => {
            found.ok(
                name,
                format_args!(
                    "{}: {} channels, {} sales for {} XBR, {} keys; every row is as it was written",
                    path.display(),
                    held.channels,
                    held.sales,
                    held.earned,
                    held.keys
                ),
            );
            Some(store)
        }
        Err(error) => {
            found.fail(name, error, "do not sell on; xbr-seller restore puts a backup in its place");
            None
        }
    }
}

/// Whether there is room for more.
pub(super) fn disk(config: &Config, found: &mut Diagnosis) {
    let (name, path) = ("disk", &config.store.path);
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let free = match rustix::fs::statvfs(folder) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let seen = format!("cannot look at {}: {error}", folder.display());
            return found.fail(name, seen, "correct store.path, or the permissions of its folder");
        }
    };
    let seen = format!("{} MiB free, write-ahead log {} KiB", free >> 20, log >> 10);
    if free < NO_DISK {
        found.fail(name, seen, "make room: a sale that cannot be stored is refused");
    } else if free < LOW_DISK {
        found.warn(name, seen, "make room soon: a sale that cannot be stored is refused");
    } else if log > LONG_LOG {
        found.warn(name, seen, "something reads the store without end; end it, and the log is emptied");
    } else {
        found.ok(name, seen);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
