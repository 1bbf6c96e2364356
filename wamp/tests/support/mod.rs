//! A router for tests: dealer and broker for any number of sessions, without I/O and clock. It does as it is
//! told and checks nothing that the tests don't look at.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{HashMap, VecDeque};

use xbr_core::Value;
use xbr_core::cbor::Limits;
use xbr_wamp::message::{Dict, Message, Payload, code};
use xbr_wamp::{Dict as Options, Serializer};

/// Whom a message is from or for.
pub(crate) type SessionIndex = usize;

#[derive(Debug, Default)]
pub(crate) struct Router {
    outbox: VecDeque<(SessionIndex, Message)>,
    /// What each session has said, oldest first.
    pub(crate) heard: Vec<(SessionIndex, Message)>,
    registrations: HashMap<String, (u64, SessionIndex)>,
    subscriptions: Vec<(String, u64, SessionIndex)>,
    /// Invocations under way: whose call with which request they are.
    calls: HashMap<u64, (SessionIndex, u64)>,
    next_id: u64,
    /// Answers HELLO with this challenge.
    pub(crate) challenge: Option<(&'static str, Dict)>,
    /// Answers nothing any more.
    pub(crate) silent: bool,
    /// How the next requests for these URIs are answered: realms, procedures and topics.
    pub(crate) replies: VecDeque<(String, Reply)>,
}

/// An answer that a test gives in the router's place.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// To a call: these positional results.
    Result(Vec<Value>),
    /// This error with this text; to HELLO, an ABORT.
    Error(&'static str, &'static str),
    /// None, now or ever.
    Silence,
}

impl Router {
    pub(crate) fn next(&mut self) -> Option<(SessionIndex, Message)> {
        self.outbox.pop_front()
    }

    pub(crate) fn say(&mut self, to: SessionIndex, message: Message) {
        self.outbox.push_back((to, message));
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        1000 + self.next_id
    }

    pub(crate) fn hear(&mut self, from: SessionIndex, message: Message) {
        self.heard.push((from, message.clone()));
        if !self.silent && !self.reply(from, &message) {
            self.answer(from, message);
        }
    }

    /// Whether the test has an answer of its own.
    fn reply(&mut self, to: SessionIndex, message: &Message) -> bool {
        let (request, uri) = match message {
            Message::Hello { realm, .. } => (0, realm),
            Message::Call { request, procedure, .. } | Message::Register { request, procedure, .. } => {
                (*request, procedure)
            }
            Message::Publish { request, topic, .. } => (*request, topic),
            _ => return false,
        };
        let Some(position) = self.replies.iter().position(|(wanted, _)| wanted == uri) else { return false };
        let (_, reply) = self.replies.remove(position).unwrap();
        let (request_type, details) = (message.code(), Dict::new());
        match reply {
            Reply::Silence => {}
            Reply::Result(args) => {
                let payload = Payload { args, kwargs: Dict::new() };
                self.say(to, Message::Result { request, details, payload });
            }
            Reply::Error(uri, text) if request_type == code::HELLO => {
                let details = vec![("message".to_owned(), Value::from(text))];
                self.say(to, Message::Abort { details, reason: uri.to_owned() });
            }
            Reply::Error(uri, text) => {
                let payload = Payload { args: vec![Value::from(text)], kwargs: Dict::new() };
                let error = uri.to_owned();
                self.say(to, Message::Error { request_type, request, details, error, payload });
            }
        }
        true
    }

