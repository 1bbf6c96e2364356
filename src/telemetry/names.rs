//! Every metric: its name, its labels, and what it says. `docs/telemetry.md` has the same table, as a test makes sure.
//!
//! Labels take few values: `api_id` is that of a configured API or `other`, everything else is one of a closed set.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};

/// What a metric counts, or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, and begins anew with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values fell into each of some ranges.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, or several that differ in their labels only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

impl Family {
    const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }

    pub(super) fn describe(&self, recorder: &impl Recorder) {
        let help = SharedString::const_str(self.help);
        let unit = self.name.ends_with("_seconds").then_some(Unit::Seconds);
        match self.kind {
            Kind::Counter => recorder.describe_counter(self.name.into(), unit, help),
            Kind::Gauge => recorder.describe_gauge(self.name.into(), unit, help),
            Kind::Histogram => recorder.describe_histogram(self.name.into(), unit, help),
        }
    }

    /// The key of the metric with these values of its labels.
    fn key(&self, values: &[&str]) -> Key {
        let labels = self.labels.iter().zip(values);
        let labels: Vec<_> = labels.map(|(label, value)| Label::new(*label, (*value).to_owned())).collect();
        Key::from_parts(self.name, labels)
    }

    pub(super) fn counter_of(&self, recorder: &impl Recorder, values: &[&str]) -> Counter {
        recorder.register_counter(&self.key(values), &METADATA)
    }

    pub(super) fn gauge_of(&self, recorder: &impl Recorder, values: &[&str]) -> Gauge {
        recorder.register_gauge(&self.key(values), &METADATA)
    }

    pub(super) fn histogram_of(&self, recorder: &impl Recorder, values: &[&str]) -> Histogram {
        recorder.register_histogram(&self.key(values), &METADATA)
    }
}

/// Declares the metrics, and the list of all of them.
macro_rules! families {
    ($($constant:ident = $kind:ident($name:literal, [$($label:literal),*], $help:literal);)*) => {
        $(pub(super) const $constant: Family = Family::$kind($name, &[$($label),*], $help);)*
        /// Every metric, in the order of the documentation.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD = gauge("xbr_seller_build_info", ["version"],
        "1, with the version of the program");
    STARTED = gauge("xbr_seller_start_time_seconds", [],
        "when the service began, Unix time");
    UP = gauge("xbr_seller_up", [],
        "1 when the actors answered this scrape; if not, their figures are of an earlier one");
    STATE = gauge("xbr_seller_state", [],
        "0 none, 1 starting or coming back, 2 started, 3 stopping, 4 stopped");
    READY = gauge("xbr_seller_ready", [],
        "1 when /readyz answers 200");

    SALE_REQUESTS = counter("xbr_seller_sale_requests_total", ["outcome"],
        "answered requests to sell: sold, repeated, or the URI of the error");
    SALES = counter("xbr_seller_sales_total", ["api_id"],
        "sales made");
    EARNED = gauge("xbr_seller_earned_xbr", ["api_id"],
        "what these sales brought in since the start, in XBR, rounded");
    SALE_SECONDS = histogram("xbr_seller_sale_duration_seconds", [],
        "from the arrival of a request to its receipt, durable, of sales made");
    SALES_IN_FLIGHT = gauge("xbr_seller_sales_in_flight", [],
        "sales and closes under way");
    SALES_QUEUED = gauge("xbr_seller_sales_queued", [],
        "requests that wait to be decided, of all channels");
    CLOSES = counter("xbr_seller_close_requests_total", ["outcome"],
        "answered requests to close a channel: signed, or the URI of the error");

    WRAPPED = counter("xbr_seller_wrapped_total", ["api_id"],
        "payloads encrypted");
    ROTATIONS = counter("xbr_seller_rotations_total", ["api_id"],
        "keys that became the current one");
    ROTATION_LATE = histogram("xbr_seller_rotation_lateness_seconds", [],
        "how long after their time keys were replaced, of those due by the clock");
    OFFERS = counter("xbr_seller_offers_total", ["api_id", "outcome"],
        "answered offers: taken, or what went wrong");
    KEY_OFFERED = gauge("xbr_seller_key_offered", ["api_id"],
        "1 when the market maker has taken the offer of the current key");
    KEYS_UNOFFERED = gauge("xbr_seller_keys_unoffered", ["api_id"],
        "live keys whose offer the market maker has not taken yet");
    KEYS_RETIRED = counter("xbr_seller_keys_retired_total", ["api_id"],
        "keys that left the archive");
    PRICE = gauge("xbr_seller_price_xbr", ["api_id"],
        "the price of the current key, in XBR, rounded");
    PAUSED = gauge("xbr_seller_paused", ["api_id"],
        "1 when the API is paused");

    CHANNELS = gauge("xbr_seller_channels", ["state"],
        "paying channels: open, halted or closed");
    CHANNELS_LOW = gauge("xbr_seller_channels_low", [],
        "open channels on which less remains than seller.low_balance");
    REMAINING = gauge("xbr_seller_channel_remaining_xbr", [],
        "what remains on the open channels, in XBR, rounded");
    CHANNEL_EARNED = gauge("xbr_seller_channel_earned_xbr", [],
        "what was earned on all channels ever, in XBR, rounded");
    RECONCILED = counter("xbr_seller_reconciliations_total", ["result"],
        "channels compared with the market maker: adopted, equal, ahead, behind or outdated");
    ROLLBACKS = counter("xbr_seller_rollbacks_total", [],
        "channels halted, as the market maker went back behind what it had signed");
    CONTRADICTIONS = counter("xbr_seller_contradictions_total", [],
        "signed requests that contradict what the market maker had signed");

    SESSIONS_LOST = counter("xbr_seller_sessions_lost_total", [],
        "sessions with the router that ended by themselves");
    RETURNS_FAILED = counter("xbr_seller_returns_failed_total", [],
        "attempts to come back that failed");
    TURNED_AWAY = counter("xbr_seller_calls_turned_away_total", ["outcome"],
        "calls of the market maker that were out of form or too many at once");

    STORE_TRANSACTIONS = counter("xbr_seller_store_transactions_total", ["outcome"],
        "transactions of the store: durable or failed");
    STORE_WRITES = counter("xbr_seller_store_writes_total", [],
        "writes in transactions that are durable");
    STORE_SECONDS = histogram("xbr_seller_store_transaction_duration_seconds", [],
        "from the beginning of a transaction until it is on disk");
    STORE_GROUP = histogram("xbr_seller_store_group_writes", [],
        "how many writes share a transaction");

    FEED_LINES = counter("xbr_seller_feed_lines_total", ["feed", "outcome"],
        "lines and events of feeds: published, skipped, refused or given_up");
    FEED_PENDING = gauge("xbr_seller_feed_pending", ["feed"],
        "lines that were read and are on their way");
    FEED_LAG = gauge("xbr_seller_feed_lag_seconds", ["feed"],
        "for how long the oldest of them has been");

    SPANS = counter("xbr_seller_spans_total", ["outcome"],
        "spans of traced sales: exported, dropped or failed");
}
