//! Why the market maker refuses, one enum per operation, and the one mapping from a reason to its WAMP error
//! URI.
//!
//! The variants stand in the order in which they are checked; when several apply, the first is the answer. A
//! refused call changes nothing. Texts reach the caller verbatim: no secrets, no addresses of others.

use thiserror::Error;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::uri::error;
use xbr_core::{Amount, ChannelSeq};

/// What is said when the store failed.
pub(super) const NOT_DURABLE: &str = "it could not be made durable";

/// Why a key is not sold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuyReject {
    /// The request is not of the right form.
    #[error("buy_key: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// The buyer's public key is of low order: anybody could open what is sealed to it.
    #[error("buy_key: buyer_pubkey must be a valid Curve25519 public key")]
    InvalidBuyerKey,
    /// There is no such payment channel.
    #[error("buy_key: no such payment channel")]
    NoSuchChannel,
    /// The channel belongs to another delegate.
    #[error("buy_key: the payment channel belongs to another delegate")]
    UnexpectedDelegate,
    /// The channel is closed.
    #[error("buy_key: the payment channel is not open")]
    ChannelNotOpen,
    /// Nobody offers the key.
    #[error("buy_key: no offer for the key")]
    NoOffer,
    /// The offer has expired, or was revoked.
    #[error("buy_key: the offer has expired")]
    OfferExpired,
    /// All copies are sold or reserved.
    #[error("buy_key: no copies of the key are left")]
    SoldOut,
    /// Less is paid than the key costs.
    #[error("buy_key: insufficient amount: the price is {} units, got {}", expected.units(), actual.units())]
    InsufficientAmount {
        /// The price, in 10^-18 XBR.
        expected: Amount,
        /// What would be paid.
        actual: Amount,
    },
    /// More is paid than the key costs.
    #[error("buy_key: unexpected amount: the price is {} units, got {}", expected.units(), actual.units())]
    ExcessiveAmount {
        /// The price, in 10^-18 XBR.
        expected: Amount,
        /// What would be paid.
        actual: Amount,
    },
    /// The sequence number does not follow.
    #[error("buy_key: unexpected channel_seq: expected {expected}, got {actual}")]
    UnexpectedSeq {
        /// The next one.
        expected: u64,
        /// The one there was.
        actual: ChannelSeq,
    },
    /// The payment channel has not enough left.
    #[error(
        "buy_key: the price of {} units is above the {} units that remain", price.units(), remaining.units()
    )]
    InsufficientPaymentBalance {
        /// The price, in 10^-18 XBR.
        price: Amount,
        /// What remains.
        remaining: Amount,
    },
    /// The remaining balance does not follow.
    #[error("buy_key: unexpected balance: expected {} units, got {}", expected.units(), actual.units())]
    UnexpectedBalance {
        /// What is to remain, in 10^-18 XBR.
        expected: Amount,
        /// What would remain.
        actual: Amount,
    },
    /// The state is not signed by the channel's delegate.
    #[error("buy_key: signature is invalid or not the delegate's")]
    InvalidSignature,
    /// No paying channel has enough left to pay the seller. The buyer keeps its money.
    #[error("buy_key: not enough remains to pay the seller of the key")]
    InsufficientPayingBalance,
    /// The seller refused. The buyer has its money back.
    #[error("buy_key: the seller did not sell the key: {text}")]
    NotSold {
        /// The seller's error.
        uri: String,
        /// Its text, cut to 500 characters.
        text: String,
    },
    /// It cannot be said now. The same request may be sent again, and gets the receipt once there is one.
    #[error("buy_key: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why an offer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OfferReject {
    /// The request is not of the right form, or the offer expires too early or too late.
    #[error("place_offer: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// It is not signed by the delegate that it names.
    #[error("place_offer: signature is invalid or not the delegate's")]
    InvalidSignature,
    /// The key is offered already; the reference says so in these words.
    #[error("key already offered")]
    AlreadyOffered,
    /// It cannot be taken now. The same request may be sent again.
    #[error("place_offer: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why an offer is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RevokeReject {
    /// The request is not of the right form.
    #[error("revoke_offer: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// Nobody offers the key.
    #[error("revoke_offer: no offer for the key")]
    NoOffer,
    /// Somebody else placed it, as far as the router tells.
    #[error("revoke_offer: the offer was placed by somebody else")]
    NotAuthorized,
    /// It cannot be done now. The same request may be sent again.
    #[error("revoke_offer: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why something cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryReject {
    /// The request is not of the right form.
    #[error("{0}")]
    InvalidArgument(#[from] ArgumentError),
    /// There is no channel of this type and id.
    #[error("no such channel")]
    NoSuchChannel,
    /// There is no such offer.
    #[error("no such offer")]
    NoOffer,
    /// The offer has expired, or was revoked.
    #[error("the offer has expired")]
    OfferExpired,
    /// All copies are sold or reserved.
    #[error("no copies of the key are left")]
    SoldOut,
    /// The market maker is not running.
    #[error("not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why a channel is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseReject {
    /// The request is not of the right form.
    #[error("close_channel: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// There is no such channel.
    #[error("close_channel: no such channel")]
    NoSuchChannel,
    /// The chain or the contract is not this market's.
    #[error("close_channel: the state is signed for another chain or contract")]
    UnexpectedDomain,
    /// The state is not signed by the channel's delegate.
    #[error("close_channel: signature is invalid or not the delegate's")]
    InvalidSignature,
    /// It is closed already, at another state.
    #[error("close_channel: the channel is not open")]
    ChannelNotOpen,
    /// Only a final state closes a channel here: there is no chain on which another could be contested.
    #[error("close_channel: is_final must be true")]
    NotFinal,
    /// Purchases are in flight.
    #[error("close_channel: purchases are in flight; repeat the request with the state after them")]
    InFlight,
    /// The sequence number is not that of the channel.
    #[error("close_channel: unexpected closing_seq: expected {expected}, got {actual}")]
    UnexpectedSeq {
        /// The channel's.
        expected: ChannelSeq,
        /// The one there was.
        actual: ChannelSeq,
    },
    /// The balance is not that of the channel.
    #[error("close_channel: unexpected balance: expected {} units, got {}", expected.units(), actual.units())]
    UnexpectedBalance {
        /// What remains, in 10^-18 XBR.
        expected: Amount,
        /// What would remain.
        actual: Amount,
    },
    /// It cannot be done now. The same request may be sent again.
    #[error("close_channel: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why a channel is not opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenReject {
    /// The request is not of the right form.
    #[error("open_channel: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// The market, market maker, chain or contract is not this one.
    #[error("open_channel: the channel is for another market, market maker, chain or contract")]
    UnexpectedMarket,
    /// It is not signed with the market maker's own key: money comes from its operator only.
    #[error("open_channel: signature is invalid or not the market maker's")]
    InvalidSignature,
    /// There is a channel of this id on other terms.
    #[error("open_channel: there is a channel with this channel_oid already, on other terms")]
    Exists,
    /// It cannot be done now. The same request may be sent again.
    #[error("open_channel: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// A refused call of the market maker's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MakerReject {
    /// A refused `buy_key`.
    #[error(transparent)]
    Buy(#[from] BuyReject),
    /// A refused `place_offer`.
    #[error(transparent)]
    Offer(#[from] OfferReject),
    /// A refused `revoke_offer`.
    #[error(transparent)]
    Revoke(#[from] RevokeReject),
    /// A refused look-up.
    #[error(transparent)]
    Query(#[from] QueryReject),
    /// A refused `close_channel`.
    #[error(transparent)]
    Close(#[from] CloseReject),
    /// A refused `open_channel`.
    #[error(transparent)]
    Open(#[from] OpenReject),
}

/// The market maker's errors that nobody has to tell apart but by their URI.
mod uris {
    pub(super) const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
    pub(super) const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
    pub(super) const UNAVAILABLE: &str = "wamp.error.unavailable";
    pub(super) const UNEXPECTED_SEQ: &str = "xbr.error.unexpected_channel_seq";
    pub(super) const UNEXPECTED_BALANCE: &str = "xbr.error.unexpected_channel_balance";
}

impl MakerReject {
    /// The WAMP error URI of the answer: the only place where a reason becomes a URI.
    pub fn uri(&self) -> &str {
        match self {
            Self::Buy(reject) => buy_uri(reject),
            Self::Offer(OfferReject::AlreadyOffered) => error::RUNTIME_ERROR,
            Self::Query(QueryReject::InvalidArgument(problem)) => query_argument_uri(problem),
            Self::Offer(OfferReject::InvalidArgument(_))
            | Self::Revoke(RevokeReject::InvalidArgument(_))
            | Self::Close(
                CloseReject::InvalidArgument(_) | CloseReject::UnexpectedDomain | CloseReject::NotFinal,
            )
            | Self::Open(
                OpenReject::InvalidArgument(_) | OpenReject::UnexpectedMarket | OpenReject::Exists,
            ) => uris::INVALID_ARGUMENT,
            Self::Revoke(RevokeReject::NotAuthorized) => uris::NOT_AUTHORIZED,
            Self::Revoke(RevokeReject::NoOffer)
            | Self::Query(QueryReject::NoSuchChannel | QueryReject::NoOffer) => error::NO_SUCH_OBJECT,
            Self::Query(QueryReject::OfferExpired) => error::OFFER_EXPIRED,
            Self::Query(QueryReject::SoldOut) => error::SOLD_OUT,
            Self::Close(CloseReject::NoSuchChannel) => error::INVALID_CHANNEL,
            Self::Close(CloseReject::ChannelNotOpen) => error::CHANNEL_NOT_OPEN,
            Self::Close(CloseReject::UnexpectedSeq { .. }) => uris::UNEXPECTED_SEQ,
            Self::Close(CloseReject::UnexpectedBalance { .. }) => uris::UNEXPECTED_BALANCE,
            Self::Offer(OfferReject::InvalidSignature)
            | Self::Close(CloseReject::InvalidSignature)
            | Self::Open(OpenReject::InvalidSignature) => error::INVALID_SIGNATURE,
            Self::Offer(OfferReject::Unavailable { .. })
            | Self::Revoke(RevokeReject::Unavailable { .. })
            | Self::Query(QueryReject::Unavailable { .. })
            | Self::Close(CloseReject::InFlight | CloseReject::Unavailable { .. })
            | Self::Open(OpenReject::Unavailable { .. }) => uris::UNAVAILABLE,
        }
    }
}

fn buy_uri(reject: &BuyReject) -> &str {
    match reject {
        BuyReject::InvalidArgument(_) | BuyReject::InvalidBuyerKey => uris::INVALID_ARGUMENT,
        // Like the reference, which knows no channel that is not open.
        BuyReject::NoSuchChannel | BuyReject::ChannelNotOpen | BuyReject::NoOffer => error::NO_SUCH_OBJECT,
        BuyReject::UnexpectedDelegate => "xbr.error.unexpected_delegate_adr",
        BuyReject::OfferExpired => error::OFFER_EXPIRED,
        BuyReject::SoldOut => error::SOLD_OUT,
        BuyReject::InsufficientAmount { .. } => "xbr.error.insufficient_amount",
        BuyReject::ExcessiveAmount { .. } => "xbr.error.unexpected_amount",
        BuyReject::UnexpectedSeq { .. } => uris::UNEXPECTED_SEQ,
        BuyReject::InsufficientPaymentBalance { .. } => "xbr.error.insufficient_payment_balance",
        BuyReject::UnexpectedBalance { .. } => uris::UNEXPECTED_BALANCE,
        BuyReject::InvalidSignature => error::INVALID_SIGNATURE,
        BuyReject::InsufficientPayingBalance => "xbr.error.insufficient_paying_balance",
        BuyReject::NotSold { uri, .. } => uri,
        BuyReject::Unavailable { .. } => uris::UNAVAILABLE,
    }
}

/// Look-ups of channels have errors of their own for two of their arguments.
fn query_argument_uri(problem: &ArgumentError) -> &'static str {
    match problem {
        ArgumentError::Range { name: "channel_type", .. } => "xbr.marketmaker.error.invalid_channel_type",
        ArgumentError::Length { name: "delegate_adr", .. } => "xbr.marketmaker.error.invalid_delegate_adr",
        _ => uris::INVALID_ARGUMENT,
    }
}
