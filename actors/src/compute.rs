//! Long computations away from the arbiters, whose timers they would hold up.

use tokio::sync::oneshot;

/// Runs a computation on a worker thread and waits for it without blocking; `None` when it panicked.
pub(crate) async fn on_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        // Whoever asked may have gone; the result is then nobody's.
        let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok());
    });
    result.await.ok().flatten()
}
