//! Long computations away from the arbiters, whose timers and messages they would hold up: signing, recovering
//! signers, sealing.
//!
//! There are as many workers as processors, which take what comes in its order. One that finds more to do gives its
//! answers together, so that a thread of actors is woken once for all of them; one that has nothing more to do answers
//! at once, and sleeps.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;

#[cfg(feature = "here")]
pub mod here;
mod port;

use port::Port;

/// So many answers go together at most: the first one waits until the last one is computed.
const TOGETHER: usize = 8;

type Answer = Box<dyn FnOnce() + Send>;

/// Computes, and leaves the answer to be given.
type Work = Box<dyn FnOnce() -> Answer + Send>;

/// Work, and where its answer goes.
type Order = (Work, Option<Port>);

/// The way to the workers, who begin with the first computation and end with the process.
static WORKERS: LazyLock<Sender<Order>> = LazyLock::new(|| {
    let (workers, orders) = unbounded::<Order>();
    let begun = (0..processors()).map_while(|number| {
        let (name, orders) = (format!("xbr-worker-{number}"), orders.clone());
        thread::Builder::new().name(name).spawn(move || serve(&orders)).ok()
    });
    if begun.count() == 0 {
        tracing::error!("no thread could be started for computations; they hold up everything else now");
    }
    workers
});

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How many computations of this thread run at a time: as many as there are processors.
pub fn workers() -> usize {
    #[cfg(feature = "here")]
    if here::is_begun() {
        return 1;
    }
    processors()
}

fn serve(orders: &Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let more = orders.try_iter().take(TOGETHER - 1);
        port::give_all(std::iter::once(first).chain(more).map(|(work, port)| (port, work())).collect());
    }
}

/// Begins a computation on a worker thread at once. What is returned waits for it without blocking, and gives `None`
/// when it panicked.
pub fn on_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send + 'static {
    let (done, result) = oneshot::channel();
    begin(Box::new(move || {
        let computed = catch_unwind(AssertUnwindSafe(work)).ok();
        Box::new(move || {
            // Whoever asked may have gone; the result is then nobody's.
            let _ = done.send(computed);
        })
    }));
    async move { result.await.ok().flatten() }
}

fn begin(work: Work) {
    #[cfg(feature = "here")]
    let Some(work) = here::keep(work) else { return };
    // Without workers there is nobody to take it: it is done here.
    if let Err(unsent) = WORKERS.send((work, Port::of_this_thread())) {
        let (work, _) = unsent.into_inner();
        work()();
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
