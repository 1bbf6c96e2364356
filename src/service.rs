//! The service: opens the store, starts the seller and its feeds, waits to be told to stop, and ends
//! everything in order. The store is closed last.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::BuildError;
use sd_notify::NotifyState;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use xbr_actors::{ApiError, Observers, SellerHandle, SellerOptions, SpawnError, StartError, SystemClock};
use xbr_core::ApiId;
use xbr_core::cbor::Limits;
use xbr_store::{MasterKeyError, SqliteStore, StoreError};
use xbr_wamp::Auth;

use crate::config::{Config, FeedConfig, Secrets};
use crate::feed::{self, FeedMeter, Feeds, SellerOutlet};
use crate::http::{self, Control, Interface, ListenError, Parts, Watched};
use crate::reload::{self, Running, Source};
use crate::systemd;
use crate::telemetry::{self, FeedFigures, Spans, Telemetry};

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
    /// There can be no metrics.
    #[error("cannot count: {0}")]
    Telemetry(#[from] BuildError),
    /// The operating system gives no signals.
    #[error("cannot hear of signals: {0}")]
    Signals(#[source] io::Error),
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

/// Runs until `stop` resolves, and ends in order then. Nothing durable is lost whenever it ends. `source` is where the
/// configuration came from, to be read again at SIGHUP, and `spans` what a collector of traces gets.
///
/// # Errors
/// [`ServiceError`]; everything is ended all the same.
pub async fn run(
    mut config: Config,
    mut secrets: Secrets,
    source: Source,
    spans: Option<Spans>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    // From here on a SIGHUP does not end the process; one that comes too early waits.
    let hangups = signal(SignalKind::hangup()).map_err(ServiceError::Signals)?;
    let telemetry = Telemetry::new(&SystemClock)?;
    let (auth, auths) = (secrets.auth.clone(), std::mem::take(&mut secrets.feeds));
    let interface = match config.http.clone() {
        Some(http) => Some(Interface::bind(http, secrets.http_token.take()).await?),
        None => None,
    };
    let (watcher, watched) = http::watch();
    let observers = Observers::new([Arc::new(telemetry.clone()) as _, Arc::new(watcher) as _]);
    let (store, seller) = open(&config, secrets, Some((&telemetry, observers))).await?;
    let feeds = Feeds::new(&config.feeds, &(Arc::new(SystemClock) as _));
    let parts = parts(&config, &seller, &store, &telemetry, &feeds, watched);
    let control = interface.as_ref().map(Interface::control);
    let http = interface.map(|interface| interface.spawn(parts));
    let (traces_end, traces) = export(spans, &config, &telemetry);
    let mut life = Life { seller: seller.clone(), telemetry, source, auth, control, hangups, beat: None };
    let mut running = RunningFeeds { stop: watch::Sender::new(None), tasks: JoinSet::new() };
    let result = tokio::select! {
        () = stop => Ok(()),
        result = life.sell(&mut config, &feeds, auths, &mut running) => result,
    };

    systemd::tell(&[NotifyState::Stopping]);
    let grace = config.seller.grace;
    let deadline = Instant::now() + grace;
    tracing::info!(?grace, "stopping");
    // The seller needs the rest of the time for itself.
    if let Some(http) = &http {
        http.end();
    }
    running.end(Instant::now() + grace / 2).await;
    if let Some(http) = http {
        http.ended(deadline - grace / 4).await;
    }
    let rest = deadline.saturating_duration_since(Instant::now());
    if timeout(rest + LEAVE, seller.stop(rest)).await.is_err() {
        tracing::error!("the seller does not stop, leaving it as after a crash");
    }
    close(&store, grace).await;
    drop(traces_end);
    if let Some(traces) = traces {
        // It bounds itself.
        let _ = traces.await;
    }
    tracing::info!("stopped");
    result
}

/// Sends spans to their collector until the sender is dropped.
fn export(
    spans: Option<Spans>,
    config: &Config,
    telemetry: &Telemetry,
) -> (oneshot::Sender<()>, Option<JoinHandle<()>>) {
    let (end, ended) = oneshot::channel::<()>();
    let exporting = spans.zip(config.traces.clone()).map(|(spans, traces)| {
        let stop = async move { drop(ended.await) };
        tokio::spawn(spans.export(traces.collector, telemetry.metrics.clone(), stop))
    });
    (end, exporting)
}

/// Opens the store, and makes a seller over it that is not started. Both are watched, where there is somebody to.
///
/// # Errors
/// [`ServiceError`].
pub(crate) async fn open(
    config: &Config,
    secrets: Secrets,
    watching: Option<(&Telemetry, Observers)>,
) -> Result<(SqliteStore, SellerHandle), ServiceError> {
    let master_key = config.store.master_key(secrets.master_key)?;
    let path = config.store.path.clone();
    let metrics = watching.as_ref().map(|(telemetry, _)| telemetry.metrics.clone());
    let opening = tokio::task::spawn_blocking(move || match metrics {
        Some(metrics) => SqliteStore::open_watched(path, master_key, move |it| metrics.transaction(it)),
        None => SqliteStore::open(path, master_key),
    });
    let store = opening.await.map_err(|_| StoreError::Closed)??;
    let mut options =
        SellerOptions::new(config.seller.market_maker, Arc::new(secrets.delegate), Arc::new(store.clone()));
    config.seller.apply(&mut options);
    if let Some((telemetry, observers)) = watching {
        telemetry.metrics.label(config.apis.iter().map(|api| api.terms.api_id));
        options.observers = observers;
    }
    let seller = SellerHandle::spawn(options, config.serving.options(config.market.options(secrets.auth)))?;
    Ok((store, seller))
}

fn parts(
    config: &Config,
    seller: &SellerHandle,
    store: &SqliteStore,
    telemetry: &Telemetry,
    feeds: &Feeds,
    watched: Watched,
) -> Parts {
    let figures = {
        let feeds = feeds.clone();
        move || feeds.status().into_iter().map(FeedFigures::from).collect()
    };
    Parts {
        seller: seller.clone(),
        store: store.clone(),
        feeds: feeds.clone(),
        watched,
        market_maker: config.seller.market_maker,
        limits: Limits { max_depth: config.market.max_depth, ..Limits::default() },
        more: telemetry::router(telemetry.clone(), seller.clone(), figures),
    }
}

/// A service that runs.
struct Life {
    seller: SellerHandle,
    telemetry: Telemetry,
    source: Source,
    /// What it joined the market's realm with.
    auth: Auth,
    /// The HTTP interface, if there is one.
    control: Option<Control>,
    hangups: Signal,
    /// What keeps the service manager up to date, to the very end.
    beat: Option<Beat>,
}

/// A task that ends when this is dropped.
struct Beat(JoinHandle<()>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Life {
    /// Starts, and goes on for as long as the seller lives.
    async fn sell(
        &mut self,
        config: &mut Config,
        feeds: &Feeds,
        auths: Vec<Auth>,
        running: &mut RunningFeeds,
    ) -> Result<(), ServiceError> {
        let seller = self.seller.clone();
        for api in &config.apis {
            let api_id = api.terms.api_id;
            seller.add_api(api.clone()).await.map_err(|error| ServiceError::Api { api_id, error })?;
        }
        seller.start().await?;
        report_start(config, &seller).await;
        systemd::tell(&[NotifyState::Ready]);
        let (telemetry, watchdog) = (self.telemetry.clone(), systemd::watchdog());
        let beat = systemd::watch(telemetry, seller.clone(), watchdog, systemd::tell);
        self.beat = Some(Beat(tokio::spawn(beat)));
        for ((config, meter), auth) in config.feeds.iter().zip(feeds.meters()).zip(auths) {
            running.start(config.clone(), auth, seller.clone(), meter.clone())?;
        }
        let mut state = seller.state();
        loop {
            tokio::select! {
                // Its changes are in the log already; this waits for the end of them.
                changed = state.changed() => if changed.is_err() {
                    return Err(ServiceError::Gone);
                },
                Some(()) = self.hangups.recv() => self.reload(config).await,
            }
        }
    }

    /// Reads the configuration again.
    async fn reload(&self, config: &mut Config) {
        systemd::tell_reloading();
        let (auth, seller, http) = (&self.auth, &self.seller, self.control.as_ref());
        match reload::reload(&self.source, Running { config, auth, seller, http }).await {
            Ok(()) => {
                self.telemetry.metrics.label(config.apis.iter().map(|api| api.terms.api_id));
                systemd::tell(&[NotifyState::Ready]);
            }
            Err(error) => {
                tracing::error!(%error, "the new configuration is refused, the service goes on with the old one");
                let status = "the new configuration is refused, see the log; the old one stays";
                systemd::tell(&[NotifyState::Ready, NotifyState::Status(status)]);
            }
        }
    }
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
