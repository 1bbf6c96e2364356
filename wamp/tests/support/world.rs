//! One session engine and its router, joined in memory on virtual time.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use xbr_core::cbor::Limits;
use xbr_wamp::error::CallError;
use xbr_wamp::message::{Message, Payload};
use xbr_wamp::request::{Call, RegisterOptions};
use xbr_wamp::session::{Completion, Engine, Inbound, Reply, SessionConfig, Transmit};
use xbr_wamp::{Auth, Serializer};

use super::support::{Router, read, write};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn config(serializer: Serializer) -> SessionConfig {
    SessionConfig {
        realm: "realm1".to_owned(),
        agent: "test/1".to_owned(),
        serializer,
        auth: Auth::Anonymous,
        limits: Limits { max_depth: 16, max_items: 1000 },
        max_message_bytes: 10_000,
        max_outgoing_bytes: 10_000,
        join_timeout: 5 * SECOND,
        call_timeout: 10 * SECOND,
        leave_timeout: 2 * SECOND,
        ping_interval: Some(20 * SECOND),
        ping_timeout: 5 * SECOND,
        max_backlog: 4,
        max_backlog_bytes: 20_000,
    }
}

/// One session and its router. Requests carry a number of the test's as their token.
pub(crate) struct World {
    pub(crate) engine: Engine<u32>,
    pub(crate) router: Router,
    pub(crate) serializer: Serializer,
    pub(crate) now: Instant,
    pub(crate) pings: usize,
}

impl World {
    pub(crate) fn new(config: SessionConfig) -> Self {
        let (now, serializer) = (Instant::now(), config.serializer);
        Self { engine: Engine::new(config, now), router: Router::default(), serializer, now, pings: 0 }
    }

    pub(crate) fn joined(serializer: Serializer) -> Self {
        let mut world = Self::new(config(serializer));
        world.run();
        assert!(world.engine.details().is_some());
        world
    }

    /// Delivers everything in both directions until nothing moves.
    pub(crate) fn run(&mut self) {
        loop {
            if let Some(transmit) = self.engine.poll_transmit() {
                match transmit {
                    Transmit::Message(bytes) => self.router.hear(0, read(self.serializer, &bytes)),
                    Transmit::Ping => self.pings += 1,
                }
            } else if let Some((_, message)) = self.router.next() {
                self.engine.handle_frame(self.now, &write(self.serializer, message));
            } else {
                return;
            }
        }
    }

    /// Lets the engine's next deadline come; returns how long that took.
    pub(crate) fn wait(&mut self) -> Duration {
        let deadline = self.engine.poll_timeout().unwrap();
        let waited = deadline - self.now;
        self.now = deadline;
        self.engine.handle_timeout(deadline);
        waited
    }

    pub(crate) fn outcome(&mut self) -> (u32, Result<Reply, CallError>) {
        match self.engine.poll_completion() {
            Some(Completion::Done { token, outcome, .. }) => (token, outcome),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn call(&mut self, call: Call, token: u32) {
        self.engine.call(self.now, call, false, token);
        self.run();
    }

    pub(crate) fn register(&mut self, procedure: &str) {
        self.engine.register(self.now, procedure, RegisterOptions::default(), 0);
        self.run();
        assert!(matches!(self.outcome(), (0, Ok(Reply::Registered(_)))));
    }

    pub(crate) fn invocation(&mut self) -> (u64, Payload) {
        match self.engine.poll_inbound() {
            Some(Inbound::Invocation { request, payload, .. }) => (request, payload),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn last_heard(&self) -> &Message {
        &self.router.heard.last().unwrap().1
    }
}
