//! Remote procedure calls: registering, calling, answering, giving up.
//!
//! Whatever the router has to answer in a callee's place, it tells the dealer as the callee's own error: so
//! every call gets exactly one final answer, by one way, and the dealer forgets it.

use std::time::{Duration, Instant};

use thiserror::Error;
use wampproto::dealer::Registration;
use wampproto::messages::call::Call;
use wampproto::messages::error::Error as ErrorMessage;
use wampproto::messages::message::Message as Routed;
use wampproto::messages::register::Register;
use wampproto::messages::types::Value as RoutedValue;
use wampproto::messages::unregister::Unregister;
use wampproto::messages::yield_::Yield;
use wampproto::routing::MatchPolicy;
use wampproto::uris;
use xbr_core::Value;
use xbr_wamp::message::{Dict, Message, Payload, code};
use xbr_wamp::session::later;
use xbr_wamp::{Match, uri};

use super::request::{Options, check, limit};
use super::{Fault, Realm, Refusal, Violation, convert, error};
use crate::router::permissions::Action;

/// Why a registration was taken from a callee, as Crossbar says it.
const TAKEN_OVER: &str = "wamp.error.unregistered";

/// A call under way.
#[derive(Debug)]
pub(super) struct Pending {
    caller: u64,
    request: u64,
    callee: u64,
    receive_progress: bool,
    deadline: Instant,
}

/// What a caller wants and gets.
struct Terms {
    receive_progress: bool,
    /// What the callee learns of the caller.
    disclosed: Dict,
    timeout: Duration,
}

/// A message that could not be delivered, and somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the messages")]
pub enum Undelivered {
    /// The callee did not get it, so that the caller needs an answer.
    Invocation { request: u64 },
    /// The caller did not get a part of it, so that it cannot make sense of the rest.
    Part { request: u64 },
    /// The caller did not get its last part.
    Result { request: u64 },
    /// The one that asked did not get it.
    Error { request_type: u64, request: u64, uri: String },
}

/// Why a message could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Hindrance {
    /// The receiver's serializer has no form for what it carries.
    #[error("receiver's serializer cannot carry it")]
    Form,
    /// The receiver does not keep up.
    #[error("receiver does not keep up")]
    Room,
}

impl Undelivered {
    /// What has to be done about this message when it cannot be delivered; `None` for nothing.
    pub fn of(message: &Message) -> Option<Self> {
        Some(match message {
            Message::Invocation { request, .. } => Self::Invocation { request: *request },
            // Only parts have details.
            Message::Result { request, details, .. } if details.is_empty() => {
                Self::Result { request: *request }
            }
            Message::Result { request, .. } => Self::Part { request: *request },
            Message::Error { request_type, request, error, .. } => {
                Self::Error { request_type: *request_type, request: *request, uri: error.clone() }
            }
            _ => return None,
        })
    }
}

impl Realm {
    pub(super) fn register(
        &mut self,
        session: u64,
        request: u64,
        options: &Options<'_>,
        procedure: String,
    ) -> Result<(), Fault> {
        let (matching, invoke, force) = self.check_register(session, options, &procedure)?;
        if force {
            self.revoke(&procedure, matching);
        }
        let options = convert::options([
            ("match", Some(RoutedValue::str(matching.as_str()))),
            ("invoke", Some(RoutedValue::str(invoke))),
        ]);
        let register = Register { request_id: convert::id(request), options, procedure };
        if let Some((to, answer)) = self.ask_dealer(session, &register)? {
            if let (Message::Registered { registration, .. }, Some(member)) =
                (&answer, self.members.get_mut(&session))
            {
                member.registrations.insert(*registration);
            }
            self.deliver(to, answer);
        }
        Ok(())
    }

    fn check_register(
        &self,
        session: u64,
        options: &Options<'_>,
        procedure: &str,
    ) -> Result<(Match, &'static str, bool), Refusal> {
        let matching = options.matching()?;
        let policies = ["single", "first", "last", "roundrobin", "random"];
        let invoke = options.word("invoke", &policies, "single, first, last, roundrobin or random")?;
        let force = options.flag("force_reregister")?;
        if let Some(member) = self.members.get(&session) {
            check(&member.role, Action::Register, procedure, matching)?;
            let own = member.registrations.len();
            limit("registrations of the session", own, self.bounds.max_registrations)?;
        }
        let all = self.dealer.registrations().count();
        limit("registrations in the realm", all, self.bounds.max_in_realm)?;
        Ok((matching, invoke, force))
    }

