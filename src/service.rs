//! The service: opens the store, starts the seller and its feeds, waits to be told to stop, and ends
//! everything in order. The store is closed last.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use xbr_actors::{ApiError, Clock, SellerHandle, SellerOptions, SpawnError, StartError, SystemClock};
use xbr_core::ApiId;
use xbr_core::cbor::Limits;
use xbr_store::{MasterKeyError, SqliteStore, StoreError};
use xbr_wamp::Auth;

use crate::config::{Config, FeedConfig, Secrets};
use crate::feed::{self, FeedMeter, Feeds, SellerOutlet};
use crate::http::{Interface, ListenError, Parts};

/// How much longer than its grace period the seller may take, to leave the session.
const LEAVE: Duration = Duration::from_secs(2);

/// Why the service does not run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// There is no master key, and none can be made.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The seller has no thread to run on.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// An API cannot be sold.
    #[error("cannot sell the API {api_id}: {error}")]
    Api {
        /// The API.
        api_id: ApiId,
        /// Why.
        error: ApiError,
    },
    /// The seller does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The HTTP interface cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A feed cannot be read.
    #[error("cannot read the feed {feed}: {error}")]
    Feed {
        /// Which one.
        feed: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The seller ended by itself, which it never should.
    #[error("the seller has gone")]
    Gone,
}

impl ServiceError {
    /// Whether the service failed to start, as opposed to fail later.
    pub fn is_failed_start(&self) -> bool {
        !matches!(self, Self::Gone)
    }

    /// What an operator can do about it, where the text of the error does not say so.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Start(StartError::Market(_)) => {
                "check that the router and its market maker run, and market.url, market.realm and market.auth"
            }
            Self::Start(StartError::SessionLost) => "the router may be restarting; start again",
            Self::Start(StartError::Channel { .. }) => "ask the market's operator about the channel",
            Self::Api { error: ApiError::NoKey { .. }, .. } | Self::Store(_) => {
                "check the disk and store.path"
            }
            Self::Gone => "the log above says which part failed; start again",
            _ => "correct what the error names, and start again",
        }
    }
}

/// Runs until `stop` resolves, and ends in order then. Nothing durable is lost whenever it ends.
///
/// # Errors
/// [`ServiceError`]; everything is ended all the same.
pub async fn run(
    config: Config,
    mut secrets: Secrets,
    stop: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let auths = std::mem::take(&mut secrets.feeds);
    let http = match config.http.clone() {
        Some(http) => Some(Interface::bind(http, secrets.http_token.take()).await?),
        None => None,
    };
    let (store, seller) = open(&config, secrets).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let feeds = Feeds::new(&config.feeds, &clock);
    let mut running = RunningFeeds { stop: watch::Sender::new(None), tasks: JoinSet::new() };
    let (http_end, http_stop) = watch::channel(false);
    let parts = parts(&config, &seller, &store);
    let http = http.map(|http| tokio::spawn(http.serve(parts, http_stop)));
    let result = tokio::select! {
        () = stop => Ok(()),
        result = sell(&config, &seller, &feeds, auths, &mut running) => result,
    };

    let grace = config.seller.grace;
    let deadline = Instant::now() + grace;
    tracing::info!(?grace, "stopping");
    // The seller needs the rest of the time for itself.
    http_end.send_replace(true);
    running.end(Instant::now() + grace / 2).await;
    if let Some(http) = http {
        end_http(http, deadline - grace / 4).await;
    }
    let rest = deadline.saturating_duration_since(Instant::now());
    if timeout(rest + LEAVE, seller.stop(rest)).await.is_err() {
        tracing::error!("the seller does not stop, leaving it as after a crash");
    }
    close(&store, grace).await;
    tracing::info!("stopped");
    result
}

