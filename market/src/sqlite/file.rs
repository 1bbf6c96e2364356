//! The file of a store: only its owner may read it, and only one process may have it open.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use xbr_store::{StoreError, private_file};

/// Makes the file with mode 0600 when there is none, takes its permissions from others when there is one,
/// and locks a file beside it: closing any descriptor of the database itself would release SQLite's locks.
/// The lock ends with the process, however that ends.
pub(super) fn claim(path: &Path) -> Result<File, StoreError> {
    let refused = |error: io::Error| open_error(path, error.to_string());
    let lock = private_file::open_or_create(&with_suffix(path, "-lock")).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let reason =
                "it is open already, in this or another process; stop that one, or choose another path";
            return Err(open_error(path, reason.to_owned()));
        }
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    private_file::open_or_create(path).and_then(|file| file.sync_all()).map_err(refused)?;
    for suffix in ["", "-wal", "-shm"] {
        let path = with_suffix(path, suffix);
        if private_file::tighten(&path).map_err(refused)? {
            tracing::warn!(path = %path.display(), "others had access to a file of the store, no longer");
        }
    }
    private_file::sync_directory_of(path).map_err(refused)?;
    Ok(lock)
}

pub(super) fn open_error(path: &Path, reason: String) -> StoreError {
    StoreError::Open { path: path.display().to_string(), reason }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
