//! The load generator: it buys keys from a seller over a WAMP router, as the market maker does, and measures
//! how many a second, how long each takes, and what fails.
//!
//! | module | what it holds |
//! |---|---|
//! | `own` | a seller and a router of one's own, when none is named |
//! | `maker` | the market maker that is played for the seller |
//! | `till` | states that are signed ahead, receipts that are checked afterwards |
//! | `load` | sales in flight, and their latency |
//! | [`report`], [`chart`] | what came of it, as a table, as JSON and as a picture |

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use thiserror::Error;
use tokio::sync::watch;
use xbr_core::channel::ChannelState;
use xbr_core::crypto::SignError;
use xbr_core::wire::uri;
use xbr_core::{Address, Amount, ChannelSeq, Signer as _};
use xbr_market::maker::account::Market;
use xbr_wamp::{CallError, ConnectError};

use crate::config::{BenchConfig, BenchSecrets, Extent, LoadConfig, TargetConfig};
use crate::demo::parties::domain_of;

pub mod chart;
mod load;
mod maker;
mod own;
pub mod report;
mod till;

use load::{Flown, Load};
use maker::{Maker, Offered};
use own::Own;
pub use own::OwnError;
use report::{Level, Report};
use till::{Till, Unsigned};

/// The block that off-chain states are signed for: 1 on both sides of the reference.
const CLOSE_AT: u128 = 1;
/// How long a seller of one's own may take to offer its key.
const OWN_PATIENCE: Duration = Duration::from_secs(10);
/// How many sales a second are prepared for when nothing is known yet.
const GUESS: u128 = 5_000;
/// How many digits of a latency count, and up to which one, in ns: no answer is waited for longer.
const DIGITS: u8 = 3;
const LONGEST: u64 = 3_600_000_000_000;

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// There is no seller of its own.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The realm cannot be joined.
    #[error("cannot join the realm: {0}; check market.url, market.realm and market.auth")]
    Join(#[from] ConnectError),
    /// A procedure is somebody else's, or may not be registered.
    #[error(
        "cannot register {procedure}: {error}; a load generator takes the market maker's place, so stop that \
         one, or use a realm without one"
    )]
    Register {
        /// The procedure.
        procedure: &'static str,
        /// What the router says.
        error: CallError,
    },
    /// Nobody can be told that there is a market maker.
    #[error("cannot publish as the market maker: {error}; let the role publish below xbr.marketmaker")]
    Announce {
        /// What the router says.
        error: CallError,
    },
    /// No seller has offered a key.
    #[error(
        "no key was offered within {patience:?}: set seller.market_maker of the seller to {market_maker}, \
         and start it while this waits (--patience)"
    )]
    NoOffer {
        /// Whom a seller has to trust.
        market_maker: Address,
        /// For how long it was waited.
        patience: Duration,
    },
    /// The channel has not enough in it.
    #[error("{amount} XBR do not pay for {sales} sales at {price} XBR each; raise bench.amount (--amount)")]
    ChannelTooSmall {
        /// What is in the channel.
        amount: Amount,
        /// How many sales there were to be.
        sales: usize,
        /// The price of the key.
        price: Amount,
    },
    /// A state cannot be signed.
    #[error("the key does not sign: {0}")]
    Sign(SignError),
    /// The session is over.
    #[error("the session was lost, or its registrations taken over by another; start again")]
    Lost,
    /// There is no memory for the latencies.
    #[error("cannot keep the latencies: {0}")]
    Histogram(#[from] CreationError),
    /// A computation has panicked.
    #[error("a computation has failed, see the log")]
    Computation,
}

impl BenchError {
    /// Whether the measurement failed to start, as opposed to fail later.
    pub fn is_failed_start(&self) -> bool {
        matches!(
            self,
            Self::Own(_)
                | Self::Join(_)
                | Self::Register { .. }
                | Self::Announce { .. }
                | Self::NoOffer { .. }
        )
    }
}

