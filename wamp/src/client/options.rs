//! How to connect.

use std::time::Duration;

use xbr_core::cbor::Limits;

use crate::auth::Auth;
use crate::codec::Serializer;
use crate::session::SessionConfig;
use crate::transport::Roots;

/// How to connect, and how the session behaves. Made by [`ClientOptions::new`], then adjusted field by
/// field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Where the router is: `ws://host[:port]/path` or `wss://…`.
    pub url: String,
    /// The realm to join.
    pub realm: String,
    /// What to offer, the preferred one first; the router chooses. Default: CBOR, MessagePack, JSON.
    pub serializers: Vec<Serializer>,
    /// Who we are. Default: anonymous.
    pub auth: Auth,
    /// Whom to trust over TLS. Default: whom the system trusts.
    pub roots: Roots,
    /// What we call ourselves towards the router. Default: this crate's name and version.
    pub agent: String,
    /// How long it may take until the transport is ready, name resolution and TLS included. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long joining the realm may take after that. Default: 10 s.
    pub join_timeout: Duration,
    /// How long requests wait for their answer. Default: 30 s.
    pub call_timeout: Duration,
    /// How long the router may take to answer GOODBYE. Default: 2 s.
    pub leave_timeout: Duration,
    /// After how much silence a ping goes out; `None` for never. Default: 20 s.
    pub ping_interval: Option<Duration>,
    /// How long after a ping the connection counts as dead. Default: 10 s.
    pub ping_timeout: Duration,
    /// Up to which size messages are read. An invocation up to four times as large is answered with an
    /// error; what is larger still ends the connection. Default: 16 MiB.
    pub max_message_bytes: usize,
    /// Up to which size our own messages are sent. Default: 16 MiB.
    pub max_outgoing_bytes: usize,
    /// How much structure a message may have.
    pub limits: Limits,
    /// How many invocations and events may wait to be taken before the router is slowed down. Default: 1024.
    pub incoming_capacity: usize,
    /// How many bytes of their messages may wait to be taken, likewise; one message may always wait, however
    /// large. As much again waits with the session. Default: 64 MiB.
    pub incoming_bytes: usize,
}

impl ClientOptions {
    /// The defaults, for that router and realm.
    pub fn new(url: impl Into<String>, realm: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            realm: realm.into(),
            serializers: Serializer::ALL.to_vec(),
            auth: Auth::Anonymous,
            roots: Roots::System,
            agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            join_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(2),
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(10),
            max_message_bytes: 16 << 20,
            max_outgoing_bytes: 16 << 20,
            limits: Limits::default(),
            incoming_capacity: 1024,
            incoming_bytes: 64 << 20,
        }
    }

    pub(super) fn session_config(self, serializer: Serializer) -> SessionConfig {
        SessionConfig {
            realm: self.realm,
            agent: self.agent,
            serializer,
            auth: self.auth,
            limits: self.limits,
            max_message_bytes: self.max_message_bytes,
            max_outgoing_bytes: self.max_outgoing_bytes,
            join_timeout: self.join_timeout,
            call_timeout: self.call_timeout,
            leave_timeout: self.leave_timeout,
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            max_backlog: self.incoming_capacity.max(1),
            max_backlog_bytes: self.incoming_bytes.max(1),
        }
    }
}
