//! The thread that answers look-ups of rows with no writes under way, so that none waits for a sync to disk
//! that does not concern it. It owns a connection that cannot write. Nothing of it survives a restart.

use std::sync::mpsc::Receiver;

use super::database::Database;
use super::job::Job;

pub(super) enum Request {
    Job(Box<dyn Job>),
    Stop,
}

/// Answers one look-up after the other, until it is told to stop.
pub(super) fn run(database: Database, requests: Receiver<Request>) {
    while let Ok(Request::Job(mut job)) = requests.recv() {
        job.run(&database);
        job.answer(None);
    }
    if let Err(error) = database.close() {
        tracing::warn!(%error, "closing the reading connection of the store failed");
    }
}
