//! A feed: each line is one JSON value, wrapped with its API's current key and published with
//! acknowledgement.
//!
//! Lines are published in their order, a bounded number of them ahead of the router's acknowledgement; the
//! source is read no faster than that. While the session is away, the same events wait and are published when
//! it is back: at least once each, in order. A line that is no JSON value is reported by its number and
//! skipped.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use xbr_actors::messages::MarketError;
use xbr_actors::{SellerHandle, SellerState, WrapError, Wrapped};
use xbr_core::cbor::Limits;
use xbr_core::{ApiId, Value};
use xbr_wamp::codec::CodecError;
use xbr_wamp::codec::json::parse_plain;

use crate::config::{FeedConfig, FeedSource};

pub mod lines;
pub mod sensor;

use lines::{Line, LineError};

/// How many encrypted bytes of a feed may wait for their acknowledgement, beside the first.
const MAX_BYTES_IN_FLIGHT: usize = 16 << 20;
/// How often an event is sent that gets no answer: one that costs the session each time must not do so for
/// ever.
const MAX_UNANSWERED: u32 = 5;
/// How often to look whether a paused API is resumed.
const PAUSED: Duration = Duration::from_millis(250);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Where a feed's payloads go. [`SellerOutlet`] is the one; tests have others.
pub trait Outlet: Clone + Send + Sync + 'static {
    /// Encrypts a payload.
    ///
    /// # Errors
    /// [`WrapError`].
    fn wrap(&self, payload: &Value) -> impl Future<Output = Result<Wrapped, WrapError>> + Send;

    /// Publishes an event, and waits for the acknowledgement. Events leave in the order of the first polls.
    ///
    /// # Errors
    /// [`MarketError`].
    fn publish(&self, event: Wrapped) -> impl Future<Output = Result<(), MarketError>> + Send;

    /// Waits until there is a session.
    fn joined(&self) -> impl Future<Output = ()> + Send;
}

/// A seller's API, and the URI that its payloads are published under.
#[derive(Debug, Clone)]
pub struct SellerOutlet {
    /// The seller.
    pub seller: SellerHandle,
    /// The API.
    pub api_id: ApiId,
    /// The topic.
    pub uri: String,
}

impl Outlet for SellerOutlet {
    async fn wrap(&self, payload: &Value) -> Result<Wrapped, WrapError> {
        self.seller.wrap_value(self.api_id, &self.uri, payload).await
    }

    async fn publish(&self, event: Wrapped) -> Result<(), MarketError> {
        self.seller.publish(&self.uri, event).await
    }

    async fn joined(&self) {
        let mut state = self.seller.state();
        if state.wait_for(|state| *state == SellerState::Started).await.is_err() {
            // The seller has gone, which ends the service.
            pending::<()>().await;
        }
    }
}

/// Why a line is skipped. Never says what the line holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLine {
    /// It could not be read.
    #[error(transparent)]
    Unreadable(#[from] LineError),
    /// It is not JSON.
    #[error("malformed JSON at column {column}")]
    Json {
        /// The column in bytes, from 1.
        column: usize,
    },
    /// It is JSON, but too much of it, or has no one meaning.
    #[error(transparent)]
    Value(CodecError),
}

impl BadLine {
    fn of(error: CodecError) -> Self {
        match error {
            CodecError::Json { column, .. } => Self::Json { column },
            other => Self::Value(other),
        }
    }
}

/// What became of a feed's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedReport {
    /// How many were read, blank ones left aside.
    pub lines: u64,
    /// How many the router acknowledged.
    pub published: u64,
    /// How many were no JSON value.
    pub skipped: u64,
    /// How many the router refused, or never answered.
    pub refused: u64,
}

impl FeedReport {
    /// How many were read, but not published for certain when the feed was stopped.
    pub fn unpublished(&self) -> u64 {
        self.lines.saturating_sub(self.published + self.skipped + self.refused)
    }
}

/// Publishes lines until they end, or until `stop` holds the time by which the last acknowledgements must be
/// there.
pub async fn run<O: Outlet>(
    config: &FeedConfig,
    mut lines: mpsc::Receiver<io::Result<Line>>,
    outlet: O,
    mut stop: watch::Receiver<Option<Instant>>,
) -> FeedReport {
    let mut pump = Pump {
        name: config.source.to_string(),
        outlet,
        limits: config.limits,
        window: config.in_flight,
        in_flight: FuturesOrdered::new(),
        bytes: 0,
        report: FeedReport::default(),
    };
    let deadline = tokio::select! {
        biased;
        deadline = stopped(&mut stop) => Some(deadline),
        () = pump.pump(&mut lines) => None,
    };
    drop(lines);
    if let Some(deadline) = deadline {
        // Whatever is not acknowledged by then counts as unpublished.
        let _ = timeout_at(deadline, pump.settle_all()).await;
    }
    let FeedReport { lines, published, skipped, refused } = pump.report;
    let (feed, unpublished) = (&pump.name, pump.report.unpublished());
    tracing::info!(feed, lines, published, skipped, refused, unpublished, "feed ended");
    pump.report
}

/// Waits for the end to be called. Whoever can call it and has gone wants no end.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let called = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    match called {
        Some(deadline) => deadline,
        None => pending().await,
    }
}

/// An encrypted line.
#[derive(Debug)]
struct Event {
    line: u64,
    wrapped: Wrapped,
}

type Settled = (Event, Result<(), MarketError>);

