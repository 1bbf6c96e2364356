//! The HTTP interface: who may ask it, and whether its address is free, or has the service behind it.

use std::io;

use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use xbr_core::Address;

use super::Diagnosis;
use crate::config::{Config, ConfigError, HttpConfig};
use crate::http::client::{AskError, Client};

const NAME: &str = "HTTP interface";
const TAKEN: &str = "end what is there, or choose another http.listen";

/// Notes that it cannot be looked at.
pub(super) fn skip(found: &mut Diagnosis, because: &str) {
    found.skip(&[NAME], because);
}

/// Looks at it, beside the service too. `delegate` is who sells, where that is known.
pub(super) async fn examine(
    config: &Config,
    token: Result<Option<SecretString>, ConfigError>,
    delegate: Option<Address>,
    found: &mut Diagnosis,
) {
    let Some(http) = &config.http else {
        return found.ok(NAME, "none, as the configuration has no section [http]");
    };
    let token = match token {
        Ok(token) => token,
        Err(error) => return found.fail(NAME, error, "correct http.token_file, or the file that it names"),
    };
    let who = if token.is_some() { "with a token" } else { "for programs of this machine" };
    let listen = http.listen;
    match TcpListener::bind(listen).await {
        Ok(_) => found.ok(NAME, format_args!("{listen} is free; {who}")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            taken(http, token, delegate, who, found).await;
        }
        Err(error) => found.fail(
            NAME,
            format_args!("cannot listen at {listen}: {error}"),
            "correct http.listen: an address of this machine, and a port that the service may have",
        ),
    }
}

/// By the service, as a rule.
async fn taken(
    http: &HttpConfig,
    token: Option<SecretString>,
    delegate: Option<Address>,
    who: &str,
    found: &mut Diagnosis,
) {
    let listen = http.listen;
    let state = match Client::new(http, token).ask("/v1/state").await {
        Ok(state) => state,
        Err(AskError::Refused { status: 401, .. }) => {
            let seen = format!("what is at {listen} takes another token");
            let advice = "if it is the service, reload it, so that it takes the token of the file; if not, choose \
                          another http.listen";
            return found.fail(NAME, seen, advice);
        }
        Err(_) => return found.fail(NAME, format_args!("another program is at {listen}"), TAKEN),
    };
    let seller = state.get("address").and_then(Value::as_str).unwrap_or("somebody else");
    if delegate.is_some_and(|delegate| delegate.to_string() != seller) {
        return found.fail(NAME, format_args!("another seller is at {listen}: {seller}"), TAKEN);
    }
    found.ok(NAME, format_args!("the service answers at {listen}; {who}"));
}
