//! The thread that answers look-ups of rows with no writes under way, so that none waits for a sync to disk
//! that does not concern it. It owns a connection that cannot write. Nothing of it survives a restart.

use std::sync::mpsc::Receiver;

use super::database::Database;
use super::job::Job;

pub(super) enum Request {
    Job(Box<dyn Job>),
    Stop,
}

/// So many answers go together at most: the first one waits until the last one is found.
const TOGETHER: usize = 8;

/// Does one look-up after the other, until it is told to stop. What came meanwhile is answered together, so that
/// whoever asked is woken once; a lone look-up waits for nobody.
pub(super) fn run(database: Database, requests: Receiver<Request>) {
    let mut found = Vec::with_capacity(TOGETHER);
    let mut runs = true;
    while runs && let Ok(first) = requests.recv() {
        for request in std::iter::once(first).chain(requests.try_iter()).take(TOGETHER) {
            let Request::Job(mut job) = request else {
                runs = false;
                break;
            };
            job.run(&database);
            found.push(job);
        }
        found.drain(..).for_each(|job| job.answer(None));
    }
    if let Err(error) = database.close() {
        tracing::warn!(%error, "closing the reading connection of the store failed");
    }
}
