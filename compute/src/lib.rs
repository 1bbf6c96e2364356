//! Long computations away from the arbiters, whose timers and messages they would hold up: signing, recovering
//! signers, sealing.
//!
//! A worker that has more to do gives its answers together, so that whoever waits for them is woken once for all of
//! them. One that has nothing more to do answers at once.
#![forbid(unsafe_code)]

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

/// Begins a computation on a worker thread at once. What is returned waits for it without blocking, and gives `None`
/// when it panicked.
pub fn on_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send + 'static {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        let computed = catch_unwind(AssertUnwindSafe(work)).ok();
        answer(Box::new(move || {
            // Whoever asked may have gone; the result is then nobody's.
            let _ = done.send(computed);
        }));
    });
    async move { result.await.ok().flatten() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_computation_is_answered_whatever_becomes_of_others() {
        let begun: Vec<_> = (0..100_u32)
            .map(|n| on_worker(move || if n % 10 == 3 { std::panic::resume_unwind(Box::new(n)) } else { n }))
            .collect();
        for (n, answer) in (0..).zip(begun) {
            match n {
                // Nobody waits for this one.
                50 => drop(answer),
                _ => assert_eq!(answer.await, (n % 10 != 3).then_some(n)),
            }
        }
    }

    #[tokio::test]
    async fn a_computation_begins_before_it_is_waited_for() {
        let (begun, has_begun) = oneshot::channel();
        let answer = on_worker(move || begun.send(()).is_ok());
        assert_eq!(has_begun.await, Ok(()));
        assert_eq!(answer.await, Some(true));
    }
}
