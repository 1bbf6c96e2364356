//! The thread that owns what a [`MemoryStore`](super::MemoryStore) holds, its faults, what it holds back, and
//! its journal. It ends with the last handle.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::tables::Tables;
use super::{Fault, JournalEntry};
use crate::operation::{Subject, refused};
use crate::{Operation, Read, StoreError, Write};

/// What reaches the thread.
pub(super) type Message = Box<dyn FnOnce(&mut Owner) + Send>;
/// Which writes a fault is for.
pub(super) type Predicate = Box<dyn FnMut(&Write) -> bool + Send>;
/// Answers a read from the tables.
type Answer = Box<dyn FnOnce(&Tables) + Send>;

#[derive(Default)]
pub(super) struct Owner {
    tables: Tables,
    faults: Vec<(Predicate, Fault)>,
    holding: bool,
    held: VecDeque<Waiting>,
    /// Who waits for a number of operations to be held back.
    watchers: Vec<(usize, oneshot::Sender<()>)>,
    journal: Vec<JournalEntry>,
}

#[expect(clippy::large_enum_variant, reason = "few are held back, and nearly all are writes")]
enum Waiting {
    Write(Write, oneshot::Sender<Result<(), StoreError>>),
    Read(Read, Answer),
}

/// Does what it is told until the last handle is gone. What is held back then is lost.
pub(super) fn run(messages: Receiver<Message>) {
    let mut owner = Owner::default();
    while let Ok(message) = messages.recv() {
        message(&mut owner);
    }
}

impl Owner {
    pub(super) fn write(&mut self, write: Write, reply: oneshot::Sender<Result<(), StoreError>>) {
        self.enter(Waiting::Write(write, reply));
    }

    pub(super) fn read(&mut self, read: Read, answer: Answer) {
        let waits = match read.subject() {
            Some(subject) => self.held.iter().any(|waiting| waiting.writes(subject)),
            None => !self.held.is_empty(),
        };
        if waits {
            self.enter(Waiting::Read(read, answer));
        } else {
            self.execute(Waiting::Read(read, answer));
        }
    }

    pub(super) fn add_fault(&mut self, predicate: Predicate, fault: Fault) {
        self.faults.push((predicate, fault));
    }

    pub(super) fn hold(&mut self) {
        self.holding = true;
    }

    pub(super) fn release(&mut self) {
        self.holding = false;
        while let Some(waiting) = self.held.pop_front() {
            self.execute(waiting);
        }
    }

    pub(super) fn lose_held(&mut self) {
        self.holding = false;
        self.held.clear();
    }

    pub(super) fn held(&self) -> Vec<Operation> {
        self.held.iter().map(Waiting::operation).collect()
    }

    pub(super) fn journal(&self) -> Vec<JournalEntry> {
        self.journal.clone()
    }

    /// Tells a watcher as soon as this many operations are held back.
    pub(super) fn watch_held(&mut self, count: usize, watcher: oneshot::Sender<()>) {
        self.watchers.push((count, watcher));
        self.notify();
    }

    fn enter(&mut self, waiting: Waiting) {
        if !self.holding {
            return self.execute(waiting);
        }
        self.held.push_back(waiting);
        self.notify();
    }

    fn notify(&mut self) {
        let held = self.held.len();
        for (_, watcher) in self.watchers.extract_if(.., |(count, _)| *count <= held) {
            // A watcher that has gone needs no word.
            let _gone = watcher.send(());
        }
    }

    fn execute(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Write(write, reply) => {
                let result = self.apply(&write);
                self.journal
                    .push(JournalEntry { operation: Operation::Write(write), result: result.clone() });
                let _gone = reply.send(result);
            }
            Waiting::Read(read, answer) => {
                self.journal.push(JournalEntry { operation: Operation::Read(read), result: Ok(()) });
                answer(&self.tables);
            }
        }
    }

    fn apply(&mut self, write: &Write) -> Result<(), StoreError> {
        // Every predicate sees every write, so that one may count them.
        let mut hit = None;
        for (index, (predicate, _)) in self.faults.iter_mut().enumerate() {
            if predicate(write) {
                hit = hit.or(Some(index));
            }
        }
        let fault = hit.map(|index| self.faults.remove(index).1);
        let unknown = || StoreError::Unknown { reason: "injected fault".to_owned() };
        match fault {
            None => self.tables.apply(write),
            Some(Fault::Refused) => Err(refused("injected fault")),
            Some(Fault::UnknownAndLost) => Err(unknown()),
            Some(Fault::UnknownButWritten) => {
                self.tables.apply(write)?;
                Err(unknown())
            }
        }
    }
}

impl Waiting {
    fn writes(&self, subject: Subject) -> bool {
        matches!(self, Self::Write(write, _) if write.subject() == Some(subject))
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Write(write, _) => Operation::Write(write.clone()),
            Self::Read(read, _) => Operation::Read(*read),
        }
    }
}