/// Opens the store, and makes a seller over it that is not started.
///
/// # Errors
/// [`ServiceError`].
pub(crate) async fn open(
    config: &Config,
    secrets: Secrets,
) -> Result<(SqliteStore, SellerHandle), ServiceError> {
    let master_key = config.store.master_key(secrets.master_key)?;
    let path = config.store.path.clone();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open(path, master_key));
    let store = opening.await.map_err(|_| StoreError::Closed)??;
    let mut options =
        SellerOptions::new(config.seller.market_maker, Arc::new(secrets.delegate), Arc::new(store.clone()));
    config.seller.apply(&mut options);
    let seller = SellerHandle::spawn(options, config.serving.options(config.market.options(secrets.auth)))?;
    Ok((store, seller))
}

fn parts(config: &Config, seller: &SellerHandle, store: &SqliteStore) -> Parts {
    Parts {
        seller: seller.clone(),
        store: store.clone(),
        market_maker: config.seller.market_maker,
        limits: Limits { max_depth: config.market.max_depth, ..Limits::default() },
        open: Router::new(),
    }
}

/// Lets the answers that are under way be given, for as long as there is time.
async fn end_http(mut http: JoinHandle<()>, deadline: Instant) {
    if timeout_at(deadline, &mut http).await.is_err() {
        tracing::warn!("requests of the HTTP interface are left unanswered");
        http.abort();
    }
}

/// Starts, and goes on for as long as the seller lives.
async fn sell(
    config: &Config,
    seller: &SellerHandle,
    feeds: &Feeds,
    auths: Vec<Auth>,
    running: &mut RunningFeeds,
) -> Result<(), ServiceError> {
    for api in &config.apis {
        let api_id = api.terms.api_id;
        seller.add_api(api.clone()).await.map_err(|error| ServiceError::Api { api_id, error })?;
    }
    seller.start().await?;
    report_start(config, seller).await;
    for ((config, meter), auth) in config.feeds.iter().zip(feeds.meters()).zip(auths) {
        running.start(config.clone(), auth, seller.clone(), meter.clone())?;
    }
    let mut state = seller.state();
    // Its changes are in the log already; this waits for the end of them.
    while state.changed().await.is_ok() {}
    Err(ServiceError::Gone)
}

/// The feeds that have been started.
struct RunningFeeds {
    /// By when the last acknowledgements must be there, once the feeds are to end.
    stop: watch::Sender<Option<Instant>>,
    tasks: JoinSet<()>,
}

impl RunningFeeds {
    fn start(
        &mut self,
        config: FeedConfig,
        auth: Auth,
        seller: SellerHandle,
        meter: Arc<FeedMeter>,
    ) -> Result<(), ServiceError> {
        let source = feed::open(&config, auth, &meter)
            .map_err(|error| ServiceError::Feed { feed: config.source.to_string(), error })?;
        tracing::info!(feed = %config.source, api = %config.api_id, uri = config.uri, "feed started");
        let stop = self.stop.subscribe();
        self.tasks.spawn(async move {
            let outlet = SellerOutlet { seller, api_id: config.api_id };
            feed::run(&config, source, outlet, &meter, stop).await;
        });
        Ok(())
    }

    async fn end(&mut self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn report_start(config: &Config, seller: &SellerHandle) {
    let public_key = format!("0x{}", hex::encode(seller.public_key()));
    let (provider_id, address, apis) = (seller.provider_id(), seller.address(), config.apis.len());
    let channels = seller.observe().await.map(|status| status.channels).unwrap_or_default();
    let channels = channels.into_iter().map(|status| status.channel);
    let active =
        channels.filter(|channel| channel.closed.is_none()).max_by_key(|channel| channel.state.balance);
    let channel = active.as_ref().map(|channel| tracing::field::display(channel.terms.channel_id));
    let balance = active.as_ref().map(|channel| tracing::field::display(channel.state.balance));
    tracing::info!(%provider_id, %address, public_key, balance, channel, apis, "started");
    if apis == 0 {
        tracing::warn!("there is no [[api]]: only keys of the archive are sold");
    }
}

/// Closes the store; one that takes longer is left as after a crash.
pub(crate) async fn close(store: &SqliteStore, patience: Duration) {
    match timeout(patience, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "cannot close the store"),
        // Everything that was answered is durable already.
        Err(_) => tracing::error!("the store does not close, leaving it as after a crash"),
    }
}
