//! The [`RealmSession`] actor: one WAMP session on which the market maker's procedures are registered,
//! sellers are called and events are published. The market maker decides when to come back after a loss;
//! nothing of it survives a restart.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::try_join_all;
use xbr_core::Value;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::{Args, CloseReceipt, SellReceipt, uri};
use xbr_wamp::error::uris;
use xbr_wamp::request::RegistrationId;
use xbr_wamp::{Call, CallError, Dial, IncomingEvent, Invocation, RegisterOptions, Session};

use super::messages::{Asked, CallClose, CallSell, Join, JoinError, Leave, Publish, SessionLost};
use super::offer::Caller;
use super::outcome::ProviderError;
use super::procedures::PROCEDURES;
use super::reject::MakerReject;

/// How many messages may wait for the session.
const MAILBOX: usize = 4096;
/// How many calls of the market maker may be under way; what comes beyond is answered at once, to be
/// repeated.
const MAX_IN_FLIGHT: usize = 4096;

/// The actor; see the module.
pub struct RealmSession {
    dial: Dial,
    /// Whether to take registrations over from an earlier session that the router still holds (Crossbar).
    force_reregister: bool,
    joined: Option<Joined>,
    /// Which session it is: what an earlier one says does not count.
    generation: u64,
    in_flight: Rc<Cell<usize>>,
}

struct Joined {
    session: Session,
    answers: Recipient<Asked>,
    lost: Recipient<SessionLost>,
    /// Of each registration, the place in [`PROCEDURES`].
    registrations: HashMap<RegistrationId, usize>,
    _pump: Pump,
}

/// The task that brings what comes over a session. It keeps the session up, so that the two must end
/// together.
struct Pump(actix_rt::task::JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Something came over the session.
#[derive(Message)]
#[rtype(result = "()")]
struct Came {
    generation: u64,
    event: IncomingEvent,
}

impl RealmSession {
    /// A session that is to be joined.
    pub fn new(dial: Dial, force_reregister: bool) -> Self {
        Self { dial, force_reregister, joined: None, generation: 0, in_flight: Rc::default() }
    }

    /// Ends the session, if there is one; what it still says does not count.
    fn end(&mut self) -> Option<Joined> {
        self.generation += 1;
        self.joined.take()
    }

    /// Passes a call on, in the order of the wire.
    fn invoked(&self, invocation: Invocation) {
        let Some(joined) = &self.joined else { return };
        let procedure = joined.registrations.get(&invocation.registration);
        let Some((_, parse)) = procedure.and_then(|index| PROCEDURES.get(*index)) else { return };
        if self.in_flight.get() >= MAX_IN_FLIGHT {
            return answer_error(invocation, uris::UNAVAILABLE, "too many calls at once; repeat the request");
        }
        let request = match parse(&invocation.args, &invocation.kwargs) {
            Ok(request) => request,
            Err(reject) => return refuse(invocation, &reject),
        };
        let caller = Caller { session: invocation.caller.session, authid: invocation.caller.authid.clone() };
        // Sent before anything is awaited, which keeps the order.
        let answer = joined.answers.send(Asked { request, caller });
        let in_flight = Rc::clone(&self.in_flight);
        in_flight.set(in_flight.get() + 1);
        actix_rt::spawn(async move {
            match answer.await {
                Ok(Ok(value)) => invocation.responder.yield_result(vec![value], Vec::new()),
                Ok(Err(reject)) => refuse(invocation, &reject),
                Err(_) => answer_error(invocation, uris::UNAVAILABLE, "the market maker has gone"),
            }
            in_flight.set(in_flight.get().saturating_sub(1));
        });
    }

    /// Calls a seller and parses what it answers.
    fn call<T: 'static>(
        &self,
        procedure: String,
        args: Args,
        timeout: Duration,
        parse: impl FnOnce(&[Value]) -> Result<T, ArgumentError> + 'static,
    ) -> ResponseFuture<Result<T, ProviderError>> {
        let session = self.joined.as_ref().map(|joined| joined.session.clone());
        Box::pin(async move {
            let session = session.ok_or(ProviderError::NotJoined)?;
            let call = Call::new(procedure).args(args).timeout(timeout);
            let result = session.call(call).await.map_err(|error| provider_error(&error))?;
            Ok(parse(&result.args)?)
        })
    }
}

fn provider_error(error: &CallError) -> ProviderError {
    match error {
        CallError::Closed => ProviderError::NotJoined,
        CallError::Application { uri, payload } => {
            let text = payload.args.first().and_then(Value::as_str).unwrap_or_default();
            ProviderError::Refused { uri: uri.clone(), text: text.chars().take(500).collect() }
        }
        error if error.is_not_sent() => ProviderError::Unsendable { reason: error.to_string() },
        error => ProviderError::Unanswered { reason: error.to_string() },
    }
}

