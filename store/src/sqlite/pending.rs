//! Which rows have writes under way. A look-up of a row that has none is answered at once, from the other
//! connection; else it queues behind the writes, and so sees them.
//!
//! Counters stand for rows by hash: two rows that share one only make a look-up wait without need. A look-up
//! that finds its counter at zero comes after every write that was called before it: those had counted
//! themselves in before they were queued, and count themselves out when they are durable, or certain not to
//! be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::operation::Subject;

/// Many more than there are ever writes under way, so that rows seldom share one.
const COUNTERS: usize = 1024;

#[derive(Debug)]
pub(super) struct Pending {
    counters: Vec<AtomicU32>,
    unsettled: AtomicBool,
}

/// A write that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pending: Arc<Pending>,
    /// Of its counter.
    index: usize,
}

impl Pending {
    pub(super) fn new() -> Self {
        let counters = std::iter::repeat_with(AtomicU32::default).take(COUNTERS).collect();
        Self { counters, unsettled: AtomicBool::new(false) }
    }

    /// Counts a write in; to be called before it is queued.
    pub(super) fn enter(self: &Arc<Self>, subject: Subject) -> Ticket {
        let index = index(subject);
        if let Some(counter) = self.counters.get(index) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        Ticket { pending: Arc::clone(self), index }
    }

    /// Whether a look-up of this row needs to wait for nothing.
    pub(super) fn is_clear(&self, subject: Subject) -> bool {
        let counter = self.counters.get(index(subject));
        let waiting = counter.is_some_and(|counter| counter.load(Ordering::Acquire) > 0);
        !waiting && !self.is_unsettled()
    }

    /// Whether a commit has failed in a way that leaves open what became of it. Nothing is read before that
    /// is known.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    pub(super) fn set_unsettled(&self, unsettled: bool) {
        self.unsettled.store(unsettled, Ordering::Release);
    }
}

/// Of the counter of a row.
fn index(subject: Subject) -> usize {
    usize::try_from(subject.hash() % COUNTERS as u64).unwrap_or_default()
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(counter) = self.pending.counters.get(self.index) {
            counter.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
