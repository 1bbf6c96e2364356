//! The routing of a realm, without I/O, clock or runtime: who has joined, and what follows from what they
//! say.
//!
//! Messages and the passing of time go in by [`Realm::handle`] and [`Realm::handle_timeout`], what is to be
//! sent comes out by [`Realm::poll_delivery`]. Whoever drives it owns the connections and passes the time as
//! `now`. Registrations and subscriptions are matched by the dealer and the broker of `wampproto`; this adds
//! permissions, bounds, time-outs and takeovers, and keeps from it what it must not see. Nothing of it
//! survives the realm.

mod calls;
pub(super) mod convert;
mod events;
mod request;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use wampproto::broker::Broker;
use wampproto::dealer::Dealer;
use wampproto::types::SessionDetails;
use wampproto::uris;
use xbr_core::Value;
use xbr_wamp::message::{Dict, MAX_ID, Message, Payload, code};

pub use calls::{Hindrance, Undelivered};
pub use request::Refusal;

use super::options::{Bounds, RealmOptions};
use super::permissions::Role;
use calls::Pending;
use request::Options;

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The session's id, 1 to 2^53.
    pub session: u64,
    /// The name.
    pub authid: String,
    /// The name of the role.
    pub role: String,
    /// What the client announced.
    pub features: Features,
}

/// What a client announced that the router has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// As a callee it understands INTERRUPT.
    pub call_canceling: bool,
    /// As a callee it understands that a registration is taken from it.
    pub registration_revocation: bool,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// A message for one session.
    Message {
        /// For whom.
        to: u64,
        /// What.
        message: Message,
    },
    /// An event, which may be left out for whoever cannot keep up.
    Event {
        /// For whom.
        to: Vec<u64>,
        /// What.
        message: Message,
    },
    /// The last message of a session, which is no longer part of the realm.
    Expel {
        /// For whom.
        session: u64,
        /// An ABORT.
        message: Message,
    },
}

/// What a session did that ends it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// A message that clients don't send, or not now.
    #[error("unexpected {message}")]
    Unexpected {
        /// The name of the message.
        message: &'static str,
    },
    /// Ids are 1 to 2^53.
    #[error("{message} with an invalid id")]
    InvalidId {
        /// The name of the message.
        message: &'static str,
    },
    /// A call with the id of one that is under way.
    #[error("call with the id of one that is under way")]
    RequestInUse,
    /// An answer to an invocation of another callee.
    #[error("answer to an invocation of another callee")]
    ForeignInvocation,
    /// CANCEL has no answer that could say it otherwise.
    #[error("call cannot be canceled in that way")]
    CancelMode,
    /// The dealer or the broker would not take it.
    #[error("message cannot be routed")]
    Unroutable,
}

/// What keeps a message from being routed.
#[derive(Debug, Error)]
enum Fault {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Violated(#[from] Violation),
}

/// What a refusal is the answer to. Without being asked for, nothing may be answered to a publication.
struct Asked {
    request_type: u64,
    request: u64,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RealmStatus {
    /// Sessions that have joined.
    pub sessions: usize,
    /// Registrations; a shared one counts once.
    pub registrations: usize,
    /// Topics and patterns that are subscribed to.
    pub subscriptions: usize,
    /// Calls under way.
    pub calls: usize,
}

struct Member {
    authid: String,
    role: Arc<Role>,
    features: Features,
    registrations: HashSet<u64>,
    subscriptions: HashSet<u64>,
    /// Calls of this session that are under way.
    calls: usize,
    /// Invocations that wait for an answer of this session.
    invocations: usize,
}

/// The routing of a realm. See the module.
pub struct Realm {
    bounds: Bounds,
    roles: HashMap<String, Arc<Role>>,
    members: HashMap<u64, Member>,
    dealer: Dealer,
    broker: Broker,
    /// Calls under way, by the id of their invocation.
    pending: HashMap<u64, Pending>,
    /// The invocation of a caller's request.
    calls: HashMap<(u64, u64), u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    deliveries: VecDeque<Delivery>,
}

impl Realm {
    /// An empty realm with these roles.
    pub fn new(options: &RealmOptions, bounds: Bounds) -> Self {
        let roles = options.roles.iter().cloned().map(|mut role| {
            role.sort();
            (role.name.clone(), Arc::new(role))
        });
        Self {
            bounds,
            roles: roles.collect(),
            members: HashMap::new(),
            dealer: Dealer::new(),
            broker: Broker::new(),
            pending: HashMap::new(),
            calls: HashMap::new(),
            deadlines: BTreeSet::new(),
            deliveries: VecDeque::new(),
        }
    }

    /// Lets somebody in. Returns whether that was possible: not with an id or a role that cannot be.
    pub fn join(&mut self, newcomer: Newcomer) -> bool {
        let Newcomer { session, authid, role, features } = newcomer;
        let Some(known) = self.roles.get(&role).map(Arc::clone) else { return false };
        if !(1..=MAX_ID).contains(&session) || self.members.contains_key(&session) {
            return false;
        }
        // The realm's name is of no use there, and there is one realm only.
        let details = SessionDetails::new(convert::id(session), String::new(), authid.clone(), role, false);
        if self.dealer.add_session(details.clone()).is_err() || self.broker.add_session(details).is_err() {
            return false;
        }
        let member = Member {
            authid,
            role: known,
            features,
            registrations: HashSet::new(),
            subscriptions: HashSet::new(),
            calls: 0,
            invocations: 0,
        };
        self.members.insert(session, member);
        true
    }

