//! The market maker's store in SQLite: a file with a write-ahead log that is synced at every commit.

use std::fmt;
use std::path::Path;

use xbr_core::{ChannelId, ChannelSeq};
use xbr_store::{StoreError, StoreFuture};

use super::database::Database;
use super::{MakerStore, Snapshot};
use crate::maker::account::Market;
use crate::maker::book::Entry;
use crate::maker::purchase::{Purchase, PurchaseId};
use crate::sqlite::{self, Worker};

/// The name of the thread that owns the connection.
const THREAD: &str = "xbr-maker-store";

/// A market maker's store. A cheap handle: clones are the same store, which is closed once the last of them
/// is dropped and everything called is done.
#[derive(Clone)]
pub struct SqliteMakerStore {
    worker: Worker<Database>,
}

impl SqliteMakerStore {
    /// Opens a store, or makes it where there is none, with mode 0600. Blocks while it reads from disk.
    /// Files with the same name and `-wal`, `-shm` and `-lock` behind it belong to it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file cannot be used, is another program's, or is open in another
    /// process; [`StoreError::Schema`] or [`StoreError::Corrupt`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let (database, lock) = sqlite::open(path.as_ref(), Database::prepare)?;
        Ok(Self { worker: Worker::start(THREAD, database, lock)? })
    }
}

impl MakerStore for SqliteMakerStore {
    fn load(&self, market: Market) -> StoreFuture<Snapshot> {
        self.worker.run(move |database| database.load(&market))
    }

    fn commit(&self, entry: Entry) -> StoreFuture<()> {
        self.worker.run(move |database| database.commit(&entry))
    }

    fn purchase(&self, payment_channel: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<Purchase>> {
        self.worker.run(move |database| database.purchase(payment_channel, seq))
    }

    fn purchases(&self, after: PurchaseId, limit: u32) -> StoreFuture<Vec<Purchase>> {
        self.worker.run(move |database| database.purchases(after, limit))
    }

    fn flush(&self) -> StoreFuture<()> {
        self.worker.run(|_| Ok(()))
    }
}

impl fmt::Debug for SqliteMakerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteMakerStore")
    }
}
