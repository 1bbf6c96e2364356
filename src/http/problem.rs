//! How the interface says no: problem details (RFC 9457), each with a code that programs can tell apart. The codes are
//! those that the seller answers with over WAMP, wherever there is one.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use xbr_actors::messages::MarketError;
use xbr_actors::{ApiError, WrapError};
use xbr_core::ApiId;
use xbr_core::wire::uri::error::NO_SUCH_OBJECT;
use xbr_store::StoreError;

/// The content type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    /// The error of somebody else, instead of the kind's own code.
    code: Option<String>,
}

/// The kinds of problems, in the order of their statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A body, path or query parameter that is out of form.
    InvalidArgument,
    /// The token is missing or wrong.
    Unauthorized,
    /// The request comes from a web page, or was meant for somebody else.
    Foreign,
    /// There is no such path.
    NoSuchPath,
    /// There is no such API.
    NoSuchObject,
    /// The path takes other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// There is an API with this id already.
    Exists,
    /// The API is paused.
    Paused,
    /// The body is too large.
    TooLarge,
    /// The body is of a type that the path does not take.
    UnsupportedMediaType,
    /// The URI is outside the prefix that the API is offered under.
    OutsidePrefix,
    /// The idempotency key was used for another request.
    KeyReused,
    /// Too many requests.
    RateLimited,
    /// The store failed, or we did.
    Internal,
    /// The router or the market maker refused.
    Refused,
    /// There is no session now, or no key.
    Unavailable,
    /// No answer came; it may have been done all the same.
    OutcomeUnknown,
}

impl Kind {
    /// Status, name, title, and code.
    fn facts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::InvalidArgument => (
                StatusCode::BAD_REQUEST,
                "invalid-argument",
                "The request is out of form",
                "wamp.error.invalid_argument",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A bearer token is needed",
                "wamp.error.authentication_failed",
            ),
            Self::Foreign => (
                StatusCode::FORBIDDEN,
                "foreign-request",
                "The request comes from elsewhere",
                "wamp.error.not_authorized",
            ),
            Self::NoSuchPath => (
                StatusCode::NOT_FOUND,
                "no-such-path",
                "There is no such path",
                "wamp.error.no_such_procedure",
            ),
            Self::NoSuchObject => (StatusCode::NOT_FOUND, "no-such-object", "It is unknown", NO_SUCH_OBJECT),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The path takes other methods",
                "wamp.error.no_such_procedure",
            ),
            Self::RequestTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "The request did not arrive in time",
                "xbr_seller.error.request_timeout",
            ),
            Self::Exists => {
                (StatusCode::CONFLICT, "exists", "It exists already", "xbr_seller.error.api_exists")
            }
            Self::Paused => (StatusCode::CONFLICT, "paused", "The API is paused", "xbr_seller.error.paused"),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
                "wamp.error.payload_size_exceeded",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body is of a type that is not taken",
                "wamp.error.invalid_argument",
            ),
            Self::OutsidePrefix => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "outside-prefix",
                "Nobody could buy the key of this URI",
                "xbr_seller.error.outside_prefix",
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key was used for another request",
                "xbr_seller.error.idempotency_key_reused",
            ),
            Self::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many requests",
                "xbr_seller.error.rate_limited",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The service failed",
                "wamp.error.runtime_error",
            ),
            Self::Refused => (
                StatusCode::BAD_GATEWAY,
                "refused",
                "The router or the market maker refused",
                "wamp.error.runtime_error",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "It cannot be done now",
                "xbr_seller.error.unavailable",
            ),
            Self::OutcomeUnknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "outcome-unknown",
                "No answer came, it may have been done",
                "xbr_seller.error.outcome_unknown",
            ),
        }
    }
}

impl Problem {
    /// A problem, with what is wrong in this case.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), code: None }
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The request is out of form.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, detail)
    }

    /// There is no such API.
    pub(super) fn unknown_api(api_id: ApiId) -> Self {
        Self::new(Kind::NoSuchObject, format!("there is no API {api_id}"))
    }

    /// The seller has gone, which ends the service.
    pub(super) fn gone() -> Self {
        Self::new(Kind::Unavailable, "the seller has gone")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title, code) = self.kind.facts();
        let code = self.code.map_or(Cow::Borrowed(code), Cow::Owned);
        let body = json!({
            "type": format!("urn:xbr-seller:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "code": code,
        });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::RateLimited | Kind::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<WrapError> for Problem {
    fn from(error: WrapError) -> Self {
        let kind = match &error {
            WrapError::UnknownApi { .. } => Kind::NoSuchObject,
            WrapError::UriOutsidePrefix { .. } => Kind::OutsidePrefix,
            WrapError::Payload(_) => Kind::InvalidArgument,
            WrapError::Paused { .. } => Kind::Paused,
            WrapError::Stopped | WrapError::NoKey { .. } => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<MarketError> for Problem {
    fn from(error: MarketError) -> Self {
        let detail = error.to_string();
        match error {
            MarketError::NotJoined | MarketError::Join { .. } => Self::new(Kind::Unavailable, detail),
            MarketError::Refused { uri, .. } => Self { code: Some(uri), ..Self::new(Kind::Refused, detail) },
            MarketError::Unsendable { .. } => Self::new(Kind::TooLarge, detail),
            MarketError::Unanswered { .. } => Self::new(Kind::OutcomeUnknown, detail),
            MarketError::Malformed { .. } => Self::new(Kind::Refused, detail),
        }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let kind = match &error {
            ApiError::Exists { .. } => Kind::Exists,
            ApiError::NoKey { .. } | ApiError::Gone => Kind::Unavailable,
            ApiError::Terms(_) | ApiError::NoRotation | ApiError::TooFast | ApiError::OutlivesOffer => {
                Kind::InvalidArgument
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store cannot answer a request");
        // What the database says is for the log.
        Self::new(Kind::Internal, "the store failed; see the log")
    }
}
