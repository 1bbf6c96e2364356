//! The demo: a whole data market in one process, with synthetic live data, and everybody's books compared at
//! its end.
//!
//! | module | what it holds |
//! |---|---|
//! | [`market`] | router, market maker, seller and buyers, joined in memory |
//! | [`parties`], [`thread`] | their keys and stores, and where they run |
//! | [`consumer`], [`source`] | who takes events, and when they are published |
//! | [`fault`] | what fails on purpose |
//! | [`dashboard`] | the seller's HTTP interface |
//! | [`board`], [`view`], [`screen`] | what is shown, drawn, and where |
//! | [`accounts`], [`summary`] | where the money went |

use std::future::{Future, pending};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::BuildError;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use xbr_actors::{ApiOptions, Rotation, SystemClock};
use xbr_core::cbor::Limits;
use xbr_market::buyer::MarketError as SubscribeError;
use xbr_wamp::{Auth, Match};

use crate::config::{DemoConfig, FeedConfig, FeedSource, SensorConfig, SourceConfig};
use crate::feed::{self, FeedMeter, Feeds, SellerOutlet};
use crate::http::ListenError;

pub mod accounts;
pub mod board;
pub mod consumer;
pub mod dashboard;
pub mod fault;
pub mod market;
pub mod parties;
pub mod screen;
pub mod source;
pub mod summary;
pub mod thread;
pub mod view;

use board::{ApiBoard, Board, RecentEvent};
use consumer::{Consumer, News};
use dashboard::Dashboard;
use fault::{FaultError, Faults};
use market::{Market, MarketError, books};
use parties::{Parties, PartyError};
use screen::Screen;
use source::{Demand, Pace};
use summary::Summary;

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is printed.
const LINE: Duration = Duration::from_secs(1);
/// How many news may wait to be shown.
const NEWS: usize = 1024;
/// For how long news are collected before they are shown.
const TOGETHER: Duration = Duration::from_millis(5);
/// A feed's line may be so long.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How many publications of a feed may wait for their acknowledgement.
const IN_FLIGHT: usize = 16;

