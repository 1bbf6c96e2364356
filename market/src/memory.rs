//! What stores in memory have in common: an owner of what they hold, which is a thread or a task. Several stores can
//! share one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use xbr_store::{StoreError, StoreFuture};

/// What reaches the owner.
type Job<T> = Box<dyn FnOnce(&mut HashMap<u64, T>) + Send>;

/// A handle of something that the owner has. Clones are handles of the same; it is gone with the owner, which ends
/// once the last handle is dropped and everything called is done.
pub(crate) struct Owned<T> {
    jobs: mpsc::UnboundedSender<Job<T>>,
    number: u64,
    /// The numbers that this owner has given.
    taken: Arc<AtomicU64>,
}

impl<T> Clone for Owned<T> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), number: self.number, taken: self.taken.clone() }
    }
}

impl<T: Default + 'static> Owned<T> {
    /// The first one of a new thread.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no thread left.
    pub(crate) fn start(name: &str) -> Result<Self, StoreError> {
        let (owned, mut queue) = Self::new();
        let work = move || {
            let mut all = HashMap::new();
            while let Some(job) = queue.blocking_recv() {
                job(&mut all);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        thread.map_err(|error| StoreError::Refused { reason: error.to_string() })?;
        Ok(owned)
    }

    /// The first one of a new task, which ends with the runtime at the latest.
    pub(crate) fn on(runtime: &Handle) -> Self
    where
        T: Send,
    {
        let (owned, mut queue) = Self::new();
        runtime.spawn(async move {
            let mut all = HashMap::new();
            while let Some(job) = queue.recv().await {
                job(&mut all);
            }
        });
        owned
    }

    fn new() -> (Self, mpsc::UnboundedReceiver<Job<T>>) {
        let (jobs, queue) = mpsc::unbounded_channel();
        (Self { jobs, number: 0, taken: Arc::new(AtomicU64::new(1)) }, queue)
    }

    /// Another one of the same owner.
    pub(crate) fn beside(&self) -> Self {
        Self { number: self.taken.fetch_add(1, Ordering::Relaxed), ..self.clone() }
    }

    /// Has something done. Calls take effect in the order in which they were made, polled or not.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R, StoreError> + Send + 'static,
    ) -> StoreFuture<R> {
        let (reply, answer) = oneshot::channel();
        let number = self.number;
        let job: Job<T> = Box::new(move |all| {
            // A caller that has gone has no use for the answer.
            let _gone = reply.send(work(all.entry(number).or_default()));
        });
        let queued = self.jobs.send(job);
        Box::pin(async move {
            queued.map_err(|_| StoreError::Closed)?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}
