//! A store for tests: the same rules as in a database, nothing on disk, and faults on demand.

use std::fmt;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;
use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::{ApiId, ChannelId, ChannelSeq, KeyId};

use self::owner::{Message, Owner};
use self::tables::Tables;
use crate::{
    Evidence, KeyFilter, KeyInfo, KeyLookup, KeyRecord, Operation, Read, Store, StoreError, StoreFuture,
    Write,
};

mod owner;
mod tables;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// [`StoreError::Refused`]: nothing is written.
    Refused,
    /// [`StoreError::Unknown`], and it is written, unless it breaks a rule: then that is answered.
    UnknownButWritten,
    /// [`StoreError::Unknown`], and nothing is written.
    UnknownAndLost,
}

/// An operation that was executed, and how it ended.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// What was asked.
    pub operation: Operation,
    /// What was answered; a read always succeeds.
    pub result: Result<(), StoreError>,
}

/// A store in memory. A handle: clones are the same store, so one that a test keeps survives the actors that
/// use it, as a disk would.
///
/// A thread owns the state. A call waits the microseconds that the thread takes: when the method returns, the
/// operation has been executed and its future is ready, or it is held back. So nothing depends on a clock,
/// and a runtime with paused time does not run ahead. While [`hold`](Self::hold) is on, writes are neither
/// executed nor answered, as if the disk were slow; look-ups that do not concern them go on.
///
/// # Panics
/// [`new`](Self::new) panics when the operating system has no thread left.
#[derive(Clone)]
pub struct MemoryStore {
    owner: mpsc::Sender<Message>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let (owner, messages) = mpsc::channel();
        thread::spawn(move || owner::run(messages));
        Self { owner }
    }

    /// Makes the next write fail.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_when(fault, |_| true);
    }

    /// Makes the `n`th write from now on fail; 1 is the next.
    pub fn fail_nth(&self, n: usize, fault: Fault) {
        let mut left = n;
        self.fail_when(fault, move |_| {
            left = left.saturating_sub(1);
            left == 0
        });
    }

    /// Makes the first write fail that a predicate picks, once.
    pub fn fail_when(&self, fault: Fault, predicate: impl FnMut(&Write) -> bool + Send + 'static) {
        self.ask(move |owner| owner.add_fault(Box::new(predicate), fault));
    }

    /// From now on writes, and the reads that have to wait for them, are held back.
    pub fn hold(&self) {
        self.ask(Owner::hold);
    }

    /// Executes what was held back, in order, and ends the holding.
    pub fn release(&self) {
        self.ask(Owner::release);
    }

    /// Loses what was held back, as a power cut would, and ends the holding. What was lost is answered with
    /// [`StoreError::Unknown`], a read with [`StoreError::Closed`].
    pub fn lose_held(&self) {
        self.ask(Owner::lose_held);
    }

    /// What is held back now, in order.
    pub fn held(&self) -> Vec<Operation> {
        self.ask(|owner| owner.held()).unwrap_or_default()
    }

    /// Waits until at least this many operations are held back.
    pub async fn until_held(&self, count: usize) {
        let (watcher, told) = oneshot::channel();
        self.ask(move |owner| owner.watch_held(count, watcher));
        // The thread lives as long as this handle, and keeps the watcher until it tells it.
        let _told = told.await;
    }

    /// Everything that was executed, in order, with what was answered.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.ask(|owner| owner.journal()).unwrap_or_default()
    }

    fn write(&self, write: Write) -> StoreFuture<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(move |owner| owner.write(write, reply));
        let lost = || Err(StoreError::Unknown { reason: "lost while held back".to_owned() });
        Box::pin(async move { answer.await.unwrap_or_else(|_| lost()) })
    }

    fn read<T: Send + 'static>(
        &self,
        read: Read,
        look: impl FnOnce(&Tables) -> T + Send + 'static,
    ) -> StoreFuture<T> {
        let (reply, answer) = oneshot::channel();
        self.ask(move |owner| {
            owner.read(
                read,
                Box::new(move |tables| {
                    // A caller that has gone has no use for the answer.
                    let _gone = reply.send(look(tables));
                }),
            );
        });
        Box::pin(async move { answer.await.map_err(|_| StoreError::Closed) })
    }

    /// Lets the thread do something and waits for it; `None` when the thread has ended, which it does only
    /// when a predicate panics.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        let message: Message = Box::new(move |owner| {
            let _gone = reply.send(question(owner));
        });
        self.owner.send(message).ok().and_then(|()| answer.recv().ok())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn channels(&self) -> StoreFuture<Vec<Channel>> {
        self.read(Read::Channels, Tables::channels)
    }

    fn attach_channel(&self, channel: Channel) -> StoreFuture<()> {
        self.write(Write::AttachChannel(Box::new(channel)))
    }

    fn commit_sale(&self, record: SaleRecord) -> StoreFuture<()> {
        self.write(Write::CommitSale(record))
    }

    fn commit_close(&self, record: CloseRecord) -> StoreFuture<()> {
        self.write(Write::CommitClose(record))
    }

    fn commit_own_close(&self, close: OwnClose) -> StoreFuture<()> {
        self.write(Write::CommitOwnClose(close))
    }

    fn note_comparison(
        &self,
        channel_id: ChannelId,
        ours: ChannelState,
        theirs: ChannelState,
    ) -> StoreFuture<()> {
        self.write(Write::NoteComparison { channel_id, ours, theirs })
    }

    fn sale(&self, channel_id: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<SaleRecord>> {
        self.read(Read::Sale(channel_id, seq), move |tables| tables.sale(channel_id, seq))
    }

    fn keep_evidence(&self, evidence: Evidence) -> StoreFuture<()> {
        self.write(Write::KeepEvidence(evidence))
    }

    fn evidence(&self) -> StoreFuture<Vec<Evidence>> {
        self.read(Read::Evidence, Tables::evidence)
    }

    fn insert_key(&self, record: KeyRecord) -> StoreFuture<()> {
        self.write(Write::InsertKey(record))
    }

    fn mark_offered(&self, key_id: KeyId, offered_ns: u64) -> StoreFuture<()> {
        self.write(Write::MarkOffered { key_id, offered_ns })
    }

    fn retire_key(&self, key_id: KeyId) -> StoreFuture<()> {
        self.write(Write::RetireKey(key_id))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<KeyLookup> {
        self.read(Read::Key(key_id), move |tables| tables.key(key_id))
    }

    fn keys(&self, api_id: ApiId, filter: KeyFilter, limit: usize) -> StoreFuture<Vec<KeyInfo>> {
        self.read(Read::Keys(api_id, filter), move |tables| tables.keys(api_id, filter, limit))
    }

    fn flush(&self) -> StoreFuture<()> {
        self.read(Read::Flush, |_| ())
    }
}
