//! A realm without a router around it: what sessions say goes in, what they hear comes out.

use std::time::{Duration, Instant};

use xbr_core::Value;
use xbr_market::router::Bounds;
use xbr_market::router::realm::{Delivery, Features, Newcomer, Realm};
use xbr_wamp::message::{Dict, Message, Payload, code};

use crate::support::options;

pub(crate) const ALICE: u64 = 11;
pub(crate) const BOB: u64 = 12;
pub(crate) const CAROL: u64 = 13;
/// Somebody of the role with few rights.
pub(crate) const GUEST: u64 = 14;

pub(crate) struct Floor {
    pub(crate) realm: Realm,
    pub(crate) now: Instant,
}

impl Floor {
    pub(crate) fn new() -> Self {
        Self::bounded(Bounds::default())
    }

    pub(crate) fn bounded(bounds: Bounds) -> Self {
        let mut floor = Self { realm: Realm::new(&options().realms[0], bounds), now: Instant::now() };
        let all = Features { call_canceling: true, registration_revocation: true };
        for (session, authid, role) in
            [(ALICE, "alice", "member"), (BOB, "bob", "member"), (CAROL, "carol", "seen")]
        {
            floor.join(session, authid, role, all);
        }
        floor.join(GUEST, "gus", "guest", Features::default());
        floor
    }

    pub(crate) fn join(&mut self, session: u64, authid: &str, role: &str, features: Features) {
        let newcomer = Newcomer { session, authid: authid.into(), role: role.into(), features };
        assert!(self.realm.join(newcomer));
    }

    /// Somebody says something; what follows is returned.
    pub(crate) fn say(&mut self, session: u64, message: Message) -> Vec<(u64, Message)> {
        self.realm.handle(self.now, session, message);
        self.heard()
    }

    /// What has not been looked at yet. Who is expelled hears an ABORT.
    pub(crate) fn heard(&mut self) -> Vec<(u64, Message)> {
        let mut heard = Vec::new();
        while let Some(delivery) = self.realm.poll_delivery() {
            match delivery {
                Delivery::Message { to, message } => heard.push((to, message)),
                Delivery::Event { to, message } => {
                    heard.extend(to.into_iter().map(|to| (to, message.clone())))
                }
                Delivery::Expel { session, message } => heard.push((session, message)),
            }
        }
        heard
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<(u64, Message)> {
        self.now += time;
        self.realm.handle_timeout(self.now);
        self.heard()
    }

    pub(crate) fn leave(&mut self, session: u64) -> Vec<(u64, Message)> {
        self.realm.leave(session);
        self.heard()
    }

    /// Registers a procedure; its registration comes back.
    pub(crate) fn register(&mut self, session: u64, procedure: &str, options: Dict) -> u64 {
        match self.say(session, register(1, procedure, options)).pop() {
            Some((_, Message::Registered { registration, .. })) => registration,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn subscribe(&mut self, session: u64, topic: &str, options: Dict) -> u64 {
        let subscribe = Message::Subscribe { request: 1, options, topic: topic.into() };
        match self.say(session, subscribe).pop() {
            Some((_, Message::Subscribed { subscription, .. })) => subscription,
            other => panic!("{other:?}"),
        }
    }

    /// Calls a procedure; who is invoked comes back, and with which request.
    pub(crate) fn invoke(&mut self, caller: u64, request: u64, procedure: &str, options: Dict) -> (u64, u64) {
        match self.say(caller, call(request, procedure, options)).as_slice() {
            [(callee, Message::Invocation { request, .. })] => (*callee, *request),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn option(key: &str, value: impl Into<Value>) -> Dict {
    vec![(key.to_owned(), value.into())]
}

pub(crate) fn payload(text: &str) -> Payload {
    Payload { args: vec![text.into()], kwargs: vec![("k".to_owned(), text.into())] }
}

pub(crate) fn call(request: u64, procedure: &str, options: Dict) -> Message {
    Message::Call { request, options, procedure: procedure.into(), payload: payload("asked") }
}

pub(crate) fn register(request: u64, procedure: &str, options: Dict) -> Message {
    Message::Register { request, options, procedure: procedure.into() }
}

pub(crate) fn publish(request: u64, topic: &str, options: Dict) -> Message {
    Message::Publish { request, options, topic: topic.into(), payload: payload("told") }
}

pub(crate) fn yields(request: u64, options: Dict) -> Message {
    Message::Yield { request, options, payload: payload("answer") }
}

pub(crate) fn fails(request: u64, error: &str) -> Message {
    let (request_type, details, error) = (code::INVOCATION, Dict::new(), error.to_owned());
    Message::Error { request_type, request, details, error, payload: payload("failure") }
}

pub(crate) fn cancel(request: u64, mode: &str) -> Message {
    Message::Cancel { request, options: option("mode", mode) }
}

/// The URIs of errors, and who heard them about which request.
pub(crate) fn errors(heard: &[(u64, Message)]) -> Vec<(u64, u64, &str)> {
    heard
        .iter()
        .filter_map(|(to, message)| match message {
            Message::Error { request, error, .. } => Some((*to, *request, error.as_str())),
            _ => None,
        })
        .collect()
}

/// Whether somebody was told that this was too much, and the others nothing.
pub(crate) fn is_expelled(session: u64, heard: &[(u64, Message)]) -> bool {
    matches!(heard, [(to, Message::Abort { reason, .. })]
        if *to == session && reason == "wamp.error.protocol_violation")
}
