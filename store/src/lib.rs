//! Durable state of a seller behind one narrow trait, [`Store`]: paying channels, the receipts of their
//! sales, and the archive of data keys.
//!
//! # The crash contract
//!
//! * **Durable before the answer.** A write has reached the disk (`fsync`) when its future resolves to `Ok`.
//!   What was answered survives `SIGKILL` and, as far as the disk keeps its promises, a power cut.
//! * **All or nothing.** A sale and the new state of its channel are stored together or not at all; so is a
//!   close.
//! * **In order.** Writes take effect in the order in which the methods were called, whether or not their
//!   futures are polled. A read sees every write that was called before it; until it is answered it may see
//!   later ones too.
//! * **Compare and swap.** A sale or close is stored only if the channel still stands at the state that it
//!   was decided upon and is not finally closed (the same end may be signed for both sides); otherwise it
//!   fails with [`StoreError::Conflict`] and nothing changed. So a later sale of a pipeline cannot be stored
//!   after an earlier one failed, and several nodes can share one store.
//! * **Failures are of two kinds.** [`StoreError::outcome`] tells *certainly not written* from *maybe
//!   written*. After the latter the caller reads back what is there before it answers or goes on; what is
//!   read then stays true.
//! * **Data keys are encrypted at rest** under a [`MasterKey`]; so a copy of the store alone sells nothing.
//! * **Damage is reported, never used.** A row that does not decrypt, parse or add up is a
//!   [`StoreError::Corrupt`].
//! * **Nonsense is not stored.** A record whose figures contradict each other is refused before anything is
//!   written.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;

use thiserror::Error;
use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::payload::DataKey;
use xbr_core::wire::{CloseRequest, SellRequest};
use xbr_core::{Amount, ApiId, ChannelId, ChannelSeq, KeyId};

mod clock;
pub mod kill_point;
mod master_key;
mod memory;
mod operation;
pub mod private_file;
mod query;
mod sqlite;

pub use clock::{Clock, SystemClock};
pub use master_key::{MasterKey, MasterKeyError};
pub use memory::{Fault, JournalEntry, MemoryStore, Tables};
pub use operation::{Operation, Read, Write};
pub use query::{
    CursorError, Earnings, EarningsQuery, KeyCursor, KeyEntry, KeyPage, KeyQuery, KeyState, KeyStateError,
    MAX_EARNINGS, MAX_PAGE, Page, SalesCursor, SalesPage, SalesQuery,
};
pub use sqlite::{Holdings, Inspection, ReadOnlyStore, RestoreOptions, SqliteStore, inspect, restore};

/// What a store answers with: it is under way when the method returns, and needs no polling to take effect.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// A data key as the archive keeps it.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// The key's id.
    pub key_id: KeyId,
    /// The API whose payloads it encrypts.
    pub api_id: ApiId,
    /// The key itself, encrypted at rest.
    pub key: DataKey,
    /// The price it is offered for.
    pub price: Amount,
    /// When it was made, Unix time in ns.
    pub created_ns: u64,
    /// Until when its offer is valid, Unix time in ns; `None`: for ever.
    pub expires_ns: Option<u64>,
    /// When the market maker took its offer, Unix time in ns; `None`: not yet.
    pub offered_ns: Option<u64>,
}

/// A data key as lists show it: everything but the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key's id.
    pub key_id: KeyId,
    /// The price it is offered for.
    pub price: Amount,
    /// When it was made, Unix time in ns.
    pub created_ns: u64,
    /// Until when its offer is valid, Unix time in ns; `None`: for ever.
    pub expires_ns: Option<u64>,
    /// When the market maker took its offer, Unix time in ns; `None`: not yet.
    pub offered_ns: Option<u64>,
}

impl From<&KeyRecord> for KeyInfo {
    fn from(record: &KeyRecord) -> Self {
        let KeyRecord { key_id, price, created_ns, expires_ns, offered_ns, .. } = *record;
        Self { key_id, price, created_ns, expires_ns, offered_ns }
    }
}

/// Which keys of an API a list is of. Keys that are retired are on none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFilter {
    /// Those whose offer the market maker has not taken, and has not expired either.
    Unoffered {
        /// The time, Unix ns.
        now_ns: u64,
    },
    /// Those made before a time, or before the newest so many; but none whose offer expires later than
    /// `now_ns`: that it can be bought until then is a promise.
    Old {
        /// The time, Unix ns.
        now_ns: u64,
        /// What was made before this Unix time in ns is old; 0: nothing is by its age.
        made_before_ns: u64,
        /// What is older than this many of the newest is old; `None`: nothing is by its number.
        keep: Option<NonZeroU64>,
    },
}

/// What the archive knows of a key.
#[derive(Debug, Clone)]
pub enum KeyLookup {
    /// It was never made here.
    Unknown,
    /// It has left the archive: its id is remembered, the key itself is erased.
    Retired,
    /// Here it is.
    Found(KeyRecord),
}