    fn answer(&mut self, from: SessionIndex, message: Message) {
        match message {
            Message::Hello { .. } => match self.challenge.clone() {
                Some((method, extra)) => {
                    self.say(from, Message::Challenge { method: method.to_owned(), extra });
                }
                None => self.welcome(from),
            },
            Message::Authenticate { .. } => self.welcome(from),
            Message::Goodbye { .. } => {
                let reason = "wamp.close.goodbye_and_out".to_owned();
                self.say(from, Message::Goodbye { details: Options::new(), reason });
            }
            Message::Register { request, procedure, .. } => {
                let registration = self.id();
                self.registrations.insert(procedure, (registration, from));
                self.say(from, Message::Registered { request, registration });
            }
            Message::Unregister { request, registration } => {
                self.registrations.retain(|_, (id, _)| *id != registration);
                self.say(from, Message::Unregistered { request, details: Dict::new() });
            }
            Message::Subscribe { request, topic, .. } => {
                let subscription = self.id();
                self.subscriptions.push((topic, subscription, from));
                self.say(from, Message::Subscribed { request, subscription });
            }
            Message::Unsubscribe { request, subscription } => {
                self.subscriptions.retain(|(_, id, _)| *id != subscription);
                self.say(from, Message::Unsubscribed { request, details: Dict::new() });
            }
            Message::Publish { request, options, topic, payload } => {
                self.publish(from, request, &options, &topic, &payload);
            }
            Message::Call { request, procedure, payload, .. } => {
                self.call(from, request, &procedure, payload)
            }
            Message::Yield { request, options, payload } => {
                let done = options.is_empty();
                if let Some((caller, call)) = self.calls.get(&request).copied() {
                    self.say(caller, Message::Result { request: call, details: options, payload });
                }
                done.then(|| self.calls.remove(&request));
            }
            Message::Error { request, error, payload, details, .. } => {
                if let Some((caller, call)) = self.calls.remove(&request) {
                    let (request_type, request) = (code::CALL, call);
                    self.say(caller, Message::Error { request_type, request, details, error, payload });
                }
            }
            Message::Cancel { request, options } => {
                let found = self.calls.iter().find(|(_, call)| **call == (from, request));
                // Without an invocation the test answers the call itself.
                let Some((&request, _)) = found else { return };
                let callee = self.registrations.values().next().unwrap().1;
                self.say(callee, Message::Interrupt { request, options });
            }
            _ => {}
        }
    }

    fn welcome(&mut self, to: SessionIndex) {
        let features = Value::from_iter([("call_canceling", true)]);
        let dealer = Value::from_iter([("features", features)]);
        let details = vec![
            ("roles".to_owned(), Value::from_iter([("dealer", dealer)])),
            ("authid".to_owned(), Value::from("me")),
            ("authrole".to_owned(), Value::from("tester")),
        ];
        let session = self.id();
        self.say(to, Message::Welcome { session, details });
    }

    fn publish(&mut self, from: SessionIndex, request: u64, options: &Dict, topic: &str, payload: &Payload) {
        let publication = self.id();
        for (subscribed, subscription, to) in self.subscriptions.clone() {
            if subscribed == topic {
                let (details, payload) = (Dict::new(), payload.clone());
                self.say(to, Message::Event { subscription, publication, details, payload });
            }
        }
        if !options.is_empty() {
            self.say(from, Message::Published { request, publication });
        }
    }

    fn call(&mut self, from: SessionIndex, request: u64, procedure: &str, payload: Payload) {
        let Some((registration, callee)) = self.registrations.get(procedure).copied() else {
            let error = "wamp.error.no_such_procedure".to_owned();
            let (request_type, details, payload) = (code::CALL, Dict::new(), Payload::default());
            return self.say(from, Message::Error { request_type, request, details, error, payload });
        };
        let invocation = self.id();
        self.calls.insert(invocation, (from, request));
        let details = vec![("caller_authid".to_owned(), Value::from("somebody"))];
        self.say(callee, Message::Invocation { request: invocation, registration, details, payload });
    }
}

/// Reads a message as the router does.
pub(crate) fn read(serializer: Serializer, bytes: &[u8]) -> Message {
    let mut elements = Vec::new();
    serializer.decode(bytes, &Limits::default(), None, &mut elements).unwrap();
    Message::parse(&mut elements).unwrap()
}

/// Writes a message as the router does.
pub(crate) fn write(serializer: Serializer, message: Message) -> Vec<u8> {
    serializer.encode(message.into_elements()).unwrap()
}
