//! The XBR seller as a system of actors, to be embedded in any program or run by the `xbr-seller` service.
//!
//! | actor | owns | survives a restart |
//! |---|---|---|
//! | [`KeySeries`], one per API | the current and the next key, the rotation timer | the archive of keys, in the store |
//! | [`ChannelLedger`] | sequence and balance of every paying channel | everything, in the store |
//! | [`MarketMaker`] | the WAMP session | nothing |
//! | [`Seller`] | the children, and the state of the whole | nothing |
//!
//! They exchange typed messages and share no lock. An embedder sees none of it: it holds a [`SellerHandle`], usable
//! from any tokio runtime. Wrapping a payload does not go through a mailbox: the series publishes its current key as
//! an immutable snapshot, and the caller encrypts on its own thread.

mod backoff;
mod channel_ledger;
pub mod closing;
mod directory;
mod handle;
mod in_flight;
pub mod key_series;
mod keyring;
mod market_maker;
pub mod messages;
mod observer;
mod options;
mod sale;
pub mod seller;
pub mod spans;
mod start;
mod watch;
mod wrapper;

pub use channel_ledger::{Alarm, ChannelLedger, ChannelStatus};
pub use closing::{CloseAt, CloseError, CloseOptions, CloseOutcome, CloseReport};
pub use handle::{SellerHandle, SpawnError};
pub use key_series::{KeyRotated, KeySeries, Rotation};
pub use market_maker::{MarketMaker, MarketOptions};
pub use observer::{Event, Observer, Observers, SaleEvent, SaleOutcome};
pub use options::{ApiError, ApiOptions, DEFAULT_OFFLINE_KEYS, Retention, SellerLimits, SellerOptions};
pub use seller::{ChannelReport, Seller, SellerState, SellerStatus};
pub use start::StartError;
pub use wrapper::{WrapError, Wrapped, Wrapper};
pub use xbr_store::{Clock, SystemClock};

/// The messages of the [`ChannelLedger`].
pub mod ledger {
    pub use crate::channel_ledger::{
        Attach, CommitClose, CommitOwnClose, CommitSale, LedgerOptions, Load, Observe, SetLowBalance,
    };
    pub use crate::sale::{PreparedClose, PreparedSale, PreparingClose, PreparingSale, Sold};
}
