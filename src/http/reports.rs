//! How the seller and its channels stand.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::body::json;
use super::problem::Problem;
use super::shape::{ApiView, BalanceView, ChannelView, rfc3339, state_name};

/// `GET /v1/state`.
pub(super) async fn state(State(app): State<App>) -> Result<Response, Problem> {
    let status = app.status().await?;
    let apis: Vec<_> = status.apis.into_iter().map(ApiView::from).collect();
    let channels: Vec<_> = status.channels.into_iter().map(ChannelView::from).collect();
    Ok(json(&json!({
        "state": state_name(status.state),
        "reason": app.events.reason(),
        "version": env!("CARGO_PKG_VERSION"),
        "started": rfc3339(app.started_ns).to_string(),
        "now": rfc3339(app.now_ns()).to_string(),
        "address": app.seller.address().to_string(),
        "public_key": format!("0x{}", hex::encode(app.seller.public_key())),
        "provider_id": app.seller.provider_id().to_string(),
        "market_maker": app.market_maker.to_string(),
        "apis": apis,
        "channels": channels,
        "feeds": app.feeds.status(),
    })))
}

/// `GET /v1/balance`: of every channel, also as the market maker sees it.
pub(super) async fn balance(State(app): State<App>) -> Result<Response, Problem> {
    let reports = app.seller.balance().await.map_err(|_| Problem::gone())?;
    let balances: Vec<_> = reports.into_iter().map(BalanceView::from).collect();
    Ok(json(&json!({ "balances": balances })))
}

/// `GET /v1/channels`: as the ledger has them.
pub(super) async fn channels(State(app): State<App>) -> Result<Response, Problem> {
    let channels: Vec<_> = app.status().await?.channels.into_iter().map(ChannelView::from).collect();
    Ok(json(&json!({ "channels": channels })))
}
