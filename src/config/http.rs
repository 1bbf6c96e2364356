//! The section `[http]`: the local HTTP interface of a seller.

use std::net::{Ipv4Addr, SocketAddr};
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

impl Reader<'_> {
    /// `[http]`. Whoever can reach more than this machine's own programs needs a token.
    pub(super) fn http(&mut self, mut section: Section<'_>) -> HttpConfig {
        let before = self.report.count();
        let listen = section.located("listen", parsed::<SocketAddr>);
        let token = self.file(&mut section, "token_file");
        let max_body_bytes = section.optional("max_body_bytes", |node| integer(node, 1, 256 << 20));
        let rate = section.optional("rate", |node| integer(node, 0, 1_000_000)).unwrap_or(1000);
        let burst = section.optional("burst", |node| integer(node, 1, 1_000_000));
        let request_timeout = section.optional("request_timeout", positive);
        let max_connections = section.optional("max_connections", |node| integer(node, 1, 65_536));
        let idempotency_keys = section.optional("idempotency_keys", |node| integer(node, 1, 1_000_000));
        section.finish();

        if let Some(listen) = &listen {
            self.check_listen(listen, token.as_ref(), before);
        }
        self.files.http_token = token;
        let rate = NonZeroU32::new(rate).map(|per_second| Rate {
            per_second,
            burst: burst.and_then(NonZeroU32::new).unwrap_or(per_second.saturating_add(per_second.get())),
        });
        HttpConfig {
            listen: listen.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)), |listen| listen.value),
            max_body_bytes: max_body_bytes.unwrap_or(1 << 20),
            rate,
            request_timeout: request_timeout.unwrap_or(Duration::from_secs(40)),
            max_connections: max_connections.unwrap_or(256),
            idempotency_keys: idempotency_keys.and_then(NonZeroUsize::new).unwrap_or(IDEMPOTENCY_KEYS),
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
