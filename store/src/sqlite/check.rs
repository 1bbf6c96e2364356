//! The thread that looks through the whole database once after it was opened, and ends. A row authenticates
//! itself when it is read; what this finds is a row that cannot be found: an index or a page that has lost
//! it. Nothing is said to be unknown before that is certain. Nothing of it survives a restart: the next start
//! looks anew.

use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use tracing::{error, info};

use super::rows::{corrupt, database_error};
use crate::StoreError;

/// What was found, once it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<OnceLock<Result<(), StoreError>>>);

impl Verdict {
    /// Waits until the database was looked through: seconds for millions of rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when something is damaged; [`StoreError::Closed`] when the store was closed
    /// before.
    pub(super) fn wait(&self) -> Result<(), StoreError> {
        self.0.wait().clone()
    }

    /// Whether something is known to be damaged by now. It does not wait.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is.
    pub(super) fn so_far(&self) -> Result<(), StoreError> {
        self.0.get().cloned().unwrap_or(Ok(()))
    }

    fn give(&self, found: Result<(), StoreError>) {
        // There is one thread that gives it, once.
        let _first = self.0.set(found);
    }
}

/// How much others go before it, as `nice` counts: it has a tenth of a processor that is busy with sales. Those
/// who wait for the verdict do not wait for ever.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Looks through all, or until the connection is interrupted.
pub(super) fn run(connection: Connection, verdict: &Verdict) {
    // Of this thread alone. Where it may not be changed, sales are slower for the seconds that this takes.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    let found = look(&connection, "PRAGMA integrity_check(1)");
    match &found {
        Ok(()) => info!("the store was looked through, and is sound"),
        Err(StoreError::Closed) => {}
        Err(error) => {
            error!(%error, "keys and sales that cannot be found are not said to be unknown any more")
        }
    }
    verdict.give(found);
    if let Err((_, error)) = connection.close() {
        error!(%error, "closing the connection that looked through the store failed");
    }
}

/// Runs one of SQLite's own checks, whose first row is `ok` or says what is wrong.
pub(super) fn look(connection: &Connection, pragma: &str) -> Result<(), StoreError> {
    let verdict: String = connection.query_row(pragma, [], |row| row.get(0)).map_err(database_error)?;
    if verdict == "ok" { Ok(()) } else { Err(corrupt(verdict)) }
}
