//! Why a sale or a close is refused, and the one mapping from a reason to its WAMP error URI.
//!
//! The variants stand in the order in which they are checked; when several apply, the first is the answer.
//! Texts reach the buyer verbatim: they hold no secret, no address of another party and no internal path.

use thiserror::Error;

use crate::amount::Amount;
use crate::channel::ChannelState;
use crate::ids::ChannelSeq;

/// Why the arguments of a call are not those of the procedure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// Another number of positional arguments.
    #[error("expected {expected} positional arguments, got {actual}")]
    Arity {
        /// How many the procedure takes.
        expected: usize,
        /// How many there were.
        actual: usize,
    },
    /// Keyword arguments that the procedure does not have, or that repeat a positional one.
    #[error("got {actual} unexpected keyword arguments")]
    Keywords {
        /// How many there were.
        actual: usize,
    },
    /// An argument of another type.
    #[error("{name} must be {expected}, got {actual}")]
    Type {
        /// The argument.
        name: &'static str,
        /// The type that it has.
        expected: &'static str,
        /// The type there was.
        actual: &'static str,
    },
    /// A byte string of another length.
    #[error("{name} must be {expected} bytes, got {actual}")]
    Length {
        /// The argument.
        name: &'static str,
        /// How many bytes it has.
        expected: usize,
        /// How many there were.
        actual: usize,
    },
    /// A number out of range, or a text that is not of the right form.
    #[error("{name} must be {expected}")]
    Range {
        /// The argument.
        name: &'static str,
        /// What is in range.
        expected: &'static str,
    },
    /// A field that is missing from a dictionary.
    #[error("{name} is missing")]
    Missing {
        /// The field.
        name: &'static str,
    },
}

