//! Counting what happens, and measuring how things stand when somebody looks. The recorder is this service's own: none
//! is installed for the process.
//!
//! Amounts become floating-point numbers here and nowhere else, since Prometheus knows no others: they are good for
//! curves, the exact ones are in `/v1/balance`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use xbr_actors::{Event, Observer, SaleEvent, SaleOutcome, SellerStatus};
use xbr_core::channel::Reconciliation;
use xbr_core::{Amount, ApiId};
use xbr_store::Transaction;

use super::names::{self, Family};
use crate::feed::FeedStatus;

/// Answers to requests to sell.
pub const SALE_OUTCOMES: [&str; 13] = [
    "sold",
    "repeated",
    "xbr.error.unexpected_marketmaker_adr",
    "crossbar.error.no_such_object",
    "xbr.error.unexpected_channel_oid",
    "xbr.error.unexpected_channel_seq",
    "xbr.error.unexpected_channel_balance",
    "xbr.error.invalid_signature",
    "xbr.error.insufficient_amount",
    "xbr.error.channel_closed",
    "xbr.error.key_retired",
    "wamp.error.invalid_argument",
    "wamp.error.unavailable",
];
/// The label of what belongs to no configured API.
const OTHER: &str = "other";
/// From half a millisecond to ten seconds.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const WRITES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

/// A feed, for its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedFigures {
    /// Its source.
    pub feed: String,
    /// How many of its lines or events the router acknowledged, since the start.
    pub published: u64,
    /// How many could not be published.
    pub skipped: u64,
    /// How many the router refused.
    pub refused: u64,
    /// How many got no answer, time after time.
    pub given_up: u64,
    /// How many are on their way.
    pub pending: u64,
    /// For how long the oldest of them has been.
    pub lag: Duration,
}

impl From<FeedStatus> for FeedFigures {
    fn from(status: FeedStatus) -> Self {
        Self {
            feed: status.feed,
            published: status.published,
            skipped: status.skipped,
            refused: status.refused,
            given_up: status.given_up,
            pending: status.pending,
            lag: Duration::from_millis(status.lag_ms),
        }
    }
}

/// All metrics of a service. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Recorded>);

struct Recorded {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Those whose ids are told apart.
    apis: ArcSwap<BTreeSet<ApiId>>,
    /// The APIs that were there when somebody looked last.
    seen: ArcSwap<BTreeSet<String>>,
    sale_requests: BTreeMap<&'static str, Counter>,
    sale_seconds: Histogram,
    rotation_late: Histogram,
    transactions: [Counter; 2],
    writes: Counter,
    transaction_seconds: Histogram,
    group: Histogram,
}

