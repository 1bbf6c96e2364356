//! The task of a connection: lets the client join a realm, then passes on what it says, and sends what the
//! realm has for it. It ends with the connection, and the session with it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};
use tracing::debug;
use wampproto::uris;
use xbr_core::Value;
use xbr_wamp::error::{Malformed, TransportError};
use xbr_wamp::message::{Dict, MAX_ID, Message, code};
use xbr_wamp::reading::Reader;
use xbr_wamp::session::{Liveness, Transmit, Verdict, later};
use xbr_wamp::transport::{Connection, Received, Transport};

use super::handshake::{Handshake, Step};
use super::options::Identity;
use super::realm::{Newcomer, abort, error};
use super::realm_task::{Inlet, Outlet, ToRealm};
use super::tasks::{Phase, Shared, Tasks};

/// How many messages are written before the connection is flushed.
const BATCH: usize = 64;

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many frames that are no messages a client may send before it has joined.
const MAX_IDLE_FRAMES: usize = 16;

/// A connection, as frames.
struct Line {
    transport: Pin<Box<dyn Transport>>,
    reader: Reader,
    write_timeout: Duration,
}

/// A client that has joined.
struct Session {
    shared: Arc<Shared>,
    line: Line,
    id: u64,
    mailbox: mpsc::Sender<ToRealm>,
    inlet: Inlet,
    phase: watch::Receiver<Phase>,
    liveness: Liveness,
    timer: Pin<Box<Sleep>>,
}

/// What comes next for a session.
enum Turn {
    Send(Bytes),
    Received(Option<Result<Received, TransportError>>),
    Silence,
    Expelled,
    Killed,
    Closing,
}

/// How a connection ends: with a last message, or without a word.
type End = Option<Message>;

/// Serves one connection until it ends. The client has to join before `deadline`; one in this process is
/// known already.
pub(super) async fn serve(tasks: Tasks, connection: Connection, local: Option<Identity>, deadline: Instant) {
    let Tasks { shared, phase, .. } = tasks;
    let options = &shared.options;
    let Connection { serializer, transport } = connection;
    let reader = Reader { serializer, limits: options.limits, max_message_bytes: options.max_message_bytes };
    let mut line = Line { transport, reader, write_timeout: options.write_timeout };
    // A connection within the process cannot die unnoticed.
    let ping_interval = options.ping_interval.filter(|_| local.is_none());
    let handshake = Handshake::new(Arc::clone(&shared.realms), local);
    let (newcomer, realm, welcome) = match timeout_at(deadline, line.handshake(handshake)).await {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(end)) => {
            debug!(?end, "a client was not let in");
            shared.counters.refused.count();
            return line.farewell(end).await;
        }
        Err(_) => return shared.counters.refused.count(),
    };
    let Some(mailbox) = shared.mailboxes.get(&realm).cloned() else { return };
    let (outlet, inlet) = Outlet::new(serializer, options.max_queued_messages);
    let id = newcomer.session;
    if mailbox.send(ToRealm::Join { newcomer, outlet }).await.is_err() {
        return;
    }
    let now = Instant::now();
    let liveness = Liveness::new(ping_interval, options.ping_timeout, now.into_std());
    let timer = Box::pin(sleep_until(now));
    let session = Session { shared, line, id, mailbox, inlet, phase, liveness, timer };
    session.run(welcome).await;
}

impl Line {
    /// Lets the client say who it is.
    async fn handshake(&mut self, mut handshake: Handshake) -> Result<(Newcomer, String, Message), End> {
        for _ in 0..MAX_IDLE_FRAMES {
            let bytes = match self.transport.next().await {
                Some(Ok(Received::Message(bytes))) => bytes,
                Some(Ok(Received::SignOfLife)) => continue,
                Some(Err(_)) | None => return Err(None),
            };
            let message = self.reader.read(&bytes, |_| ()).map_err(|((), reason)| violation(&reason))?;
            match handshake.handle(message) {
                Step::Challenge(challenge) => self.say(challenge).await.map_err(|_| None)?,
                Step::Welcome { newcomer, realm, message } => return Ok((newcomer, realm, message)),
                Step::Abort(abort) => return Err(Some(abort)),
            }
        }
        Err(None)
    }

