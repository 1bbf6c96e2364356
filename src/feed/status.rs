//! What is going on in the feeds: each keeps a meter, and everybody may read it at any time, without a lock.
//! Nothing of it survives a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use serde::{Serialize, Serializer};
use xbr_actors::Clock;
use xbr_core::ApiId;

use super::FeedReport;
use crate::config::{FeedConfig, FeedSource};

/// Stands for a number that there is not.
const NONE: u64 = u64::MAX;

/// The meters of all feeds, in the order of the configuration. Clones read the same ones.
#[derive(Debug, Clone)]
pub struct Feeds(Arc<[Arc<FeedMeter>]>);

impl Feeds {
    /// Meters that stand at zero.
    pub fn new(configs: &[FeedConfig], clock: &Arc<dyn Clock>) -> Self {
        Self(configs.iter().map(|config| Arc::new(FeedMeter::new(config, clock.clone()))).collect())
    }

    /// What is going on now.
    pub fn status(&self) -> Vec<FeedStatus> {
        self.meters().map(|meter| meter.status()).collect()
    }

    /// Each meter, in the order of the configuration.
    pub fn meters(&self) -> impl Iterator<Item = &Arc<FeedMeter>> {
        self.0.iter()
    }
}

/// A feed at one moment. Counts are since the start of the process; a count of one line may be there a
/// moment before another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedStatus {
    /// Its source, as the log names it.
    pub feed: String,
    /// The kind of its source.
    pub kind: FeedKind,
    /// The API whose keys encrypt it.
    #[serde(serialize_with = "as_text")]
    pub api_id: ApiId,
    /// The topic, or for a bridge what the topics begin with.
    pub uri: String,
    /// What it does.
    pub state: FeedState,
    /// How many lines or events were read, blank lines left aside.
    pub read: u64,
    /// How many the router acknowledged.
    pub published: u64,
    /// How many could not be published: no JSON value, or outside the API's prefix.
    pub skipped: u64,
    /// How many the router refused.
    pub refused: u64,
    /// How many got no answer, time after time.
    pub given_up: u64,
    /// How many of the rest are on their way.
    pub pending: u64,
    /// How many events the source lost before they could be read; only a bridge knows.
    pub dropped: u64,
    /// How many bytes of encrypted payloads the router acknowledged.
    pub bytes: u64,
    /// Where in a followed file the last line ends up to which all are settled, in bytes.
    pub position: Option<u64>,
    /// How many bytes of that file are beyond it.
    pub behind_bytes: Option<u64>,
    /// How many writers are connected by TCP, or whether a bridge is joined (0 or 1).
    pub connections: Option<u64>,
    /// When something was read last, in Unix ns.
    pub last_read_ns: Option<u64>,
    /// When something was acknowledged last, in Unix ns.
    pub last_published_ns: Option<u64>,
    /// For how long the oldest of what is pending has been, in ms; 0 if nothing is.
    pub lag_ms: u64,
    /// What went wrong last with the source.
    pub error: Option<String>,
}

/// The kind of a feed's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedKind {
    /// Standard input.
    Stdin,
    /// A file to its end, or a FIFO.
    File,
    /// A file that is followed.
    Follow,
    /// Lines over TCP.
    Tcp,
    /// Topics of another router.
    Wamp,
    /// Synthetic measurements.
    Sensor,
}

/// What a feed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum FeedState {
    /// It has not begun.
    Waiting,
    /// It reads and publishes.
    Running,
    /// Publications fail or there is no key: it reads no further, and goes on by itself.
    Held,
    /// Its source has ended, or the service stops.
    Ended,
    /// Its source cannot be read any more.
    Failed,
}

const STATES: [FeedState; 5] =
    [FeedState::Waiting, FeedState::Running, FeedState::Held, FeedState::Ended, FeedState::Failed];

/// What one feed counts. Written by the feed alone.
#[derive(Debug)]
pub struct FeedMeter {
    feed: String,
    kind: FeedKind,
    api_id: ApiId,
    uri: String,
    clock: Arc<dyn Clock>,
    state: AtomicU8,
    read: AtomicU64,
    published: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    given_up: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
    position: AtomicU64,
    end: AtomicU64,
    connections: AtomicU64,
    last_read_ns: AtomicU64,
    last_published_ns: AtomicU64,
    pending_since_ns: AtomicU64,
    error: ArcSwapOption<String>,
}

