//! The thread that answers look-ups of rows with no writes under way, so that none waits for a sync to disk
//! that does not concern it. It owns a connection that cannot write. Nothing of it survives a restart.

use std::sync::mpsc::Receiver;

use super::database::Database;
use super::job::Job;

pub(super) enum Request {
    Job(Box<dyn Job>),
    Stop,
}

/// So many are looked up, and answered, together at most: the first one waits until the last one is found.
const TOGETHER: usize = 16;

/// Does one look-up after the other, until it is told to stop. What came meanwhile is answered together, so that
/// whoever asked is woken once; a lone look-up waits for nobody.
pub(super) fn run(database: Database, requests: Receiver<Request>) {
    let mut jobs = Vec::with_capacity(TOGETHER);
    let mut runs = true;
    while runs && let Ok(first) = requests.recv() {
        for request in std::iter::once(first).chain(requests.try_iter()).take(TOGETHER) {
            match request {
                Request::Job(job) => jobs.push(job),
                Request::Stop => {
                    runs = false;
                    break;
                }
            }
        }
        look_up(&database, &mut jobs);
        jobs.drain(..).for_each(|job| job.answer(None));
    }
    if let Err(error) = database.close() {
        tracing::warn!(%error, "closing the reading connection of the store failed");
    }
}

/// What came together is looked up in one transaction: SQLite throws its pages away whenever it begins one after
/// something was written.
fn look_up(database: &Database, jobs: &mut [Box<dyn Job>]) {
    if jobs.len() > 1
        && let Err(error) = database.control("BEGIN")
    {
        tracing::warn!(%error, "a reading transaction of the store cannot begin");
    }
    for job in jobs.iter_mut() {
        job.run(database);
    }
    // An error may have ended it before. One that stayed open would go on showing what there is now.
    if !database.is_idle()
        && database.control("COMMIT").is_err()
        && let Err(error) = database.control("ROLLBACK")
    {
        tracing::error!(%error, "a reading transaction of the store does not end");
    }
}
