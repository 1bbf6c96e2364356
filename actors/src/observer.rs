//! What a seller tells those who watch it: an [`Event`] for each thing that happens, to every [`Observer`] that the
//! options name. Nothing waits for an observer and nothing depends on one; without any, no event is even made.
//!
//! How things stand is not told but asked for: [`SellerHandle::observe`](crate::SellerHandle::observe).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use xbr_core::channel::{ChannelState, Reconciliation};
use xbr_core::reject::{Reject, SaleReject};
use xbr_core::{Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, KeyId};

use crate::messages::MarketError;
use crate::seller::SellerState;

/// Who watches a seller. It is told on the actors' own thread, so that it must return at once: count, or pass on to
/// a channel without waiting.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn told(&self, event: &Event);
}

/// All that watch a seller, in no order; by default nobody.
#[derive(Clone, Default)]
pub struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// Those who are to be told.
    pub fn new(observers: impl IntoIterator<Item = Arc<dyn Observer>>) -> Self {
        Self(observers.into_iter().collect())
    }

    /// Tells everybody of an event, which is made only if there is somebody.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.0.is_empty() {
            return;
        }
        let event = event();
        for observer in self.0.iter() {
            observer.told(&event);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers({})", self.0.len())
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request to sell was answered; what was sold is durable.
    Sale(SaleEvent),
    /// A call of one of the provider's procedures was answered before anybody looked at what it asks for: it is out
    /// of form, or there are too many at once.
    TurnedAway {
        /// The error that it was answered with.
        error: &'static str,
    },
    /// A close was asked for by the market maker, and answered; what was signed is durable.
    Close {
        /// The channel.
        channel_id: ChannelId,
        /// `None`: signed; else the error that it was answered with.
        error: Option<&'static str>,
    },
    /// A key has become the current one of its API.
    Rotated {
        /// The API.
        api_id: ApiId,
        /// The key.
        key_id: KeyId,
        /// The key before it.
        previous: Option<KeyId>,
        /// What the key is sold for.
        price: Amount,
        /// When it was made, Unix time in ns.
        created_ns: u64,
        /// When the next one follows, Unix time in ns; `None`: when its uses are spent.
        rotates_ns: Option<u64>,
        /// Whether the market maker has taken its offer.
        offered: bool,
        /// How long after its time; `None` when it was not due by the clock.
        late: Option<Duration>,
    },
    /// The market maker answered an offer, or failed to.
    Offer {
        /// The API.
        api_id: ApiId,
        /// The key.
        key_id: KeyId,
        /// What it is offered for.
        price: Amount,
        /// Why it was not taken; it is tried again.
        error: Option<MarketError>,
    },
    /// The seller stands elsewhere.
    State(SellerState),
    /// The session was lost; the seller comes back by itself.
    SessionLost {
        /// Why.
        reason: String,
    },
    /// An attempt to come back failed; others follow.
    NotBack {
        /// Why.
        reason: String,
    },
    /// A channel was compared with the market maker's figures, or adopted at them.
    Reconciled {
        /// The channel.
        channel_id: ChannelId,
        /// Whether it was seen for the first time.
        is_new: bool,
        /// What came of it.
        reconciliation: Reconciliation,
    },
    /// The market maker signed a state behind one that it had signed: nothing is sold on the channel any more.
    RolledBack {
        /// The channel.
        channel_id: ChannelId,
        /// Where the ledger stands.
        ours: ChannelState,
        /// What was signed.
        theirs: ChannelState,
    },
    /// The market maker signed what contradicts what it had signed; the proof is kept.
    Contradiction {
        /// The channel.
        channel_id: ChannelId,
        /// The error that the request was answered with.
        error: &'static str,
    },
    /// Less remains on a channel than the configured threshold.
    Low {
        /// The channel.
        channel_id: ChannelId,
        /// What remains.
        remaining: Amount,
    },
}

/// A request to sell, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleEvent {
    /// When, Unix time in ns.
    pub at_ns: u64,
    /// The channel that it was to be paid from.
    pub channel_id: ChannelId,
    /// The sequence number that it was to have there.
    pub seq: ChannelSeq,
    /// The key.
    pub key_id: KeyId,
    /// The API of the key; `None` where that was not found out: the request was refused, or is the repeat of a sale
    /// whose key has left the archive.
    pub api_id: Option<ApiId>,
    /// The buyer's public key.
    pub buyer_key: BuyerKey,
    /// What was to be paid.
    pub amount: Amount,
    /// The answer.
    pub outcome: SaleOutcome,
    /// From the arrival at the seller to the answer.
    pub duration: Duration,
}

/// How a request to sell was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaleOutcome {
    /// With a receipt: the money is earned.
    Sold,
    /// With the receipt of before: it was earned then.
    Repeated,
    /// With an error: nothing was sold.
    Refused(SaleReject),
}

impl SaleOutcome {
    /// `sold`, `repeated`, or the URI of the error: one of a closed set.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sold => "sold",
            Self::Repeated => "repeated",
            Self::Refused(reject) => Reject::from(reject.clone()).uri(),
        }
    }
}
