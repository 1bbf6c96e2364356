//! The paths for probes and Prometheus, for the local HTTP interface.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use xbr_actors::SellerHandle;

use super::{FeedFigures, Telemetry};

/// What the paths look at.
#[derive(Clone)]
struct Watched {
    telemetry: Telemetry,
    seller: SellerHandle,
    feeds: Arc<FeedsNow>,
}

/// Tells how the feeds stand.
type FeedsNow = dyn Fn() -> Vec<FeedFigures> + Send + Sync;

/// `/metrics`, `/healthz` and `/readyz`.
///
/// `feeds` tells how the feeds stand.
pub fn router(
    telemetry: Telemetry,
    seller: SellerHandle,
    feeds: impl Fn() -> Vec<FeedFigures> + Send + Sync + 'static,
) -> Router {
    let feeds = Arc::new(feeds);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Watched { telemetry, seller, feeds })
}

async fn metrics(State(watched): State<Watched>) -> impl IntoResponse {
    let text = watched.telemetry.scrape(&watched.seller, &(watched.feeds)()).await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn healthz(State(watched): State<Watched>) -> Response {
    let alive = watched.telemetry.is_alive(&watched.seller).await;
    answer(alive, &json!({ "alive": alive }))
}

async fn readyz(State(watched): State<Watched>) -> Response {
    let readiness = watched.telemetry.readiness(&watched.seller).await;
    answer(readiness.ready, &json!(readiness))
}

/// What is so now may be otherwise the next moment: nobody may keep it.
fn answer(good: bool, body: &serde_json::Value) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}
