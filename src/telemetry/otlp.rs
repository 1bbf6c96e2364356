//! Spans in the JSON form of OTLP, posted to a collector: `POST /v1/traces`. The form is that of the protobuf messages,
//! with ids in hex and integers of 64 bits as texts (OpenTelemetry Protocol, "JSON Protobuf Encoding").

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::traces::{Attribute, Ended};

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_SERVER`.
const KINDS: [u8; 2] = [1, 2];
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// The outcomes of a sale that are no errors.
const GOOD: [&str; 2] = ["sold", "repeated"];

/// A collector of traces, reached over HTTP without TLS: one on this machine, or in the same network.
#[derive(Debug, Clone)]
pub struct Collector {
    authority: String,
    path: String,
}

impl Collector {
    /// The collector at an endpoint such as `http://127.0.0.1:4318`.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub fn new(endpoint: &str) -> Result<Self, &'static str> {
        let uri: Uri = endpoint.parse().map_err(|_| "is no URL")?;
        if uri.scheme_str() != Some("http") {
            return Err("must begin with http://; for TLS run a collector on this machine that passes on");
        }
        let host = uri.host().ok_or("has no host")?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(4318));
        Ok(Self { authority, path: format!("{}/v1/traces", uri.path().trim_end_matches('/')) })
    }

    /// Posts spans, on a connection of their own.
    ///
    /// # Errors
    /// Why the collector did not take them.
    pub async fn send(&self, spans: &[Ended]) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.authority);
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| failed(&error))?;
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| failed(&error))?;
        let driver = tokio::spawn(connection);
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(encode(spans).to_string()))
            .map_err(|error| failed(&error))?;
        let response = sender.send_request(request).await;
        driver.abort();
        match response.map_err(|error| failed(&error))?.status() {
            status if status.is_success() => Ok(()),
            status => Err(failed(&status)),
        }
    }
}

/// An `ExportTraceServiceRequest`.
fn encode(spans: &[Ended]) -> Value {
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [attribute("service.name", &Attribute::Text("xbr-seller".to_owned()))] },
        "scopeSpans": [{
            "scope": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
            "spans": spans,
        }],
    }] })
}

fn span(span: &Ended) -> Value {
    let [internal, server] = KINDS;
    let attributes: Vec<_> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let is_refused = span.attributes.iter().any(|(name, value)| {
        *name == "outcome" && !matches!(value, Attribute::Text(text) if GOOD.contains(&text.as_str()))
    });
    json!({
        "traceId": hex::encode(span.trace_id),
        "spanId": hex::encode(span.span_id),
        "parentSpanId": span.parent_id.map(hex::encode).unwrap_or_default(),
        "name": span.name,
        "kind": if span.parent_id.is_none() { server } else { internal },
        "startTimeUnixNano": span.began_ns.to_string(),
        "endTimeUnixNano": span.ended_ns.to_string(),
        "attributes": attributes,
        "status": if is_refused { json!({ "code": ERROR }) } else { json!({}) },
    })
}

fn attribute(name: &str, value: &Attribute) -> Value {
    let value = match value {
        Attribute::Text(text) => json!({ "stringValue": text }),
        Attribute::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": name, "value": value })
}
