//! What the market maker says to its session and hears from it: one struct per message, each sent through a
//! [`Recipient`], so that a test puts an actor of its own in the session's place.

use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use thiserror::Error;
use xbr_core::wire::{Args, CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_core::{ProviderId, Value};

use super::offer::Caller;
use super::outcome::ProviderError;
use super::procedures::Request;
use super::reject::MakerReject;

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JoinError {
    /// The realm cannot be joined.
    #[error("cannot join the market's realm: {reason}")]
    Join {
        /// What the transport or the router says.
        reason: String,
        /// Whether trying again cannot help.
        permanent: bool,
    },
    /// A procedure cannot be registered.
    #[error("cannot register {procedure}: {reason}")]
    Register {
        /// The procedure.
        procedure: String,
        /// What the router says.
        reason: String,
    },
    /// The session was given up meanwhile.
    #[error("the session was given up")]
    GivenUp,
}

/// Dial, authenticate, join the realm, and register every procedure of the market maker.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), JoinError>")]
pub struct Join {
    /// Who answers calls.
    pub answers: Recipient<Asked>,
    /// Who hears when the session is lost.
    pub lost: Recipient<SessionLost>,
}

/// The session that [`Join`] made has ended without [`Leave`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SessionLost {
    /// Why, for the log.
    pub reason: String,
}

/// Say goodbye and close the connection. Without a session it does nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave;

/// Somebody calls the market maker. Calls are judged in the order in which they come.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Value, MakerReject>")]
pub struct Asked {
    /// The call.
    pub request: Request,
    /// Who calls, as far as the router discloses it.
    pub caller: Caller,
}

/// `xbr.provider.<id>.sell`. Calls leave in the order in which they are sent.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<SellReceipt, ProviderError>")]
pub struct CallSell {
    /// The seller.
    pub provider_id: ProviderId,
    /// The call's arguments.
    pub request: SellRequest,
    /// For how long to wait.
    pub timeout: Duration,
}

/// `xbr.provider.<id>.close_channel`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<CloseReceipt, ProviderError>")]
pub struct CallClose {
    /// The seller.
    pub provider_id: ProviderId,
    /// The call's arguments.
    pub request: CloseRequest,
    /// For how long to wait.
    pub timeout: Duration,
}

/// Publish an event. Without a session nobody hears it.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// Its arguments.
    pub args: Args,
}

/// The way to the session: a recipient per message, so that it can be any actor that knows them.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field is the recipient of the message of its name")]
pub struct RealmPort {
    pub join: Recipient<Join>,
    pub leave: Recipient<Leave>,
    pub sell: Recipient<CallSell>,
    pub close: Recipient<CallClose>,
    pub publish: Recipient<Publish>,
}

impl RealmPort {
    /// The port of an actor that knows all the messages.
    pub fn new<A>(session: &Addr<A>) -> Self
    where
        A: Actor + Handler<Join> + Handler<Leave> + Handler<CallSell> + Handler<CallClose> + Handler<Publish>,
        A::Context: ToEnvelope<A, Join>
            + ToEnvelope<A, Leave>
            + ToEnvelope<A, CallSell>
            + ToEnvelope<A, CallClose>
            + ToEnvelope<A, Publish>,
    {
        Self {
            join: session.clone().recipient(),
            leave: session.clone().recipient(),
            sell: session.clone().recipient(),
            close: session.clone().recipient(),
            publish: session.clone().recipient(),
        }
    }
}
