//! Durable state of a market maker behind one narrow trait, [`MakerStore`]: its channels, the offers, and
//! every purchase with its receipts.
//!
//! # The crash contract
//!
//! * **Durable before the answer.** An [`Entry`] is on disk (`fsync`) when its future resolves to `Ok`.
//! * **All or nothing.** What stands in one entry is stored together or not at all: so a purchase is reserved
//!   in both of its channels or in none.
//! * **In order.** Calls take effect in the order in which they were made, whether or not their futures are
//!   polled. Many entries share one sync to disk.
//! * **Compare and swap.** A channel is stored only at the version after the stored one; otherwise the entry
//!   fails with [`StoreError::Conflict`], and nothing of it is stored. So nothing can be stored upon an entry
//!   that was not.
//! * **Failures.** After any failure the caller reads back what is there before it goes on: after
//!   [`StoreError::Unknown`] the entry may be stored, after every other error it is not.
//! * **Damage is reported, never used.** A row that does not parse or add up is a [`StoreError::Corrupt`].
//!
//! Nothing in it is secret: data keys are sealed to their buyers.

use std::fmt;

use xbr_core::{ChannelId, ChannelSeq};
use xbr_store::StoreFuture;

use super::account::Market;
use super::book::Entry;
use super::purchase::{Purchase, PurchaseId};

mod database;
mod memory;
mod rows;
mod sqlite;

pub use memory::MemoryMakerStore;
pub use sqlite::SqliteMakerStore;
pub use xbr_store::StoreError;

/// What a market maker goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// All channels in the order of their opening, all offers, and the purchases in flight.
    pub entry: Entry,
    /// The number of the last purchase.
    pub last_purchase: PurchaseId,
}

/// Durable state. Everything is asynchronous: no method blocks its caller.
pub trait MakerStore: fmt::Debug + Send + Sync + 'static {
    /// Everything that a market maker goes on from. [`StoreError::Refused`] when the store has the books of
    /// another market.
    fn load(&self, market: Market) -> StoreFuture<Snapshot>;

    /// Stores an entry.
    fn commit(&self, entry: Entry) -> StoreFuture<()>;

    /// The purchase that a state of a payment channel paid for, or is to pay for; a refused one does not
    /// count.
    fn purchase(&self, payment_channel: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<Purchase>>;

    /// The purchases after this one, in the order of their reservation, so many at the most: the accounts.
    fn purchases(&self, after: PurchaseId, limit: u32) -> StoreFuture<Vec<Purchase>>;

    /// Waits until everything called before is done.
    fn flush(&self) -> StoreFuture<()>;
}