/// A request that the market maker signed and that contradicts what it had signed before, kept as proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// When it came, Unix time in ns.
    pub received_ns: u64,
    /// The error that it was answered with.
    pub reject: String,
    /// The request, with its signature.
    pub request: EvidenceRequest,
}

/// The request of an [`Evidence`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceRequest {
    /// A sale.
    Sell(SellRequest),
    /// A close.
    Close(CloseRequest),
}

/// Durable state. Everything is asynchronous: no method blocks its caller.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Every channel, open or closed, in the order of their ids.
    fn channels(&self) -> StoreFuture<Vec<Channel>>;

    /// Adds a channel that was seen for the first time. A channel that is there stays as it is.
    fn attach_channel(&self, channel: Channel) -> StoreFuture<()>;

    /// Stores a sale and the channel's state after it, as [`Channel::apply_sale`] computes it.
    fn commit_sale(&self, record: SaleRecord) -> StoreFuture<()>;

    /// Stores a close and the channel's state after it, as [`Channel::apply_close`] computes it. After a
    /// final one the channel takes nothing more but own closes: every later sale or close of it is a
    /// [`StoreError::Conflict`].
    fn commit_close(&self, record: CloseRecord) -> StoreFuture<()>;

    /// Stores a close from the seller's side, as [`Channel::apply_own_close`] books it, in the place of an
    /// earlier one. After it the channel takes nothing more but the same end again.
    fn commit_own_close(&self, close: OwnClose) -> StoreFuture<()>;

    /// Notes the figures that the market maker showed when they were compared with a channel at state `ours`;
    /// they count until the channel moves on. [`StoreError::Conflict`] when it has done so.
    fn note_comparison(
        &self,
        channel_id: ChannelId,
        ours: ChannelState,
        theirs: ChannelState,
    ) -> StoreFuture<()>;

    /// The sale that was made at a sequence number.
    fn sale(&self, channel_id: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<SaleRecord>>;

    /// Keeps a proof.
    fn keep_evidence(&self, evidence: Evidence) -> StoreFuture<()>;

    /// All proofs, in the order in which they were kept.
    fn evidence(&self) -> StoreFuture<Vec<Evidence>>;

    /// Adds a data key. An id that is there already, retired or not, is [`StoreError::Refused`].
    fn insert_key(&self, record: KeyRecord) -> StoreFuture<()>;

    /// Notes that the market maker took the offer of a key, at a Unix time in ns. The first time stays. A key
    /// that is not there is [`StoreError::Refused`].
    fn mark_offered(&self, key_id: KeyId, offered_ns: u64) -> StoreFuture<()>;

    /// Takes a data key out of the archive: the key is erased for good, its id is remembered as
    /// [`KeyLookup::Retired`]. Again does nothing; a key that was never there is [`StoreError::Refused`].
    fn retire_key(&self, key_id: KeyId) -> StoreFuture<()>;

    /// Looks a data key up. Quick even while writes are under way: it waits for writes of this very key only.
    fn key(&self, key_id: KeyId) -> StoreFuture<KeyLookup>;

    /// Keys of an API that a filter picks, the oldest first, at most `limit` of them.
    fn keys(&self, api_id: ApiId, filter: KeyFilter, limit: usize) -> StoreFuture<Vec<KeyInfo>>;

    /// Waits until everything called before is done. The store stays usable.
    fn flush(&self) -> StoreFuture<()>;
}

/// Whether a failed write may have been written all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Certainly not: go on as if it had never been called.
    NotWritten,
    /// Maybe: read back before going on.
    Unknown,
}

/// Why a store failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the store at {path}: {reason}")]
    Open {
        /// Where it is.
        path: String,
        /// What the operating system or the database says.
        reason: String,
    },
    /// It was written by a newer version of this program.
    #[error(
        "the store has schema version {actual}, this program knows up to {supported}; use a newer version"
    )]
    Schema {
        /// The newest version that is known.
        supported: u32,
        /// The version of the store.
        actual: u32,
    },
    /// It was made with another master key.
    #[error("the master key is not the one that the store was made with; restore the right key file")]
    WrongMasterKey,
    /// A row does not decrypt or parse.
    #[error("the store is damaged: {what}; restore a backup")]
    Corrupt {
        /// Which row, and what is wrong with it.
        what: String,
    },
    /// The channel no longer stands where the record was decided upon, or is not there.
    #[error("the channel has moved on")]
    Conflict,
    /// The operation was refused, nothing was written.
    #[error("the store refused: {reason}")]
    Refused {
        /// What is wrong with the record, or what the database says.
        reason: String,
    },
    /// The write failed at a point where it may have become durable.
    #[error("the store failed, the write may or may not be durable: {reason}")]
    Unknown {
        /// What the database says.
        reason: String,
    },
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether a failed write may have been written all the same.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown { .. } => Outcome::Unknown,
            _ => Outcome::NotWritten,
        }
    }
}
