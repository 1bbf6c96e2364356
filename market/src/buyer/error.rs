//! What can go wrong for a buyer, one enum per operation. Purchase errors can be cloned: everybody who waits
//! for a key gets the same.

use thiserror::Error;
use xbr_core::cbor::CborError;
use xbr_core::crypto::{OpenError, SignError};
use xbr_core::reject::ArgumentError;
use xbr_core::{Address, Amount, ChannelId};
use xbr_store::StoreError;

use super::wallet::{Drift, PaymentReject, ReceiptFault};

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
        /// Whether trying again cannot help.
        permanent: bool,
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
    /// It cannot be sent: the serializer has no form for it, it is too large, or its URI is none. Trying
    /// again cannot help.
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
    /// Whether somebody decided against the request, as opposed to a failure on the way that another try may
    /// get over.
    pub fn is_refusal(&self) -> bool {
        const PASSING: [&str; 4] = [
            "wamp.error.no_such_procedure",
            "wamp.error.unavailable",
            "wamp.error.canceled",
            "wamp.error.timeout",
        ];
        match self {
            Self::Refused { uri, .. } => !PASSING.contains(&uri.as_str()),
            Self::Unsendable { .. } | Self::Malformed { .. } => true,
            Self::NotJoined | Self::Join { .. } | Self::Unanswered { .. } => false,
        }
    }
}

/// Why a start failed. The buyer is stopped then, and can be started again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The market maker cannot be reached, or refuses.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The market maker on this realm is another one than the configured one.
    #[error(
        "the market maker is {actual}, expected {expected}: correct the configuration, or join another realm"
    )]
    OtherMarketMaker {
        /// The configured address.
        expected: Address,
        /// The one that `get_config` tells.
        actual: Address,
    },
    /// The buyer has no open channel with something remaining.
    #[error("no active payment channel for delegate {delegate}: ask the market's operator to open one")]
    NoPaymentChannel {
        /// The buyer's address.
        delegate: Address,
    },
    /// The active channel is not what it should be.
    #[error("the active payment channel {channel_id} is not usable: {problem}")]
    Channel {
        /// The channel.
        channel_id: ChannelId,
        /// What is wrong.
        problem: &'static str,
    },
    /// The market maker's figures contradict what it had signed.
    #[error("the payment channel {channel_id} cannot be reconciled: {drift}")]
    Drift {
        /// The channel.
        channel_id: ChannelId,
        /// How.
        drift: Drift,
    },
    /// The session ended before the start was through.
    #[error("the session was lost during the start")]
    SessionLost,
    /// It was stopped meanwhile.
    #[error("stopped before the start was through")]
    Interrupted,
    /// The buyer has gone.
    #[error("the buyer has gone")]
    Gone,
}

/// Why a key could not be had. The next event may try again, after a pause.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuyError {
    /// The buyer is not started, or is stopping.
    #[error("the buyer is not running")]
    NotRunning,
    /// Too many wait for keys already.
    #[error("too many events wait for keys, at most {max} may")]
    Busy {
        /// How many may wait.
        max: usize,
    },
    /// There is no quote, or the market maker refused or could not be reached.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The quote is for another key.
    #[error("the market maker quoted another key")]
    OtherQuote,
    /// It is too dear.
    #[error(transparent)]
    Payment(#[from] PaymentReject),
    /// The payment could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The store failed: nothing is sent that is not durable, and no key used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The market maker took the payment, but its receipt does not hold. The payment is written off, as far
    /// as the market maker's figures say that it was taken.
    #[error(transparent)]
    Receipt(#[from] ReceiptFault),
    /// The market maker's figures contradict what was agreed; nothing is bought until they agree again.
    #[error(transparent)]
    Drift(#[from] Drift),
    /// The purchase has cost so much and brought nothing, since the market maker answered no more.
    #[error("{paid} XBR were taken for the key, and the market maker does not answer for it: {error}")]
    TakenWithoutKey {
        /// What was taken.
        paid: Amount,
        /// The last answer.
        error: MarketError,
    },
    /// The buyer has gone.
    #[error("the buyer has gone")]
    Gone,
}

/// Why a payload could not be decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnwrapError {
    /// The event is not of the form of an encrypted event: `[key_id, serializer, ciphertext]`.
    #[error("not an encrypted event: {0}")]
    NotEncrypted(#[from] ArgumentError),
    /// Its payload is in an encoding other than cbor.
    #[error("payload serializer must be \"cbor\", got {actual:?}")]
    Serializer {
        /// What it is, cut to 100 characters.
        actual: String,
    },
    /// Its key could not be had.
    #[error(transparent)]
    Buy(#[from] BuyError),
    /// It does not open with the key that was bought.
    #[error("payload does not decrypt: {0}")]
    Decrypt(#[from] OpenError),
    /// It decrypts to something else than CBOR.
    #[error("payload does not decode: {0}")]
    Decode(#[from] CborError),
}