fn refuse(invocation: Invocation, reject: &MakerReject) {
    tracing::debug!(error = reject.uri(), "refused: {reject}");
    answer_error(invocation, reject.uri(), &reject.to_string());
}

fn answer_error(invocation: Invocation, uri: &str, text: &str) {
    invocation.responder.error(uri, vec![Value::from(text)], Vec::new());
}

async fn register_all(
    session: &Session,
    options: RegisterOptions,
) -> Result<HashMap<RegistrationId, usize>, JoinError> {
    let registrations = PROCEDURES.iter().enumerate().map(|(index, (procedure, _))| async move {
        let registered = session.register(procedure, options).await;
        registered.map(|id| (id, index)).map_err(|error| JoinError::Register {
            procedure: (*procedure).to_owned(),
            reason: error.to_string(),
        })
    });
    Ok(try_join_all(registrations).await?.into_iter().collect())
}

impl Actor for RealmSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Join> for RealmSession {
    type Result = ResponseActFuture<Self, Result<(), JoinError>>;

    fn handle(&mut self, message: Join, _: &mut Self::Context) -> Self::Result {
        // Dropping the session of before closes its connection.
        drop(self.end());
        let generation = self.generation;
        let dial = self.dial.connect();
        let options = RegisterOptions { force_reregister: self.force_reregister, ..Default::default() };
        let joining = async move {
            let (session, incoming) = dial.await.map_err(|error| JoinError::Join {
                reason: error.to_string(),
                permanent: error.is_permanent(),
            })?;
            let registrations = register_all(&session, options).await?;
            Ok((session, incoming, registrations))
        };
        Box::pin(joining.into_actor(self).map(move |result, actor, ctx| {
            let (session, mut incoming, registrations) = result?;
            if actor.generation != generation {
                return Err(JoinError::GivenUp);
            }
            // Weak, so that the actor goes when nobody else can reach it.
            let address = ctx.address().downgrade();
            let pump = actix_rt::spawn(async move {
                while let Some(event) = incoming.next().await {
                    let Some(actor) = address.upgrade() else { break };
                    // Awaited one by one, which keeps the order.
                    if actor.send(Came { generation, event }).await.is_err() {
                        break;
                    }
                }
            });
            let Join { answers, lost } = message;
            actor.joined = Some(Joined { session, answers, lost, registrations, _pump: Pump(pump) });
            Ok(())
        }))
    }
}

impl Handler<Came> for RealmSession {
    type Result = ();

    fn handle(&mut self, message: Came, _: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        match message.event {
            IncomingEvent::Invocation(invocation) => self.invoked(invocation),
            IncomingEvent::Closed(reason) => self.lose(reason.to_string()),
            IncomingEvent::RegistrationRevoked { procedure, .. } => {
                self.lose(format!("another session has taken {procedure} over"));
            }
            IncomingEvent::Event(_) => {}
        }
    }
}

impl RealmSession {
    fn lose(&mut self, reason: String) {
        if let Some(joined) = self.end() {
            let lost = joined.lost.send(SessionLost { reason });
            // A market maker that is busy must hear of it as well; one that has gone needs no news.
            actix_rt::spawn(async move {
                let _ = lost.await;
            });
        }
    }
}

impl Handler<Leave> for RealmSession {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Leave, _: &mut Self::Context) -> Self::Result {
        let joined = self.end();
        Box::pin(async move {
            if let Some(joined) = joined {
                joined.session.leave().await;
            }
        })
    }
}

impl Handler<CallSell> for RealmSession {
    type Result = ResponseFuture<Result<SellReceipt, ProviderError>>;

    fn handle(&mut self, message: CallSell, _: &mut Self::Context) -> Self::Result {
        let procedure = uri::sell(&message.provider_id);
        self.call(procedure, message.request.to_args(), message.timeout, SellReceipt::parse)
    }
}

impl Handler<CallClose> for RealmSession {
    type Result = ResponseFuture<Result<CloseReceipt, ProviderError>>;

    fn handle(&mut self, message: CallClose, _: &mut Self::Context) -> Self::Result {
        let procedure = uri::close_channel(&message.provider_id);
        self.call(procedure, message.request.to_args(), message.timeout, CloseReceipt::parse)
    }
}

impl Handler<Publish> for RealmSession {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Publish, _: &mut Self::Context) -> Self::Result {
        let session = self.joined.as_ref().map(|joined| joined.session.clone());
        Box::pin(async move {
            let Some(session) = session else { return };
            let event = xbr_wamp::Publish::new(&message.topic).args(message.args).acknowledge();
            if let Err(error) = session.publish(event).await {
                // Whoever misses it can ask; and the last one of a session often has no answer.
                tracing::debug!(topic = message.topic, %error, "an event was not acknowledged");
            }
        })
    }
}

impl fmt::Debug for RealmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealmSession").field("joined", &self.joined.is_some()).finish_non_exhaustive()
    }
}
