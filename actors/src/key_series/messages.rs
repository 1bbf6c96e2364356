//! What a key series is made of, and what it can be told and asked.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use thiserror::Error;
use xbr_core::crypto::{Entropy, SealError};
use xbr_core::offer::OfferTerms;
use xbr_core::{Amount, ApiId, BuyerKey, KeyId, Value};
use xbr_store::{Clock, Store, StoreError};

use crate::messages::{PlaceOffer, RevokeOffer};
use crate::observer::Observers;
use crate::options::Retention;
use crate::wrapper::{WrapError, Wrapped};

/// When a key is replaced by the next one: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// After this time.
    pub interval: Option<Duration>,
    /// After exactly this many encryptions.
    pub count: Option<u64>,
}

/// What a series is made of.
#[derive(Clone)]
pub struct SeriesOptions {
    /// The API, its price and its offer.
    pub terms: OfferTerms,
    /// When keys are replaced.
    pub rotation: Rotation,
    /// Where keys are kept.
    pub store: Arc<dyn Store>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Where keys and nonces come from.
    pub entropy: Arc<dyn Entropy>,
    /// For how long a wrapper waits for a key that is not ready.
    pub patience: Duration,
    /// How many keys may wait to be offered before no more are made.
    pub offline_keys: NonZeroUsize,
    /// Which keys leave the archive.
    pub retention: Retention,
    /// Who hears which keys have left it.
    pub on_retired: Option<Recipient<KeysRetired>>,
    /// Who is told what happens.
    pub observers: Observers,
}

impl std::fmt::Debug for SeriesOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesOptions").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Where a series places its offers.
#[derive(Debug, Clone)]
pub struct OfferPort {
    /// Places an offer.
    pub place: Recipient<PlaceOffer>,
    /// Revokes one.
    pub revoke: Recipient<RevokeOffer>,
}

/// A key has become the current one.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct KeyRotated {
    /// The API.
    pub api_id: ApiId,
    /// The key.
    pub key_id: KeyId,
    /// The key before it.
    pub previous: Option<KeyId>,
    /// What the key is sold for.
    pub price: Amount,
    /// When it was made, Unix time in ns.
    pub created_ns: u64,
    /// When the next one follows, Unix time in ns; `None`: when its uses are spent.
    pub rotates_ns: Option<u64>,
    /// Whether the market maker has taken its offer.
    pub offered: bool,
}

/// Keys have left the archive: nobody may sell them any more.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct KeysRetired(pub Vec<KeyId>);

/// Encrypt a payload with the current key: the same function as the handle's `wrap`, behind the mailbox.
#[derive(Debug, Message)]
#[rtype(result = "Result<Wrapped, WrapError>")]
pub struct Encrypt {
    /// Under which URI it is to be published.
    pub uri: String,
    /// The payload.
    pub payload: Value,
}

/// Encrypt many payloads.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Wrapped>, WrapError>")]
pub struct EncryptBatch {
    /// Under which URI they are to be published.
    pub uri: String,
    /// The payloads.
    pub payloads: Vec<Value>,
}

/// Seal a key of this series, current or archived, to a buyer: 80 bytes. The reference's `encrypt_key`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<u8>, SealKeyError>")]
pub struct SealKey {
    /// The key.
    pub key_id: KeyId,
    /// The buyer's public key.
    pub buyer_key: BuyerKey,
}

/// Why a key was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealKeyError {
    /// It is not a key of this series.
    #[error("no such key in this series")]
    NoSuchKey,
    /// It has left the archive.
    #[error("the key is retired")]
    KeyRetired,
    /// The buyer's key is not a point that can be sealed to.
    #[error(transparent)]
    BuyerKey(#[from] SealError),
    /// The archive cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The computation was lost.
    #[error("the worker failed")]
    Worker,
}

/// Move to the next key now, and wait until it is current.
#[derive(Debug, Message)]
#[rtype(result = "Result<KeyId, WrapError>")]
pub struct RotateNow;

/// Hear of each rotation. A subscriber that has gone is forgotten.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<KeyRotated>);

/// Offer the live keys to a market maker, and every key from now on. The answer comes when each was tried once: the
/// number of keys that are offered.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct AttachMarket(pub OfferPort);

/// There is no market maker any more: go on, keeping what could not be offered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DetachMarket;

/// Stop encrypting and rotating, and revoke what is offered. Repeating it changes nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Halt;

/// Begin again with a new key after [`Halt`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resume;

/// Keep to other bounds from now on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SetBounds {
    /// How many keys may wait to be offered before no more are made.
    pub offline_keys: NonZeroUsize,
    /// Which keys leave the archive.
    pub retention: Retention,
}

/// Refuse to encrypt, make no key and place no offer of a new one, until [`Unpause`]. What is offered stays offered, and
/// is offered again to a market maker that comes back. Repeating it changes nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Pause;

/// Encrypt again. When the interval of the current key has passed meanwhile, a new key takes its place first: the offers
/// of the old ones may have expired. Without a pause it does nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unpause;

/// Sell the keys that are made from now on for another price. A key that is made keeps its price, the next one
/// included: it is offered already.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SetPrice(pub Amount);

/// What a series looks like now.
#[derive(Debug, Message)]
#[rtype(result = "SeriesStatus")]
pub struct Observe;

/// See [`Observe`].
#[derive(Debug, Clone, PartialEq, Eq, MessageResponse)]
pub struct SeriesStatus {
    /// The API.
    pub api_id: ApiId,
    /// On which terms the keys are sold that are made from now on.
    pub terms: OfferTerms,
    /// When they are replaced.
    pub rotation: Rotation,
    /// The price of the current key; of the first one, while there is none.
    pub price: Amount,
    /// The price of the key after it, as it stands now.
    pub next_price: Amount,
    /// Whether it is paused.
    pub is_paused: bool,
    /// The current key.
    pub key_id: Option<KeyId>,
    /// When it was made, Unix time in ns.
    pub created_ns: Option<u64>,
    /// When its interval is over, Unix time in ns; `None` without an interval.
    pub rotates_ns: Option<u64>,
    /// The key after it, when it is made already.
    pub next_key_id: Option<KeyId>,
    /// How many uses it has left; `None` for no limit.
    pub uses_left: Option<u64>,
    /// How many keys have been current.
    pub rotations: u64,
    /// How many payloads were encrypted since the start.
    pub wrapped: u64,
    /// Whether the market maker has taken its offer.
    pub is_offered: bool,
    /// Live keys whose offer the market maker has not taken yet.
    pub unoffered: usize,
    /// How many times an offer failed since the start, those that came to nothing for want of a session left aside.
    pub failed_offers: u64,
    /// How many keys have left the archive since the start.
    pub retired: u64,
    /// Why the last key could not be stored or offered.
    pub last_error: Option<String>,
}

/// A hint that the current key is used up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Advance;
