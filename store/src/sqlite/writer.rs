//! The thread that owns the writing connection. It takes everything that is queued, executes it in order
//! within one transaction, commits, and answers: so one sync to disk serves all that came while the last one
//! was under way, and a lone write waits for nobody. Keys that come in numbers are gathered a little, see
//! [`gathering`](super::gathering). Nothing of it survives a restart but what it has committed.
//!
//! One that is refused leaves nothing behind and harms no other: a job that writes more than a row runs in a savepoint
//! of its own.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::database::Database;
use super::gathering::Gathering;
use super::job::{Job, Reach};
use super::pending::Pending;
use super::reader;
use crate::operation::refused;
use crate::{StoreError, Transaction};

/// How many jobs share a transaction at most: it bounds how long the first one waits for the last.
const MAX_ROUND: usize = 1024;

/// How often what takes long is told to end.
const POLL: Duration = Duration::from_millis(1);

pub(super) enum Command {
    Job(Box<dyn Job>),
    /// One that can wait for others, since it was called ahead of its time.
    Patient(Box<dyn Job>),
    /// End, and say when the files are released.
    Close(oneshot::Sender<()>),
}

/// Who hears of each transaction.
pub(super) type Watch = Box<dyn Fn(&Transaction) + Send>;

pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) commands: Receiver<Command>,
    pub(super) pending: Arc<Pending>,
    pub(super) gathering: Arc<Gathering>,
    pub(super) reader: Sender<reader::Request>,
    pub(super) reader_thread: JoinHandle<()>,
    pub(super) lister: Sender<reader::Request>,
    /// The threads that may be at something long, which can be cut short.
    pub(super) helpers: Vec<(InterruptHandle, JoinHandle<()>)>,
    pub(super) watch: Watch,
    /// Held while the database is open: it keeps other processes out.
    pub(super) lock: File,
}

impl Writer {
    /// Works until it is told to close, or until the last handle is gone and the queue is empty.
    pub(super) fn run(self) {
        let mut closing = None;
        let mut round = Vec::new();
        while closing.is_none()
            && let Ok(first) = self.commands.recv()
        {
            if matches!(first, Command::Patient(_)) {
                self.gathering.wait();
            }
            closing = self.collect(first, &mut round);
            self.execute(&mut round);
        }
        self.end(closing);
    }

    fn collect(&self, first: Command, round: &mut Vec<Box<dyn Job>>) -> Option<oneshot::Sender<()>> {
        let (mut patient, mut urgent, mut closing) = (0, 0, None);
        for command in std::iter::once(first).chain(self.commands.try_iter().take(MAX_ROUND - 1)) {
            let (job, count) = match command {
                Command::Job(job) => (job, &mut urgent),
                Command::Patient(job) => (job, &mut patient),
                Command::Close(done) => {
                    closing = Some(done);
                    break;
                }
            };
            round.push(job);
            *count += 1;
        }
        self.gathering.taken(patient, urgent);
        closing
    }

    fn execute(&self, round: &mut Vec<Box<dyn Job>>) {
        let began = Instant::now();
        let failure = self.transact(round).err();
        if !round.is_empty() {
            let (writes, duration, is_durable) = (round.len(), began.elapsed(), failure.is_none());
            (self.watch)(&Transaction { writes, duration, is_durable });
        }
        if let Some(error) = &failure {
            error!(%error, jobs = round.len(), "the store failed a transaction");
        }
        for job in round.drain(..) {
            job.answer(failure.clone());
        }
    }

    /// All jobs of the round in one transaction. An error concerns them all.
    fn transact(&self, round: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        if round.is_empty() {
            return Ok(());
        }
        self.settle()?;
        self.database.control("BEGIN IMMEDIATE")?;
        for job in round {
            self.step(job.as_mut()).inspect_err(|_| self.abandon())?;
        }
        self.database.write_books().inspect_err(|_| self.abandon())?;
        self.commit()
    }

    fn step(&self, job: &mut dyn Job) -> Result<(), StoreError> {
        match job.reach() {
            Reach::Sale | Reach::Row => {
                if job.run(&self.database) {
                    return Ok(());
                }
                self.is_open()
            }
            Reach::Any => self.step_in_savepoint(job),
        }
    }

    fn step_in_savepoint(&self, job: &mut dyn Job) -> Result<(), StoreError> {
        self.database.close_books()?;
        self.database.control("SAVEPOINT job")?;
        if !job.run(&self.database) {
            self.is_open()?;
            self.database.forget();
            self.database.control("ROLLBACK TO job")?;
        }
        self.database.control("RELEASE job")
    }

    /// SQLite may roll the whole transaction back when a statement fails, for want of space for instance.
    /// Then the round is at an end; since COMMIT was never reached, nothing of it is durable.
    fn is_open(&self) -> Result<(), StoreError> {
        if self.database.is_idle() {
            return Err(refused("the database rolled the transaction back"));
        }
        Ok(())
    }

    /// A COMMIT that leaves the transaction open has not begun to write its end: it is rolled back, and
    /// certainly not durable. When the transaction is over, its last frame may be in the log although the
    /// sync failed: a crash now could bring it back.
    fn commit(&self) -> Result<(), StoreError> {
        let Err(error) = self.database.control("COMMIT") else { return Ok(()) };
        if self.database.is_idle() {
            self.database.forget();
            self.pending.set_unsettled(true);
            return Err(match error {
                StoreError::Refused { reason } => StoreError::Unknown { reason },
                other => StoreError::Unknown { reason: other.to_string() },
            });
        }
        self.abandon();
        Err(error)
    }

    fn abandon(&self) {
        self.database.forget();
        self.roll_back();
    }

    fn roll_back(&self) {
        if !self.database.is_idle()
            && let Err(error) = self.database.control("ROLLBACK")
        {
            warn!(%error, "rolling a transaction back failed; it is tried again before the next one");
        }
    }

    /// Makes sure, before anything else is written or read, that a failed commit has left nothing that a
    /// crash could bring back: what a caller reads after [`StoreError::Unknown`] must stay true.
    fn settle(&self) -> Result<(), StoreError> {
        self.roll_back();
        if self.pending.is_unsettled() {
            self.database.settle()?;
            self.pending.set_unsettled(false);
            info!("the store works again");
        }
        Ok(())
    }

    fn end(self, closing: Option<oneshot::Sender<()>>) {
        let mut waiting: Vec<_> = closing.into_iter().collect();
        for command in self.commands.try_iter() {
            match command {
                Command::Job(job) | Command::Patient(job) => job.answer(Some(StoreError::Closed)),
                Command::Close(done) => waiting.push(done),
            }
        }
        drop(self.commands);
        for reader in [&self.lister, &self.reader] {
            if reader.send(reader::Request::Stop).is_err() {
                warn!("a reading thread of the store had ended before");
            }
        }
        for (interrupt, thread) in self.helpers {
            while !thread.is_finished() {
                // One that comes before the thread is at something is without effect.
                interrupt.interrupt();
                thread::sleep(POLL);
            }
            if thread.join().is_err() {
                warn!("a thread of the store had failed");
            }
        }
        if self.reader_thread.join().is_err() {
            warn!("the reading thread of the store had failed");
        }
        // Last, so that the write-ahead log is emptied into the database.
        if let Err(error) = self.database.close() {
            warn!(%error, "closing the store failed; the next start recovers it");
        }
        drop(self.lock);
        for done in waiting {
            // Whoever waited may have gone.
            let _gone = done.send(());
        }
    }
}
