//! The way into the market's realm, a layer on the other: the address, TLS, the WebSocket, the session.

use axum::http::Uri;
use tokio::net::TcpStream;
use tokio::time::timeout;
use xbr_wamp::{Auth, ConnectError, Session, connect};

use super::Diagnosis;
use crate::config::MarketConfig;

const ROUTER: &str = "router";
const TLS: &str = "TLS";
const WEB_SOCKET: &str = "WebSocket";
const AUTHENTICATION: &str = "authentication";

/// Notes that nothing of it can be looked at.
pub(super) fn skip(found: &mut Diagnosis, because: &str) {
    found.skip(&[ROUTER, TLS, WEB_SOCKET, AUTHENTICATION], because);
}

/// Dials, and joins the realm, one layer on the other.
pub(super) async fn join(market: &MarketConfig, auth: Auth, found: &mut Diagnosis) -> Option<Session> {
    if !dial(market, found).await {
        found.skip(&[TLS, WEB_SOCKET, AUTHENTICATION], "there is no connection");
        return None;
    }
    let (realm, method) = (&market.realm, auth.method());
    let joined = connect(market.options(auth)).await;
    let failed = joined.as_ref().err().map(|error| (error, layer(error, is_tls(market))));
    let tls = match (is_tls(market), &market.cafile) {
        (false, _) => "none, as market.url begins with ws://; beyond this machine use wss://".to_owned(),
        (true, None) => "the system trusts the router's certificate".to_owned(),
        (true, Some(file)) => format!("{} vouches for the router's certificate", file.display()),
    };
    let web_socket = format!("{} speaks WAMP", market.url);
    let layers =
        [(TLS, tls), (WEB_SOCKET, web_socket), (AUTHENTICATION, format!("joined {realm} as {method}"))];
    let mut is_down = false;
    for (name, sound) in layers {
        match failed {
            _ if is_down => found.skip(&[name], "see above"),
            Some((error, (at, advice))) if at == name => {
                is_down = true;
                found.fail(name, format_args!("{} realm {realm} as {method}: {error}", market.url), advice);
            }
            _ => found.ok(name, sound),
        }
    }
    joined.ok().map(|(session, _)| session)
}

fn is_tls(market: &MarketConfig) -> bool {
    market.url.starts_with("wss:")
}

/// Whether something takes connections there.
async fn dial(market: &MarketConfig, found: &mut Diagnosis) -> bool {
    let (url, patience) = (&market.url, market.connect_timeout);
    let address = url.parse().ok().and_then(|url: Uri| {
        let port = url.port_u16().unwrap_or(if is_tls(market) { 443 } else { 80 });
        Some((url.host()?.trim_matches(['[', ']']).to_owned(), port))
    });
    let Some((host, port)) = address else {
        found.fail(ROUTER, format_args!("{url} has no host"), "correct market.url");
        return false;
    };
    match timeout(patience, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => {
            found.ok(ROUTER, format_args!("{host} port {port} takes connections"));
            return true;
        }
        Ok(Err(error)) => {
            found.fail(ROUTER, format_args!("{url}: {error}"), "check that the router runs, and market.url");
        }
        Err(_) => {
            let seen = format!("{url}: no connection within {patience:?}");
            found.fail(ROUTER, seen, "check market.url, and firewalls on the way");
        }
    }
    false
}

/// Where joining failed, and what to do.
fn layer(error: &ConnectError, is_tls: bool) -> (&'static str, &'static str) {
    match error {
        ConnectError::Tls(_) => (
            TLS,
            "check the port in market.url, the router's certificate, and who vouches for it: market.cafile",
        ),
        ConnectError::Roots { .. } => (TLS, "check market.cafile"),
        ConnectError::Timeout { .. } => {
            let at = if is_tls { TLS } else { WEB_SOCKET };
            (at, "what is there says nothing: check the port in market.url, and that the router is well")
        }
        ConnectError::Http { .. } => {
            (WEB_SOCKET, "check the path in market.url: a WebSocket is expected there")
        }
        ConnectError::Serializer => (WEB_SOCKET, "check market.serializers: the router takes none of them"),
        ConnectError::Transport(_) | ConnectError::NoSerializer | ConnectError::InvalidUrl { .. } => {
            (WEB_SOCKET, "check that market.url is the address of a WAMP router")
        }
        ConnectError::InvalidRealm { .. } | ConnectError::Refused { .. } => {
            (AUTHENTICATION, "check market.realm and market.auth, and what the router lets in")
        }
        ConnectError::Auth(_) | ConnectError::Closed(_) => {
            (AUTHENTICATION, "check market.auth, and what the router lets in")
        }
    }
}
