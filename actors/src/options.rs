//! What an embedder decides: who the seller is, what it sells, and how long it waits.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use xbr_core::channel::Reconcile;
use xbr_core::crypto::{Entropy, UserspaceEntropy};
use xbr_core::offer::{OfferTerms, TermsError};
use xbr_core::signer::Signer;
use xbr_core::{Address, Amount, ProviderId};
use xbr_store::{Clock, Store, SystemClock};

use crate::key_series::{Rotation, lead};
use crate::observer::Observers;

/// How many keys of an API may wait to be offered unless something else is said.
pub const DEFAULT_OFFLINE_KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Which data keys leave the archive, of each API. A key that is in use stays, and so does one whose offer has not
/// expired; one that was offered for ever is revoked first. What was sold keeps its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Those that are older; `None`: none for its age.
    pub max_age: Option<Duration>,
    /// Those beyond the newest so many; `None`: none for their number.
    pub max_keys: Option<NonZeroU64>,
}

/// One seller. [`SellerOptions::new`] fills in the defaults.
#[derive(Clone)]
pub struct SellerOptions {
    /// The market maker whose signature counts.
    pub market_maker: Address,
    /// Who signs for the seller's delegate.
    pub signer: Arc<dyn Signer>,
    /// Where channels, receipts and keys are kept.
    pub store: Arc<dyn Store>,
    /// Under which name the provider's procedures are registered.
    pub provider_id: ProviderId,
    /// How deviations in the seller's favour are treated.
    pub reconcile: Reconcile,
    /// The block that off-chain states are signed for (`closeAt`): 1 on both sides of the reference.
    pub close_at: Amount,
    /// Below which balance a channel is running low, which is warned of; zero: never.
    pub low_balance: Amount,
    /// How often to look for channels that were opened meanwhile: every so often to twice as often, by chance, so that
    /// sellers spread out. `None`: only when the session begins, and at a first sale.
    pub channel_poll: Option<Duration>,
    /// How many keys of an API may wait to be offered while the market maker is away. When so many wait, no more are
    /// made: the current key serves on over its interval, and where a count is used up wrapping waits.
    pub offline_keys: NonZeroUsize,
    /// Which keys leave the archive.
    pub retention: Retention,
    /// For how long a wrapper waits for a key that is not ready.
    pub wrap_patience: Duration,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Where keys and nonces come from.
    pub entropy: Arc<dyn Entropy>,
    /// Who is told what happens.
    pub observers: Observers,
}

impl SellerOptions {
    /// A seller with the reference's defaults: the provider id is the signer's public key, off-chain states are signed
    /// for block 1, deviations in the seller's favour are taken.
    pub fn new(market_maker: Address, signer: Arc<dyn Signer>, store: Arc<dyn Store>) -> Self {
        Self {
            market_maker,
            provider_id: ProviderId::from_public_key(&signer.public_key()),
            signer,
            store,
            reconcile: Reconcile::default(),
            close_at: Amount::from_units(1),
            low_balance: Amount::ZERO,
            channel_poll: Some(Duration::from_secs(60)),
            offline_keys: DEFAULT_OFFLINE_KEYS,
            retention: Retention::default(),
            wrap_patience: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(UserspaceEntropy),
            observers: Observers::default(),
        }
    }
}

impl fmt::Debug for SellerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SellerOptions")
            .field("market_maker", &self.market_maker)
            .field("address", &self.signer.address())
            .field("reconcile", &self.reconcile)
            .finish_non_exhaustive()
    }
}

/// What of a seller's options can change while it runs; see [`SellerOptions`] for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub struct SellerLimits {
    pub low_balance: Amount,
    pub channel_poll: Option<Duration>,
    pub offline_keys: NonZeroUsize,
    pub retention: Retention,
}

/// One API: on which terms its keys are sold, and when they are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOptions {
    /// The terms of the offers.
    pub terms: OfferTerms,
    /// When a key is replaced.
    pub rotation: Rotation,
}

/// Why an API cannot be sold as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is one with this id already.
    #[error("the API {api_id} exists already")]
    Exists {
        /// The API.
        api_id: xbr_core::ApiId,
    },
    /// The terms are not those that a market maker takes.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// Neither an interval nor a count.
    #[error("a rotation needs an interval, a count, or both")]
    NoRotation,
    /// An interval below a millisecond, or a count of zero.
    #[error("a rotation needs an interval of at least 1 ms and a count of at least 1")]
    TooFast,
    /// The key outlives its offer.
    #[error(
        "expires_after must be longer than the rotation interval, which must be set, plus the lead of the next key \
         (a quarter of it, at most 5s; with a count all of it)"
    )]
    OutlivesOffer,
    /// The first key did not become ready.
    #[error("no data key became ready within {waited:?}; see the log for what the store says")]
    NoKey {
        /// For how long it was waited.
        waited: Duration,
    },
    /// The seller has gone.
    #[error("the seller has gone")]
    Gone,
}

impl ApiOptions {
    /// Checks what can be known beforehand.
    ///
    /// # Errors
    /// The first [`ApiError`] that applies.
    pub fn check(&self) -> Result<(), ApiError> {
        self.terms.check()?;
        let Rotation { interval, count } = self.rotation;
        if interval.is_none() && count.is_none() {
            return Err(ApiError::NoRotation);
        }
        if interval.is_some_and(|interval| interval < Duration::from_millis(1)) || count == Some(0) {
            return Err(ApiError::TooFast);
        }
        // A key is made ahead of its use: a lead when only time counts, else as soon as its predecessor is current.
        let life = interval.map(|interval| {
            let ahead = if count.is_some() { interval } else { lead(interval) };
            interval.saturating_add(ahead)
        });
        match (self.terms.expires_after, life) {
            (Some(validity), Some(life)) if validity > life => Ok(()),
            (Some(_), _) => Err(ApiError::OutlivesOffer),
            (None, _) => Ok(()),
        }
    }
}
