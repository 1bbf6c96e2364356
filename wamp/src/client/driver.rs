//! The task behind a session: moves frames between transport and engine, commands into the engine, outcomes
//! and events out of it. Owned by nobody: it ends with the connection.
//!
//! It is written as one poll function, because it must read while it cannot write: two peers that only ever
//! finish their writing first can block each other for good.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::debug;

use super::incoming::{Held, Room};
use super::{Command, Event, IncomingEvent, Invocation, Joined, Queued, ReplySender, Responder};
use crate::error::{CallError, CloseReason, TransportError};
use crate::request::CallResult;
use crate::session::{Completion, Engine, Inbound, Transmit};
use crate::transport::{Received, Transport};

/// How many frames are read, and how many commands taken, before it is the turn of what they caused.
const BATCH: usize = 64;

/// How many such batches are worked off before other tasks get their turn.
const ROUNDS: usize = 16;

/// How long the last frames may take to go out once the session is over.
const FAREWELL: Duration = Duration::from_secs(1);

type Place = Pin<
    Box<dyn Future<Output = Result<(mpsc::OwnedPermit<Held>, OwnedSemaphorePermit), SendError<()>>> + Send>,
>;

/// Where events go.
pub(super) struct Outbox {
    pub(super) events: mpsc::Sender<Held>,
    pub(super) room: Room,
}

impl Outbox {
    /// Passes an event of so many bytes on; gives it back, with the wait for a place, when there is none
    /// now.
    fn pass_on(&self, event: IncomingEvent, bytes: usize) -> Option<(IncomingEvent, Place)> {
        let event = match self.room.try_take(bytes) {
            Some(room) => match self.events.try_send(Held { event, _room: Some(room) }) {
                Ok(()) => return None,
                Err(TrySendError::Full(held)) => held.event,
                // Nobody listens: dropping an invocation's responder answers it.
                Err(TrySendError::Closed(_)) => return None,
            },
            None => event,
        };
        let (events, room) = (self.events.clone(), self.room.clone());
        Some((
            event,
            Box::pin(async move {
                let place = events.reserve_owned().await?;
                let room = room.take(bytes).await.map_err(|_| SendError(()))?;
                Ok((place, room))
            }),
        ))
    }

    /// Waits for as long as it takes.
    async fn send(&self, event: IncomingEvent) {
        // If nobody wants it, so much the better.
        let _ = self.events.send(Held { event, _room: None }).await;
    }
}

pub(super) struct Driver {
    engine: Engine<ReplySender>,
    transport: Pin<Box<dyn Transport>>,
    commands: mpsc::UnboundedReceiver<Queued>,
    /// For responders; weak, so that the driver doesn't keep the queue open itself.
    responders: mpsc::WeakUnboundedSender<Queued>,
    outbox: Outbox,
    /// The event that found the channel full, and the wait for a place.
    stalled: Option<(IncomingEvent, Place)>,
    progress: HashMap<u64, mpsc::Sender<CallResult>>,
    joined: Option<oneshot::Sender<Result<Joined, CloseReason>>>,
    leaving: Vec<oneshot::Sender<()>>,
    /// What the sink wasn't ready for yet.
    unsent: Option<Transmit>,
    /// Since when the sink has not been ready. Commands are not taken meanwhile, so that nothing else
    /// bounds their wait.
    blocked_at: Option<Instant>,
    needs_flush: bool,
    /// Whether reading stopped because the engine had enough, so that no frame will wake the task.
    paused: bool,
    timer: Pin<Box<Sleep>>,
}

impl Driver {
    pub(super) fn new(
        engine: Engine<ReplySender>,
        transport: Pin<Box<dyn Transport>>,
        commands: mpsc::UnboundedReceiver<Queued>,
        responders: mpsc::WeakUnboundedSender<Queued>,
        outbox: Outbox,
        joined: oneshot::Sender<Result<Joined, CloseReason>>,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self {
            engine,
            transport,
            commands,
            responders,
            outbox,
            stalled: None,
            progress: HashMap::new(),
            joined: Some(joined),
            leaving: Vec::new(),
            unsent: None,
            blocked_at: None,
            needs_flush: false,
            paused: false,
            timer,
        }
    }

