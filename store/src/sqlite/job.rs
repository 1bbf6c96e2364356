//! A call of the store on its way through a thread: it runs first and is answered later, when it is durable.

use tokio::sync::oneshot;

use super::database::Database;
use super::pending::Ticket;
use crate::{StoreError, StoreFuture};

pub(super) trait Job: Send {
    /// Does the work and keeps the result. False when it failed: what it wrote is to be undone.
    fn run(&mut self, database: &Database) -> bool;

    /// Answers the caller: with the failure of all that was done together, else with the job's own result.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

struct Task<W, T> {
    work: Option<W>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    ticket: Option<Ticket>,
}

impl<W, T> Job for Task<W, T>
where
    W: FnOnce(&Database) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, database: &Database) -> bool {
        self.result = self.work.take().map(|work| work(database));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        // Counted out before the answer: whoever looks the row up after it need not queue.
        let Self { result, reply, ticket, .. } = *self;
        drop(ticket);
        let result = failure.map_or_else(|| result.unwrap_or(Err(StoreError::Closed)), Err);
        // A caller that has gone has no use for the answer.
        let _gone = reply.send(result);
    }
}

/// A job and its answer. `lost` is answered when the job goes down with its thread.
pub(super) fn job<T: Send + 'static>(
    ticket: Option<Ticket>,
    lost: StoreError,
    work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Job>, StoreFuture<T>) {
    let (reply, answer) = oneshot::channel();
    let task = Task { work: Some(work), result: None, reply, ticket };
    (Box::new(task), Box::pin(async move { answer.await.unwrap_or(Err(lost)) }))
}
