//! Who may ask, and how often. With a token whoever has it; without one, programs of this machine, but no web page that
//! happens to be open in a browser on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use super::dashboard;
use super::problem::{Kind, Problem};
use crate::config::Rate;

/// What has no token to send, and learns little.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The token that clients have to send, if any. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Token(Arc<ArcSwapOption<SecretString>>);

impl Token {
    pub(super) fn new(token: Option<SecretString>) -> Self {
        Self(Arc::new(token.map(Arc::new).into()))
    }

    /// Whether it is this one.
    pub(super) fn is(&self, token: &SecretString) -> bool {
        self.0.load().as_deref().is_some_and(|own| own.expose_secret() == token.expose_secret())
    }

    /// Takes another one, for the requests that come from now on.
    pub(super) fn replace(&self, token: SecretString) {
        self.0.store(Some(Arc::new(token)));
    }
}

/// What every request has to pass.
#[derive(Debug)]
pub(super) struct Guard {
    token: Token,
    bucket: Bucket,
    /// How long a body may take to arrive, and then an answer to begin.
    timeout: Duration,
}

impl Guard {
    pub(super) fn new(token: Token, rate: Option<Rate>, timeout: Duration) -> Self {
        Self { token, bucket: Bucket::new(rate), timeout }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        match self.token.0.load().as_deref() {
            _ if PROBES.contains(&request.uri().path()) => {}
            // There is nothing in it, and a browser has no token to ask for it with.
            Some(_) if dashboard::has(request.uri().path()) => {}
            Some(token) => check_token(request.headers(), token)?,
            None => check_local(request)?,
        }
        if self.bucket.take() {
            return Ok(());
        }
        Err(Problem::new(Kind::RateLimited, "more requests than http.rate allows; try again in a second"))
    }
}

/// The middleware.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    guard.check(&request)?;
    // A body may take as long to arrive, and its answer as long after that.
    let parts = if request.body().is_end_stream() { 1 } else { 2 };
    tokio::time::timeout(guard.timeout.saturating_mul(parts), next.run(request)).await.map_err(|_| {
        Problem::new(
            Kind::OutcomeUnknown,
            "no answer within http.request_timeout; it may be done all the same",
        )
    })
}

fn check_token(headers: &HeaderMap, token: &SecretString) -> Result<(), Problem> {
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let given = given
        .and_then(|value| value.split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    // In the time that it takes for a wrong token of the same length, whatever is wrong with it.
    let is_right = given.is_some_and(|(_, given)| bool::from(given.ct_eq(token.expose_secret().as_bytes())));
    if is_right {
        return Ok(());
    }
    Err(Problem::new(Kind::Unauthorized, "send the token of http.token_file as Authorization: Bearer TOKEN"))
}

/// A browser tells on whose behalf it asks. A page whose name was made to point here (DNS rebinding) is betrayed by the
/// `Host`, a page elsewhere that sends us something by its `Origin`; that it reads nothing is the browser's own rule.
fn check_local(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text("host"));
    if !host.is_some_and(is_loopback) {
        let detail = "the Host header must name this machine, such as 127.0.0.1 or localhost";
        return Err(Problem::new(Kind::Foreign, detail));
    }
    if request.method().is_safe() {
        return Ok(());
    }
    let same_origin = |origin: &str| origin.strip_prefix("http://") == host;
    let same_site = |site: &str| matches!(site, "same-origin" | "none");
    if text("origin").is_none_or(same_origin) && text("sec-fetch-site").is_none_or(same_site) {
        return Ok(());
    }
    Err(Problem::new(Kind::Foreign, "web pages of other origins may change nothing"))
}

/// Whether a host, with or without a port, is this machine itself.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A leaky bucket in one atomic: the time at which it will be empty.
#[derive(Debug)]
struct Bucket {
    rate: Option<Rate>,
    begin: Instant,
    /// In ns after `begin`.
    empty_at: AtomicU64,
}

impl Bucket {
    fn new(rate: Option<Rate>) -> Self {
        Self { rate, begin: Instant::now(), empty_at: AtomicU64::new(0) }
    }

    /// Whether there was room for one more.
    fn take(&self) -> bool {
        self.rate.is_none_or(|rate| self.take_at(rate, self.begin.elapsed()))
    }

    fn take_at(&self, rate: Rate, now: Duration) -> bool {
        let one = 1_000_000_000 / u64::from(rate.per_second.get());
        let room = one.saturating_mul(rate.burst.get().into());
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let fill = |empty_at: u64| {
            let filled = empty_at.max(now).saturating_add(one);
            (filled - now <= room).then_some(filled)
        };
        self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_bucket_takes_a_burst_and_then_its_rate() {
        let at = |ms| Duration::from_millis(ms);
        let number = |number| NonZeroU32::new(number).unwrap();
        let rate = Rate { per_second: number(10), burst: number(3) };
        let bucket = Bucket::new(Some(rate));
        let taken = |now| (0..10).take_while(|_| bucket.take_at(rate, now)).count();
        assert_eq!(taken(at(1000)), 3);
        assert_eq!(taken(at(1099)), 0);
        assert_eq!(taken(at(1100)), 1);
        assert_eq!(taken(at(60_000)), 3, "what was not used adds up to the burst only");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST:7070", "127.0.0.1:80", "127.8.9.10", "[::1]:7070", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "example.org", "localhost.example.org", "127.0.0.1.example.org", "0.0.0.0", "10.0.0.1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
