//! What a seller can be told and asked.

use std::time::Duration;

use actix::prelude::*;
use thiserror::Error;
use xbr_core::wire::ChannelBalance;
use xbr_core::{Amount, ApiId, KeyId};

use crate::channel_ledger::ChannelStatus;
use crate::key_series::{KeyRotated, SeriesStatus};
use crate::messages::MarketError;
use crate::options::{ApiError, ApiOptions, SellerLimits};
use crate::start::StartError;
use crate::wrapper::WrapError;

/// Where a seller stands, with the reference's numbers (`SimpleSeller.STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SellerState {
    /// Made, and never started.
    None = 0,
    /// Starting, or coming back after the session was lost.
    Starting = 1,
    /// Selling.
    Started = 2,
    /// Finishing what is in flight.
    Stopping = 3,
    /// Stopped, or failed to start. It can be started again.
    Stopped = 4,
}

/// Sell an API, from now on. The answer comes when its first key is durable, and offered when the seller is started.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct AddApi(pub ApiOptions);

/// Sell an API no more: its live offers are revoked; keys that were offered stay sellable. Whether there was one.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct RemoveApi(pub ApiId);

/// Keep to other limits from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetLimits(pub SellerLimits);

/// Hear of each rotation of an API's keys. Whether there is such an API.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct OnRotate {
    /// The API.
    pub api_id: ApiId,
    /// Who hears.
    pub subscriber: Recipient<KeyRotated>,
}

/// Move to the next key of an API now. The answer comes when it is current: its id.
#[derive(Debug, Message)]
#[rtype(result = "Result<KeyId, WrapError>")]
pub struct RotateApi(pub ApiId);

/// Refuse to encrypt for an API, and make and offer no new key, until it is resumed. What is offered stays sellable.
/// Whether there is such an API. It does not survive a restart.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct PauseApi(pub ApiId);

/// End the pause of an API; without one it does nothing. Whether there is such an API.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct ResumeApi(pub ApiId);

/// Sell the keys that an API makes from now on for another price. A key that is made keeps its price, the next one
/// included: it is offered already. Whether there is such an API. It does not survive a restart.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct SetPrice {
    /// The API.
    pub api_id: ApiId,
    /// What a key costs.
    pub price: Amount,
}

/// Start selling. A started seller answers at once; one that is starting, when it is through.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StartError>")]
pub struct Start;

/// Stop selling: no new sales, those in flight are finished, offers revoked, procedures unregistered, the store
/// flushed, the session left. From any state; bounded by the grace period, after which the connection is dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// How long it may take.
    pub grace: Duration,
}

/// The balance of every channel, as the ledger and as the market maker see it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<ChannelReport>, BalanceError>")]
pub struct Balance;

/// Why there is no balance.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BalanceError {
    /// The seller has gone.
    #[error("the seller has gone")]
    Gone,
}

/// A channel's balance, from both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelReport {
    /// The ledger's side: amount, remaining, in flight, earned, seq.
    pub local: ChannelStatus,
    /// The market maker's side, or why it could not be had.
    pub remote: Result<ChannelBalance, MarketError>,
}

/// What a seller looks like now.
#[derive(Debug, Message)]
#[rtype(result = "SellerStatus")]
pub struct Observe;

/// See [`Observe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SellerStatus {
    /// Where it stands.
    pub state: SellerState,
    /// How many sales and closes are under way.
    pub in_flight: usize,
    /// Its APIs.
    pub apis: Vec<SeriesStatus>,
    /// Its channels, from the ledger's side.
    pub channels: Vec<ChannelStatus>,
}
