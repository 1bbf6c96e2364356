//! The buyer's store in SQLite: a file with a write-ahead log that is synced at every commit, or memory, for
//! tests and for buyers that need not remember.
//!
//! A thread owns the connection and executes one call after the other: purchases come one at a time, so that
//! there is nothing to be gained by grouping them.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;
use xbr_core::{Amount, ChannelId, DataKey, KeyId};
use xbr_store::{MasterKey, StoreError, StoreFuture};

use super::database::{Database, database_error};
use super::{BoughtKey, BuyerStore, ReceiveKey, file};
use crate::buyer::wallet::{Payment, Settlement, Wallet};

type Job = Box<dyn FnOnce(&mut Database) + Send>;

/// A buyer's store. A cheap handle: clones are the same store, which is closed once the last of them is
/// dropped and everything called is done.
#[derive(Clone)]
pub struct SqliteBuyerStore {
    jobs: mpsc::Sender<Job>,
}

impl SqliteBuyerStore {
    /// Opens a store, or makes it where there is none, with mode 0600. Blocks while it reads from disk. Files
    /// with the same name and `-wal`, `-shm` and `-lock` behind it belong to it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file cannot be used, is another program's, or is open in another
    /// process; [`StoreError::Schema`], [`StoreError::WrongMasterKey`] or [`StoreError::Corrupt`].
    pub fn open(path: impl AsRef<Path>, master_key: MasterKey) -> Result<Self, StoreError> {
        let shown = path.as_ref();
        // Absolute, so that SQLite takes no name such as `:memory:` for something else than a file.
        let path = std::path::absolute(shown).map_err(|error| file::open_error(shown, error.to_string()))?;
        let lock = file::claim(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(&path, flags)
            .map_err(database_error)
            .and_then(|connection| Database::prepare(connection, master_key))
            .map_err(|error| match error {
                StoreError::Refused { reason } => file::open_error(&path, reason),
                other => other,
            })?;
        start(database, Some(lock))
    }

    /// A store in memory, empty.
    ///
    /// # Errors
    /// [`StoreError`] when there is no memory or thread for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let connection = Connection::open_in_memory().map_err(database_error)?;
        start(Database::prepare(connection, MasterKey::from_bytes([0; 32]))?, None)
    }

    /// Waits until everything called before is done.
    pub fn flush(&self) -> StoreFuture<()> {
        self.run(|_| Ok(()))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |database| {
            // A caller that has gone has no use for the answer.
            let _ = reply.send(work(database));
        });
        let queued = self.jobs.send(job);
        Box::pin(async move {
            queued.map_err(|_| StoreError::Closed)?;
            let lost = || StoreError::Unknown { reason: "the thread of the store ended".to_owned() };
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }
}

fn start(mut database: Database, lock: Option<File>) -> Result<SqliteBuyerStore, StoreError> {
    let (jobs, queue) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("xbr-buyer-store".to_owned())
        .spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&mut database);
            }
            // The database is closed before the lock is released.
            drop(database);
            drop(lock);
        })
        .map_err(|error| StoreError::Refused { reason: error.to_string() })?;
    Ok(SqliteBuyerStore { jobs })
}

impl BuyerStore for SqliteBuyerStore {
    fn receive_key(&self) -> StoreFuture<ReceiveKey> {
        self.run(|database| database.receive_key())
    }

    fn wallet(&self, channel_id: ChannelId) -> StoreFuture<Option<Wallet>> {
        self.run(move |database| database.wallet(channel_id))
    }

    fn attach(&self, wallet: Wallet) -> StoreFuture<()> {
        self.run(move |database| database.transact(|database| database.attach(&wallet)))
    }

    fn begin(&self, payment: Payment) -> StoreFuture<()> {
        self.run(move |database| database.transact(|database| database.begin(&payment)))
    }

    fn settle(
        &self,
        channel_id: ChannelId,
        settlement: Settlement,
        bought: Option<BoughtKey>,
    ) -> StoreFuture<()> {
        self.run(move |database| {
            database.transact(|database| database.settle(channel_id, &settlement, bought.as_ref()))
        })
    }

    fn written_off(&self, key_id: KeyId) -> StoreFuture<Amount> {
        self.run(move |database| database.written_off(key_id))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<Option<DataKey>> {
        self.run(move |database| database.key(key_id))
    }
}

impl fmt::Debug for SqliteBuyerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteBuyerStore")
    }
}
