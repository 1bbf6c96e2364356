//! What the service tells the outside about itself: metrics, whether it lives and can sell, and the steps of its sales.
//! The actors know nothing of it: they tell an [`Observer`], and are asked how they stand.

use std::sync::Arc;

use metrics_exporter_prometheus::BuildError;
use tokio::sync::watch;
use xbr_actors::{Clock, Event, Observer, SellerHandle, SellerState, SellerStatus};

mod health;
mod metrics;
pub mod names;
mod otlp;
mod routes;
mod traces;

pub use health::{PATIENCE, Readiness, Reason, ReasonCode};
pub use metrics::{FeedFigures, Metrics, SALE_OUTCOMES};
pub use otlp::Collector;
pub use routes::router;
pub use traces::{Attribute, Ended, SpanLayer, Spans};

/// Watches one seller. Clones watch together.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// What is counted.
    pub metrics: Metrics,
    session: Arc<watch::Sender<Session>>,
}

/// What the events told of the session.
#[derive(Debug, Clone, Default)]
struct Session {
    has_been_started: bool,
    /// What was said last, while it is away.
    trouble: Option<String>,
}

impl Telemetry {
    /// Nothing has happened yet.
    ///
    /// # Errors
    /// [`BuildError`], which only a mistake in this program can cause.
    pub fn new(clock: &dyn Clock) -> Result<Self, BuildError> {
        Ok(Self { metrics: Metrics::new(clock.now_ns())?, session: Arc::default() })
    }

    /// Whether the actors answer.
    pub async fn is_alive(&self, seller: &SellerHandle) -> bool {
        health::observe(seller).await.is_some()
    }

    /// Whether the seller can sell what it is to sell.
    pub async fn readiness(&self, seller: &SellerHandle) -> Readiness {
        self.judge(health::observe(seller).await.as_ref())
    }

    /// All metrics, as they stand now, in the text format of Prometheus.
    pub async fn scrape(&self, seller: &SellerHandle, feeds: &[FeedFigures]) -> String {
        let status = health::observe(seller).await;
        let readiness = self.judge(status.as_ref());
        self.metrics.stand(status.as_ref(), readiness.ready);
        self.metrics.feeds(feeds);
        self.metrics.render()
    }

    fn judge(&self, status: Option<&SellerStatus>) -> Readiness {
        let session = self.session.borrow().clone();
        Readiness::of(status, session.has_been_started, session.trouble.as_deref())
    }
}

impl Observer for Telemetry {
    fn told(&self, event: &Event) {
        self.metrics.told(event);
        match event {
            Event::State(SellerState::Started) => {
                self.session.send_replace(Session { has_been_started: true, trouble: None });
            }
            Event::SessionLost { reason } | Event::NotBack { reason } => {
                self.session.send_modify(|session| session.trouble = Some(reason.clone()));
            }
            _ => {}
        }
    }
}
