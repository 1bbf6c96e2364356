//! What comes from the router.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::{debug, warn};
use xbr_core::Value;

use super::{Caller, Completion, Details, Engine, Inbound, Kind, Reply, SHED_FACTOR, State};
use crate::error::{CallError, CloseReason, Malformed, ProtocolViolation, uris};
use crate::message::{Dict, Message, Payload, Proof, Salvage, field, salvage, text};
use crate::request::{CallResult, PublicationId, RegistrationId, SubscriptionId};

impl<T> Engine<T> {
    /// A message came, still serialized.
    pub fn handle_frame(&mut self, now: Instant, bytes: &[u8]) {
        self.liveness.heard(now);
        self.frame_bytes = bytes.len();
        match self.config.reader().read(bytes, salvage) {
            Ok(message) => self.handle_message(now, message),
            Err((concerned, reason)) => self.malformed(concerned, reason),
        }
        self.frame_bytes = 0;
    }

    /// A message came.
    pub fn handle_message(&mut self, _now: Instant, message: Message) {
        match self.state {
            State::Joining { .. } => self.handle_joining(message),
            State::Joined => self.handle_joined(message),
            State::Leaving { .. } => match message {
                Message::Goodbye { .. } => self.close(CloseReason::Left),
                // Nothing may be sent after GOODBYE, so nothing else needs looking at but answers.
                Message::Invocation { .. } | Message::Event { .. } | Message::Interrupt { .. } => {}
                other => self.handle_joined(other),
            },
            State::Closed => {}
        }
    }

    fn malformed(&mut self, concerned: Salvage, reason: Malformed) {
        match concerned {
            _ if matches!(self.state, State::Closed) => {}
            Salvage::Invocation(request) if self.is_joined() => {
                warn!(request, %reason, "an invocation cannot be read");
                self.statistics.count_malformed_invocation();
                self.refuse(request, uris::INVALID_ARGUMENT, reason.to_string());
            }
            Salvage::Answer(request) if !matches!(self.state, State::Joining { .. }) => {
                warn!(request, %reason, "an answer cannot be read");
                self.statistics.count_malformed_answer();
                self.finish(request, Err(CallError::Malformed(reason)));
            }
            Salvage::Droppable if !matches!(self.state, State::Joining { .. }) => {
                debug!(%reason, "an event cannot be read");
                self.statistics.count_dropped_event();
            }
            Salvage::Invocation(_) if matches!(self.state, State::Leaving { .. }) => {}
            _ => self.violation(reason.into()),
        }
    }

    fn unexpected(&mut self, message: &Message) {
        let message = message.name();
        self.violation(ProtocolViolation::Unexpected { message });
    }

    fn handle_joining(&mut self, message: Message) {
        match message {
            Message::Welcome { session, details } => self.welcome(session, &details),
            Message::Challenge { method, extra } if !self.is_challenged() => self.challenge(&method, &extra),
            Message::Abort { details, reason } => {
                self.close(CloseReason::Aborted { uri: reason, message: explanation(&details) });
            }
            Message::Goodbye { details, reason } => {
                self.close(CloseReason::Goodbye { uri: reason, message: explanation(&details) });
            }
            other => self.unexpected(&other),
        }
    }

    fn welcome(&mut self, session: u64, details: &Dict) {
        let dealer = field(details, "roles").and_then(|roles| roles.field("dealer"));
        let features = dealer.and_then(|dealer| dealer.field("features"));
        let can_cancel = features.and_then(|features| features.field("call_canceling"));
        self.can_cancel = can_cancel.and_then(Value::as_bool).unwrap_or(false);
        self.details = Some(Arc::new(Details {
            session,
            authid: text(details, "authid"),
            authrole: text(details, "authrole"),
            authmethod: text(details, "authmethod"),
            agent: text(details, "agent"),
            serializer: self.config.serializer,
        }));
        self.state = State::Joined;
    }

    fn is_challenged(&self) -> bool {
        matches!(self.state, State::Joining { challenged: true, .. })
    }

    fn challenge(&mut self, method: &str, extra: &Dict) {
        if let State::Joining { challenged, .. } = &mut self.state {
            *challenged = true;
        }
        match self.config.auth.answer(method, extra) {
            Ok(signature) => {
                let signature = Proof(signature.as_str().to_owned());
                self.transmit(Message::Authenticate { signature, extra: Dict::new() });
            }
            Err(error) => {
                let details: Dict = vec![("message".to_owned(), Value::Str(error.to_string()))];
                self.transmit(Message::Abort { details, reason: uris::CANNOT_AUTHENTICATE.to_owned() });
                self.close(CloseReason::Auth(error));
            }
        }
    }