impl Metrics {
    /// Metrics that stand at zero, of a service that began at a Unix time in ns.
    ///
    /// # Errors
    /// [`BuildError`], which only a mistake in this program can cause.
    pub fn new(started_ns: u64) -> Result<Self, BuildError> {
        let group = Matcher::Full(names::STORE_GROUP.name.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets_for_metric(group, &WRITES)?
            .build_recorder();
        for family in names::ALL {
            family.describe(&recorder);
        }
        let transactions =
            ["failed", "durable"].map(|outcome| names::STORE_TRANSACTIONS.counter_of(&recorder, &[outcome]));
        let sale_requests =
            SALE_OUTCOMES.map(|outcome| (outcome, names::SALE_REQUESTS.counter_of(&recorder, &[outcome])));
        let recorded = Recorded {
            handle: recorder.handle(),
            apis: ArcSwap::default(),
            seen: ArcSwap::default(),
            sale_requests: sale_requests.into(),
            sale_seconds: names::SALE_SECONDS.histogram_of(&recorder, &[]),
            rotation_late: names::ROTATION_LATE.histogram_of(&recorder, &[]),
            transactions,
            writes: names::STORE_WRITES.counter_of(&recorder, &[]),
            transaction_seconds: names::STORE_SECONDS.histogram_of(&recorder, &[]),
            group: names::STORE_GROUP.histogram_of(&recorder, &[]),
            recorder,
        };
        let metrics = Self(Arc::new(recorded));
        metrics.gauge(&names::BUILD, &[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.gauge(&names::STARTED, &[]).set(Duration::from_nanos(started_ns).as_secs_f64());
        // What has not happened yet is shown as such.
        for family in [names::ROLLBACKS, names::CONTRADICTIONS, names::SESSIONS_LOST, names::RETURNS_FAILED] {
            metrics.counter(&family, &[]).increment(0);
        }
        Ok(metrics)
    }

    /// Tells the ids of these APIs apart from now on, and of no others.
    pub fn label(&self, apis: impl IntoIterator<Item = ApiId>) {
        self.0.apis.store(Arc::new(apis.into_iter().collect()));
    }

    /// Counts a transaction of the store.
    pub fn transaction(&self, transaction: &Transaction) {
        let [failed, durable] = &self.0.transactions;
        if transaction.is_durable {
            durable.increment(1);
            self.0.writes.increment(transaction.writes as u64);
        } else {
            failed.increment(1);
        }
        self.0.transaction_seconds.record(transaction.duration);
        self.0.group.record(count(transaction.writes));
    }

    /// Counts spans of traced sales.
    pub fn spans(&self, outcome: &'static str, number: u64) {
        self.counter(&names::SPANS, &[outcome]).increment(number);
    }

    /// Everything, in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.handle.run_upkeep();
        self.0.handle.render()
    }

    fn counter(&self, family: &Family, values: &[&str]) -> Counter {
        family.counter_of(&self.0.recorder, values)
    }

    fn gauge(&self, family: &Family, values: &[&str]) -> Gauge {
        family.gauge_of(&self.0.recorder, values)
    }

    fn label_of(&self, api_id: Option<ApiId>) -> String {
        match api_id.filter(|api_id| self.0.apis.load().contains(api_id)) {
            Some(api_id) => api_id.to_string(),
            None => OTHER.to_owned(),
        }
    }

    fn sale(&self, event: &SaleEvent) {
        if let Some(counter) = self.0.sale_requests.get(event.outcome.code()) {
            counter.increment(1);
        }
        if event.outcome == SaleOutcome::Sold {
            let api = self.label_of(event.api_id);
            self.counter(&names::SALES, &[&api]).increment(1);
            self.gauge(&names::EARNED, &[&api]).increment(rounded(event.amount));
            self.0.sale_seconds.record(event.duration);
        }
    }
}

impl Observer for Metrics {
    fn told(&self, event: &Event) {
        match event {
            Event::Sale(sale) => self.sale(sale),
            Event::TurnedAway { error } => self.counter(&names::TURNED_AWAY, &[error]).increment(1),
            Event::Close { error, .. } => {
                self.counter(&names::CLOSES, &[error.unwrap_or("signed")]).increment(1);
            }
            Event::Rotated { api_id, late, .. } => {
                self.counter(&names::ROTATIONS, &[&self.label_of(Some(*api_id))]).increment(1);
                if let Some(late) = late {
                    self.0.rotation_late.record(*late);
                }
            }
            Event::Offer { api_id, error, .. } => {
                let outcome = error.as_ref().map_or("taken", |error| error.kind());
                self.counter(&names::OFFERS, &[&self.label_of(Some(*api_id)), outcome]).increment(1);
            }
            Event::SessionLost { .. } => self.counter(&names::SESSIONS_LOST, &[]).increment(1),
            Event::NotBack { .. } => self.counter(&names::RETURNS_FAILED, &[]).increment(1),
            Event::Reconciled { is_new, reconciliation, .. } => {
                let result = match reconciliation {
                    Reconciliation::Equal if *is_new => "adopted",
                    Reconciliation::Equal => "equal",
                    Reconciliation::Ahead { .. } => "ahead",
                    Reconciliation::Behind { .. } => "behind",
                    Reconciliation::Outdated { .. } => "outdated",
                };
                self.counter(&names::RECONCILED, &[result]).increment(1);
            }
            Event::RolledBack { .. } => self.counter(&names::ROLLBACKS, &[]).increment(1),
            Event::Contradiction { .. } => self.counter(&names::CONTRADICTIONS, &[]).increment(1),
            // How things stand is looked at when they are asked for.
            Event::State(_) | Event::Low { .. } => {}
        }
    }
}

impl Metrics {
    /// Notes how the seller stands; `None`: it does not answer.
    pub fn stand(&self, status: Option<&SellerStatus>, is_ready: bool) {
        self.gauge(&names::UP, &[]).set(flag(status.is_some()));
        self.gauge(&names::READY, &[]).set(flag(is_ready));
        let Some(status) = status else { return };
        self.gauge(&names::STATE, &[]).set(status.state as u8);
        self.gauge(&names::SALES_IN_FLIGHT, &[]).set(count(status.in_flight));
        let queued = status.channels.iter().map(|channel| channel.queued).sum();
        self.gauge(&names::SALES_QUEUED, &[]).set(count(queued));
        self.forget_gone(status);
        for api in &status.apis {
            let label = self.label_of(Some(api.api_id));
            self.counter(&names::WRAPPED, &[&label]).absolute(api.wrapped);
            self.counter(&names::KEYS_RETIRED, &[&label]).absolute(api.retired);
            self.gauge(&names::KEY_OFFERED, &[&label]).set(flag(api.is_offered));
            self.gauge(&names::KEYS_UNOFFERED, &[&label]).set(count(api.unoffered));
            self.gauge(&names::PRICE, &[&label]).set(rounded(api.price));
            self.gauge(&names::PAUSED, &[&label]).set(flag(api.is_paused));
        }
        self.stand_of_channels(status);
    }

    /// What was measured of an API that has gone is no number any more: no alert shall go by it.
    fn forget_gone(&self, status: &SellerStatus) {
        let now: BTreeSet<_> = status.apis.iter().map(|api| self.label_of(Some(api.api_id))).collect();
        for gone in self.0.seen.load().difference(&now) {
            for family in [names::KEY_OFFERED, names::KEYS_UNOFFERED, names::PRICE, names::PAUSED] {
                self.gauge(&family, &[gone]).set(f64::NAN);
            }
        }
        self.0.seen.store(Arc::new(now));
    }

    fn stand_of_channels(&self, status: &SellerStatus) {
        let (mut open, mut halted, mut closed, mut low) = (0, 0, 0, 0);
        let mut sum = [Amount::ZERO; 2];
        let [remaining, earned] = &mut sum;
        let add = |sum: &mut Amount, amount| *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
        for channel in &status.channels {
            let is_closed = channel.channel.is_closed();
            match (is_closed, channel.alarm) {
                (true, _) => closed += 1,
                (false, Some(_)) => halted += 1,
                (false, None) => open += 1,
            }
            if !is_closed {
                add(remaining, channel.channel.state.balance);
            }
            low += usize::from(channel.is_low);
            add(earned, channel.channel.earned);
        }
        for (state, number) in [("open", open), ("halted", halted), ("closed", closed)] {
            self.gauge(&names::CHANNELS, &[state]).set(count(number));
        }
        self.gauge(&names::CHANNELS_LOW, &[]).set(count(low));
        self.gauge(&names::REMAINING, &[]).set(rounded(*remaining));
        self.gauge(&names::CHANNEL_EARNED, &[]).set(rounded(*earned));
    }

    /// Notes how the feeds stand.
    pub fn feeds(&self, feeds: &[FeedFigures]) {
        for feed in feeds {
            let name = feed.feed.as_str();
            let outcomes = [
                ("published", feed.published),
                ("skipped", feed.skipped),
                ("refused", feed.refused),
                ("given_up", feed.given_up),
            ];
            for (outcome, number) in outcomes {
                self.counter(&names::FEED_LINES, &[name, outcome]).absolute(number);
            }
            self.gauge(&names::FEED_PENDING, &[name]).set(rounded_count(feed.pending));
            self.gauge(&names::FEED_LAG, &[name]).set(feed.lag.as_secs_f64());
        }
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Exact up to 2^32, and there are never so many.
fn count(number: usize) -> f64 {
    rounded_count(number as u64)
}

fn rounded_count(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// An amount in XBR, as near as a floating-point number comes. For show only.
fn rounded(amount: Amount) -> f64 {
    amount.to_string().parse().unwrap_or(f64::NAN)
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorded").finish_non_exhaustive()
    }
}
