//! When the writer waits for more. A data key is made, and its offer noted, ahead of the time when anybody needs it:
//! where many come, each waits a little for those behind it, since a commit costs the processor as much as a dozen
//! keys. Whatever cannot wait ends the wait for all, and where few come nothing waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// So many in one round are many: more are to be expected.
const MANY: usize = 4;

#[derive(Debug)]
pub(super) struct Gathering {
    /// How long the writer waits at most.
    patience: Duration,
    /// The writer, once it has waited.
    writer: OnceLock<Thread>,
    is_waiting: AtomicBool,
    /// How many jobs are queued that cannot wait.
    urgent: AtomicUsize,
    /// Whether many came in the last round.
    many: AtomicBool,
}

impl Gathering {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            writer: OnceLock::new(),
            is_waiting: AtomicBool::new(false),
            urgent: AtomicUsize::new(0),
            many: AtomicBool::new(false),
        }
    }

    /// Queues something that cannot wait.
    pub(super) fn hurry<T>(&self, queue: impl FnOnce() -> T) -> T {
        // Before it is queued, so that a writer that begins to wait later sees it, and one that has begun is seen here.
        self.urgent.fetch_add(1, Ordering::SeqCst);
        let queued = queue();
        if self.is_waiting.load(Ordering::SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
        queued
    }

    /// The writer has something before it that can wait, and waits where that is worth it.
    pub(super) fn wait(&self) {
        if !self.many.load(Ordering::Relaxed) {
            return;
        }
        self.writer.get_or_init(thread::current);
        self.is_waiting.store(true, Ordering::SeqCst);
        if self.urgent.load(Ordering::SeqCst) == 0 {
            // It may end early without a reason: then fewer are gathered.
            thread::park_timeout(self.patience);
        }
        self.is_waiting.store(false, Ordering::SeqCst);
    }

    /// The writer has taken a round, of which so many could wait and so many could not.
    pub(super) fn taken(&self, patient: usize, urgent: usize) {
        self.many.store(patient >= MANY, Ordering::Relaxed);
        self.urgent.fetch_sub(urgent, Ordering::SeqCst);
    }
}