    /// Takes a registration from all its callees, and tells those who understand it.
    fn revoke(&mut self, procedure: &str, matching: Match) {
        let same = |registration: &&Registration| {
            registration.procedure == procedure && policy(matching) == registration.match_policy
        };
        let found = self.dealer.registrations().find(same).map(|taken| (taken.id, taken.callees.clone()));
        let Some((registration_id, callees)) = found else { return };
        for callee in callees {
            // It fails only for messages that are none.
            let _ = self.dealer.receive_message(callee, &Unregister { request_id: 1, registration_id });
            let (callee, registration) = (callee.unsigned_abs(), registration_id.unsigned_abs());
            let Some(member) = self.members.get_mut(&callee) else { continue };
            member.registrations.remove(&registration);
            if member.features.registration_revocation {
                let details = vec![
                    ("registration".to_owned(), registration.into()),
                    ("reason".to_owned(), TAKEN_OVER.into()),
                ];
                self.deliver(callee, Message::Unregistered { request: 0, details });
            }
        }
    }

    pub(super) fn unregister(&mut self, session: u64, request: u64, registration: u64) -> Result<(), Fault> {
        let (request_id, registration_id) = (convert::id(request), convert::id(registration));
        let answer = self.ask_dealer(session, &Unregister { request_id, registration_id })?;
        if let Some(member) = self.members.get_mut(&session) {
            member.registrations.remove(&registration);
        }
        if let Some((to, answer)) = answer {
            self.deliver(to, answer);
        }
        Ok(())
    }

