//! What the router brings unasked, as the application sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Command, Queued};
use crate::error::{CloseReason, uris};
use crate::message::{Dict, Payload};
use crate::request::{Answer, PublicationId, RegistrationId, SubscriptionId};
use crate::session::Caller;
use xbr_core::Value;

/// Where invocations and events come out, in the order of the wire. When it isn't read, the router is slowed
/// down; when it is dropped, invocations are answered with an error and events left out.
#[derive(Debug)]
pub struct Incoming {
    events: mpsc::Receiver<Held>,
    /// Keeps the session up for who only listens, and lets responders have their own.
    _commands: mpsc::UnboundedSender<Queued>,
}

/// An event on its way to the application, with the room that it takes up until it is there.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) event: IncomingEvent,
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Room for the bytes of events, in units of 1 KiB.
#[derive(Debug, Clone)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    all: u32,
}

impl Room {
    /// Room for so many bytes, and at least for one event.
    pub(super) fn new(bytes: usize) -> Self {
        let all = units(bytes);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Room for an event of so many bytes, if there is any now. One that is larger than all there is takes
    /// all.
    pub(super) fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_many_owned(units(bytes).min(self.all)).ok()
    }

    /// Waits for it.
    pub(super) async fn take(self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.free.acquire_many_owned(units(bytes).min(self.all)).await
    }
}

/// At least one, and no more than a semaphore can have.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4)
}

/// Something that the router brought.
#[derive(Debug)]
pub enum IncomingEvent {
    /// Somebody calls one of our procedures.
    Invocation(Invocation),
    /// An event on a topic that we subscribed to.
    Event(Event),
    /// The router took a registration from us: another callee forced its own.
    RegistrationRevoked {
        /// Our former registration.
        registration: RegistrationId,
        /// The URI it was for.
        procedure: Arc<str>,
    },
    /// The session is over. Nothing follows.
    Closed(CloseReason),
}

/// A call of one of our procedures.
#[derive(Debug)]
pub struct Invocation {
    /// Our registration.
    pub registration: RegistrationId,
    /// The URI called.
    pub procedure: Arc<str>,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Dict,
    /// Who calls, as far as the router discloses it.
    pub caller: Caller,
    /// How to answer.
    pub responder: Responder,
}

/// An event on a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Our subscription.
    pub subscription: SubscriptionId,
    /// The event's id.
    pub publication: PublicationId,
    /// The topic published to.
    pub topic: Arc<str>,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Dict,
}

/// Answers one invocation, once. When it is dropped unused, the caller gets an error.
#[derive(Debug)]
pub struct Responder {
    request: u64,
    interrupted: Arc<AtomicBool>,
    /// Taken by the answer.
    commands: Option<mpsc::UnboundedSender<Queued>>,
}

impl Incoming {
    pub(super) fn new(events: mpsc::Receiver<Held>, commands: mpsc::UnboundedSender<Queued>) -> Self {
        Self { events, _commands: commands }
    }

    /// The next one, after waiting for it; `None` after [`IncomingEvent::Closed`]. Safe to cancel.
    pub async fn next(&mut self) -> Option<IncomingEvent> {
        self.events.recv().await.map(|held| held.event)
    }
}

impl Responder {
    pub(super) fn new(
        request: u64,
        interrupted: Arc<AtomicBool>,
        commands: mpsc::UnboundedSender<Queued>,
    ) -> Self {
        Self { request, interrupted, commands: Some(commands) }
    }

    /// Whether the caller has given up. The handler may go on nevertheless: what it did stays done.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Returns results. Never waits; after the end of the session it does nothing.
    pub fn yield_result(self, args: Vec<Value>, kwargs: Dict) {
        self.answer(Answer::Yield(Payload { args, kwargs }));
    }

    /// Returns an error. Never waits; after the end of the session it does nothing.
    pub fn error(self, uri: &str, args: Vec<Value>, kwargs: Dict) {
        self.answer(Answer::Error { uri: uri.to_owned(), payload: Payload { args, kwargs } });
    }

    /// Returns either. Never waits; after the end of the session it does nothing.
    pub fn answer(mut self, answer: Answer) {
        self.send(answer);
    }

    fn send(&mut self, answer: Answer) {
        if let Some(commands) = self.commands.take() {
            let command = Command::Respond { request: self.request, answer };
            // An error means that the session is over, and nobody waits for an answer.
            let _ = commands.send(Queued { command, _place: None });
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.commands.is_some() {
            self.send(match self.is_interrupted() {
                true => Answer::error(uris::CANCELED, "the call was canceled"),
                false => Answer::error(uris::RUNTIME_ERROR, "the invocation was not answered"),
            });
        }
    }
}
