//! Counters of what a session had to leave out or refuse. Shared, so that they can be read while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the session began. Nothing of it survives the session.
#[derive(Debug, Default)]
pub struct Statistics {
    malformed_invocations: AtomicU64,
    malformed_answers: AtomicU64,
    dropped_events: AtomicU64,
    late_answers: AtomicU64,
    shed_invocations: AtomicU64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $count:ident),* $(,)?) => {
        impl Statistics {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> u64 {
                    self.$name.load(Ordering::Relaxed)
                }

                pub(crate) fn $count(&self) {
                    self.$name.fetch_add(1, Ordering::Relaxed);
                }
            )*
        }
    };
}

counters! {
    /// Invocations that could not be read and were answered with an error.
    malformed_invocations: count_malformed_invocation,
    /// Answers to our requests that could not be read.
    malformed_answers: count_malformed_answer,
    /// Events that could not be read, or came when too many were waiting.
    dropped_events: count_dropped_event,
    /// Answers to requests that had been given up.
    late_answers: count_late_answer,
    /// Invocations that were refused because too many were waiting.
    shed_invocations: count_shed_invocation,
}
