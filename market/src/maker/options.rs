//! What a market maker is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use xbr_core::crypto::keccak256;
use xbr_core::signer::Signer;
use xbr_core::wire::{ChannelType, MarketDomain};
use xbr_core::{Address, Amount, ChannelId};
use xbr_store::{Clock, SystemClock};
use xbr_wamp::Dial;

use super::account::Market;
use super::book::Limits;
use super::store::MakerStore;

/// Which offers are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfferPolicy {
    /// Those that the delegate which they name has signed (`EIP712Offer`).
    #[default]
    Verified,
    /// Any: the reference's seller signs its offers with random bytes. Then anybody who may call
    /// `place_offer` can offer a key in the name of another.
    Any,
}

/// A channel that is there from the first start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelGrant {
    /// Who pays whom.
    pub kind: ChannelType,
    /// The buyer's or seller's delegate.
    pub delegate: Address,
    /// What is put into it.
    pub amount: Amount,
}

/// Whose market it is, how it is reached, and where its books are kept. Made by [`MakerOptions::new`], then
/// adjusted.
#[derive(Clone)]
#[non_exhaustive]
pub struct MakerOptions {
    /// Signs for the market maker. The same digest must get the same signature each time.
    pub signer: Arc<dyn Signer>,
    /// What signatures are bound to.
    pub domain: MarketDomain,
    /// Where channels, offers and purchases are kept.
    pub store: Arc<dyn MakerStore>,
    /// How the market's realm is joined.
    pub dial: Dial,
    /// The block that off-chain states are signed for (`closeAt`). Default: 1, as on both sides of the
    /// reference.
    pub close_at: Amount,
    /// The channels that there are. Each is opened once, under an id made of the market, its kind, its
    /// delegate and how many of the same precede it in the list: a restart opens none again, and one more of
    /// the same at the end opens one more. Default: none.
    pub channels: Vec<ChannelGrant>,
    /// Which offers are taken. Default: signed ones.
    pub offers: OfferPolicy,
    /// How many sales may be in flight over one paying channel. Default: 64.
    pub max_in_flight: usize,
    /// How many purchases may be in flight in all. Default: 4,096.
    pub max_purchases: usize,
    /// How many offers are kept, those that expired within the last hour included. Default: 1,000,000.
    pub max_offers: usize,
    /// How many channels there may be. Default: 100,000.
    pub max_channels: usize,
    /// For how long a buyer's call waits for its receipt; then it is told to repeat the call. Default: 25 s,
    /// which is below the time that callers usually wait.
    pub buy_patience: Duration,
    /// For how long a seller's answer is waited for, before the same is asked again. Default: 10 s.
    pub sell_timeout: Duration,
    /// How long to wait before what is in doubt is asked again; twice as long each time, with jitter, up to
    /// 30 s. Default: 200 ms.
    pub repeat_delay: Duration,
    /// How long to wait before a lost session is joined again; twice as long each time, with jitter, up to
    /// 30 s. Default: 200 ms.
    pub rejoin_delay: Duration,
    /// For how long a start tries to join: a router may still be starting, or hold the registrations of an
    /// earlier session. Default: 15 s.
    pub join_patience: Duration,
    /// Whether to take registrations over from an earlier session that the router still holds (Crossbar).
    /// Default: no.
    pub force_reregister: bool,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl MakerOptions {
    /// A market maker with the defaults.
    pub fn new(
        signer: Arc<dyn Signer>,
        domain: MarketDomain,
        store: Arc<dyn MakerStore>,
        dial: impl Into<Dial>,
    ) -> Self {
        Self {
            signer,
            domain,
            store,
            dial: dial.into(),
            close_at: Amount::from_units(1),
            channels: Vec::new(),
            offers: OfferPolicy::default(),
            max_in_flight: 64,
            max_purchases: 4096,
            max_offers: 1_000_000,
            max_channels: 100_000,
            buy_patience: Duration::from_secs(25),
            sell_timeout: Duration::from_secs(10),
            repeat_delay: Duration::from_millis(200),
            rejoin_delay: Duration::from_millis(200),
            join_patience: Duration::from_secs(15),
            force_reregister: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// What all its channels have in common.
    pub fn market(&self) -> Market {
        Market { domain: self.domain, market_maker: self.signer.address(), close_at: self.close_at }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            channels: self.max_channels,
            offers: self.max_offers,
            purchases: self.max_purchases,
            sales_per_channel: self.max_in_flight.max(1),
        }
    }

    /// The configured channels with their ids.
    pub(super) fn grants(&self) -> Vec<(ChannelId, ChannelGrant)> {
        let same = |a: &ChannelGrant, b: &ChannelGrant| (a.kind, a.delegate) == (b.kind, b.delegate);
        let mut grants = Vec::new();
        for (index, grant) in self.channels.iter().enumerate() {
            let ordinal = self.channels.iter().take(index).filter(|other| same(other, grant)).count();
            grants.push((self.grant_id(grant, ordinal), *grant));
        }
        grants
    }

    fn grant_id(&self, grant: &ChannelGrant, ordinal: usize) -> ChannelId {
        let ordinal = u64::try_from(ordinal).unwrap_or(u64::MAX);
        let name = [
            b"xbr channel".as_slice(),
            self.domain.market_id.as_ref(),
            &[grant.kind.number()],
            grant.delegate.as_ref(),
            &ordinal.to_be_bytes(),
        ]
        .concat();
        let hash = keccak256(&name);
        ChannelId::new(std::array::from_fn(|index| hash.get(index).copied().unwrap_or_default()))
    }
}

impl fmt::Debug for MakerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakerOptions")
            .field("address", &self.signer.address())
            .field("market_id", &self.domain.market_id)
            .field("offers", &self.offers)
            .finish_non_exhaustive()
    }
}
