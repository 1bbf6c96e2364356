//! What can be seen of a router while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a router looks like now, all realms together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterStatus {
    /// Connections that were accepted and are still there, joined or not.
    pub connections: usize,
    /// Sessions that have joined, those of this process included.
    pub sessions: usize,
    /// Registrations; a shared one counts once.
    pub registrations: usize,
    /// Topics and patterns that are subscribed to.
    pub subscriptions: usize,
    /// Calls under way.
    pub calls: usize,
    /// Events that were left out for subscribers that could not keep up, since the start.
    pub dropped_events: u64,
    /// Connections that were not let in, since the start.
    pub refused: u64,
    /// Sessions that were ended because they broke the protocol or could not keep up, since the start.
    pub expelled: u64,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) dropped_events: Counter,
    pub(super) refused: Counter,
    pub(super) expelled: Counter,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
