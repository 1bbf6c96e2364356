//! What comes in, read within bounds, and the form of what goes out.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xbr_actors::{WrapError, Wrapped, Wrapper};
use xbr_core::cbor::{self, Limits};
use xbr_core::{ApiId, Value};
use xbr_wamp::codec::json::parse_plain;

use super::problem::{Kind, Problem};

pub(super) const JSON: &str = "application/json";
pub(super) const CBOR: &str = "application/cbor";
const OCTETS: &str = "application/octet-stream";

/// How much is read of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How long a body may be.
    pub(super) max_body_bytes: usize,
    /// How much structure it may have.
    pub(super) limits: Limits,
    /// How long it may take to arrive.
    pub(super) timeout: Duration,
}

impl Bounds {
    /// Reads a body to its end.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        let max = self.max_body_bytes;
        let too_large =
            || Problem::new(Kind::TooLarge, format!("a body may have {max} bytes (http.max_body_bytes)"));
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > max) {
            return Err(too_large());
        }
        match tokio::time::timeout(self.timeout, to_bytes(body, max)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
                Err(too_large())
            }
            Ok(Err(_)) => Err(Problem::invalid("the body breaks off")),
            Err(_) => {
                Err(Problem::new(Kind::RequestTimeout, "the body did not arrive within http.request_timeout"))
            }
        }
    }

    /// Reads a payload to be encrypted.
    pub(super) async fn payload(&self, headers: &HeaderMap, body: Body) -> Result<Payload, Problem> {
        let form = Form::of(headers)?;
        let bytes = self.read(headers, body).await?;
        match form {
            Form::Json => self.json(&bytes).map(Payload::Value),
            Form::Cbor => {
                self.cbor(&bytes)?;
                Ok(Payload::Cbor(bytes))
            }
            Form::Octets => Ok(Payload::Value(Value::Bytes(bytes.into()))),
        }
    }

    /// Reads a list of payloads.
    pub(super) async fn payloads(&self, headers: &HeaderMap, body: Body) -> Result<Vec<Value>, Problem> {
        let form = Form::of(headers)?;
        let bytes = self.read(headers, body).await?;
        let value = match form {
            Form::Json => self.json(&bytes)?,
            Form::Cbor => self.cbor(&bytes)?,
            Form::Octets => return Err(unsupported("a batch is a list, in JSON or CBOR")),
        };
        match value {
            Value::List(payloads) => Ok(payloads),
            other => Err(Problem::invalid(format!("a batch must be a list, got {}", other.kind()))),
        }
    }

    /// Reads a JSON object of a known shape.
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, Problem> {
        match Form::of(headers)? {
            Form::Json => {}
            Form::Cbor | Form::Octets => return Err(unsupported("send application/json")),
        }
        let bytes = self.read(headers, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| Problem::invalid(format!("the body: {error}")))
    }

    fn json(&self, bytes: &[u8]) -> Result<Value, Problem> {
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::invalid("the body is not UTF-8"))?;
        parse_plain(text, &self.limits).map_err(|error| Problem::invalid(format!("the body: {error}")))
    }

    fn cbor(&self, bytes: &[u8]) -> Result<Value, Problem> {
        cbor::decode(bytes, &self.limits).map_err(|error| Problem::invalid(format!("the body: {error}")))
    }
}

/// A payload to be encrypted.
#[derive(Debug)]
pub(super) enum Payload {
    /// To be encoded.
    Value(Value),
    /// Encoded already, and well-formed: it is taken as it is.
    Cbor(Bytes),
}

impl Payload {
    pub(super) async fn wrap(&self, wrapper: &Wrapper, uri: &str) -> Result<Wrapped, WrapError> {
        match self {
            Self::Value(value) => wrapper.wrap_value(uri, value).await,
            Self::Cbor(bytes) => wrapper.wrap_cbor(uri, bytes).await,
        }
    }
}

/// In which form a body is.
enum Form {
    Json,
    Cbor,
    Octets,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            JSON => Ok(Self::Json),
            CBOR => Ok(Self::Cbor),
            OCTETS => Ok(Self::Octets),
            _ => Err(unsupported("send application/json, application/cbor or application/octet-stream")),
        }
    }
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(Kind::UnsupportedMediaType, detail)
}

/// The first of some content types that the `Accept` header names; `None` where it names none of them. Weights are not
/// looked at: who wants a special form names that first.
pub(super) fn accepted(headers: &HeaderMap, types: &[&'static str]) -> Option<&'static str> {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut named = accepts
        .flat_map(|accepts| accepts.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    named.find_map(|range| types.iter().find(|name| **name == range).copied())
}

/// A JSON answer.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => typed(JSON, bytes),
        Err(error) => {
            tracing::error!(%error, "an answer has no JSON form");
            Problem::new(Kind::Internal, "the answer cannot be written; see the log").into_response()
        }
    }
}

/// An answer of a content type.
pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The id of an API, from the path.
#[derive(Debug)]
pub(super) struct ApiPath(pub(super) ApiId);

impl<S: Send + Sync> FromRequestParts<S> for ApiPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text): Path<String> = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid(error.body_text()))?;
        text.parse().map(Self).map_err(|error| Problem::invalid(format!("the path: {error}")))
    }
}

/// The query parameters; unknown ones are refused by the types that they are read into.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        let Query(params) = query.map_err(|error| Problem::invalid(error.body_text()))?;
        Ok(Self(params))
    }
}
