//! What the seller's actors say to the market maker's session and hear from it: one struct per message. All are
//! `Send`, so that an actor may live on any arbiter, and each is sent through a [`Recipient`], so that a test puts a
//! probe in an actor's place.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use thiserror::Error;
use tracing::Span;
use xbr_core::offer::KeyOffer;
use xbr_core::reject::{ArgumentError, CloseReject, SaleReject};
use xbr_core::wire::{
    Args, ChannelBalance, ChannelClosing, ChannelInfo, CloseReceipt, CloseRequest, MarketCloseRequest,
    MarketConfig, MarketStatus, SellReceipt, SellRequest,
};
use xbr_core::{Address, ChannelId, KeyId, ProviderId};

use crate::spans;

/// Why something could not be had from the market maker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MarketError {
    /// There is no session.
    #[error("not joined to the market's realm")]
    NotJoined,
    /// No session could be had.
    #[error("cannot join the market's realm: {reason}")]
    Join {
        /// What the transport or the router says.
        reason: String,
    },
    /// The market maker, or the router, answered with an error.
    #[error("{procedure} failed with {uri}: {text}")]
    Refused {
        /// What was called.
        procedure: String,
        /// The error.
        uri: String,
        /// Its text, cut to 200 characters.
        text: String,
    },
    /// It cannot be sent: the serializer has no form for it, or it is too large. Trying again cannot help.
    #[error("{procedure} cannot be sent: {reason}")]
    Unsendable {
        /// What was to be called.
        procedure: String,
        /// Why.
        reason: String,
    },
    /// No answer came; the call may have been executed.
    #[error("{procedure} got no answer: {reason}")]
    Unanswered {
        /// What was called.
        procedure: String,
        /// Why.
        reason: String,
    },
    /// The answer is not of the right form.
    #[error("{procedure} answered out of form: {error}")]
    Malformed {
        /// What was called.
        procedure: String,
        /// What is wrong with the answer.
        error: ArgumentError,
    },
}

impl MarketError {
    /// Which kind it is, in one word, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotJoined => "not_joined",
            Self::Join { .. } => "join",
            Self::Refused { .. } => "refused",
            Self::Unsendable { .. } => "unsendable",
            Self::Unanswered { .. } => "unanswered",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// Dial, authenticate and join the realm.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct Join {
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

/// The market maker has said that it runs: it may have been away, and forgotten what it was told.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct MarketMakerBack;

/// `xbr.marketmaker.get_config`.
#[derive(Debug, Message)]
#[rtype(result = "Result<MarketConfig, MarketError>")]
pub struct FetchConfig;

/// `xbr.marketmaker.get_status`.
#[derive(Debug, Message)]
#[rtype(result = "Result<MarketStatus, MarketError>")]
pub struct FetchStatus;

/// `xbr.marketmaker.get_active_paying_channel`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<ChannelInfo>, MarketError>")]
pub struct FetchActiveChannel {
    /// The seller's address.
    pub delegate: Address,
}

/// `xbr.marketmaker.get_channels_by_delegate`, for open paying channels.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<ChannelId>, MarketError>")]
pub struct FetchChannels {
    /// The seller's address.
    pub delegate: Address,
}

/// `xbr.marketmaker.get_paying_channel`.
#[derive(Debug, Message)]
#[rtype(result = "Result<ChannelInfo, MarketError>")]
pub struct FetchChannel {
    /// The channel.
    pub channel_id: ChannelId,
}

/// `xbr.marketmaker.get_paying_channel_balance`.
#[derive(Debug, Message)]
#[rtype(result = "Result<ChannelBalance, MarketError>")]
pub struct FetchBalance {
    /// The channel.
    pub channel_id: ChannelId,
}

/// `xbr.marketmaker.place_offer`. That the key is offered already counts as success: a reply got lost.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct PlaceOffer {
    /// The offer; the session signs it.
    pub offer: KeyOffer,
}

/// `xbr.marketmaker.revoke_offer`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct RevokeOffer {
    /// The key.
    pub key_id: KeyId,
}

/// `xbr.marketmaker.close_channel`: there is one try.
#[derive(Debug, Message)]
#[rtype(result = "Result<ChannelClosing, MarketError>")]
pub struct SubmitClose {
    /// The close, signed.
    pub request: MarketCloseRequest,
}