/// Why a demo fails.
#[derive(Debug, Error)]
pub enum DemoError {
    /// Somebody cannot take part.
    #[error(transparent)]
    Party(#[from] PartyError),
    /// The market does not open, or somebody has gone.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// A buyer cannot subscribe.
    #[error("a buyer cannot subscribe: {0}")]
    Subscribe(#[from] SubscribeError),
    /// Nothing can be made to fail.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The dashboard cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There can be no metrics.
    #[error("cannot count: {0}")]
    Telemetry(#[from] BuildError),
    /// A feed cannot be read, or the terminal not be used.
    #[error("cannot use {what}: {error}")]
    Io {
        /// What.
        what: String,
        /// What the operating system says.
        error: io::Error,
    },
}

/// What a demo is to do, beside its configuration.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// A file whose lines are sold as well.
    pub feed: Option<PathBuf>,
    /// Ends after so many sales, made as fast as they can be with a key for each event.
    pub sales: Option<u64>,
    /// How many of a thousand purchases fail on purpose.
    pub fail_permille: u16,
    /// How it is shown.
    pub display: Display,
}

/// How a demo is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Display {
    /// On a screen that is drawn anew ten times a second.
    Screen,
    /// A line each second.
    Lines,
    /// Not at all.
    #[default]
    Nothing,
}

/// Runs until `stop` resolves, or everything that was to be sold is sold; gives the summary.
///
/// # Errors
/// [`DemoError`]. That the accounts differ is no error here: the summary says so.
pub async fn run(
    config: &DemoConfig,
    options: &DemoOptions,
    parties: &Parties,
    stop: impl Future<Output = ()>,
) -> Result<Summary, DemoError> {
    let goods = goods(config, options);
    let feeds: Vec<_> = goods.iter().map(|goods| goods.feed.clone()).collect();
    let feeds = Feeds::new(&feeds, &(Arc::new(SystemClock) as _));
    let apis: Vec<_> = goods.iter().map(|goods| goods.api.clone()).collect();
    let mut board = Board { apis: apis.iter().map(ApiBoard::new).collect(), ..Board::default() };
    let dashboard = Dashboard::bind(config.http, options.display == Display::Screen).await?;
    let observers = dashboard.as_ref().map(Dashboard::observers).unwrap_or_default();
    let market = Market::open(config, parties, apis, observers).await?;
    let dashboard = dashboard.map(|dashboard| dashboard.serve(&market.seller, parties, &feeds));
    board.dashboard = dashboard.as_ref().map(|(address, _)| *address);
    let opening = books(market.observe().await?).totals();
    board.buyers = market.buyers.len();

    let begun = Instant::now();
    let mut trade = Trade::begin(config, options, parties, &market, goods, &feeds).await?;
    let shown = tokio::select! {
        () = stop => Ok(()),
        shown = show(&mut board, &market, &mut trade, options, begun) => shown,
    };
    let elapsed = begun.elapsed();
    trade.end(config.grace / 2).await;
    if let Some((_, serving)) = dashboard {
        serving.ended(Instant::now() + config.grace / 4).await;
    }
    let accounts = market.close(config.grace).await?;
    shown?;
    let totals = accounts.totals();
    Ok(Summary {
        elapsed,
        sales: totals.bought - opening.bought,
        events: board.events.total(),
        refused: board.refused,
        totals,
        differences: accounts.differences(),
    })
}

/// Something that is sold.
#[derive(Debug, Clone)]
struct Goods {
    feed: FeedConfig,
    /// How often there is an event.
    every: Duration,
    api: ApiOptions,
}

impl Goods {
    fn new(source: FeedSource, config: &SourceConfig) -> Self {
        let SourceConfig { every, api } = config.clone();
        let feed = FeedConfig {
            source,
            api_id: api.terms.api_id,
            uri: api.terms.prefix.to_string(),
            max_line_bytes: MAX_LINE_BYTES,
            in_flight: IN_FLIGHT,
            limits: Limits::default(),
        };
        Self { feed, every, api }
    }
}

/// What is sold: the sensors, and the file if there is one.
fn goods(config: &DemoConfig, options: &DemoOptions) -> Vec<Goods> {
    let sensor = |(sensor, number): (&SensorConfig, u64)| {
        let source = FeedSource::Sensor { kind: sensor.kind, seed: config.seed.wrapping_add(number) };
        Goods::new(source, &sensor.source)
    };
    let feed = options.feed.iter().map(|path| Goods::new(FeedSource::Path(path.clone()), &config.feed));
    let mut goods: Vec<_> = config.sensors.iter().zip(0..).map(sensor).chain(feed).collect();
    if options.sales.is_some() {
        for goods in &mut goods {
            goods.api.rotation = Rotation { count: Some(1), ..goods.api.rotation };
        }
    }
    goods
}

/// What goes on in the market.
#[derive(Debug)]
struct Trade {
    budget: Arc<Semaphore>,
    news: mpsc::Receiver<News>,
    consumers: JoinSet<()>,
    feeds: JoinSet<()>,
    stop: watch::Sender<bool>,
    stop_feeds: watch::Sender<Option<Instant>>,
}

impl Trade {
    async fn begin(
        config: &DemoConfig,
        options: &DemoOptions,
        parties: &Parties,
        market: &Market,
        goods: Vec<Goods>,
        feeds: &Feeds,
    ) -> Result<Self, DemoError> {
        let pace = if options.sales.is_some() { Pace::OnDemand(Demand::default()) } else { Pace::Steady };
        let budget = options.sales.and_then(|sales| usize::try_from(sales).ok());
        let budget = budget.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let (tell, news) = mpsc::channel(NEWS);
        let mut trade = Self {
            budget: Arc::new(Semaphore::new(budget)),
            news,
            consumers: JoinSet::new(),
            feeds: JoinSet::new(),
            stop: watch::Sender::new(false),
            stop_feeds: watch::Sender::new(None),
        };
        let faults = match (options.fail_permille, goods.first()) {
            (1.., Some(goods)) => {
                let (dial, domain, seller) = (market.dial(), parties.domain(), &parties.seller.key);
                let terms = &goods.api.terms;
                Some(Faults::prepare(options.fail_permille, &dial, &domain, seller, terms).await?)
            }
            _ => None,
        };
        let topics: Vec<_> = goods.iter().map(|goods| goods.feed.uri.clone()).collect();
        for ((buyer, (party, thread)), number) in market.buyers.iter().zip(parties.buyers()).zip(0..) {
            let topics = topics.iter().map(|topic| (topic.as_str(), Match::Exact));
            let consumer = Consumer {
                buyer: buyer.clone(),
                key: party.key.clone(),
                // No more than one purchase at a time comes out of the budget.
                events: buyer.subscribe_all(topics).await?.ahead(1),
                budget: trade.budget.clone(),
                pace: pace.clone(),
                faults: faults.as_ref().map(|faults| faults.with_seed(config.seed.wrapping_add(number))),
                news: tell.clone(),
            };
            trade.consumers.spawn_on(consumer.run(trade.stop.subscribe()), thread.runtime());
        }
        if let Some(faults) = faults {
            trade.spawn_restarts(market, faults);
        }
        for (goods, meter) in goods.into_iter().zip(feeds.meters()) {
            trade.publish(market, goods, meter.clone(), pace.clone())?;
        }
        Ok(trade)
    }

