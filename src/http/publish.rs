//! Encrypting payloads, and publishing them.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sha3::{Digest, Sha3_256};
use xbr_actors::{SellerHandle, Wrapped, Wrapper};
use xbr_core::payload::SERIALIZER;
use xbr_core::{ApiId, Value, cbor};

use super::App;
use super::body::{ApiPath, CBOR, JSON, Params, Payload, accepted, json, typed};
use super::idempotency::{Fingerprint, IdempotencyKey, Published};
use super::problem::Problem;

/// How many payloads a batch may have.
const MAX_BATCH: usize = 10_000;

/// The query parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Default: the API's prefix.
    uri: Option<String>,
}

/// What payloads are encrypted with, and the URI that they are for.
#[derive(Debug)]
pub(super) struct Target {
    api_id: ApiId,
    wrapper: Wrapper,
    uri: String,
}

impl FromRequestParts<App> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let ApiPath(api_id) = ApiPath::from_request_parts(parts, app).await?;
        let Params(query) = Params::<Query>::from_request_parts(parts, app).await?;
        let wrapper = app.seller.wrapper(api_id)?;
        let uri = query.uri.unwrap_or_else(|| wrapper.prefix().to_string());
        if !xbr_wamp::uri::is_valid(&uri) {
            return Err(Problem::invalid(
                "the query parameter uri must be a WAMP URI below the API's prefix",
            ));
        }
        Ok(Self { api_id, wrapper, uri })
    }
}

/// `POST /v1/apis/{api_id}/wrap`: encrypts a payload, and gives it back.
pub(super) async fn wrap(
    State(app): State<App>,
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let payload = app.bounds.payload(&headers, body).await?;
    let wrapped = payload.wrap(&target.wrapper, &target.uri).await?;
    Ok(match accepted(&headers, &[JSON, CBOR]) {
        Some(CBOR) => typed(CBOR, cbor::encode(&as_cbor(wrapped))),
        _ => json(&as_json(&wrapped)),
    })
}

/// `POST /v1/apis/{api_id}/wrap-batch`: encrypts a list of payloads, in order.
pub(super) async fn wrap_batch(
    State(app): State<App>,
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let payloads = app.bounds.payloads(&headers, body).await?;
    if payloads.len() > MAX_BATCH {
        return Err(Problem::invalid(format!("a batch may have {MAX_BATCH} payloads")));
    }
    let wrapped = target.wrapper.wrap_batch_values(&target.uri, &payloads).await?;
    Ok(match accepted(&headers, &[JSON, CBOR]) {
        Some(CBOR) => typed(CBOR, cbor::encode(&Value::List(wrapped.into_iter().map(as_cbor).collect()))),
        _ => json(&wrapped.iter().map(as_json).collect::<Vec<_>>()),
    })
}

/// `POST /v1/apis/{api_id}/publish`: encrypts a payload and publishes it. The answer comes when the router has
/// acknowledged the event.
pub(super) async fn publish(
    State(app): State<App>,
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Target { api_id, wrapper, uri } = target;
    let key = headers.get("idempotency-key").map(|key| IdempotencyKey::new(key.to_str().unwrap_or_default()));
    let key = key.transpose()?;
    let payload = app.bounds.payload(&headers, body).await?;
    let fingerprint = fingerprint(api_id, &uri, &payload);
    let publishing = publish_once(app.seller.clone(), wrapper, uri.clone(), payload);
    let key_id = match key {
        Some(key) => app.idempotency.once(key, fingerprint, publishing).await?,
        None => publishing.await?,
    };
    Ok(json(&json!({ "api_id": api_id.to_string(), "uri": uri, "key_id": key_id.to_string() })))
}

async fn publish_once(seller: SellerHandle, wrapper: Wrapper, uri: String, payload: Payload) -> Published {
    let wrapped = payload.wrap(&wrapper, &uri).await?;
    let key_id = wrapped.key_id;
    seller.publish(&uri, wrapped).await?;
    Ok(key_id)
}

/// What makes a publication the same: API, URI and payload.
fn fingerprint(api_id: ApiId, uri: &str, payload: &Payload) -> Fingerprint {
    let mut hash = Sha3_256::new();
    hash.update(api_id.as_bytes());
    // A URI holds no NUL.
    hash.update(uri.as_bytes());
    hash.update([0]);
    match payload {
        Payload::Value(value) => hash.update(cbor::encode(value)),
        Payload::Cbor(bytes) => hash.update(bytes),
    }
    hash.finalize().into()
}

fn as_json(wrapped: &Wrapped) -> serde_json::Value {
    json!({
        "key_id": wrapped.key_id.to_string(),
        "serializer": SERIALIZER,
        "ciphertext": STANDARD.encode(&wrapped.ciphertext),
    })
}

fn as_cbor(wrapped: Wrapped) -> Value {
    let entry = |name: &str, value| (Value::from(name), value);
    Value::Map(vec![
        entry("key_id", Value::Bytes(wrapped.key_id.as_bytes().to_vec())),
        entry("serializer", Value::from(SERIALIZER)),
        entry("ciphertext", Value::Bytes(wrapped.ciphertext)),
    ])
}
