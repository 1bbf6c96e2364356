//! What the application asks of a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Engine, Kind, Pending, Reply, State, Transmit, later};
use crate::error::{CallError, CloseReason, uris};
use crate::message::{Dict, Message, code};
use crate::request::{Answer, Call, Publish, RegisterOptions, RegistrationId, SubscriptionId, match_option};
use crate::uri::{self, Match};

impl<T> Engine<T> {
    /// Calls a procedure. Returns the request's id if it was sent, by which [`super::Completion::Progress`]
    /// tells its parts. With `receive_progress`, the callee may send the result in parts.
    pub fn call(&mut self, now: Instant, call: Call, receive_progress: bool, token: T) -> Option<u64> {
        let mut options = Dict::new();
        if receive_progress {
            options.push(("receive_progress".to_owned(), true.into()));
        }
        if call.disclose_me {
            options.push(("disclose_me".to_owned(), true.into()));
        }
        let Call { procedure, payload, timeout, .. } = call;
        let timeout = timeout.unwrap_or(self.config.call_timeout);
        let valid = check(&procedure, uri::is_valid(&procedure));
        self.request(now, timeout, valid, Kind::Call, token, |request| Message::Call {
            request,
            options,
            procedure,
            payload,
        })
    }

    /// Registers a procedure.
    pub fn register(&mut self, now: Instant, procedure: &str, options: RegisterOptions, token: T) {
        let valid = check(procedure, uri::is_valid_pattern(procedure, options.matching));
        let kind = Kind::Register { procedure: Arc::from(procedure) };
        self.request(now, self.config.call_timeout, valid, kind, token, |request| Message::Register {
            request,
            options: options.to_dict(),
            procedure: procedure.to_owned(),
        });
    }

    /// Undoes a registration. Invocations may still come until it is confirmed.
    pub fn unregister(&mut self, now: Instant, registration: RegistrationId, token: T) {
        let kind = Kind::Unregister { registration };
        self.request(now, self.config.call_timeout, Ok(()), kind, token, |request| Message::Unregister {
            request,
            registration: registration.0,
        });
    }

    /// Subscribes to a topic.
    pub fn subscribe(&mut self, now: Instant, topic: &str, matching: Match, token: T) {
        let valid = check(topic, uri::is_valid_pattern(topic, matching));
        let kind = Kind::Subscribe { topic: Arc::from(topic) };
        self.request(now, self.config.call_timeout, valid, kind, token, |request| Message::Subscribe {
            request,
            options: match_option(matching),
            topic: topic.to_owned(),
        });
    }

    /// Undoes a subscription. Events may still come until it is confirmed.
    pub fn unsubscribe(&mut self, now: Instant, subscription: SubscriptionId, token: T) {
        let kind = Kind::Unsubscribe { subscription };
        self.request(now, self.config.call_timeout, Ok(()), kind, token, |request| Message::Unsubscribe {
            request,
            subscription: subscription.0,
        });
    }

    /// Publishes an event. Without acknowledgement it is done as soon as it is queued.
    pub fn publish(&mut self, now: Instant, publish: Publish, token: T) {
        let Publish { topic, payload, acknowledge } = publish;
        let valid = check(&topic, uri::is_valid(&topic));
        if acknowledge {
            let options: Dict = vec![("acknowledge".to_owned(), true.into())];
            let message = |request| Message::Publish { request, options, topic, payload };
            self.request(now, self.config.call_timeout, valid, Kind::Publish, token, message);
            return;
        }
        let request = self.next_request;
        let sent = valid
            .and_then(|()| self.send(Message::Publish { request, options: Dict::new(), topic, payload }));
        let outcome = sent.map(|()| {
            self.advance_request();
            Reply::Published(None)
        });
        self.done(None, token, outcome);
    }

    /// Answers an invocation. Whoever answers twice, or after the session ended, is ignored. An answer that
    /// cannot be sent is replaced by an error that can.
    pub fn respond(&mut self, request: u64, answer: Answer) {
        if self.invocations.remove(&request).is_none() || !self.is_joined() {
            return;
        }
        let message = match answer {
            Answer::Yield(payload) => Message::Yield { request, options: Dict::new(), payload },
            Answer::Error { uri, payload } => {
                let error = if uri::is_valid(&uri) { uri } else { uris::RUNTIME_ERROR.to_owned() };
                let (request_type, details) = (code::INVOCATION, Dict::new());
                Message::Error { request_type, request, details, error, payload }
            }
        };
        if let Err(error) = self.send(message) {
            warn!(request, %error, "the answer to an invocation cannot be sent");
            self.refuse(request, uris::RUNTIME_ERROR, format!("the answer cannot be sent: {error}"));
        }
    }

    /// Says GOODBYE. The session is over when the router has answered, or has taken too long to.
    pub fn leave(&mut self, now: Instant) {
        match self.state {
            State::Joined => {
                let reason = uris::CLOSE_NORMAL.to_owned();
                self.transmit(Message::Goodbye { details: Dict::new(), reason });
                self.state = State::Leaving { deadline: later(now, self.config.leave_timeout) };
            }
            State::Joining { .. } => self.close(CloseReason::Left),
            State::Leaving { .. } | State::Closed => {}
        }
    }

    /// Answers an invocation with an error of ours.
    pub(super) fn refuse(&mut self, request: u64, uri: &str, text: String) {
        if let Answer::Error { uri: error, payload } = Answer::error(uri, text) {
            let (request_type, details) = (code::INVOCATION, Dict::new());
            self.transmit(Message::Error { request_type, request, details, error, payload });
        }
    }

    fn send(&mut self, message: Message) -> Result<(), CallError> {
        if !self.is_joined() {
            return Err(CallError::Closed);
        }
        let bytes = self.encode(message)?;
        self.transmits.push_back(Transmit::Message(bytes.into()));
        Ok(())
    }

    /// Sends a request that will be answered. Its id counts only if it was really sent: the ids of a session
    /// must have no gaps.
    fn request(
        &mut self,
        now: Instant,
        timeout: Duration,
        valid: Result<(), CallError>,
        kind: Kind,
        token: T,
        message: impl FnOnce(u64) -> Message,
    ) -> Option<u64> {
        let request = self.next_request;
        if let Err(error) = valid.and_then(|()| self.send(message(request))) {
            self.done(None, token, Err(error));
            return None;
        }
        self.advance_request();
        let deadline = later(now, timeout);
        self.deadlines.insert((deadline, request));
        self.pending.insert(request, Pending { kind, token, deadline, timeout });
        Some(request)
    }
}

fn check(uri: &str, valid: bool) -> Result<(), CallError> {
    match valid {
        true => Ok(()),
        false => Err(CallError::InvalidUri { uri: uri.chars().take(200).collect() }),
    }
}
