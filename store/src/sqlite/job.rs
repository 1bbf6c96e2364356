//! A call of the store on its way through a thread: it runs first and is answered later, when it is durable.

use tokio::sync::oneshot;

use super::database::Database;
use super::pending::Ticket;
use crate::operation::{Read, Write};
use crate::{StoreError, StoreFuture};

/// What a job may do to the database, which tells what has to be done around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It books a sale, by way of [`books`](super::books). One that fails has written nothing.
    Sale,
    /// It reads or writes a row of another table than the channels', by one statement. One that fails has written
    /// nothing.
    Row,
    /// Anything.
    Any,
}

impl Write {
    pub(super) fn reach(&self) -> Reach {
        match self {
            Self::CommitSale(_) => Reach::Sale,
            Self::KeepEvidence(_) | Self::InsertKey(_) | Self::MarkOffered { .. } | Self::RetireKey(_) => {
                Reach::Row
            }
            Self::AttachChannel(_)
            | Self::CommitClose(_)
            | Self::CommitOwnClose(_)
            | Self::NoteComparison { .. } => Reach::Any,
        }
    }
}

impl Read {
    pub(super) fn reach(self) -> Reach {
        match self {
            Self::Sale(..) | Self::Key(_) => Reach::Row,
            Self::Channels | Self::Evidence | Self::Keys(..) | Self::Flush => Reach::Any,
        }
    }
}

pub(super) trait Job: Send {
    fn reach(&self) -> Reach;

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
    reach: Reach,
}

impl<W, T> Job for Task<W, T>
where
    W: FnOnce(&Database) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn reach(&self) -> Reach {
        self.reach
    }

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
    reach: Reach,
    lost: StoreError,
    work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Job>, StoreFuture<T>) {
    let (reply, answer) = oneshot::channel();
    let task = Task { work: Some(work), result: None, reply, ticket, reach };
    (Box::new(task), Box::pin(async move { answer.await.unwrap_or(Err(lost)) }))
}
