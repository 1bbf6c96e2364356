//! What a buyer is made of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use xbr_core::signer::Signer;
use xbr_core::{Address, Amount};
use xbr_wamp::Dial;

use super::store::BuyerStore;

/// Who buys, from whom, for how much, and where it is kept. Made by [`BuyerOptions::new`], then adjusted.
#[derive(Clone)]
#[non_exhaustive]
pub struct BuyerOptions {
    /// The market maker whose signature counts.
    pub market_maker: Address,
    /// Signs for the buyer's delegate.
    pub signer: Arc<dyn Signer>,
    /// What may be given for one key.
    pub max_price: Amount,
    /// Who consumes the data: for the log.
    pub consumer_id: String,
    /// Where payments and keys are kept.
    pub store: Arc<dyn BuyerStore>,
    /// How the market's realm is joined.
    pub dial: Dial,
    /// The block that off-chain states are signed for (`closeAt`). Default: 1, as on both sides of the
    /// reference.
    pub close_at: Amount,
    /// For how long a key is not tried again after its purchase failed. Default: 1 s.
    pub retry_pause: Duration,
    /// How often a payment is sent again when its outcome is unknown. Default: 3.
    pub repeats: u32,
    /// How long to wait before the first repeat; twice as long before the next. Default: 200 ms.
    pub repeat_delay: Duration,
    /// How long to wait before a lost session is joined again; twice as long each time, up to 30 s. Default:
    /// 200 ms.
    pub rejoin_delay: Duration,
    /// How many may wait for keys at once. Default: 65,536.
    pub max_waiting: usize,
    /// How many events of a subscription may wait to be taken; what comes beyond is missed. Default: 4096.
    pub event_capacity: usize,
}

impl BuyerOptions {
    /// A buyer with the defaults.
    pub fn new(
        market_maker: Address,
        signer: Arc<dyn Signer>,
        max_price: Amount,
        store: Arc<dyn BuyerStore>,
        dial: impl Into<Dial>,
    ) -> Self {
        Self {
            market_maker,
            signer,
            max_price,
            consumer_id: String::new(),
            store,
            dial: dial.into(),
            close_at: Amount::from_units(1),
            retry_pause: Duration::from_secs(1),
            repeats: 3,
            repeat_delay: Duration::from_millis(200),
            rejoin_delay: Duration::from_millis(200),
            max_waiting: 65_536,
            event_capacity: 4096,
        }
    }
}

impl BuyerOptions {
    /// What may be given for a key for which so much was written off.
    pub(super) fn limit(&self, written_off: Amount) -> Amount {
        self.max_price.checked_sub(written_off).unwrap_or_default()
    }
}

impl fmt::Debug for BuyerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuyerOptions")
            .field("market_maker", &self.market_maker)
            .field("address", &self.signer.address())
            .field("max_price", &self.max_price)
            .field("consumer_id", &self.consumer_id)
            .finish_non_exhaustive()
    }
}