    /// Somebody is gone, with all registrations and subscriptions; calls under way end.
    pub fn leave(&mut self, session: u64) {
        if self.members.remove(&session).is_none() {
            return;
        }
        self.end_calls(session);
        // It fails only for a session that has not been added.
        let _ = self.broker.remove_session(convert::id(session));
    }

    /// Somebody said something. What comes from strangers is ignored: it may still be under way when they
    /// have left.
    pub fn handle(&mut self, now: Instant, session: u64, message: Message) {
        if !self.members.contains_key(&session) {
            return;
        }
        let asked = Asked::of(&message);
        match self.route(now, session, message) {
            Ok(()) => {}
            Err(Fault::Refused(refusal)) => {
                if let Some(Asked { request_type, request }) = asked {
                    self.deliver(session, error(request_type, request, refusal.uri(), refusal.to_string()));
                }
            }
            Err(Fault::Violated(violation)) => {
                self.leave(session);
                let message = abort(uris::PROTOCOL_VIOLATION, violation.to_string());
                self.deliveries.push_back(Delivery::Expel { session, message });
            }
        }
    }

    fn route(&mut self, now: Instant, session: u64, message: Message) -> Result<(), Fault> {
        check_ids(&message)?;
        match message {
            Message::Call { request, options, procedure, payload } => {
                self.call(now, session, request, &Options(&options), procedure, payload)
            }
            Message::Yield { request, options, payload } => {
                self.yielded(session, request, &Options(&options), payload)
            }
            Message::Error { request_type: code::INVOCATION, request, error, payload, .. } => {
                self.failed(session, request, &error, payload)
            }
            Message::Cancel { request, options } => self.cancel(session, request, &Options(&options)),
            Message::Register { request, options, procedure } => {
                self.register(session, request, &Options(&options), procedure)
            }
            Message::Unregister { request, registration } => self.unregister(session, request, registration),
            Message::Publish { request, options, topic, payload } => {
                self.publish(session, request, &Options(&options), topic, &payload)
            }
            Message::Subscribe { request, options, topic } => {
                self.subscribe(session, request, &Options(&options), topic)
            }
            Message::Unsubscribe { request, subscription } => {
                self.unsubscribe(session, request, subscription)
            }
            other => Err(Violation::Unexpected { message: other.name() }.into()),
        }
    }

    /// When to call [`Self::handle_timeout`] at the latest; `None` while nothing is under way.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The next thing to send. In the order in which things happened, for each session.
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// How much there is of everything.
    pub fn status(&self) -> RealmStatus {
        RealmStatus {
            sessions: self.members.len(),
            registrations: self.dealer.registrations().count(),
            subscriptions: self.broker.subscriptions().count(),
            calls: self.pending.len(),
        }
    }

    fn deliver(&mut self, to: u64, message: Message) {
        self.deliveries.push_back(Delivery::Message { to, message });
    }
}

impl Member {
    /// Who it is, for others, under these three names.
    fn disclosed(&self, session: u64, names: [&str; 3]) -> Dict {
        let values = [session.into(), self.authid.as_str().into(), self.role.name.as_str().into()];
        names.map(str::to_owned).into_iter().zip(values).collect()
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realm").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn check_ids(message: &Message) -> Result<(), Violation> {
    let (first, second) = match *message {
        Message::Unregister { request, registration: second }
        | Message::Unsubscribe { request, subscription: second } => (Some(request), Some(second)),
        ref other => (request_of(other), None),
    };
    let valid = [first, second].into_iter().flatten().all(|id| (1..=MAX_ID).contains(&id));
    if valid { Ok(()) } else { Err(Violation::InvalidId { message: message.name() }) }
}

fn request_of(message: &Message) -> Option<u64> {
    match *message {
        Message::Call { request, .. }
        | Message::Yield { request, .. }
        | Message::Error { request, .. }
        | Message::Cancel { request, .. }
        | Message::Register { request, .. }
        | Message::Unregister { request, .. }
        | Message::Publish { request, .. }
        | Message::Subscribe { request, .. }
        | Message::Unsubscribe { request, .. } => Some(request),
        _ => None,
    }
}

impl Asked {
    fn of(message: &Message) -> Option<Self> {
        if let Message::Publish { options, .. } = message
            && Options(options).flag("acknowledge") != Ok(true)
        {
            return None;
        }
        request_of(message).map(|request| Self { request_type: message.code(), request })
    }
}

/// An ERROR with a text as its only argument.
pub(super) fn error(request_type: u64, request: u64, uri: &str, text: String) -> Message {
    let payload = Payload { args: vec![Value::Str(text)], kwargs: Dict::new() };
    Message::Error { request_type, request, details: Dict::new(), error: uri.to_owned(), payload }
}

/// An ABORT with a text.
pub(super) fn abort(reason: &str, text: String) -> Message {
    let details = vec![("message".to_owned(), Value::Str(text))];
    Message::Abort { details, reason: reason.to_owned() }
}
