//! The local HTTP interface: encrypting and publishing for programs that do not speak WAMP, what the seller knows, and
//! what an operator tells it; and the dashboard, a page over it. `docs/http.md` is its guide, `/v1/openapi.json` its
//! description.
//!
//! It holds no state of its own that matters: every answer comes from the actors or the store, and only the keys of
//! idempotent publications are remembered here, until a restart.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::SecretString;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use xbr_actors::{Clock as _, SellerHandle, SellerStatus, SystemClock};
use xbr_core::cbor::Limits;
use xbr_core::{Address, ApiId};
use xbr_store::SqliteStore;

use crate::config::HttpConfig;
use crate::feed::Feeds;

mod apis;
mod body;
pub mod client;
mod dashboard;
mod events;
mod guard;
mod happening;
mod idempotency;
mod lists;
pub mod problem;
mod publish;
mod query;
mod reports;
mod server;
mod shape;

pub use events::{Watched, Watcher};

use body::{Bounds, JSON, typed};
use events::{Asked, Events, Hub};
use guard::{Guard, Token};
use idempotency::Idempotency;
use problem::{Kind, Problem};

/// The description of the interface.
const OPENAPI: &str = include_str!("openapi.json");

/// The interface cannot listen.
#[derive(Debug, Error)]
#[error(
    "cannot listen at {listen} for the HTTP interface: {error}; is another service there? see http.listen"
)]
pub struct ListenError {
    listen: SocketAddr,
    error: std::io::Error,
}

/// What the interface is over.
#[derive(Debug)]
pub struct Parts {
    /// Who sells.
    pub seller: SellerHandle,
    /// What is remembered.
    pub store: SqliteStore,
    /// The market maker whose signature counts.
    pub market_maker: Address,
    /// How much structure a payload may have.
    pub limits: Limits,
    /// How the feeds stand.
    pub feeds: Feeds,
    /// What the seller's observer hears, as [`watch()`] made it.
    pub watched: Watched,
    /// Paths of others.
    pub more: Router,
}

/// Where a seller's events come in: an observer for the seller's options, and what it hears for [`Parts`].
pub fn watch() -> (Watcher, Watched) {
    events::channel()
}

/// The interface, listening.
#[derive(Debug)]
pub struct Interface {
    listener: TcpListener,
    address: SocketAddr,
    config: HttpConfig,
    token: Token,
    events: Events,
    asked: Asked,
}

/// What the rest of the service tells the interface while it serves.
#[derive(Debug, Clone)]
pub struct Control {
    token: Token,
    events: Events,
}

impl Control {
    /// Whether clients have to send this token.
    pub fn has_token(&self, token: &SecretString) -> bool {
        self.token.is(token)
    }

    /// Lets clients send this token, and no other, from the next request on.
    pub fn set_token(&self, token: SecretString) {
        self.token.replace(token);
    }

    /// Tells those who read the events that an API has changed: `change` is what, as `docs/http.md` names it.
    pub async fn api_changed(&self, api_id: ApiId, change: &str) {
        self.events.tell_api(api_id, change).await;
    }
}

/// The interface, serving.
#[derive(Debug)]
pub struct Serving {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What the handlers share.
type App = Arc<Shared>;

#[derive(Debug)]
struct Shared {
    seller: SellerHandle,
    store: SqliteStore,
    feeds: Feeds,
    events: Events,
    market_maker: Address,
    bounds: Bounds,
    idempotency: Idempotency,
    /// When it began to serve, Unix time in ns.
    started_ns: u64,
}

impl Shared {
    async fn status(&self) -> Result<SellerStatus, Problem> {
        self.seller.observe().await.ok_or_else(Problem::gone)
    }

    /// The time of day, Unix time in ns.
    fn now_ns(&self) -> u64 {
        SystemClock.now_ns()
    }
}

impl Interface {
    /// Listens, so that a second service at the same address fails at its start. Nobody is answered yet.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(config: HttpConfig, token: Option<SecretString>) -> Result<Self, ListenError> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| ListenError { listen, error })?;
        let address = listener.local_addr().map_err(|error| ListenError { listen, error })?;
        tracing::info!(%address, token = token.is_some(), "the HTTP interface listens");
        let (events, asked) = Events::channel();
        Ok(Self { listener, address, config, token: Token::new(token), events, asked })
    }

