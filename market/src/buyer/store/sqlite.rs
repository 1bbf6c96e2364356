//! The buyer's store in SQLite: a file with a write-ahead log that is synced at every commit.

use std::fmt;
use std::path::Path;

use xbr_core::{ChannelId, KeyId};
use xbr_store::{MasterKey, StoreError, StoreFuture};

use super::database::Database;
use super::{BoughtKey, BuyerStore, ReceiveKey, StoredKey};
use crate::buyer::wallet::{Payment, Settlement, Wallet};
use crate::sqlite::{self, Worker};

/// The name of the thread that owns the connection.
const THREAD: &str = "xbr-buyer-store";

/// A buyer's store. A cheap handle: clones are the same store, which is closed once the last of them is
/// dropped and everything called is done.
#[derive(Clone)]
pub struct SqliteBuyerStore {
    worker: Worker<Database>,
}

impl SqliteBuyerStore {
    /// Opens a store, or makes it where there is none, with mode 0600. Blocks while it reads from disk. Files
    /// with the same name and `-wal`, `-shm` and `-lock` behind it belong to it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file cannot be used, is another program's, or is open in another
    /// process; [`StoreError::Schema`], [`StoreError::WrongMasterKey`] or [`StoreError::Corrupt`].
    pub fn open(path: impl AsRef<Path>, master_key: MasterKey) -> Result<Self, StoreError> {
        let (database, lock) =
            sqlite::open(path.as_ref(), |connection| Database::prepare(connection, master_key))?;
        Ok(Self { worker: Worker::start(THREAD, database, lock)? })
    }

    /// Waits until everything called before is done.
    pub fn flush(&self) -> StoreFuture<()> {
        self.worker.run(|_| Ok(()))
    }
}

impl BuyerStore for SqliteBuyerStore {
    fn receive_key(&self) -> StoreFuture<ReceiveKey> {
        self.worker.run(Database::receive_key)
    }

    fn wallet(&self, channel_id: ChannelId) -> StoreFuture<Option<Wallet>> {
        self.worker.run(move |database| database.wallet(channel_id))
    }

    fn unsettled(&self) -> StoreFuture<Vec<Wallet>> {
        self.worker.run(|database| database.unsettled())
    }

    fn attach(&self, wallet: Wallet) -> StoreFuture<()> {
        self.worker.run(move |database| database.attach(&wallet))
    }

    fn begin(&self, payment: Payment) -> StoreFuture<()> {
        self.worker.run(move |database| database.begin(&payment))
    }

    fn settle(
        &self,
        channel_id: ChannelId,
        settlement: Settlement,
        bought: Option<BoughtKey>,
    ) -> StoreFuture<()> {
        self.worker.run(move |database| database.settle(channel_id, &settlement, bought.as_ref()))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<StoredKey> {
        self.worker.run(move |database| database.key(key_id))
    }
}

impl fmt::Debug for SqliteBuyerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteBuyerStore")
    }
}