    async fn say(&mut self, message: Message) -> Result<(), TransportError> {
        match self.reader.serializer.encode(message.into_elements()) {
            Ok(bytes) => self.send(Transmit::Message(bytes.into())).await,
            // What the router says of its own, every serializer can carry.
            Err(error) => Err(TransportError::Protocol { message: error.to_string() }),
        }
    }

    async fn send(&mut self, transmit: Transmit) -> Result<(), TransportError> {
        let sent = timeout(self.write_timeout, self.transport.send(transmit)).await;
        sent.unwrap_or(Err(TransportError::Closed))
    }

    /// Says the last words, if there are any, and closes the connection.
    async fn farewell(mut self, end: End) {
        let farewell = async {
            if let Some(message) = end {
                self.say(message).await?;
            }
            self.transport.close().await
        };
        // Nothing depends on whether the client hears it.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

impl Session {
    async fn run(mut self, welcome: Message) {
        let end = match self.line.say(welcome).await {
            Ok(()) => self.exchange().await,
            Err(_) => None,
        };
        // The realm has to know before time is spent on last words; it is gone only when all is over.
        let _ = self.mailbox.send(ToRealm::Leave { session: self.id }).await;
        self.line.farewell(end).await;
    }

    async fn exchange(&mut self) -> End {
        let (mut phase, gauge) = (self.phase.clone(), Arc::clone(&self.inlet.gauge));
        // Both are waited for all the time, so that there is no need to begin anew with each message.
        let mut closing = pin!(phase.wait_for(|phase| *phase != Phase::Running));
        let mut killed = pin!(gauge.killed.notified());
        loop {
            let turn = tokio::select! {
                bytes = self.inlet.next() => bytes.map_or(Turn::Expelled, Turn::Send),
                received = self.line.transport.next() => Turn::Received(received),
                () = self.timer.as_mut() => Turn::Silence,
                () = killed.as_mut() => Turn::Killed,
                _ = closing.as_mut() => Turn::Closing,
            };
            let goes_on = match turn {
                Turn::Send(bytes) => self.write(bytes, killed.as_mut()).await,
                Turn::Received(Some(Ok(received))) => self.hear(received).await,
                Turn::Silence => self.check_life().await,
                Turn::Closing => return self.say_goodbye().await,
                Turn::Received(Some(Err(_)) | None) | Turn::Expelled | Turn::Killed => Err(None),
            };
            if let Err(end) = goes_on {
                return end;
            }
        }
    }

    /// Writes a message and those that wait behind it.
    async fn write(&mut self, first: Bytes, killed: impl Future<Output = ()>) -> Result<(), End> {
        let (transport, inlet) = (&mut self.line.transport, &mut self.inlet);
        let writing = async {
            transport.feed(Transmit::Message(first)).await?;
            for _ in 1..BATCH {
                let Some(bytes) = inlet.try_next() else { break };
                transport.feed(Transmit::Message(bytes)).await?;
            }
            transport.flush().await
        };
        tokio::select! {
            written = timeout(self.line.write_timeout, writing) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(None),
            },
            () = killed => Err(None),
        }
    }

    async fn hear(&mut self, received: Received) -> Result<(), End> {
        self.liveness.heard(Instant::now().into_std());
        let Received::Message(bytes) = received else { return Ok(()) };
        match self.line.reader.read(&bytes, salvage) {
            Ok(Message::Goodbye { .. }) => Err(Some(goodbye(GOODBYE_AND_OUT))),
            Ok(Message::Abort { .. }) => Err(None),
            Ok(message) => self.pass_on(message).await,
            Err((concerned, reason)) => self.malformed(concerned, &reason).await,
        }
    }

    async fn pass_on(&mut self, message: Message) -> Result<(), End> {
        let told = ToRealm::Message { session: self.id, message };
        self.mailbox.send(told).await.map_err(|_| None)
    }

    /// A message could not be read: whoever waits for what it asks or answers gets an error.
    async fn malformed(&mut self, concerned: Concerned, reason: &Malformed) -> Result<(), End> {
        debug!(session = self.id, ?concerned, %reason, "a message cannot be read");
        let uri = match reason {
            Malformed::TooLarge { .. } => uris::PAYLOAD_SIZE_EXCEEDED,
            _ => uris::INVALID_ARGUMENT,
        };
        match concerned {
            Concerned::Request { request_type, request } => {
                let error = error(request_type, request, uri, reason.to_string());
                self.line.say(error).await.map_err(|_| None)
            }
            Concerned::Answer { request } => {
                self.pass_on(error(code::INVOCATION, request, uri, format!("callee's answer: {reason}")))
                    .await
            }
            Concerned::Droppable => Ok(()),
            Concerned::Nobody => {
                self.shared.counters.expelled.count();
                Err(violation(reason))
            }
        }
    }

    async fn check_life(&mut self) -> Result<(), End> {
        let now = Instant::now().into_std();
        match self.liveness.check(now) {
            Verdict::Alive => {}
            Verdict::Ping => self.line.send(Transmit::Ping).await.map_err(|_| None)?,
            Verdict::Dead => return Err(None),
        }
        let next = self.liveness.deadline().unwrap_or_else(|| later(now, Duration::MAX));
        self.timer.as_mut().reset(Instant::from_std(next));
        Ok(())
    }

    /// Ends the session from this side, and waits for the client to agree.
    async fn say_goodbye(&mut self) -> End {
        let _ = self.mailbox.send(ToRealm::Leave { session: self.id }).await;
        // What was sent before still goes out.
        while let Some(bytes) = self.inlet.next().await {
            self.write(bytes, std::future::pending()).await.ok()?;
        }
        self.line.say(goodbye(uris::CLOSE_SYSTEM_SHUTDOWN)).await.ok()?;
        while let Some(Ok(received)) = self.line.transport.next().await {
            if let Received::Message(bytes) = received
                && let Ok(Message::Goodbye { .. }) = self.line.reader.read(&bytes, |_| ())
            {
                break;
            }
        }
        None
    }
}

/// The answer to GOODBYE.
const GOODBYE_AND_OUT: &str = xbr_wamp::error::uris::GOODBYE_AND_OUT;

fn goodbye(reason: &str) -> Message {
    Message::Goodbye { details: Dict::new(), reason: reason.to_owned() }
}

fn violation(reason: &Malformed) -> End {
    Some(abort(uris::PROTOCOL_VIOLATION, reason.to_string()))
}

/// Whom a message concerned that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concerned {
    /// The client itself, who waits for an answer to this request.
    Request { request_type: u64, request: u64 },
    /// The caller of this invocation.
    Answer { request: u64 },
    /// Nobody that waits for anything.
    Droppable,
    /// Nobody that could be told.
    Nobody,
}

fn salvage(elements: &[Value]) -> Concerned {
    let id =
        |index: usize| elements.get(index).and_then(Value::as_u64).filter(|id| (1..=MAX_ID).contains(id));
    let answer = |index| id(index).map_or(Concerned::Nobody, |request| Concerned::Answer { request });
    match elements.first().and_then(Value::as_u64) {
        Some(
            request_type @ (code::CALL
            | code::REGISTER
            | code::UNREGISTER
            | code::SUBSCRIBE
            | code::UNSUBSCRIBE
            | code::PUBLISH),
        ) => match (id(1), elements.get(2).and_then(|options| options.field("acknowledge"))) {
            (None, _) => Concerned::Nobody,
            // Without being asked for, nothing may be answered to a publication.
            (_, acknowledge) if request_type == code::PUBLISH && acknowledge != Some(&Value::Bool(true)) => {
                Concerned::Droppable
            }
            (Some(request), _) => Concerned::Request { request_type, request },
        },
        Some(code::YIELD) => answer(1),
        Some(code::ERROR) => answer(2),
        _ => Concerned::Nobody,
    }
}