/// What goes on, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Getting ready.
    Joining,
    /// Waiting for a seller that trusts this market maker.
    Waiting(Address),
    /// Making sales that do not count, and signing those that will.
    Preparing {
        /// How many are in flight.
        in_flight: usize,
    },
    /// Measuring.
    Measuring {
        /// How many are in flight.
        in_flight: usize,
        /// How many sales are answered.
        done: usize,
    },
    /// Checking the receipts.
    Checking {
        /// How many there are.
        receipts: usize,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joining => f.write_str("joining"),
            Self::Waiting(address) => write!(f, "market maker {address} waits for a seller's offer"),
            Self::Preparing { in_flight } => write!(f, "{in_flight} in flight: preparing"),
            Self::Measuring { in_flight, done } => write!(f, "{in_flight} in flight: {done} sales"),
            Self::Checking { receipts } => write!(f, "checking {receipts} receipts"),
        }
    }
}

/// Measures until everything is measured, or `stop` resolves: then the report has what was complete.
///
/// # Errors
/// [`BenchError`]. That sales fail is none: the report counts them.
pub async fn run(
    config: &BenchConfig,
    secrets: BenchSecrets,
    progress: watch::Sender<Progress>,
    stop: impl Future<Output = ()>,
) -> Result<Report, BenchError> {
    let mut own = match &config.target {
        TargetConfig::Own { folder } => Some(Own::open(folder.as_deref()).await?),
        TargetConfig::Running(_) => None,
    };
    let (mut maker, mut report) = (None, Report::new(&config.target, config.load.rate));
    let measured = tokio::select! {
        () = stop => Ok(()),
        measured = measure(config, secrets, own.as_mut(), &mut maker, &progress, &mut report) => measured,
    };
    if let Some(own) = own {
        own.close().await;
    }
    // After the seller, which takes its offers back.
    if let Some(maker) = maker {
        maker.session.leave().await;
    }
    measured.map(|()| report)
}

async fn measure(
    config: &BenchConfig,
    secrets: BenchSecrets,
    own: Option<&mut Own>,
    maker: &mut Option<Maker>,
    progress: &watch::Sender<Progress>,
    report: &mut Report,
) -> Result<(), BenchError> {
    let market_maker = secrets.key.address();
    let close_at = Amount::from_units(CLOSE_AT);
    let market = Market { domain: domain_of(market_maker), market_maker, close_at };
    let (client, force, amount, provider_id, patience) = match (&config.target, &own) {
        (TargetConfig::Running(running), _) => {
            let client = running.market.options(secrets.auth);
            let provider_id = running.provider_id.clone();
            (client, running.force_reregister, running.amount, provider_id, running.patience)
        }
        (TargetConfig::Own { .. }, Some(own)) => {
            (own.client.clone(), false, Amount::from_xbr(1_000_000_000), None, OWN_PATIENCE)
        }
        (TargetConfig::Own { .. }, None) => return Ok(()),
    };
    let maker = maker.insert(Maker::open(client, force, market, amount, provider_id).await?);
    if let Some(own) = own {
        own.sell(market_maker).await?;
    }
    progress.send_replace(Progress::Waiting(market_maker));
    let till = Till::new(market, Arc::new(secrets.key));
    let mut bench = Bench { load: &config.load, maker, till, amount, patience, progress };
    for in_flight in &config.load.in_flight {
        let (offered, level) = bench.level(*in_flight).await?;
        report.add(&offered, level);
    }
    Ok(())
}

/// What all measurements have in common.
struct Bench<'a> {
    load: &'a LoadConfig,
    maker: &'a mut Maker,
    till: Till,
    /// What is in the channel.
    amount: Amount,
    patience: Duration,
    progress: &'a watch::Sender<Progress>,
}