    fn handle_joined(&mut self, message: Message) {
        match message {
            Message::Result { request, details, payload } => self.result(request, &details, payload),
            Message::Error { request, error, payload, .. } => {
                self.finish(request, Err(CallError::Application { uri: error, payload }));
            }
            Message::Invocation { request, registration, details, payload } => {
                self.invocation(request, registration, &details, payload);
            }
            Message::Event { subscription, publication, details, payload } => {
                self.event(subscription, publication, &details, payload);
            }
            Message::Interrupt { request, .. } => {
                if let Some(interrupted) = self.invocations.get(&request) {
                    interrupted.store(true, Ordering::Relaxed);
                }
            }
            Message::Published { request, publication } => {
                self.finish(request, Ok(Reply::Published(Some(PublicationId(publication)))));
            }
            Message::Subscribed { request, subscription } => {
                self.finish(request, Ok(Reply::Subscribed(SubscriptionId(subscription))));
            }
            Message::Registered { request, registration } => {
                self.finish(request, Ok(Reply::Registered(RegistrationId(registration))));
            }
            Message::Unsubscribed { request: 0, details } => {
                let subscription = field(&details, "subscription").and_then(Value::as_u64);
                subscription.and_then(|id| self.subscriptions.remove(&id));
            }
            Message::Unregistered { request: 0, details } => self.revoked(&details),
            Message::Unsubscribed { request, .. } => self.finish(request, Ok(Reply::Unsubscribed)),
            Message::Unregistered { request, .. } => self.finish(request, Ok(Reply::Unregistered)),
            Message::Goodbye { details, reason } => {
                let farewell = uris::GOODBYE_AND_OUT.to_owned();
                self.transmit(Message::Goodbye { details: Dict::new(), reason: farewell });
                self.close(CloseReason::Goodbye { uri: reason, message: explanation(&details) });
            }
            Message::Abort { details, reason } => {
                self.close(CloseReason::Aborted { uri: reason, message: explanation(&details) });
            }
            other => self.unexpected(&other),
        }
    }

    fn result(&mut self, request: u64, details: &Dict, payload: Payload) {
        let result = CallResult { args: payload.args, kwargs: payload.kwargs };
        if field(details, "progress") == Some(&Value::Bool(true)) {
            if self.pending.contains_key(&request) {
                self.completions.push_back(Completion::Progress(request, result));
            }
            return;
        }
        self.finish(request, Ok(Reply::Result(result)));
    }

    /// A request got its answer. Answers to requests that were given up are ignored.
    fn finish(&mut self, request: u64, outcome: Result<Reply, CallError>) {
        let Some(pending) = self.take_pending(request) else {
            return self.statistics.count_late_answer();
        };
        let outcome = outcome.and_then(|reply| match (&reply, pending.kind) {
            (Reply::Registered(registration), Kind::Register { procedure }) => {
                self.registrations.insert(registration.0, procedure);
                Ok(reply)
            }
            (Reply::Unregistered, Kind::Unregister { registration }) => {
                self.registrations.remove(&registration.0);
                Ok(reply)
            }
            (Reply::Subscribed(subscription), Kind::Subscribe { topic }) => {
                self.subscriptions.insert(subscription.0, topic);
                Ok(reply)
            }
            (Reply::Unsubscribed, Kind::Unsubscribe { subscription }) => {
                self.subscriptions.remove(&subscription.0);
                Ok(reply)
            }
            (Reply::Result(_), Kind::Call) | (Reply::Published(_), Kind::Publish) => Ok(reply),
            _ => Err(CallError::Malformed(Malformed::WrongAnswer)),
        });
        self.done(Some(request), pending.token, outcome);
    }

    fn is_overrun(&self) -> bool {
        self.is_backed_up(SHED_FACTOR)
    }

    fn invocation(&mut self, request: u64, registration: u64, details: &Dict, payload: Payload) {
        let Some(registered) = self.registrations.get(&registration).map(Arc::clone) else {
            let text = "there is no such registration".to_owned();
            return self.refuse(request, uris::NO_SUCH_PROCEDURE, text);
        };
        if self.is_overrun() {
            self.statistics.count_shed_invocation();
            return self.refuse(request, uris::UNAVAILABLE, "too many invocations are waiting".to_owned());
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        self.invocations.insert(request, Arc::clone(&interrupted));
        self.keep(Inbound::Invocation {
            request,
            registration: RegistrationId(registration),
            procedure: text(details, "procedure").map_or(registered, Arc::from),
            caller: Caller {
                session: field(details, "caller").and_then(Value::as_u64),
                authid: text(details, "caller_authid"),
                authrole: text(details, "caller_authrole"),
            },
            payload,
            interrupted,
        });
    }

    fn event(&mut self, subscription: u64, publication: u64, details: &Dict, payload: Payload) {
        // Events that were under way while the subscription was undone come without one.
        let Some(subscribed) = self.subscriptions.get(&subscription).map(Arc::clone) else { return };
        if self.is_overrun() {
            return self.statistics.count_dropped_event();
        }
        self.keep(Inbound::Event {
            subscription: SubscriptionId(subscription),
            publication: PublicationId(publication),
            topic: text(details, "topic").map_or(subscribed, Arc::from),
            payload,
        });
    }

    fn revoked(&mut self, details: &Dict) {
        let registration = field(details, "registration").and_then(Value::as_u64);
        let Some(registration) = registration else { return };
        if let Some(procedure) = self.registrations.remove(&registration) {
            let registration = RegistrationId(registration);
            self.keep(Inbound::Unregistered { registration, procedure });
        }
    }
}

fn explanation(details: &Dict) -> String {
    let message = field(details, "message").and_then(Value::as_str).unwrap_or_default();
    message.chars().take(500).collect()
}
