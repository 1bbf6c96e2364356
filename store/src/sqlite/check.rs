//! The thread that looks through the whole database once after it was opened, and ends. A row authenticates
//! itself when it is read; what this finds is a row that cannot be found: an index or a page that has lost
//! it. Nothing is said to be unknown before that is certain. Nothing of it survives a restart: the next start
//! looks anew. It takes its time while nobody waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tracing::{error, info};

use super::audit;
use super::rows::{corrupt, database_error};
use crate::StoreError;

/// For so long nothing is read after each piece.
const GAP: Duration = Duration::from_millis(3);

/// And so many times as long as the piece took, while nobody waits for what is found: it has a tenth of the time.
const REST: u32 = 9;

/// What was found, once it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<Case>);

#[derive(Debug, Default)]
struct Case {
    found: OnceLock<Result<(), StoreError>>,
    /// How many wait for it.
    waiting: AtomicUsize,
}

impl Verdict {
    /// Waits until the database was looked through: seconds for millions of rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when something is damaged; [`StoreError::Closed`] when the store was closed
    /// before.
    pub(super) fn wait(&self) -> Result<(), StoreError> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let found = self.0.found.wait().clone();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Whether something is known to be damaged by now. It does not wait.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is.
    pub(super) fn so_far(&self) -> Result<(), StoreError> {
        self.0.found.get().cloned().unwrap_or(Ok(()))
    }

    /// How long to rest after a piece that took so long.
    fn rest(&self, worked: Duration) -> Duration {
        let is_wanted = self.0.waiting.load(Ordering::Relaxed) > 0;
        if is_wanted { GAP } else { GAP.max(worked * REST) }
    }

    fn give(&self, found: Result<(), StoreError>) {
        // There is one thread that gives it, once.
        let _first = self.0.found.set(found);
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
    let found = look(&connection, "PRAGMA quick_check(1)")
        .and_then(|()| audit::run(&connection, &|worked| thread::sleep(verdict.rest(worked))));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_its_time_until_somebody_waits_for_it() {
        let (verdict, ms) = (Verdict::default(), Duration::from_millis);
        assert_eq!([verdict.rest(ms(0)), verdict.rest(ms(20))], [GAP, ms(180)]);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| verdict.wait());
            while verdict.rest(ms(20)) != GAP {
                thread::yield_now();
            }
            verdict.give(Err(corrupt("a page")));
            assert_eq!(waiting.join().unwrap(), verdict.so_far());
        });
        assert_eq!(verdict.rest(ms(20)), ms(180), "nobody waits any more");
        assert!(verdict.so_far().is_err());
    }
}