    pub(super) async fn run(mut self) {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        debug!(%reason, "session ended");
        let farewell = poll_fn(|cx| self.poll_farewell(cx));
        // The peer may be gone: nothing depends on whether it hears the last words.
        let _ = timeout(FAREWELL, farewell).await;
        drop(self.transport);

        self.commands.close();
        while let Ok(queued) = self.commands.try_recv() {
            match queued.command {
                Command::Leave { left } => self.leaving.push(left),
                command => drop(command.into_reply().map(|reply| reply.send(Err(CallError::Closed)))),
            }
        }
        for left in self.leaving.drain(..) {
            let _ = left.send(());
        }
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(Err(reason));
            return;
        }
        // What came before the end is still delivered.
        if let Some((event, _)) = self.stalled.take() {
            self.outbox.send(event).await;
        }
        while let Some(inbound) = self.engine.poll_inbound() {
            if let Some(event) = event(&self.responders, inbound) {
                self.outbox.send(event).await;
            }
        }
        self.outbox.send(IncomingEvent::Closed(reason)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        for _ in 0..ROUNDS {
            let now = Instant::now().into_std();
            let was_blocked = self.unsent.is_some();
            // What has come in time must not be found late because this task was.
            let mut progressed = self.read(cx, now);
            if self.engine.poll_timeout().is_some_and(|deadline| deadline <= now) {
                self.engine.handle_timeout(now);
            }
            self.announce(cx);
            progressed |= self.take_commands(cx, now);
            self.complete();
            self.deliver(cx);
            if let Err(error) = self.write(cx) {
                self.engine.handle_transport_error(error);
            }
            let after = self.engine.patience();
            if self.blocked_at.is_some_and(|since| since.elapsed() >= after) {
                self.engine.handle_transport_error(TransportError::Blocked { after });
            }
            // Whatever failed because of that has to be told, too.
            self.complete();
            if let Some(reason) = self.engine.take_close_reason() {
                return Poll::Ready(reason);
            }
            // What was left alone at its turn in this round, but need not be any more, has woken nobody.
            progressed |= self.paused && self.engine.wants_input();
            progressed |= was_blocked && self.unsent.is_none();
            if !progressed && self.arm(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads a batch of frames. Returns whether there may be more that are wanted now.
    fn read(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> bool {
        for _ in 0..BATCH {
            self.paused = !self.engine.wants_input();
            if self.paused || self.engine.close_reason().is_some() {
                return false;
            }
            match self.transport.as_mut().poll_next(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(Received::Message(bytes)))) => self.engine.handle_frame(now, &bytes),
                Poll::Ready(Some(Ok(Received::SignOfLife))) => self.engine.handle_sign_of_life(now),
                Poll::Ready(Some(Err(error))) => self.engine.handle_transport_error(error),
                Poll::Ready(None) => self.engine.handle_transport_error(TransportError::Closed),
            }
        }
        true
    }

    /// Tells `connect` that the session has begun; ends it if nobody waits for that any more.
    fn announce(&mut self, cx: &mut Context<'_>) {
        let Some(details) = self.engine.details() else {
            if self.joined.as_mut().is_some_and(|joined| joined.poll_closed(cx).is_ready()) {
                self.engine.handle_transport_error(CloseReason::Left);
            }
            return;
        };
        if let Some(joined) = self.joined.take() {
            let statistics = self.engine.statistics().clone();
            let _ = joined.send(Ok(Joined { details: details.clone(), statistics }));
        }
    }

    /// Takes a batch of commands, unless the transport is blocked. Returns whether there may be more.
    fn take_commands(&mut self, cx: &mut Context<'_>, now: std::time::Instant) -> bool {
        if self.engine.details().is_none() {
            return false;
        }
        for _ in 0..BATCH {
            if self.unsent.is_some() {
                return false;
            }
            match self.commands.poll_recv(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(queued)) => self.execute(queued.command, now),
                Poll::Ready(None) => {
                    // Nobody is left that could ask or be told anything.
                    self.engine.leave(now);
                    return false;
                }
            }
        }
        true
    }

    fn execute(&mut self, command: Command, now: std::time::Instant) {
        match command {
            Command::Call { call, progress, reply } => {
                let request = self.engine.call(now, call, progress.is_some(), reply);
                self.progress.extend(request.zip(progress));
            }
            Command::Register { procedure, options, reply } => {
                self.engine.register(now, &procedure, options, reply);
            }
            Command::Unregister { registration, reply } => self.engine.unregister(now, registration, reply),
            Command::Subscribe { topic, matching, reply } => {
                self.engine.subscribe(now, &topic, matching, reply);
            }
            Command::Unsubscribe { subscription, reply } => {
                self.engine.unsubscribe(now, subscription, reply);
            }
            Command::Publish { publish, reply } => self.engine.publish(now, publish, reply),
            Command::Respond { request, answer } => self.engine.respond(request, answer),
            Command::Leave { left } => {
                self.leaving.push(left);
                self.engine.leave(now);
            }
        }
    }

    /// Hands outcomes to whoever waits for them.
    fn complete(&mut self) {
        while let Some(completion) = self.engine.poll_completion() {
            match completion {
                // Who dropped the future of a request doesn't want to know.
                Completion::Done { request, token: reply, outcome } => {
                    request.and_then(|request| self.progress.remove(&request));
                    let _ = reply.send(outcome);
                }
                Completion::Progress(request, part) => {
                    if let Some(progress) = self.progress.get(&request) {
                        let _ = progress.try_send(part);
                    }
                }
            }
        }
    }

    /// Hands invocations and events to the application.
    fn deliver(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some((event, mut place)) = self.stalled.take() {
                match place.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.stalled = Some((event, place));
                        return;
                    }
                    Poll::Ready(Ok((place, room))) => drop(place.send(Held { event, _room: Some(room) })),
                    // Nobody listens: dropping an invocation's responder answers it.
                    Poll::Ready(Err(_)) => drop(event),
                }
            }
            let Some((bytes, inbound)) = self.engine.poll_inbound_sized() else { return };
            let Some(event) = event(&self.responders, inbound) else { continue };
            self.stalled = self.outbox.pass_on(event, bytes);
        }
    }

    /// Puts everything that is due on the transport, then flushes once.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        while let Some(transmit) = self.unsent.take().or_else(|| self.engine.poll_transmit()) {
            match self.transport.as_mut().poll_ready(cx)? {
                Poll::Ready(()) => {
                    self.blocked_at = None;
                    self.transport.as_mut().start_send(transmit)?;
                    self.needs_flush = true;
                }
                Poll::Pending => {
                    self.blocked_at.get_or_insert_with(Instant::now);
                    self.unsent = Some(transmit);
                    return Ok(());
                }
            }
        }
        if self.needs_flush && self.transport.as_mut().poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(())
    }

    /// Sets the timer to the next deadline. Ready when that has passed already.
    fn arm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let engine = self.engine.poll_timeout().map(Instant::from_std);
        let blocked = self.blocked_at.and_then(|since| since.checked_add(self.engine.patience()));
        let Some(deadline) = engine.into_iter().chain(blocked).min() else { return Poll::Pending };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }

    /// Sends what is left, then closes the transport.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.write(cx).is_err() {
            return Poll::Ready(());
        }
        if self.unsent.is_some() || self.needs_flush {
            return Poll::Pending;
        }
        self.transport.as_mut().poll_close(cx).map(drop)
    }
}

