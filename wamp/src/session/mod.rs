//! The session engine: all of the protocol, without I/O, clock or runtime.
//!
//! Frames, commands and the passing of time go in by `handle_*` and the commands; frames, outcomes and events
//! come out by `poll_*`. Whoever drives it ([`crate::client`], or a test on virtual time) owns the transport
//! and passes the time as `now`. Nothing of it survives the connection.
//!
//! Each request carries a token `T` of the driver's, which comes back with the outcome, exactly once.

mod commands;
mod config;
mod inbound;
mod liveness;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use xbr_core::Value;

pub use config::SessionConfig;
pub use liveness::{Liveness, Verdict};

use crate::codec::Serializer;
use crate::error::{CallError, CloseReason, ProtocolViolation, uris};
use crate::message::{Dict, MAX_ID, Message, Payload};
use crate::request::{CallResult, PublicationId, RegistrationId, SubscriptionId};
use crate::statistics::Statistics;

/// What the router told about the session when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The session's id at the router.
    pub session: u64,
    /// The name under which the router knows us.
    pub authid: Option<String>,
    /// The role that the router gave us.
    pub authrole: Option<String>,
    /// How we were authenticated.
    pub authmethod: Option<String>,
    /// What router it is.
    pub agent: Option<String>,
    /// How messages are serialized.
    pub serializer: Serializer,
}

/// What to put on the transport next.
#[derive(Clone, PartialEq, Eq)]
pub enum Transmit {
    /// A message, serialized.
    Message(Bytes),
    /// A ping of the transport's own kind, to which any sign of life is an answer.
    Ping,
}

impl fmt::Debug for Transmit {
    /// Without the content, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(bytes) => write!(f, "Message({} bytes)", bytes.len()),
            Self::Ping => f.write_str("Ping"),
        }
    }
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Completion<T> {
    /// A request is over.
    Done {
        /// Its id, if it was sent and has one.
        request: Option<u64>,
        /// The driver's token.
        token: T,
        /// What came of it.
        outcome: Result<Reply, CallError>,
    },
    /// A call has a first or further part of its result; more follows.
    Progress(u64, CallResult),
}

/// What a request brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A call returned.
    Result(CallResult),
    /// A procedure is registered.
    Registered(RegistrationId),
    /// A registration is undone.
    Unregistered,
    /// A topic is subscribed to.
    Subscribed(SubscriptionId),
    /// A subscription is undone.
    Unsubscribed,
    /// An event is published; with its id if that was asked for.
    Published(Option<PublicationId>),
}

/// What the router brings unasked.
#[derive(Debug, Clone)]
pub enum Inbound {
    /// Somebody calls one of our procedures; to be answered by [`Engine::respond`].
    Invocation {
        /// The id to answer to.
        request: u64,
        /// Our registration.
        registration: RegistrationId,
        /// The URI called.
        procedure: Arc<str>,
        /// Who calls, if the router discloses it.
        caller: Caller,
        /// The arguments.
        payload: Payload,
        /// Becomes true when the caller has given up.
        interrupted: Arc<AtomicBool>,
    },
    /// An event on a topic that we subscribed to.
    Event {
        /// Our subscription.
        subscription: SubscriptionId,
        /// The event's id.
        publication: PublicationId,
        /// The topic published to.
        topic: Arc<str>,
        /// The arguments.
        payload: Payload,
    },
    /// The router took a registration from us, as happens when another callee forces its own.
    Unregistered {
        /// Our former registration.
        registration: RegistrationId,
        /// The URI it was for.
        procedure: Arc<str>,
    },
}

/// Who calls, as far as the router discloses it. It is the router's word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The caller's session.
    pub session: Option<u64>,
    /// The caller's authid.
    pub authid: Option<String>,
    /// The caller's role.
    pub authrole: Option<String>,
}

#[derive(Debug)]
enum State {
    /// HELLO is out. Whether a challenge was answered already.
    Joining {
        deadline: Instant,
        challenged: bool,
    },
    Joined,
    /// GOODBYE is out.
    Leaving {
        deadline: Instant,
    },
    Closed,
}

/// What a pending request waits for.
#[derive(Debug)]
enum Kind {
    Call,
    Register { procedure: Arc<str> },
    Unregister { registration: RegistrationId },
    Subscribe { topic: Arc<str> },
    Unsubscribe { subscription: SubscriptionId },
    Publish,
}

