//! The thread that owns the connection of a store. It takes everything that is queued, executes it in order
//! within one transaction, commits, and answers: so one sync to disk serves all that came while the last one
//! was under way, and a lone call waits for nobody.
//!
//! Each call runs in a savepoint of its own, so that one that is refused leaves nothing behind and harms no
//! other.

use std::borrow::Borrow;
use std::fs::File;
use std::sync::mpsc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;
use xbr_store::{StoreError, StoreFuture};

use super::execute as execute_statement;

/// How many calls share a transaction at most: it bounds how long the first one waits for the last.
const MAX_ROUND: usize = 1024;

/// A call runs first, and is answered later, when it is durable or failed with the round.
type Job<D> = Box<dyn FnOnce(&D) -> Done + Send>;
/// Whether what was written stays, and how the caller is answered.
type Done = (bool, Box<dyn FnOnce(Option<StoreError>)>);

/// A handle of the thread, which ends once the last one is dropped and everything called is done.
pub(crate) struct Worker<D> {
    jobs: mpsc::Sender<Job<D>>,
}

impl<D> Clone for Worker<D> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

impl<D: Borrow<Connection> + Send + 'static> Worker<D> {
    /// Starts the thread. The lock on the file is released when the database is closed.
    pub(crate) fn start(name: &str, database: D, lock: File) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel::<Job<D>>();
        let work = move || {
            while let Ok(first) = queue.recv() {
                let round = std::iter::once(first).chain(queue.try_iter().take(MAX_ROUND - 1)).collect();
                execute(&database, round);
            }
            // The database is closed before the lock is released.
            drop(database);
            drop(lock);
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|error| StoreError::Refused { reason: error.to_string() })?;
        Ok(Self { jobs })
    }

    /// Has something done, durably.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&D) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job<D> = Box::new(move |database| {
            let result = work(database);
            let done = result.is_ok();
            let answer = move |failure: Option<StoreError>| {
                // A caller that has gone has no use for the answer.
                let _ = reply.send(failure.map_or(result, Err));
            };
            (done, Box::new(answer))
        });
        let queued = self.jobs.send(job);
        Box::pin(async move {
            queued.map_err(|_| StoreError::Closed)?;
            let lost = || StoreError::Unknown { reason: "the thread of the store ended".to_owned() };
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }
}

fn execute<D: Borrow<Connection>>(database: &D, round: Vec<Job<D>>) {
    let connection: &Connection = database.borrow();
    let mut answers = Vec::with_capacity(round.len());
    let failure = transact(connection, || {
        for job in round {
            control(connection, "SAVEPOINT job")?;
            let (done, answer) = job(database);
            answers.push(answer);
            if connection.is_autocommit() {
                // For want of space, for instance. COMMIT was never reached: nothing is durable.
                let reason = "the database rolled the transaction back".to_owned();
                return Err(StoreError::Refused { reason });
            }
            if !done {
                control(connection, "ROLLBACK TO job")?;
            }
            control(connection, "RELEASE job")?;
        }
        Ok(())
    })
    .err();
    if let Some(error) = &failure {
        tracing::error!(%error, calls = answers.len(), "a store failed a transaction");
    }
    for answer in answers {
        answer(failure.clone());
    }
}

/// All or nothing. When the commit itself fails, nobody knows whether it is durable.
fn transact(
    connection: &Connection,
    work: impl FnOnce() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    control(connection, "BEGIN IMMEDIATE")?;
    let done = work().and_then(|()| {
        control(connection, "COMMIT").map_err(|error| StoreError::Unknown { reason: error.to_string() })
    });
    if done.is_err() && !connection.is_autocommit() {
        control(connection, "ROLLBACK")?;
    }
    done
}

fn control(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    execute_statement(connection, sql, []).map(|_| ())
}