    fn publish(
        &mut self,
        market: &Market,
        goods: Goods,
        meter: Arc<FeedMeter>,
        pace: Pace,
    ) -> Result<(), DemoError> {
        let Goods { feed, every, .. } = goods;
        let mut source = feed::open(&feed, Auth::Anonymous, &meter)
            .map_err(|error| DemoError::Io { what: feed.source.to_string(), error })?;
        source.items = pace.limit(source.items, every);
        let (seller, stop) = (market.seller.clone(), self.stop_feeds.subscribe());
        self.feeds.spawn(async move {
            let outlet = SellerOutlet { seller, api_id: feed.api_id };
            feed::run(&feed, source, outlet, &meter, stop).await;
        });
        Ok(())
    }

    fn spawn_restarts(&mut self, market: &Market, faults: Faults) {
        let (seller, mut stop) = (market.seller.clone(), self.stop.subscribe());
        self.consumers.spawn(async move {
            loop {
                tokio::select! {
                    () = consumer::stopped(&mut stop) => return,
                    () = faults.restart_due() => market::restart(&seller).await,
                }
            }
        });
    }

    /// Buys and publishes nothing more.
    async fn end(mut self, grace: Duration) {
        self.budget.close();
        self.stop.send_replace(true);
        self.news.close();
        while self.consumers.join_next().await.is_some() {}
        self.stop_feeds.send_replace(Some(Instant::now() + grace));
        while self.feeds.join_next().await.is_some() {}
    }
}

/// Shows what goes on, until so many keys are sold as are to be.
async fn show(
    board: &mut Board,
    market: &Market,
    trade: &mut Trade,
    options: &DemoOptions,
    begun: Instant,
) -> Result<(), DemoError> {
    let mut screen = match options.display {
        Display::Screen => Some(Screen::enter().map_err(terminal)?),
        Display::Lines | Display::Nothing => None,
    };
    if let (None, Some(address)) = (&screen, board.dashboard) {
        // Beside the lines, which are for programs too.
        writeln!(io::stderr(), "the dashboard is at http://{address}/").map_err(terminal)?;
    }
    let mut frames = interval(if screen.is_some() { FRAME } else { LINE });
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = Vec::with_capacity(NEWS);
    while options.sales.is_none_or(|sales| board.sales.total() < sales) {
        tokio::select! {
            count = trade.news.recv_many(&mut news, NEWS) => {
                if count == 0 {
                    pending::<()>().await;
                }
                news.drain(..).for_each(|news| note(board, begun.elapsed(), news));
                // What comes meanwhile is taken together.
                sleep(TOGETHER).await;
            }
            _ = frames.tick(), if options.display != Display::Nothing => {
                update(board, market, begun.elapsed()).await?;
                match &mut screen {
                    Some(screen) => screen.draw(board).map_err(terminal)?,
                    None => writeln!(io::stdout(), "{board}").map_err(terminal)?,
                }
            }
        }
    }
    Ok(())
}

fn terminal(error: io::Error) -> DemoError {
    DemoError::Io { what: "the terminal".to_owned(), error }
}

fn note(board: &mut Board, at: Duration, news: News) {
    match news {
        News::Decrypted { topic, key_id, payload, bought } => {
            board.sold(at, &topic, bought);
            board.decrypted(RecentEvent { at, topic, key_id, payload, buyers: 1 });
        }
        News::Refused => board.refused += 1,
    }
}

async fn update(board: &mut Board, market: &Market, elapsed: Duration) -> Result<(), MarketError> {
    let observed = market.observe().await?;
    board.advance(elapsed);
    board.offers = observed.maker.offers;
    for api in &observed.seller.apis {
        board.rotated(elapsed, api.api_id, api.key_id, api.rotations);
    }
    board.money = books(observed).totals();
    Ok(())
}
