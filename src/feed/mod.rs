//! A feed: each of its items, such as a line with one JSON value, is wrapped with its API's current key and
//! published with acknowledgement.
//!
//! | module | what it holds |
//! |---|---|
//! | [`source`] | items as the feed sees them, whatever they are read from |
//! | [`lines`], [`sensor`] | lines of standard input, files, FIFOs; synthetic measurements |
//! | `follow` | lines of a file that is followed, through rotations and restarts |
//! | `tcp` | lines of whoever connects |
//! | `bridge` | events of another router |
//! | [`outlet`] | where encrypted payloads go |
//! | [`status`] | what a feed counts, for everybody to read |
//!
//! Items are published in their order, a bounded number of them ahead of the router's acknowledgement; the
//! source is read no faster than that. While the session is away, the same events wait and are published
//! when it is back: at least once each, in order. A line that is no JSON value is reported by its number
//! and skipped.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use xbr_wamp::Auth;

use crate::config::{FeedConfig, FeedSource};

mod bridge;
mod follow;
pub mod lines;
pub mod outlet;
mod pump;
pub mod sensor;
pub mod source;
pub mod status;
mod tcp;

pub use outlet::{Outlet, SellerOutlet};
pub use source::{BadItem, Content, Item, Source};
pub use status::{FeedKind, FeedMeter, FeedState, FeedStatus, Feeds};

use pump::Pump;
use sensor::Sensor;

/// What became of a feed's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedReport {
    /// How many were read, blank lines left aside.
    pub lines: u64,
    /// How many the router acknowledged.
    pub published: u64,
    /// How many were no JSON value, or could not be encrypted for another reason of their own.
    pub skipped: u64,
    /// How many the router refused.
    pub refused: u64,
    /// How many the router never answered.
    pub given_up: u64,
}

impl FeedReport {
    /// How many were read, but not published for certain when the feed was stopped.
    pub fn unpublished(&self) -> u64 {
        let settled = self.published + self.skipped + self.refused + self.given_up;
        self.lines.saturating_sub(settled)
    }
}

/// Starts reading a feed's source, as whom a router is to know us if it is one. Needs a tokio runtime.
///
/// # Errors
/// What the operating system says when it cannot be read.
pub fn open(config: &FeedConfig, auth: Auth, meter: &Arc<FeedMeter>) -> io::Result<Source> {
    let max = config.max_line_bytes;
    match &config.source {
        FeedSource::Stdin => lines::of_stdin(max).map(Source::new),
        FeedSource::Path(path) => lines::of_path(path.clone(), max).map(Source::new),
        FeedSource::Sensor { kind, seed } => lines::of_sensor(Sensor::new(*kind, *seed)).map(Source::new),
        FeedSource::Follow { path, state } => follow::open(path, state, max, meter),
        FeedSource::Tcp(tcp) => tcp::open(tcp, max, meter),
        FeedSource::Wamp(bridge) => Ok(bridge::open(bridge, auth, meter)),
    }
}

/// Publishes items until they end, or until `stop` holds the time by which the last acknowledgements must be
/// there. What it does is on the meter.
pub async fn run<O: Outlet>(
    config: &FeedConfig,
    mut source: Source,
    outlet: O,
    meter: &FeedMeter,
    mut stop: watch::Receiver<Option<Instant>>,
) -> FeedReport {
    let mut pump = Pump::new(config, outlet, meter);
    meter.set_state(FeedState::Running);
    let end = tokio::select! {
        biased;
        deadline = stopped(&mut stop) => Err(deadline),
        end = pump.run(&mut source.items) => Ok(end),
    };
    drop(source.items);
    if let Err(deadline) = end {
        // Whatever is not acknowledged by then counts as unpublished.
        let _ = timeout_at(deadline, pump.settle_all()).await;
    }
    // With the pump go the receipts of what is not settled.
    drop(pump);
    source.finish.await;
    meter.set_state(end.unwrap_or(FeedState::Ended));
    let report = meter.report();
    let FeedReport { lines, published, skipped, refused, given_up } = report;
    let (feed, unpublished) = (meter.feed(), report.unpublished());
    tracing::info!(feed, lines, published, skipped, refused, given_up, unpublished, "feed ended");
    report
}

/// Waits for the end to be called. Whoever can call it and has gone wants no end.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let called = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    match called {
        Some(deadline) => deadline,
        None => pending().await,
    }
}

impl fmt::Display for FeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("stdin"),
            Self::Path(path) | Self::Follow { path, .. } => path.display().fmt(f),
            Self::Tcp(tcp) => write!(f, "tcp://{}", tcp.address),
            Self::Wamp(bridge) => write!(f, "{} {}", bridge.router.url, bridge.router.realm),
            Self::Sensor { kind, .. } => write!(f, "sensor {kind}"),
        }
    }
}
