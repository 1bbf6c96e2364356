//! `xbr-seller status`: how the running service does, asked over its HTTP interface.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Failure;
use crate::cli::StatusArgs;
use crate::config::{Config, Environment};
use crate::when;

/// A service that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

pub(super) fn execute(args: &StatusArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    let http = config.http.as_ref().ok_or(Failure::NoInterface)?;
    let mut address = http.listen;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let service = Service { address, token: secrets.http_token };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut state, reasons) = runtime.block_on(async {
        let state = service.ask("/v1/state").await?;
        let readiness = service.ask("/readyz").await?;
        Ok::<_, Failure>((state, readiness))
    })?;
    let ready = reasons.get("ready").and_then(Value::as_bool).unwrap_or_default();
    let mut out = io::stdout().lock();
    if args.json {
        if let Some(state) = state.as_object_mut() {
            state.insert("readiness".to_owned(), reasons);
        }
        writeln!(out, "{state:#}")?;
    } else {
        write!(out, "{}", told(&state, &reasons, ready))?;
    }
    if ready { Ok(()) } else { Err(Failure::NotReady) }
}

/// The service, as its configuration says that it listens.
struct Service {
    address: SocketAddr,
    token: Option<SecretString>,
}

impl Service {
    /// What it answers, which is JSON.
    async fn ask(&self, path: &str) -> Result<Value, Failure> {
        let failed = |reason: String| Failure::NotRunning { address: self.address, reason };
        let answer = timeout(PATIENCE, self.get(path)).await;
        let (status, body) = answer.map_err(|_| failed("it does not answer".to_owned()))?.map_err(failed)?;
        match serde_json::from_slice(&body) {
            Ok(answer) if status == 200 || path == "/readyz" => Ok(answer),
            _ => Err(Failure::NoStatus { address: self.address, status }),
        }
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await;
        driver.abort();
        Ok((status, body.map_err(|error| error.to_string())?.to_vec()))
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("?")
}

fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

fn is_true(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// For a person. Writing to a string does not fail.
fn told(state: &Value, reasons: &Value, ready: bool) -> String {
    let mut told = String::new();
    let word = if ready { "ready" } else { "NOT ready" };
    let _ = writeln!(told, "seller:   {}, {word}, since {}", text(state, "state"), text(state, "started"));
    for reason in list(reasons, "reasons") {
        let _ = writeln!(told, "missing:  {}", text(reason, "code"));
    }
    let _ = writeln!(told, "address:  {}", text(state, "address"));
    let _ = writeln!(told, "market:   market maker {}", text(state, "market_maker"));
    for api in list(state, "apis") {
        let (id, prefix, price) = (text(api, "api_id"), text(api, "prefix"), text(api, "price"));
        let _ = writeln!(told, "api:      {id} {prefix} for {price} XBR, {}", key(api, text(state, "now")));
    }
    for channel in list(state, "channels") {
        let (id, sales) = (text(channel, "channel_id"), number(channel, "sales"));
        let (remaining, earned) = (text(channel, "remaining"), text(channel, "earned"));
        let _ = write!(told, "channel:  {id} {remaining} XBR remain, earned {earned} by {sales} sales");
        let _ = match channel.get("alarm").filter(|alarm| !alarm.is_null()) {
            Some(alarm) => writeln!(told, ", ALARM {}: nothing is sold on it", text(alarm, "kind")),
            None => writeln!(told),
        };
    }
    for feed in list(state, "feeds") {
        let published = number(feed, "published");
        let _ = writeln!(
            told,
            "feed:     {} to {}, {published} published",
            text(feed, "feed"),
            text(feed, "uri")
        );
    }
    told
}

/// The current key of an API, and for how long it is still used.
fn key(api: &Value, now: &str) -> String {
    let Some(key) = api.get("key").filter(|key| !key.is_null()) else { return "no key yet".to_owned() };
    let offered = if is_true(key, "offered") { "offered" } else { "not offered yet" };
    let mut told = format!("key {} {offered}", text(key, "key_id"));
    let times = (when::parse_rfc_3339(text(key, "rotates")), when::parse_rfc_3339(now));
    if let (Ok(rotates), Ok(now)) = times {
        let _ = write!(told, ", rotates in {} s", rotates.saturating_sub(now) / 1_000_000_000);
    }
    if let Some(uses) = key.get("uses_left").and_then(Value::as_u64) {
        let _ = write!(told, ", {uses} uses left");
    }
    if is_true(api, "paused") {
        told.push_str(", PAUSED");
    }
    told
}