/// Why a sale is refused. A refused sale changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SaleReject {
    /// The request is not of the right form.
    #[error("sell: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// It comes from another market maker than the configured one.
    #[error("sell: unexpected market maker address")]
    UnexpectedMarketMaker,
    /// The key was never made here.
    #[error("sell: no such key")]
    NoSuchKey,
    /// The key has left the archive.
    #[error("sell: the key is retired")]
    KeyRetired,
    /// The channel is not one of this seller's.
    #[error("sell: unexpected channel_oid")]
    UnexpectedChannel,
    /// The buyer's public key is not a point that a key can be sealed to.
    #[error("sell: buyer_pubkey must be a valid Curve25519 public key")]
    InvalidBuyerKey,
    /// A final close of the channel was signed.
    #[error("sell: the channel is closed")]
    ChannelClosed,
    /// The market maker's own figures went back behind a state that it had signed; nothing is sold until they
    /// agree.
    #[error("sell: the channel is halted, the market maker's balance is behind a state that it has signed")]
    ChannelHalted,
    /// The sequence number does not follow, in a request that is not signed: it is told no figures.
    #[error("sell: unexpected channel_seq")]
    UnprovenSeq,
    /// The sequence number does not follow.
    #[error("sell: unexpected channel_seq: expected {expected}, got {actual}")]
    UnexpectedSeq {
        /// The next one; a greater one is taken as well, unless reconciling strictly.
        expected: u64,
        /// The one there was.
        actual: ChannelSeq,
    },
    /// The remaining balance does not follow, in a request that is not signed: it is told no figures.
    #[error("sell: unexpected balance")]
    UnprovenBalance,
    /// The remaining balance does not follow.
    #[error("sell: unexpected balance: expected {} units, got {}", expected.units(), actual.units())]
    UnexpectedBalance {
        /// What is to remain, in 10^-18 XBR; less is taken as well where that favours the seller.
        expected: Amount,
        /// What would remain.
        actual: Amount,
    },
    /// The state is not signed by the market maker.
    #[error("sell: signature is invalid or not the market maker's")]
    InvalidSignature,
    /// Less is paid than the key was offered for.
    #[error("sell: insufficient amount: the price is {} units, got {}", expected.units(), actual.units())]
    InsufficientAmount {
        /// The price, in 10^-18 XBR.
        expected: Amount,
        /// What would be paid.
        actual: Amount,
    },
    /// The seller is not selling now, or could not make the sale durable. The same request may be sent again.
    #[error("sell: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why a close is not signed. A refused close changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseReject {
    /// The request is not of the right form.
    #[error("close_channel: {0}")]
    InvalidArgument(#[from] ArgumentError),
    /// It comes from another market maker than the configured one.
    #[error("close_channel: unexpected market maker (delegate) address")]
    UnexpectedDelegate,
    /// The channel is not one of this seller's.
    #[error("close_channel: unexpected channel_oid")]
    UnexpectedChannel,
    /// Another final close of the channel was signed.
    #[error("close_channel: the channel is closed")]
    ChannelClosed,
    /// The sequence number is behind, in a request that is not signed: it is told no figures.
    #[error("close_channel: unexpected channel_seq")]
    UnprovenSeq,
    /// The sequence number is behind.
    #[error("close_channel: unexpected channel_seq: expected {expected}, got {actual}")]
    UnexpectedSeq {
        /// The last one; a greater one is taken as well, unless reconciling strictly.
        expected: ChannelSeq,
        /// The one there was.
        actual: ChannelSeq,
    },
    /// More would remain than the seller has agreed to, in a request that is not signed: it is told no figures.
    #[error("close_channel: unexpected balance")]
    UnprovenBalance,
    /// More would remain than the seller has agreed to.
    #[error("close_channel: unexpected balance: expected {} units, got {}", expected.units(), actual.units())]
    UnexpectedBalance {
        /// What is to remain, in 10^-18 XBR; less is taken as well where that favours the seller.
        expected: Amount,
        /// What would remain.
        actual: Amount,
    },
    /// The state is not signed by the market maker.
    #[error("close_channel: signature is invalid or not the market maker's")]
    InvalidSignature,
    /// The seller is not running now, or could not make the close durable. The same request may be sent
    /// again.
    #[error("close_channel: not available now: {reason}; repeat the request")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Why a close from the seller's side is not signed. It is told to the operator only.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OwnCloseReject {
    /// The ledger does not know the channel.
    #[error("the ledger does not know the channel; start the seller once, so that it is adopted")]
    UnknownChannel,
    /// A sale or close of it is under way.
    #[error("a sale is under way on the channel; try again when it is finished")]
    Busy,
    /// A sale was made since the state was looked at.
    #[error("the channel has moved on to seq {}; try again", expected.seq)]
    MovedOn {
        /// Where the channel stands.
        expected: ChannelState,
        /// Where it was to be closed.
        actual: ChannelState,
    },
    /// The market maker's figures are behind a state that it has signed.
    #[error(
        "the market maker says seq {} with {} XBR remaining, which is behind seq {} with {} XBR that it has signed; \
         settle that with the market's operator first",
        actual.seq, actual.balance, expected.seq, expected.balance
    )]
    RolledBack {
        /// Where the ledger stands.
        expected: ChannelState,
        /// Where the market maker says that it stands.
        actual: ChannelState,
    },
    /// The store comes from a backup, and sales were made since.
    #[error(
        "the store comes from a backup and stands at seq {} with {} XBR remaining, the market maker at seq {} with \
         {} XBR: closing there would give away what was sold since; restore a newer backup, or have the market's \
         operator close the channel",
        actual.seq, actual.balance, expected.seq, expected.balance
    )]
    Outdated {
        /// Where the market maker says that it stands.
        expected: ChannelState,
        /// Where the ledger stands.
        actual: ChannelState,
    },
    /// It could not be made durable. Nothing was sent.
    #[error("the store failed: {reason}; nothing was sent, try again")]
    Unavailable {
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// A refused call of a provider's procedure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reject {
    /// A refused `sell`.
    #[error(transparent)]
    Sale(#[from] SaleReject),
    /// A refused `close_channel`.
    #[error(transparent)]
    Close(#[from] CloseReject),
}

impl Reject {
    /// The WAMP error URI of the answer: the only place where a reason becomes a URI.
    pub fn uri(&self) -> &'static str {
        match self {
            Self::Sale(SaleReject::UnexpectedMarketMaker) => "xbr.error.unexpected_marketmaker_adr",
            Self::Close(CloseReject::UnexpectedDelegate) => "xbr.error.unexpected_delegate_adr",
            Self::Sale(SaleReject::NoSuchKey) => "crossbar.error.no_such_object",
            Self::Sale(SaleReject::UnexpectedChannel) | Self::Close(CloseReject::UnexpectedChannel) => {
                "xbr.error.unexpected_channel_oid"
            }
            Self::Sale(SaleReject::UnprovenSeq | SaleReject::UnexpectedSeq { .. })
            | Self::Close(CloseReject::UnprovenSeq | CloseReject::UnexpectedSeq { .. }) => {
                "xbr.error.unexpected_channel_seq"
            }
            Self::Sale(
                SaleReject::UnprovenBalance
                | SaleReject::UnexpectedBalance { .. }
                | SaleReject::ChannelHalted,
            )
            | Self::Close(CloseReject::UnprovenBalance | CloseReject::UnexpectedBalance { .. }) => {
                "xbr.error.unexpected_channel_balance"
            }
            Self::Sale(SaleReject::InvalidSignature) | Self::Close(CloseReject::InvalidSignature) => {
                "xbr.error.invalid_signature"
            }
            Self::Sale(SaleReject::InsufficientAmount { .. }) => "xbr.error.insufficient_amount",
            Self::Sale(SaleReject::ChannelClosed) | Self::Close(CloseReject::ChannelClosed) => {
                "xbr.error.channel_closed"
            }
            Self::Sale(SaleReject::KeyRetired) => "xbr.error.key_retired",
            Self::Sale(SaleReject::InvalidArgument(_) | SaleReject::InvalidBuyerKey)
            | Self::Close(CloseReject::InvalidArgument(_)) => "wamp.error.invalid_argument",
            Self::Sale(SaleReject::Unavailable { .. }) | Self::Close(CloseReject::Unavailable { .. }) => {
                "wamp.error.unavailable"
            }
        }
    }
}
