//! The JSON forms of what the seller tells. Amounts are exact decimal XBR in strings, times RFC 3339 in UTC with all
//! nine decimals.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use serde::{Serialize, Serializer};
use xbr_actors::key_series::SeriesStatus;
use xbr_actors::{Alarm, ChannelReport, ChannelStatus, SellerState};
use xbr_core::channel::{ChannelState, Reconciliation};
use xbr_core::wire::ChannelBalance;
use xbr_core::{Address, Amount, ApiId, ChannelId, KeyId, MarketId};

/// As its text.
pub(super) fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// As its text, if there is one.
pub(super) fn optional_text<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&value.as_ref().map(ToString::to_string))
}

/// A Unix time in ns, as RFC 3339.
pub(super) fn time<S: Serializer>(ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&rfc3339(*ns))
}

/// A Unix time in ns, if there is one.
pub(super) fn optional_time<S: Serializer>(ns: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&ns.map(|ns| rfc3339(ns).to_string()))
}

/// A Unix time in ns, as RFC 3339.
pub(super) fn rfc3339(ns: u64) -> impl Display {
    humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + Duration::from_nanos(ns))
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The name of a seller's state.
pub(super) fn state_name(state: SellerState) -> &'static str {
    match state {
        SellerState::None => "none",
        SellerState::Starting => "starting",
        SellerState::Started => "started",
        SellerState::Stopping => "stopping",
        SellerState::Stopped => "stopped",
    }
}

/// An API, its terms and its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ApiView {
    #[serde(serialize_with = "text")]
    pub(super) api_id: ApiId,
    prefix: String,
    /// Of the keys that are made from now on.
    #[serde(serialize_with = "text")]
    price: Amount,
    interval: Option<String>,
    count: Option<u64>,
    categories: BTreeMap<String, String>,
    expires_after: Option<String>,
    copies: Option<u64>,
    paused: bool,
    key: Option<CurrentKey>,
    next_key: Option<NextKey>,
    rotations: u64,
    unoffered: usize,
    failed_offers: u64,
    retired: u64,
    last_error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CurrentKey {
    #[serde(serialize_with = "text")]
    key_id: KeyId,
    #[serde(serialize_with = "text")]
    price: Amount,
    #[serde(serialize_with = "optional_time")]
    created: Option<u64>,
    #[serde(serialize_with = "optional_time")]
    rotates: Option<u64>,
    uses_left: Option<u64>,
    offered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct NextKey {
    #[serde(serialize_with = "text")]
    key_id: KeyId,
    #[serde(serialize_with = "text")]
    price: Amount,
}

impl From<SeriesStatus> for ApiView {
    fn from(status: SeriesStatus) -> Self {
        let (terms, rotation) = (status.terms, status.rotation);
        let key = status.key_id.map(|key_id| CurrentKey {
            key_id,
            price: status.price,
            created: status.created_ns,
            rotates: status.rotates_ns,
            uses_left: status.uses_left,
            offered: status.is_offered,
        });
        let next_key = status.next_key_id.map(|key_id| NextKey { key_id, price: status.next_price });
        Self {
            api_id: terms.api_id,
            prefix: terms.prefix.to_string(),
            price: terms.price,
            interval: rotation.interval.map(duration),
            count: rotation.count,
            categories: terms.categories,
            expires_after: terms.expires_after.map(duration),
            copies: terms.copies,
            paused: status.is_paused,
            key,
            next_key,
            rotations: status.rotations,
            unoffered: status.unoffered,
            failed_offers: status.failed_offers,
            retired: status.retired,
            last_error: status.last_error,
        }
    }
}

/// A paying channel, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ChannelView {
    #[serde(serialize_with = "text")]
    channel_id: ChannelId,
    #[serde(serialize_with = "text")]
    market_id: MarketId,
    #[serde(serialize_with = "text")]
    market_maker: Address,
    #[serde(serialize_with = "text")]
    delegate: Address,
    #[serde(serialize_with = "text")]
    amount: Amount,
    #[serde(serialize_with = "text")]
    remaining: Amount,
    seq: u32,
    #[serde(serialize_with = "text")]
    earned: Amount,
    #[serde(serialize_with = "text")]
    surplus: Amount,
    #[serde(serialize_with = "text")]
    unconfirmed: Amount,
    #[serde(serialize_with = "text")]
    in_flight: Amount,
    sales: u64,
    closed: bool,
    low: bool,
    alarm: Option<AlarmView>,
    contradictions: u64,
}

/// Why nothing is sold on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct AlarmView {
    kind: &'static str,
    ours: StateView,
    theirs: StateView,
}

/// A position of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct StateView {
    seq: u32,
    #[serde(serialize_with = "text")]
    remaining: Amount,
}

impl From<ChannelState> for StateView {
    fn from(state: ChannelState) -> Self {
        Self { seq: state.seq.value(), remaining: state.balance }
    }
}

impl From<ChannelStatus> for ChannelView {
    fn from(status: ChannelStatus) -> Self {
        let channel = status.channel;
        let alarm = status.alarm.map(|alarm| {
            let (kind, ours, theirs) = match alarm {
                Alarm::RolledBack { ours, theirs } => ("rolled_back", ours, theirs),
                Alarm::Outdated { ours, theirs } => ("outdated", ours, theirs),
            };
            AlarmView { kind, ours: ours.into(), theirs: theirs.into() }
        });
        let unconfirmed = match channel.reconciliation {
            Reconciliation::Ahead { unconfirmed, .. } => unconfirmed,
            Reconciliation::Equal | Reconciliation::Behind { .. } | Reconciliation::Outdated { .. } => {
                Amount::ZERO
            }
        };
        Self {
            closed: channel.is_closed(),
            channel_id: channel.terms.channel_id,
            market_id: channel.terms.market_id,
            market_maker: channel.terms.market_maker,
            delegate: channel.terms.delegate,
            amount: channel.terms.amount,
            remaining: channel.state.balance,
            seq: channel.state.seq.value(),
            earned: channel.earned,
            surplus: channel.surplus,
            unconfirmed,
            in_flight: status.in_flight,
            sales: channel.sales,
            low: status.is_low,
            alarm,
            contradictions: status.contradictions,
        }
    }
}

/// A channel from both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BalanceView {
    channel: ChannelView,
    market_maker: Option<RemoteView>,
    error: Option<String>,
}

/// A channel as the market maker shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct RemoteView {
    #[serde(serialize_with = "text")]
    remaining: Amount,
    #[serde(serialize_with = "text")]
    in_flight: Amount,
    seq: u32,
}

impl From<ChannelBalance> for RemoteView {
    fn from(balance: ChannelBalance) -> Self {
        Self { remaining: balance.remaining, in_flight: balance.inflight, seq: balance.seq.value() }
    }
}

impl From<ChannelReport> for BalanceView {
    fn from(report: ChannelReport) -> Self {
        let (market_maker, error) = match report.remote {
            Ok(balance) => (Some(balance.into()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { channel: report.local.into(), market_maker, error }
    }
}