    pub(super) fn call(
        &mut self,
        now: Instant,
        session: u64,
        request: u64,
        options: &Options<'_>,
        procedure: String,
        payload: Payload,
    ) -> Result<(), Fault> {
        if self.calls.contains_key(&(session, request)) {
            return Err(Violation::RequestInUse.into());
        }
        let Terms { receive_progress, disclosed, timeout } = self.check_call(session, options, &procedure)?;
        let options = convert::options([("receive_progress", convert::flag(receive_progress))]);
        let call = Call { request_id: convert::id(request), options, procedure, args: None, kwargs: None };
        match self.ask_dealer(session, &call)? {
            Some((callee, Message::Invocation { request: invocation, registration, mut details, .. })) => {
                details.extend(disclosed);
                let deadline = later(now, timeout);
                self.begin(
                    invocation,
                    Pending { caller: session, request, callee, receive_progress, deadline },
                );
                let busy = self.members.get(&callee).map_or(0, |member| member.invocations);
                if busy > self.bounds.max_calls {
                    let text = "too many invocations wait for the callee".to_owned();
                    self.conclude(invocation, uris::UNAVAILABLE, text);
                } else {
                    let request = invocation;
                    self.deliver(callee, Message::Invocation { request, registration, details, payload });
                }
            }
            Some((caller, Message::Error { error: uri, .. })) => {
                self.deliver(caller, error(code::CALL, request, &uri, "no callee for this uri".to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn check_call(&self, session: u64, options: &Options<'_>, procedure: &str) -> Result<Terms, Refusal> {
        let receive_progress = options.flag("receive_progress")?;
        let timeout = options.milliseconds("timeout")?.unwrap_or(self.bounds.max_call_timeout);
        let disclose = options.flag("disclose_me")?;
        let mut disclosed = Dict::new();
        if options.flag("progress")? {
            return Err(Refusal::Option {
                option: "progress",
                expected: "false: calls are made in one part",
            });
        }
        if let Some(member) = self.members.get(&session) {
            check(&member.role, Action::Call, procedure, Match::Exact)?;
            limit("calls under way", member.calls, self.bounds.max_calls)?;
            if disclose || member.role.disclose_caller {
                disclosed = member.disclosed(session, ["caller", "caller_authid", "caller_authrole"]);
            }
        }
        Ok(Terms { receive_progress, disclosed, timeout: timeout.min(self.bounds.max_call_timeout) })
    }

    pub(super) fn yielded(
        &mut self,
        session: u64,
        invocation: u64,
        options: &Options<'_>,
        payload: Payload,
    ) -> Result<(), Fault> {
        let Some(receive_progress) = self.expected_from(session, invocation)? else { return Ok(()) };
        let progress = match options.flag("progress") {
            Ok(progress) => progress,
            Err(refusal) => {
                self.conclude(invocation, refusal.uri(), format!("callee's {refusal}"));
                return Ok(());
            }
        };
        // A part that nobody asked for is left out, as the caller would not know what it is.
        if progress && !receive_progress {
            return Ok(());
        }
        let options = convert::options([("progress", convert::flag(progress))]);
        let request_id = convert::id(invocation);
        let yielded = Yield { request_id, options, args: None, kwargs: None };
        let answer = self.ask_dealer(session, &yielded)?;
        if !progress {
            self.forget(invocation);
        }
        if let Some((caller, Message::Result { request, details, .. })) = answer {
            self.deliver(caller, Message::Result { request, details, payload });
        }
        Ok(())
    }

    pub(super) fn failed(
        &mut self,
        session: u64,
        invocation: u64,
        uri: &str,
        payload: Payload,
    ) -> Result<(), Fault> {
        if self.expected_from(session, invocation)?.is_none() {
            return Ok(());
        }
        // Clients end their session over a URI that is none.
        if !uri::is_valid(uri) {
            self.conclude(invocation, uris::INVALID_URI, "callee's error has an invalid uri".to_owned());
            return Ok(());
        }
        self.fail(invocation, uri, payload);
        Ok(())
    }

    pub(super) fn cancel(&mut self, session: u64, request: u64, options: &Options<'_>) -> Result<(), Fault> {
        let modes = ["killnowait", "kill", "skip"];
        let mode = options.word("mode", &modes, "skip, kill or killnowait");
        let mode = mode.map_err(|_| Violation::CancelMode)?;
        // The answer may have crossed the cancellation.
        let Some(invocation) = self.calls.get(&(session, request)).copied() else { return Ok(()) };
        let told = mode != "skip" && self.interrupt(invocation, mode);
        // Killing waits for what the callee has to say, unless it cannot know.
        if mode != "kill" || !told {
            self.conclude(invocation, uris::CANCELED, "call was canceled".to_owned());
        }
        Ok(())
    }

    /// Lets time pass: calls end that have waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, invocation)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.interrupt(invocation, "killnowait");
            self.conclude(invocation, uris::TIMEOUT, "callee did not answer in time".to_owned());
        }
    }

    /// A message could not be delivered. Whoever waits for an answer gets one.
    pub fn undeliverable(&mut self, to: u64, undelivered: Undelivered, hindrance: Hindrance) {
        let text = hindrance.to_string();
        let uri = match hindrance {
            Hindrance::Form => uris::INVALID_ARGUMENT,
            Hindrance::Room => uris::UNAVAILABLE,
        };
        match undelivered {
            Undelivered::Invocation { request } => self.conclude(request, uri, text),
            Undelivered::Part { request } => {
                if let Some(invocation) = self.calls.get(&(to, request)).copied() {
                    self.interrupt(invocation, "killnowait");
                    self.conclude(invocation, uri, text);
                }
            }
            Undelivered::Result { request } => self.deliver(to, error(code::CALL, request, uri, text)),
            Undelivered::Error { request_type, request, uri } => {
                self.deliver(to, error(request_type, request, &uri, text));
            }
        }
    }

    /// Ends the calls of somebody who has left, from either side.
    pub(super) fn end_calls(&mut self, session: u64) {
        // It fails only for a session that has not been added.
        let routed = self.dealer.remove_session(convert::id(session)).unwrap_or_default();
        let concerns = |pending: &Pending| pending.caller == session || pending.callee == session;
        let ended: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| concerns(pending)).map(|(id, _)| *id).collect();
        for invocation in ended {
            self.forget(invocation);
        }
        for each in routed {
            let to = each.recipient.unsigned_abs();
            match convert::message(each.message.as_ref()) {
                Some(Message::Error { request_type, request, error: uri, .. }) => {
                    let text = "callee has left".to_owned();
                    self.deliver(to, error(request_type, request, &uri, text));
                }
                Some(interrupt) if self.understands_interrupt(to) => self.deliver(to, interrupt),
                _ => {}
            }
        }
    }

    /// Whether an answer is still expected, and if so whether it may come in parts.
    fn expected_from(&self, session: u64, invocation: u64) -> Result<Option<bool>, Violation> {
        match self.pending.get(&invocation) {
            Some(pending) if pending.callee != session => Err(Violation::ForeignInvocation),
            pending => Ok(pending.map(|pending| pending.receive_progress)),
        }
    }

    /// Answers a call in its callee's place.
    fn conclude(&mut self, invocation: u64, uri: &str, text: String) {
        self.fail(invocation, uri, Payload { args: vec![Value::Str(text)], kwargs: Dict::new() });
    }

    /// A call ends with an error of its callee.
    fn fail(&mut self, invocation: u64, uri: &str, payload: Payload) {
        let Some(pending) = self.forget(invocation) else { return };
        let error = ErrorMessage {
            message_type: RoutedValue::Int(convert::id(code::INVOCATION)),
            request_id: convert::id(invocation),
            options: convert::Options::new(),
            uri: uri.to_owned(),
            args: None,
            kwargs: None,
        };
        if let Ok(Some((caller, Message::Error { request_type, request, details, error, .. }))) =
            self.ask_dealer(pending.callee, &error)
        {
            self.deliver(caller, Message::Error { request_type, request, details, error, payload });
        }
    }

    /// Tells a callee that nobody waits any more. Returns whether it understands that.
    fn interrupt(&mut self, invocation: u64, mode: &str) -> bool {
        let Some(callee) = self.pending.get(&invocation).map(|pending| pending.callee) else { return false };
        let understands = self.understands_interrupt(callee);
        if understands {
            let options = vec![("mode".to_owned(), mode.into())];
            self.deliver(callee, Message::Interrupt { request: invocation, options });
        }
        understands
    }

    fn understands_interrupt(&self, session: u64) -> bool {
        self.members.get(&session).is_some_and(|member| member.features.call_canceling)
    }

    fn begin(&mut self, invocation: u64, pending: Pending) {
        if let Some(caller) = self.members.get_mut(&pending.caller) {
            caller.calls += 1;
        }
        if let Some(callee) = self.members.get_mut(&pending.callee) {
            callee.invocations += 1;
        }
        self.calls.insert((pending.caller, pending.request), invocation);
        self.deadlines.insert((pending.deadline, invocation));
        self.pending.insert(invocation, pending);
    }

    fn forget(&mut self, invocation: u64) -> Option<Pending> {
        let pending = self.pending.remove(&invocation)?;
        self.calls.remove(&(pending.caller, pending.request));
        self.deadlines.remove(&(pending.deadline, invocation));
        if let Some(caller) = self.members.get_mut(&pending.caller) {
            caller.calls = caller.calls.saturating_sub(1);
        }
        if let Some(callee) = self.members.get_mut(&pending.callee) {
            callee.invocations = callee.invocations.saturating_sub(1);
        }
        Some(pending)
    }

    /// What the dealer has to say to a message, and to whom.
    fn ask_dealer(
        &mut self,
        session: u64,
        message: &dyn Routed,
    ) -> Result<Option<(u64, Message)>, Violation> {
        let routed = self.dealer.receive_message(convert::id(session), message);
        let Some(routed) = routed.map_err(|_| Violation::Unroutable)? else { return Ok(None) };
        let message = convert::message(routed.message.as_ref()).ok_or(Violation::Unroutable)?;
        Ok(Some((routed.recipient.unsigned_abs(), message)))
    }
}

fn policy(matching: Match) -> MatchPolicy {
    match matching {
        Match::Exact => MatchPolicy::Exact,
        Match::Prefix => MatchPolicy::Prefix,
        Match::Wildcard => MatchPolicy::Wildcard,
    }
}
