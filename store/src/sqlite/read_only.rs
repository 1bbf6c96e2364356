//! A store that is only looked at, also while another process uses it.

use std::path::Path;

use rusqlite::OpenFlags;
use xbr_core::channel::{Channel, CloseRecord, SaleRecord};
use xbr_core::{ChannelId, ChannelSeq};

use super::check::Verdict;
use super::database::Database;
use super::vault::Vault;
use super::{connect_to, not_opened, schema};
use crate::{
    Earnings, EarningsQuery, Evidence, KeyPage, KeyQuery, MasterKey, SalesPage, SalesQuery, StoreError,
};

/// What a store held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Every channel, open or closed, in the order of their ids.
    pub channels: Vec<Channel>,
    /// All proofs, in the order in which they were kept.
    pub evidence: Vec<Evidence>,
}

/// A store that is open for reading. Nothing is changed through it, and nobody who uses the store is held up. Each
/// method shows what is durable when it is called, and blocks while it reads from disk.
#[derive(Debug)]
pub struct ReadOnlyStore {
    pub(super) database: Database,
}

impl ReadOnlyStore {
    /// Opens a store, of which another process may be the user.
    ///
    /// # Errors
    /// As [`SqliteStore::open`](super::SqliteStore::open); a store of an older schema version is not read.
    pub fn open(path: impl AsRef<Path>, master_key: MasterKey) -> Result<Self, StoreError> {
        let path = path.as_ref();
        open(path, Vault::new(master_key)).map_err(|error| not_opened(path, error))
    }

    /// The channels and proofs, all of one moment.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], or [`StoreError::Refused`] when the disk fails.
    pub fn inspect(&self) -> Result<Inspection, StoreError> {
        // Nothing is looked up in it that could turn out unknown.
        self.at_one_moment(|_| {
            let (channels, evidence) = (self.database.channels()?, self.database.evidence()?);
            Ok(Inspection { channels, evidence })
        })
    }

    /// A page of the sales that a query picks.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], or [`StoreError::Refused`] when the disk fails or a time is above 2^63 - 1.
    pub fn sales(&self, query: &SalesQuery) -> Result<SalesPage, StoreError> {
        self.database.sales(query)
    }

    /// A page of the keys that a query picks.
    ///
    /// # Errors
    /// As [`sales`](Self::sales).
    pub fn key_list(&self, query: &KeyQuery) -> Result<KeyPage, StoreError> {
        self.at_one_moment(|_| self.database.key_list(query))
    }

    /// What was earned, by steps of time and API.
    ///
    /// # Errors
    /// As [`sales`](Self::sales), and [`StoreError::Refused`] for more than [`MAX_EARNINGS`](crate::MAX_EARNINGS).
    pub fn earnings(&self, query: &EarningsQuery) -> Result<Vec<Earnings>, StoreError> {
        self.database.earnings(query)
    }

    /// The sales over a channel behind a sequence number, by rising sequence numbers, at most `limit`.
    ///
    /// # Errors
    /// As [`sales`](Self::sales).
    pub fn sales_of(
        &self,
        channel_id: ChannelId,
        after: Option<ChannelSeq>,
        limit: usize,
    ) -> Result<Vec<SaleRecord>, StoreError> {
        self.database.sales_of(channel_id, after, limit)
    }

    /// The closes of a channel that both sides have signed, by rising sequence numbers, the final one last.
    ///
    /// # Errors
    /// As [`sales`](Self::sales).
    pub fn closes(&self, channel_id: ChannelId) -> Result<Vec<CloseRecord>, StoreError> {
        self.database.closes(channel_id)
    }

    /// Reads several things as they were at one moment: what is written meanwhile is not seen.
    ///
    /// # Errors
    /// Those of what is read, and [`StoreError::Refused`] when the disk fails.
    pub fn at_one_moment<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        // Unlike a transaction, a savepoint can be within another one.
        self.database.control("SAVEPOINT moment")?;
        let found = read(self);
        self.database.control("RELEASE moment")?;
        found
    }
}

/// Reads the channels and proofs of a store. Nothing is changed, and nobody who uses the store is held up. Blocks while
/// it reads from disk.
///
/// # Errors
/// As [`ReadOnlyStore::open`] and [`ReadOnlyStore::inspect`].
pub fn inspect(path: impl AsRef<Path>, master_key: MasterKey) -> Result<Inspection, StoreError> {
    let path = path.as_ref();
    ReadOnlyStore::open(path, master_key)?.inspect().map_err(|error| not_opened(path, error))
}

fn open(path: &Path, vault: Vault) -> Result<ReadOnlyStore, StoreError> {
    let path = std::path::absolute(path).map_err(super::io_refused)?;
    let connection = connect_to(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::configure_reader(&connection)?;
    schema::check(&connection, &vault)?;
    Ok(ReadOnlyStore { database: Database::new(connection, vault, Verdict::default()) })
}