impl FeedMeter {
    /// A meter that stands at zero.
    pub fn new(config: &FeedConfig, clock: Arc<dyn Clock>) -> Self {
        let none = || AtomicU64::new(NONE);
        Self {
            feed: config.source.to_string(),
            kind: FeedKind::of(&config.source),
            api_id: config.api_id,
            uri: config.uri.clone(),
            clock,
            state: AtomicU8::new(FeedState::Waiting as u8),
            read: AtomicU64::default(),
            published: AtomicU64::default(),
            skipped: AtomicU64::default(),
            refused: AtomicU64::default(),
            given_up: AtomicU64::default(),
            dropped: AtomicU64::default(),
            bytes: AtomicU64::default(),
            position: none(),
            end: none(),
            connections: none(),
            last_read_ns: none(),
            last_published_ns: none(),
            pending_since_ns: none(),
            error: ArcSwapOption::empty(),
        }
    }

    /// What is going on now.
    pub fn status(&self) -> FeedStatus {
        let FeedReport { lines: read, published, skipped, refused, given_up } = self.report();
        let state = usize::from(self.state.load(Relaxed));
        let position = number(&self.position);
        let since_ns = number(&self.pending_since_ns).map_or(0, |at| self.clock.now_ns().saturating_sub(at));
        FeedStatus {
            feed: self.feed.clone(),
            kind: self.kind,
            api_id: self.api_id,
            uri: self.uri.clone(),
            state: STATES.get(state).copied().unwrap_or(FeedState::Waiting),
            read,
            published,
            skipped,
            refused,
            given_up,
            pending: self.report().unpublished(),
            dropped: self.dropped.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            position,
            behind_bytes: position.zip(number(&self.end)).map(|(position, end)| end.saturating_sub(position)),
            connections: number(&self.connections),
            last_read_ns: number(&self.last_read_ns),
            last_published_ns: number(&self.last_published_ns),
            lag_ms: since_ns / 1_000_000,
            error: self.error.load_full().map(|error| error.as_ref().clone()),
        }
    }

    /// What became of the lines so far.
    pub fn report(&self) -> FeedReport {
        FeedReport {
            lines: self.read.load(Relaxed),
            published: self.published.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            refused: self.refused.load(Relaxed),
            given_up: self.given_up.load(Relaxed),
        }
    }

    /// The source, as the log names it.
    pub fn feed(&self) -> &str {
        &self.feed
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    pub(super) fn set_state(&self, state: FeedState) {
        self.state.store(state as u8, Relaxed);
    }

    pub(super) fn count_read(&self) {
        self.read.fetch_add(1, Relaxed);
        self.last_read_ns.store(self.now_ns(), Relaxed);
    }

    pub(super) fn count_published(&self, bytes: usize) {
        self.published.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes.try_into().unwrap_or(u64::MAX), Relaxed);
        self.last_published_ns.store(self.now_ns(), Relaxed);
    }

    pub(super) fn count_skipped(&self) {
        self.skipped.fetch_add(1, Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn count_given_up(&self) {
        self.given_up.fetch_add(1, Relaxed);
    }

    /// When the oldest of what is pending was read.
    pub(super) fn set_pending_since(&self, at_ns: Option<u64>) {
        self.pending_since_ns.store(at_ns.unwrap_or(NONE), Relaxed);
    }

    /// The source lost an event.
    pub(super) fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// How many are connected.
    pub(super) fn set_connections(&self, count: usize) {
        self.connections.store(count.try_into().unwrap_or(u64::MAX), Relaxed);
    }

    /// Up to where everything is settled.
    pub(super) fn set_position(&self, offset: u64) {
        self.position.store(offset, Relaxed);
    }

    /// How long the file is.
    pub(super) fn set_end(&self, length: Option<u64>) {
        self.end.store(length.unwrap_or(NONE), Relaxed);
    }

    /// Something went wrong with the source, or nothing is wrong any more.
    pub(super) fn set_error(&self, error: Option<String>) {
        self.error.store(error.map(Arc::new));
    }
}

impl FeedKind {
    fn of(source: &FeedSource) -> Self {
        match source {
            FeedSource::Stdin => Self::Stdin,
            FeedSource::Path(_) => Self::File,
            FeedSource::Follow { .. } => Self::Follow,
            FeedSource::Tcp(_) => Self::Tcp,
            FeedSource::Wamp(_) => Self::Wamp,
            FeedSource::Sensor { .. } => Self::Sensor,
        }
    }
}

fn number(value: &AtomicU64) -> Option<u64> {
    Some(value.load(Relaxed)).filter(|value| *value != NONE)
}

fn as_text<S: Serializer>(api_id: &ApiId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(api_id)
}