impl Bench<'_> {
    /// One measurement, of the newest key.
    async fn level(&mut self, in_flight: usize) -> Result<(Offered, Level), BenchError> {
        let offered = self.maker.offered(self.patience).await?;
        let LoadConfig { warm_up, extent, rate, .. } = *self.load;
        self.progress.send_replace(Progress::Preparing { in_flight });
        let unhurried = Extent { sales: warm_up, time: None };
        let (warm, _) = self.buy(&offered, in_flight, unhurried, None, warm_up).await?;
        let needed = sales_needed(&extent, rate, in_flight, &warm);
        let (flown, requests) = self.buy(&offered, in_flight, extent, rate, needed).await?;
        Ok((offered.clone(), self.judge(&offered, in_flight, flown, requests).await?))
    }

    /// Signs so many sales, and makes as many of them as there is time for.
    async fn buy(
        &self,
        offered: &Offered,
        in_flight: usize,
        extent: Extent,
        rate: Option<u32>,
        count: usize,
    ) -> Result<(Flown, Vec<xbr_core::wire::SellRequest>), BenchError> {
        let from = self.standing(offered);
        let (till, key) = (self.till.clone(), offered.clone());
        let signed = on_worker(move || till.sign(&key, from, count)).await?;
        let requests = signed.map_err(|error| match error {
            Unsigned::Signer(error) => BenchError::Sign(error),
            Unsigned::Empty => {
                let (amount, price) = (self.amount, offered.offer.price);
                BenchError::ChannelTooSmall { amount, sales: count, price }
            }
        })?;
        let load = Load {
            session: &self.maker.session,
            procedure: &uri::sell(&offered.provider_id),
            standing: &self.maker.standing,
            in_flight,
            interval: rate.map(|rate| Duration::from_secs(1) / rate.max(1)),
            time: extent.time,
        };
        let told = |done| Progress::Measuring { in_flight, done };
        let flown = load.drive(&requests, told, self.progress).await?;
        Ok((flown, requests))
    }

    /// Where the channel stands after all sales so far.
    fn standing(&self, offered: &Offered) -> ChannelState {
        let fresh = ChannelState { seq: ChannelSeq::new(1), balance: self.amount };
        let standing = *self.maker.standing.borrow();
        standing.filter(|(channel_id, _)| *channel_id == offered.channel_id).map_or(fresh, |(_, state)| state)
    }

    /// Checks the receipts, and counts.
    async fn judge(
        &self,
        offered: &Offered,
        in_flight: usize,
        flown: Flown,
        requests: Vec<xbr_core::wire::SellRequest>,
    ) -> Result<Level, BenchError> {
        let mut errors = BTreeMap::<String, u64>::new();
        let mut fail = |what: String| *errors.entry(what).or_default() += 1;
        let mut answered = Vec::with_capacity(flown.flights.len());
        let mut latencies = Vec::with_capacity(flown.flights.len());
        for flight in flown.flights {
            match (flight.receipt, requests.get(flight.index)) {
                (Ok(receipt), Some(request)) => {
                    answered.push((request.clone(), receipt));
                    latencies.push(flight.latency);
                }
                (Err(error), _) => fail(error),
                (Ok(_), None) => {}
            }
        }
        self.progress.send_replace(Progress::Checking { receipts: answered.len() });
        let (till, delegate) = (self.till.clone(), offered.delegate);
        let checked = on_worker(move || till.check(delegate, &answered)).await?;
        let mut histogram = Histogram::<u64>::new_with_max(LONGEST, DIGITS)?;
        for (problem, latency) in checked.into_iter().zip(latencies) {
            match problem {
                None => histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)),
                Some(problem) => fail(format!("bad receipt: {problem}")),
            }
        }
        Ok(Level { in_flight, elapsed: flown.elapsed, latencies: histogram, errors })
    }
}

/// How many sales there is time for, with some to spare: a measurement that runs out of them ends earlier.
fn sales_needed(extent: &Extent, rate: Option<u32>, in_flight: usize, warm: &Flown) -> usize {
    let Some(time) = extent.time else { return extent.sales };
    let per_second = match (rate, warm.flights.len() as u128, warm.elapsed.as_micros()) {
        (Some(rate), _, _) => u128::from(rate),
        (None, 0, _) | (None, _, 0) => GUESS,
        // As many again: the first ones are the slowest.
        (None, sales, micros) => sales * 2_000_000 / micros,
    };
    let needed = per_second.saturating_mul(time.as_millis()) / 1000 + in_flight as u128;
    usize::try_from(needed).unwrap_or(extent.sales).min(extent.sales)
}

/// Does something on a worker thread: what the session has to do must not wait for it.
async fn on_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BenchError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BenchError::Computation)
}