impl Command {
    /// Who waits for its outcome.
    fn into_reply(self) -> Option<ReplySender> {
        match self {
            Self::Call { reply, .. }
            | Self::Register { reply, .. }
            | Self::Unregister { reply, .. }
            | Self::Subscribe { reply, .. }
            | Self::Unsubscribe { reply, .. }
            | Self::Publish { reply, .. } => Some(reply),
            Self::Respond { .. } | Self::Leave { .. } => None,
        }
    }
}

/// What the application gets to see of it.
fn event(responders: &mpsc::WeakUnboundedSender<Queued>, inbound: Inbound) -> Option<IncomingEvent> {
    Some(match inbound {
        Inbound::Invocation { request, registration, procedure, caller, payload, interrupted } => {
            // Nobody to answer it is left, and the session about to end.
            let responder = Responder::new(request, interrupted, responders.upgrade()?);
            let (args, kwargs) = (payload.args, payload.kwargs);
            IncomingEvent::Invocation(Invocation { registration, procedure, args, kwargs, caller, responder })
        }
        Inbound::Event { subscription, publication, topic, payload } => {
            let (args, kwargs) = (payload.args, payload.kwargs);
            IncomingEvent::Event(Event { subscription, publication, topic, args, kwargs })
        }
        Inbound::Unregistered { registration, procedure } => {
            IncomingEvent::RegistrationRevoked { registration, procedure }
        }
    })
}
