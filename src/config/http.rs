//! The section `[http]`: the local HTTP interface of a seller.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::common::positive;
use super::problem::ProblemKind;
use super::read::Reader;
use super::section::{Located, Section, integer, parsed};

/// How many keys of idempotent publications are remembered, unless the configuration says otherwise.
const IDEMPOTENCY_KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// The section `[http]`, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How long a body may be.
    pub max_body_bytes: usize,
    /// How many requests are taken; `None`: any number.
    pub rate: Option<Rate>,
    /// How long a request may take to arrive, and its answer to begin.
    pub request_timeout: Duration,
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// How many keys of idempotent publications are remembered.
    pub idempotency_keys: NonZeroUsize,
}

/// How many requests are taken, all clients together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl HttpConfig {
    /// Where the interface listens unless something else is said.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

    /// The interface at an address, with the defaults of everything else.
    pub fn at(listen: SocketAddr) -> Self {
        let per_second = NonZeroU32::new(1000);
        Self {
            listen,
            max_body_bytes: 1 << 20,
            rate: per_second.map(Rate::with_default_burst),
            request_timeout: Duration::from_secs(40),
            max_connections: 256,
            idempotency_keys: IDEMPOTENCY_KEYS,
        }
    }
}

impl Rate {
    fn with_default_burst(per_second: NonZeroU32) -> Self {
        Self { per_second, burst: per_second.saturating_add(per_second.get()) }
    }
}

impl Reader<'_> {
    /// `[http]`. Whoever can reach more than this machine's own programs needs a token.
    pub(super) fn http(&mut self, mut section: Section<'_>) -> HttpConfig {
        let before = self.report.count();
        let listen = section.located("listen", parsed::<SocketAddr>);
        let token = self.file(&mut section, "token_file");
        let max_body_bytes = section.optional("max_body_bytes", |node| integer(node, 1, 256 << 20));
        let rate = section.optional("rate", |node| integer(node, 0, 1_000_000));
        let burst = section.optional("burst", |node| integer(node, 1, 1_000_000));
        let request_timeout = section.optional("request_timeout", positive);
        let max_connections = section.optional("max_connections", |node| integer(node, 1, 65_536));
        let idempotency_keys = section.optional("idempotency_keys", |node| integer(node, 1, 1_000_000));
        section.finish();

        if let Some(listen) = &listen {
            self.check_listen(listen, token.as_ref(), before);
        }
        self.files.http_token = token;
        let defaults = HttpConfig::at(listen.map_or(HttpConfig::LISTEN, |listen| listen.value));
        let rate = match rate {
            Some(rate) => NonZeroU32::new(rate).map(Rate::with_default_burst),
            None => defaults.rate,
        };
        let burst = burst.and_then(NonZeroU32::new);
        HttpConfig {
            max_body_bytes: max_body_bytes.unwrap_or(defaults.max_body_bytes),
            rate: rate.map(|rate| Rate { burst: burst.unwrap_or(rate.burst), ..rate }),
            request_timeout: request_timeout.unwrap_or(defaults.request_timeout),
            max_connections: max_connections.unwrap_or(defaults.max_connections),
            idempotency_keys: idempotency_keys
                .and_then(NonZeroUsize::new)
                .unwrap_or(defaults.idempotency_keys),
            ..defaults
        }
    }

    fn check_listen(&self, listen: &Located<SocketAddr>, token: Option<&Located<PathBuf>>, before: usize) {
        // A token file that is named but out of form was complained about already.
        if listen.value.ip().is_loopback() || token.is_some() || self.report.count() > before {
            return;
        }
        let reason = "http.token_file is required when others than this machine can connect".to_owned();
        listen.complain(self.report, ProblemKind::Value { reason });
    }
}