/// Publish an event and wait for the router's acknowledgement.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The event's positional arguments.
    pub args: Args,
}

/// Register the provider's procedures and pass their calls on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct Serve {
    /// Under which name.
    pub provider_id: ProviderId,
    /// Who sells.
    pub sell: Recipient<Sell>,
    /// Who closes.
    pub close: Recipient<CloseChannel>,
    /// Who hears that the market maker came back.
    pub back: Recipient<MarketMakerBack>,
}

/// Unregister the provider's procedures. Without a session it does nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Withdraw;

/// The market maker buys a key.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<SellReceipt, SaleReject>")]
pub struct Sell {
    /// The call's arguments.
    pub request: SellRequest,
    /// What the steps of the sale are traced below.
    pub span: Span,
}

impl From<SellRequest> for Sell {
    fn from(request: SellRequest) -> Self {
        Self { request, span: spans::sale() }
    }
}

/// The market maker asks for a state to close a channel at.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<CloseReceipt, CloseReject>")]
pub struct CloseChannel {
    /// The call's arguments.
    pub request: CloseRequest,
}

/// The way to the market maker's session: a recipient per message, so that it can be any actor that knows them.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field is the recipient of the message of its name")]
pub struct MarketPort {
    pub join: Recipient<Join>,
    pub leave: Recipient<Leave>,
    pub fetch_config: Recipient<FetchConfig>,
    pub fetch_status: Recipient<FetchStatus>,
    pub fetch_active_channel: Recipient<FetchActiveChannel>,
    pub fetch_channels: Recipient<FetchChannels>,
    pub fetch_channel: Recipient<FetchChannel>,
    pub fetch_balance: Recipient<FetchBalance>,
    pub place_offer: Recipient<PlaceOffer>,
    pub revoke_offer: Recipient<RevokeOffer>,
    pub submit_close: Recipient<SubmitClose>,
    pub publish: Recipient<Publish>,
    pub serve: Recipient<Serve>,
    pub withdraw: Recipient<Withdraw>,
}

impl MarketPort {
    /// The port of an actor that knows all the messages.
    pub fn new<A>(session: &Addr<A>) -> Self
    where
        A: Actor
            + Handler<Join>
            + Handler<Leave>
            + Handler<FetchConfig>
            + Handler<FetchStatus>
            + Handler<FetchActiveChannel>
            + Handler<FetchChannels>
            + Handler<FetchChannel>
            + Handler<FetchBalance>
            + Handler<PlaceOffer>
            + Handler<RevokeOffer>
            + Handler<SubmitClose>
            + Handler<Publish>
            + Handler<Serve>
            + Handler<Withdraw>,
        A::Context: ToEnvelope<A, Join>
            + ToEnvelope<A, Leave>
            + ToEnvelope<A, FetchConfig>
            + ToEnvelope<A, FetchStatus>
            + ToEnvelope<A, FetchActiveChannel>
            + ToEnvelope<A, FetchChannels>
            + ToEnvelope<A, FetchChannel>
            + ToEnvelope<A, FetchBalance>
            + ToEnvelope<A, PlaceOffer>
            + ToEnvelope<A, RevokeOffer>
            + ToEnvelope<A, SubmitClose>
            + ToEnvelope<A, Publish>
            + ToEnvelope<A, Serve>
            + ToEnvelope<A, Withdraw>,
    {
        Self {
            join: session.clone().recipient(),
            leave: session.clone().recipient(),
            fetch_config: session.clone().recipient(),
            fetch_status: session.clone().recipient(),
            fetch_active_channel: session.clone().recipient(),
            fetch_channels: session.clone().recipient(),
            fetch_channel: session.clone().recipient(),
            fetch_balance: session.clone().recipient(),
            place_offer: session.clone().recipient(),
            revoke_offer: session.clone().recipient(),
            submit_close: session.clone().recipient(),
            publish: session.clone().recipient(),
            serve: session.clone().recipient(),
            withdraw: session.clone().recipient(),
        }
    }
}

/// Asks an actor and waits; an actor that has gone counts as a session that is not there.
pub(crate) async fn ask<M, T>(recipient: &Recipient<M>, message: M) -> Result<T, MarketError>
where
    M: Message<Result = Result<T, MarketError>> + Send,
    T: Send,
{
    recipient.send(message).await.unwrap_or(Err(MarketError::NotJoined))
}