struct Pump<O> {
    name: String,
    outlet: O,
    limits: Limits,
    window: usize,
    /// In the order of the lines.
    in_flight: FuturesOrdered<Pin<Box<dyn Future<Output = Settled> + Send>>>,
    bytes: usize,
    report: FeedReport,
}

impl<O: Outlet> Pump<O> {
    async fn pump(&mut self, lines: &mut mpsc::Receiver<io::Result<Line>>) {
        let mut ended = false;
        while !ended || !self.in_flight.is_empty() {
            let room = self.in_flight.len() < self.window && self.bytes < MAX_BYTES_IN_FLIGHT;
            tokio::select! {
                biased;
                Some(settled) = self.in_flight.next() => self.settle(settled).await,
                line = lines.recv(), if room && !ended => match line {
                    Some(Ok(line)) => self.take(line).await,
                    Some(Err(error)) => tracing::error!(feed = self.name, %error, "cannot read the feed"),
                    None => ended = true,
                },
            }
        }
    }

    /// Parses, encrypts and sends a line.
    async fn take(&mut self, line: Line) {
        let Line { number, text } = line;
        if text.as_ref().is_ok_and(|text| text.trim_ascii().is_empty()) {
            return;
        }
        self.report.lines += 1;
        let text = text.map_err(BadLine::from);
        match text.and_then(|text| parse_plain(&text, &self.limits).map_err(BadLine::of)) {
            Ok(payload) => {
                if let Some(wrapped) = self.wrap(number, &payload).await {
                    self.send(Event { line: number, wrapped });
                }
            }
            Err(error) => self.skip(number, &error),
        }
    }

    fn skip(&mut self, line: u64, error: &dyn fmt::Display) {
        self.report.skipped += 1;
        tracing::warn!(feed = self.name, line, %error, "bad line skipped");
    }

    async fn wrap(&mut self, line: u64, payload: &Value) -> Option<Wrapped> {
        loop {
            match self.outlet.wrap(payload).await {
                Ok(wrapped) => return Some(wrapped),
                Err(error @ WrapError::NoKey { .. }) => {
                    tracing::warn!(feed = self.name, line, %error, "the feed waits for a key");
                }
                Err(error @ WrapError::Paused { .. }) => {
                    tracing::debug!(feed = self.name, line, %error, "the feed waits for the end of a pause");
                    sleep(PAUSED).await;
                }
                Err(WrapError::Stopped) => {
                    sleep(FIRST_RETRY).await;
                    self.outlet.joined().await;
                }
                Err(error) => {
                    self.skip(line, &error);
                    return None;
                }
            }
        }
    }

    fn send(&mut self, event: Event) {
        self.bytes += event.wrapped.ciphertext.len();
        let outlet = self.outlet.clone();
        self.in_flight.push_back(Box::pin(async move {
            let result = outlet.publish(event.wrapped.clone()).await;
            (event, result)
        }));
    }

    /// Takes note of an acknowledgement. After a failure nothing new is sent until everything that failed is
    /// published, one after the other.
    async fn settle(&mut self, (event, result): Settled) {
        let Some(failed) = self.note(event, result) else { return };
        let mut failures = vec![failed];
        while let Some((event, result)) = self.in_flight.next().await {
            failures.extend(self.note(event, result));
        }
        let count = failures.len();
        tracing::warn!(
            feed = self.name,
            events = count,
            "publications failed, the feed waits for the session"
        );
        for (event, error) in failures {
            self.repeat(event, error).await;
        }
        tracing::info!(feed = self.name, "the feed goes on");
    }

    /// Gives a failed event back.
    fn note(&mut self, event: Event, result: Result<(), MarketError>) -> Option<(Event, MarketError)> {
        self.bytes = self.bytes.saturating_sub(event.wrapped.ciphertext.len());
        match result {
            Ok(()) => {
                self.report.published += 1;
                None
            }
            Err(error @ (MarketError::Refused { .. } | MarketError::Unsendable { .. })) => {
                self.refuse(event.line, &error);
                None
            }
            Err(error) => Some((event, error)),
        }
    }

    fn refuse(&mut self, line: u64, error: &MarketError) {
        self.report.refused += 1;
        tracing::error!(feed = self.name, line, %error, "line not published");
    }

    async fn repeat(&mut self, event: Event, mut error: MarketError) {
        let mut delay = FIRST_RETRY;
        let mut unanswered = 0;
        loop {
            match &error {
                MarketError::Refused { .. } | MarketError::Unsendable { .. } => {
                    return self.refuse(event.line, &error);
                }
                MarketError::NotJoined => {}
                _ => unanswered += 1,
            }
            if unanswered == MAX_UNANSWERED {
                return self.refuse(event.line, &error);
            }
            sleep(delay).await;
            delay = LAST_RETRY.min(delay * 2);
            self.outlet.joined().await;
            match self.outlet.publish(event.wrapped.clone()).await {
                Ok(()) => {
                    self.report.published += 1;
                    return;
                }
                Err(again) => error = again,
            }
        }
    }

    /// Waits for what is in flight, without another attempt.
    async fn settle_all(&mut self) {
        while let Some((event, result)) = self.in_flight.next().await {
            // A failed one counts as unpublished.
            let _ = self.note(event, result);
        }
    }
}

impl fmt::Display for FeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("stdin"),
            Self::Path(path) => path.display().fmt(f),
            Self::Sensor { kind, .. } => write!(f, "sensor {kind}"),
        }
    }
}
