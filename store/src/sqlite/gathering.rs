//! When the writer waits for more. A data key is made, and its offer noted, ahead of the time when anybody needs it:
//! where many come, each waits a little for those behind it, since a commit costs the processor as much as a dozen
//! keys, and the longer, the more they are. Whatever cannot wait ends the wait for all, and where few come nothing
//! waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// So many in one round are many: more are to be expected.
const MANY: usize = 4;

/// For each so many it waits once more as long, up to [`LONGEST`] times.
const MORE: u32 = 24;

const LONGEST: u32 = 4;

#[derive(Debug)]
pub(super) struct Gathering {
    /// How long the writer waits at most, unless very many came.
    patience: Duration,
    /// The writer, once it has waited.
    writer: OnceLock<Thread>,
    is_waiting: AtomicBool,
    /// How many jobs are queued that cannot wait.
    urgent: AtomicUsize,
    /// How many that can wait came in the last round.
    last: AtomicUsize,
}

impl Gathering {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            writer: OnceLock::new(),
            is_waiting: AtomicBool::new(false),
            urgent: AtomicUsize::new(0),
            last: AtomicUsize::new(0),
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

    /// How long waiting is worth it; `None`: not at all.
    fn patience(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed);
        let times = u32::try_from(last).unwrap_or(u32::MAX) / MORE;
        (last >= MANY).then(|| self.patience * times.clamp(1, LONGEST))
    }

    /// The writer has something before it that can wait, and waits where that is worth it.
    pub(super) fn wait(&self) {
        let Some(patience) = self.patience() else { return };
        self.writer.get_or_init(thread::current);
        self.is_waiting.store(true, Ordering::SeqCst);
        if self.urgent.load(Ordering::SeqCst) == 0 {
            // It may end early without a reason: then fewer are gathered.
            thread::park_timeout(patience);
        }
        self.is_waiting.store(false, Ordering::SeqCst);
    }

    /// The writer has taken a round, of which so many could wait and so many could not.
    pub(super) fn taken(&self, patient: usize, urgent: usize) {
        self.last.store(patient, Ordering::Relaxed);
        self.urgent.fetch_sub(urgent, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_come_the_longer_it_waits_and_never_long() {
        let gathering = Gathering::new(Duration::from_millis(4));
        for (last, expected) in [
            (0, None),
            (3, None),
            (4, Some(4)),
            (47, Some(4)),
            (48, Some(8)),
            (96, Some(16)),
            (1024, Some(16)),
        ] {
            gathering.taken(last, 0);
            assert_eq!(gathering.patience(), expected.map(Duration::from_millis), "{last}");
        }
    }
}
