//! Long computations away from the arbiters, whose timers they would hold up.
//!
//! A worker that has more to do gives its answers together, so that whoever waits for them is woken once for all of
//! them. One that has nothing more to do answers at once.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// So many answers go together at most: the first one waits until the last one is computed.
const TOGETHER: usize = 8;

type Answer = Box<dyn FnOnce()>;

thread_local! {
    /// What this worker has computed and not yet answered; `None` when it is at nothing.
    static COMPUTED: Cell<Option<Vec<Answer>>> = const { Cell::new(None) };
}

/// Runs a computation on a worker thread and waits for it without blocking; `None` when it panicked.
pub(crate) async fn on_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        let computed = catch_unwind(AssertUnwindSafe(work)).ok();
        answer(Box::new(move || {
            // Whoever asked may have gone; the result is then nobody's.
            let _ = done.send(computed);
        }));
    });
    result.await.ok().flatten()
}

/// Answers, after doing what else is to be done: that comes here again, within, and leaves its answers to the first.
fn answer(answer: Answer) {
    let before = COMPUTED.take();
    let is_first = before.is_none();
    let mut computed = before.unwrap_or_default();
    computed.push(answer);
    let has_room = computed.len() < TOGETHER;
    COMPUTED.set(Some(computed));
    if has_room {
        rayon::yield_now();
    }
    if is_first {
        for answer in COMPUTED.take().unwrap_or_default() {
            answer();
        }
    }
}
