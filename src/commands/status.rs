//! `xbr-seller status`: how the running service does, asked over its HTTP interface.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use super::Failure;
use crate::cli::StatusArgs;
use crate::config::{Config, Environment};
use crate::http::client::{AskError, Client};
use crate::when;

pub(super) fn execute(args: &StatusArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    let http = config.http.as_ref().ok_or(Failure::NoInterface)?;
    let service = Client::new(http, secrets.http_token);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut state, reasons) = runtime.block_on(async {
        let state = service.ask("/v1/state").await?;
        let readiness = service.ask("/readyz").await?;
        Ok::<_, AskError>((state, readiness))
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
