//! The APIs that are sold: what there is, adding and removing, and what can be told to each. None of it survives a
//! restart: then the configuration counts again.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use xbr_actors::{ApiOptions, Rotation};
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::{Amount, ApiId};

use super::App;
use super::body::{ApiPath, json};
use super::problem::Problem;
use super::query::{duration, parsed};
use super::shape::ApiView;

/// An API to be sold; the keys are those of an `[[api]]` in the configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApi {
    #[serde(deserialize_with = "parsed")]
    id: ApiId,
    prefix: String,
    #[serde(deserialize_with = "parsed")]
    price: Amount,
    #[serde(default, deserialize_with = "duration")]
    interval: Option<Duration>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    categories: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "duration")]
    expires_after: Option<Duration>,
    #[serde(default)]
    copies: Option<u64>,
}

/// What can be changed of an API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(deserialize_with = "parsed")]
    price: Amount,
}

impl NewApi {
    fn options(self) -> Result<ApiOptions, Problem> {
        let prefix = UriPrefix::new(self.prefix).map_err(|error| Problem::invalid(error.to_string()))?;
        Ok(ApiOptions {
            terms: OfferTerms {
                api_id: self.id,
                prefix,
                price: self.price,
                categories: self.categories,
                expires_after: self.expires_after,
                copies: self.copies,
            },
            rotation: Rotation { interval: self.interval, count: self.count },
        })
    }
}

/// `GET /v1/apis`.
pub(super) async fn list(State(app): State<App>) -> Result<Response, Problem> {
    let apis: Vec<_> = app.status().await?.apis.into_iter().map(ApiView::from).collect();
    Ok(json(&json!({ "apis": apis })))
}

/// `GET /v1/apis/{api_id}`.
pub(super) async fn show(State(app): State<App>, ApiPath(api_id): ApiPath) -> Result<Response, Problem> {
    Ok(json(&view(&app, api_id).await?))
}

/// `POST /v1/apis`. The answer comes when the first key is durable.
pub(super) async fn add(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let new: NewApi = app.bounds.object(&headers, body).await?;
    let api_id = new.id;
    app.seller.add_api(new.options()?).await?;
    tracing::info!(api = %api_id, "API added");
    app.events.tell_api(api_id, "added").await;
    let mut response = (StatusCode::CREATED, json(&view(&app, api_id).await?)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/apis/{api_id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `DELETE /v1/apis/{api_id}`. Keys that were offered stay sellable.
pub(super) async fn remove(State(app): State<App>, ApiPath(api_id): ApiPath) -> Result<StatusCode, Problem> {
    if !app.seller.remove_api(api_id).await {
        return Err(Problem::unknown_api(api_id));
    }
    tracing::info!(api = %api_id, "API removed");
    app.events.tell_api(api_id, "removed").await;
    Ok(StatusCode::NO_CONTENT)
}

/// `PATCH /v1/apis/{api_id}`: another price for the keys that are made from now on.
pub(super) async fn change(
    State(app): State<App>,
    ApiPath(api_id): ApiPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Change { price } = app.bounds.object(&headers, body).await?;
    if !app.seller.set_price(api_id, price).await {
        return Err(Problem::unknown_api(api_id));
    }
    tracing::info!(api = %api_id, %price, "price changed");
    app.events.tell_api(api_id, "price").await;
    Ok(json(&view(&app, api_id).await?))
}

/// `POST /v1/apis/{api_id}/rotate`. The answer comes when the new key is current.
pub(super) async fn rotate(State(app): State<App>, ApiPath(api_id): ApiPath) -> Result<Response, Problem> {
    let key_id = app.seller.rotate(api_id).await?;
    Ok(json(&json!({ "api_id": api_id.to_string(), "key_id": key_id.to_string() })))
}

/// `POST /v1/apis/{api_id}/pause`.
pub(super) async fn pause(State(app): State<App>, ApiPath(api_id): ApiPath) -> Result<Response, Problem> {
    if !app.seller.pause(api_id).await {
        return Err(Problem::unknown_api(api_id));
    }
    tracing::info!(api = %api_id, "API paused");
    app.events.tell_api(api_id, "paused").await;
    Ok(json(&view(&app, api_id).await?))
}

/// `POST /v1/apis/{api_id}/resume`.
pub(super) async fn resume(State(app): State<App>, ApiPath(api_id): ApiPath) -> Result<Response, Problem> {
    if !app.seller.resume(api_id).await {
        return Err(Problem::unknown_api(api_id));
    }
    tracing::info!(api = %api_id, "API resumed");
    app.events.tell_api(api_id, "resumed").await;
    Ok(json(&view(&app, api_id).await?))
}

async fn view(app: &App, api_id: ApiId) -> Result<ApiView, Problem> {
    // Before the look at all of them: most that are asked for in vain are unknown.
    app.seller.wrapper(api_id)?;
    let mut apis = app.status().await?.apis.into_iter();
    apis.find(|api| api.terms.api_id == api_id).map(ApiView::from).ok_or_else(|| Problem::unknown_api(api_id))
}