#[derive(Debug)]
struct Pending<T> {
    kind: Kind,
    token: T,
    deadline: Instant,
    timeout: Duration,
}

/// How many times the backlog has to be exceeded before things are refused.
const SHED_FACTOR: usize = 4;

/// How many times the backlog may wait to be sent before reading stops, whatever is due.
const PILE_FACTOR: usize = 16;

/// The end of a time that may be configured as long as anybody likes: a century must do.
pub fn later(now: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now + duration.min(CENTURY)
}

/// A session over one connection. See the module.
#[derive(Debug)]
pub struct Engine<T> {
    config: SessionConfig,
    statistics: Arc<Statistics>,
    state: State,
    details: Option<Arc<Details>>,
    /// Whether the router understands CANCEL.
    can_cancel: bool,
    next_request: u64,
    pending: HashMap<u64, Pending<T>>,
    deadlines: BTreeSet<(Instant, u64)>,
    registrations: HashMap<u64, Arc<str>>,
    subscriptions: HashMap<u64, Arc<str>>,
    /// Invocations that wait for our answer.
    invocations: HashMap<u64, Arc<AtomicBool>>,
    transmits: VecDeque<Transmit>,
    completions: VecDeque<Completion<T>>,
    /// What waits to be taken, each with the size of its frame.
    inbound: VecDeque<(usize, Inbound)>,
    inbound_bytes: usize,
    /// The size of the frame that is being handled.
    frame_bytes: usize,
    liveness: Liveness,
    close_reason: Option<CloseReason>,
}

impl<T> Engine<T> {
    /// Begins a session on a connection that was just made: HELLO is the first thing to transmit.
    pub fn new(config: SessionConfig, now: Instant) -> Self {
        let mut engine = Self {
            statistics: Arc::default(),
            state: State::Joining { deadline: later(now, config.join_timeout), challenged: false },
            details: None,
            can_cancel: false,
            next_request: 1,
            pending: HashMap::new(),
            deadlines: BTreeSet::new(),
            registrations: HashMap::new(),
            subscriptions: HashMap::new(),
            invocations: HashMap::new(),
            transmits: VecDeque::new(),
            completions: VecDeque::new(),
            inbound: VecDeque::new(),
            inbound_bytes: 0,
            frame_bytes: 0,
            liveness: Liveness::new(config.ping_interval, config.ping_timeout, now),
            close_reason: None,
            config,
        };
        let hello = engine.config.hello();
        engine.transmit(hello);
        engine
    }

    /// What the router told when the session began; `None` before.
    pub fn details(&self) -> Option<&Arc<Details>> {
        self.details.as_ref()
    }

    /// The counters.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// The next thing to put on the transport.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next outcome of a request.
    pub fn poll_completion(&mut self) -> Option<Completion<T>> {
        self.completions.pop_front()
    }

    /// The next thing that the router brought unasked.
    pub fn poll_inbound(&mut self) -> Option<Inbound> {
        self.poll_inbound_sized().map(|(_, inbound)| inbound)
    }

    /// [`poll_inbound`](Self::poll_inbound), with the size of its frame in bytes.
    pub(crate) fn poll_inbound_sized(&mut self) -> Option<(usize, Inbound)> {
        let (bytes, inbound) = self.inbound.pop_front()?;
        self.inbound_bytes = self.inbound_bytes.saturating_sub(bytes);
        Some((bytes, inbound))
    }

    /// Keeps what came until it is taken.
    fn keep(&mut self, inbound: Inbound) {
        self.inbound_bytes = self.inbound_bytes.saturating_add(self.frame_bytes);
        self.inbound.push_back((self.frame_bytes, inbound));
    }

    /// Whether so many times the backlog waits to be taken.
    fn is_backed_up(&self, factor: usize) -> bool {
        self.inbound.len() >= self.config.max_backlog.saturating_mul(factor)
            || self.inbound_bytes >= self.config.max_backlog_bytes.saturating_mul(factor)
    }