    /// Where it listens: the port is a real one, also where the configuration leaves it open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For those who have something to tell it while it serves.
    pub fn control(&self) -> Control {
        Control { token: self.token.clone(), events: self.events.clone() }
    }

    /// Serves in a task of its own.
    pub fn spawn(self, parts: Parts) -> Serving {
        let (end, stop) = watch::channel(false);
        Serving { end, task: tokio::spawn(self.serve(parts, stop)) }
    }

    /// Serves until `stop` is true, and then until the answers that are under way are given.
    async fn serve(self, parts: Parts, stop: watch::Receiver<bool>) {
        let HttpConfig { request_timeout, max_connections, max_body_bytes, rate, .. } = self.config;
        let started_ns = SystemClock.now_ns();
        let (seller, feeds) = (parts.seller.clone(), parts.feeds.clone());
        let hub = Hub::new(seller, feeds, parts.watched, self.asked, started_ns);
        let app = Arc::new(Shared {
            seller: parts.seller,
            store: parts.store,
            feeds: parts.feeds,
            events: self.events,
            market_maker: parts.market_maker,
            bounds: Bounds { max_body_bytes, limits: parts.limits, timeout: request_timeout },
            idempotency: Idempotency::spawn(self.config.idempotency_keys),
            started_ns,
        });
        let guard = Arc::new(Guard::new(self.token, rate, request_timeout));
        let router = routes(app)
            .merge(dashboard::routes())
            .merge(parts.more)
            .method_not_allowed_fallback(wrong_method)
            .fallback(no_such_path)
            .layer(from_fn_with_state(guard, guard::guard));
        let ending = stop.clone();
        let serving = server::serve(self.listener, router, max_connections, request_timeout, stop);
        // Streams of events have no end of their own: they end with the hub.
        tokio::join!(serving, server::until_stopped(ending, hub.run()));
    }
}

impl Serving {
    /// Takes no more requests.
    pub fn end(&self) {
        self.end.send_replace(true);
    }

    /// Lets the answers that are under way be given, for as long as there is time.
    pub async fn ended(mut self, deadline: Instant) {
        self.end();
        if timeout_at(deadline, &mut self.task).await.is_err() {
            tracing::warn!("requests of the HTTP interface are left unanswered");
            self.task.abort();
        }
    }
}

fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(|| async { typed(JSON, OPENAPI) }))
        .route("/v1/state", get(reports::state))
        .route("/v1/balance", get(reports::balance))
        .route("/v1/channels", get(reports::channels))
        .route("/v1/events", get(events::events))
        .route("/v1/sales", get(lists::sales))
        .route("/v1/earnings", get(lists::earnings))
        .route("/v1/keys", get(lists::keys))
        .route("/v1/offers", get(lists::offers))
        .route("/v1/apis", get(apis::list).post(apis::add))
        .route("/v1/apis/{api_id}", get(apis::show).patch(apis::change).delete(apis::remove))
        .route("/v1/apis/{api_id}/wrap", post(publish::wrap))
        .route("/v1/apis/{api_id}/wrap-batch", post(publish::wrap_batch))
        .route("/v1/apis/{api_id}/publish", post(publish::publish))
        .route("/v1/apis/{api_id}/rotate", post(apis::rotate))
        .route("/v1/apis/{api_id}/pause", post(apis::pause))
        .route("/v1/apis/{api_id}/resume", post(apis::resume))
        .with_state(app)
}

async fn wrong_method() -> Response {
    Problem::new(Kind::MethodNotAllowed, "see the header Allow, or /v1/openapi.json").into_response()
}

async fn no_such_path() -> Response {
    Problem::new(Kind::NoSuchPath, "see /v1/openapi.json for those that there are").into_response()
}