    /// Why the session is over, once it is; what is to be transmitted before the connection closes is still
    /// there.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.close_reason.as_ref()
    }

    /// Takes the reason out.
    pub fn take_close_reason(&mut self) -> Option<CloseReason> {
        self.close_reason.take()
    }

    /// Whether to read further frames. Not while too many invocations and events wait to be taken, so that
    /// the peer slows down; but in spite of that when answers are due, since taking may be waiting for them.
    /// Never while a peer that does not read makes what we answer pile up.
    pub fn wants_input(&self) -> bool {
        let leaving = matches!(self.state, State::Leaving { .. });
        let piled_up = self.transmits.len() >= self.config.max_backlog.saturating_mul(PILE_FACTOR);
        (!self.is_backed_up(1) || !self.pending.is_empty() || leaving) && !piled_up
    }

    /// How long a peer may read nothing while something waits to be sent: as long as an answer may take.
    pub(crate) fn patience(&self) -> Duration {
        self.config.call_timeout
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let request = self.deadlines.first().map(|(deadline, _)| *deadline);
        let state = match self.state {
            State::Joining { deadline, .. } | State::Leaving { deadline } => Some(deadline),
            State::Joined => self.liveness.deadline(),
            State::Closed => return None,
        };
        request.into_iter().chain(state).min()
    }

    /// Lets time pass: requests fail that waited too long, pings go out, a dead connection is found.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, request)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.expire(request);
        }
        match self.state {
            State::Joining { deadline, .. } if deadline <= now => {
                self.close(CloseReason::JoinTimeout { after: self.config.join_timeout });
            }
            State::Leaving { deadline } if deadline <= now => self.close(CloseReason::Left),
            State::Joined if !self.wants_input() => self.liveness.heard(now),
            State::Joined => match self.liveness.check(now) {
                Verdict::Alive => {}
                Verdict::Ping => self.transmits.push_back(Transmit::Ping),
                Verdict::Dead => {
                    self.close(CloseReason::PingTimeout { after: self.config.ping_timeout });
                }
            },
            _ => {}
        }
    }

    /// The transport failed or ended.
    pub fn handle_transport_error(&mut self, reason: impl Into<CloseReason>) {
        match self.state {
            State::Leaving { .. } => self.close(CloseReason::Left),
            _ => self.close(reason.into()),
        }
    }

    /// Something came that was no message, such as the answer to a ping.
    pub fn handle_sign_of_life(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined)
    }

    /// Queues a message of our own making, which is small and carried by every serializer.
    fn transmit(&mut self, message: Message) {
        if let Ok(bytes) = self.config.serializer.encode(message.into_elements()) {
            self.transmits.push_back(Transmit::Message(bytes.into()));
        }
    }

    /// Serializes a message that carries what the application gave.
    fn encode(&self, message: Message) -> Result<Vec<u8>, CallError> {
        let bytes = self.config.serializer.encode(message.into_elements()).map_err(CallError::Encode)?;
        let (size, max) = (bytes.len(), self.config.max_outgoing_bytes);
        if size > max {
            return Err(CallError::TooLarge { size, max });
        }
        Ok(bytes)
    }

    fn advance_request(&mut self) {
        self.next_request = if self.next_request == MAX_ID { 1 } else { self.next_request + 1 };
    }

    fn take_pending(&mut self, request: u64) -> Option<Pending<T>> {
        let pending = self.pending.remove(&request)?;
        self.deadlines.remove(&(pending.deadline, request));
        Some(pending)
    }

    fn expire(&mut self, request: u64) {
        let Some(pending) = self.take_pending(request) else { return };
        if matches!(pending.kind, Kind::Call) && self.can_cancel && self.is_joined() {
            let options: Dict = vec![("mode".to_owned(), Value::from("killnowait"))];
            self.transmit(Message::Cancel { request, options });
        }
        let timeout = CallError::Timeout { after: pending.timeout };
        self.done(Some(request), pending.token, Err(timeout));
    }

    fn done(&mut self, request: Option<u64>, token: T, outcome: Result<Reply, CallError>) {
        self.completions.push_back(Completion::Done { request, token, outcome });
    }

    /// Gives up on a peer that broke the protocol.
    fn violation(&mut self, violation: ProtocolViolation) {
        let details: Dict = vec![("message".to_owned(), Value::Str(violation.to_string()))];
        self.transmit(Message::Abort { details, reason: uris::PROTOCOL_VIOLATION.to_owned() });
        self.close(CloseReason::Protocol(violation));
    }

    /// Ends the session: whatever waits for an answer will never know.
    fn close(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.state = State::Closed;
        self.close_reason = Some(reason);
        self.deadlines.clear();
        self.invocations.clear();
        let mut requests: Vec<u64> = self.pending.keys().copied().collect();
        requests.sort_unstable();
        for request in requests {
            if let Some(pending) = self.pending.remove(&request) {
                self.done(Some(request), pending.token, Err(CallError::Lost));
            }
        }
    }
}
