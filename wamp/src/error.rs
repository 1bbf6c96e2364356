//! Errors, one enum per operation, and the URIs that stand for them on the wire.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::auth::AuthError;
use crate::codec::CodecError;
use crate::message::{MessageError, Payload};

/// Error URIs of the WAMP specification that this client sends or looks for.
pub mod uris {
    /// Arguments of the wrong number, type or size; also every payload that cannot be read.
    pub const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
    /// An invocation that ended without an answer, or with one that cannot be sent.
    pub const RUNTIME_ERROR: &str = "wamp.error.runtime_error";
    /// An invocation for a registration that we don't hold.
    pub const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";
    /// The call was interrupted and its handler gave up.
    pub const CANCELED: &str = "wamp.error.canceled";
    /// Too many invocations are waiting.
    pub const UNAVAILABLE: &str = "wamp.error.unavailable";
    /// The peer broke the protocol.
    pub const PROTOCOL_VIOLATION: &str = "wamp.error.protocol_violation";
    /// Authentication cannot go on.
    pub const CANNOT_AUTHENTICATE: &str = "wamp.error.cannot_authenticate";
    /// Another session holds the registration.
    pub const PROCEDURE_ALREADY_EXISTS: &str = "wamp.error.procedure_already_exists";
    /// We leave.
    pub const CLOSE_NORMAL: &str = "wamp.close.normal";
    /// The answer to GOODBYE.
    pub const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";
}

/// Why a request to the router (call, registration, subscription, publication, or undoing one) failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The procedure or topic is not a URI. Nothing was sent.
    #[error("not a valid uri: {uri:?}")]
    InvalidUri {
        /// The text, cut to 200 characters.
        uri: String,
    },
    /// The serializer cannot carry an argument. Nothing was sent.
    #[error("cannot encode the request: {0}")]
    Encode(CodecError),
    /// The message would exceed the limit on outgoing messages. Nothing was sent.
    #[error("message of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The size of the message in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// There is no session any more. Nothing was sent.
    #[error("session is closed")]
    Closed,
    /// The router, or the callee, answered with an error.
    #[error("{uri}{}", first_text(.payload))]
    Application {
        /// The error URI.
        uri: String,
        /// What came with it.
        payload: Payload,
    },
    /// No answer within the time allowed. It may have been executed.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
    /// The answer cannot be read. It may have been executed.
    #[error("unreadable answer: {0}")]
    Malformed(Malformed),
    /// The session ended before the answer came. It may have been executed.
    #[error("session ended before the answer came")]
    Lost,
}

impl CallError {
    /// Whether the request certainly never left this process.
    pub const fn is_not_sent(&self) -> bool {
        matches!(self, Self::InvalidUri { .. } | Self::Encode(_) | Self::TooLarge { .. } | Self::Closed)
    }

    /// Whether the request was sent and nobody knows whether it was executed.
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Malformed(_) | Self::Lost)
    }

    /// The error URI, when the router or callee answered with one.
    pub fn uri(&self) -> Option<&str> {
        match self {
            Self::Application { uri, .. } => Some(uri),
            _ => None,
        }
    }
}

/// The text that most errors bring along as their first argument, cut to 500 characters.
fn first_text(payload: &Payload) -> String {
    match payload.args.first().and_then(xbr_core::Value::as_str) {
        Some(text) => format!(": {}", text.chars().take(500).collect::<String>()),
        None => String::new(),
    }
}

/// Why a message from the router cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The serializer cannot read it.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It is not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// It is too large to be read.
    #[error("message of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// The size of the message in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// It is an answer of another kind than the request.
    #[error("answer is of another kind than the request")]
    WrongAnswer,
}

/// Why a transport failed.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The connection broke.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection without a GOODBYE.
    #[error("connection was closed by the peer")]
    Closed,
    /// The peer sent a message beyond the hard limit.
    #[error("peer sent a message beyond {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// The peer reads nothing, while what is to be sent waits.
    #[error("nothing could be sent for {after:?}")]
    Blocked {
        /// For how long.
        after: Duration,
    },
    /// The peer broke the rules of the transport.
    #[error("transport protocol broken: {message}")]
    Protocol {
        /// What the transport says.
        message: String,
    },
}

/// Why a connection was not accepted.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// The client offers no sub-protocol that is served, or none at all. It was answered with HTTP status 400.
    #[error("client offers none of the serializers served")]
    Serializer,
    /// The connection broke, or is no WebSocket.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Why a listener has no certificate to show.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read, or is not in PEM.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates and the key cannot be used, or do not belong together.
    #[error("certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Why no session came about.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL is none that we can dial.
    #[error("url must be ws://host[:port]/path or wss://host[:port]/path, got {url:?}")]
    InvalidUrl {
        /// The URL.
        url: String,
    },
    /// The realm is not a URI.
    #[error("realm is not a valid uri: {realm:?}")]
    InvalidRealm {
        /// The realm.
        realm: String,
    },
    /// No serializer was configured.
    #[error("no serializer is configured")]
    NoSerializer,
    /// The roots of trust cannot be read.
    #[error("cannot load trusted certificates: {message}")]
    Roots {
        /// What is wrong.
        message: String,
    },
    /// Not connected within the time allowed.
    #[error("not connected within {after:?}")]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
    /// The connection could not be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What is there speaks no TLS, or nobody vouches for its certificate.
    #[error("tls handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The router chose a sub-protocol that was not offered, or none.
    #[error("router accepts none of the serializers offered")]
    Serializer,
    /// The router doesn't speak WebSocket at this address.
    #[error("router answered the websocket handshake with http status {status}")]
    Http {
        /// The status code.
        status: u16,
    },
    /// Authentication could not go on.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The router refused the session.
    #[error("router refused the session: {uri}: {message}")]
    Refused {
        /// The reason, a URI.
        uri: String,
        /// The router's explanation, cut to 500 characters.
        message: String,
    },
    /// The session ended before it began.
    #[error("session ended while joining: {0}")]
    Closed(CloseReason),
}

impl ConnectError {
    /// Whether trying again cannot help before somebody changes the configuration, here or at the router.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::InvalidUrl { .. }
            | Self::InvalidRealm { .. }
            | Self::NoSerializer
            | Self::Roots { .. }
            | Self::Serializer
            | Self::Auth(_) => true,
            // Those three of the client's errors are about the moment: timeout, too early, too many requests.
            Self::Http { status } => (400..500).contains(status) && !matches!(status, 408 | 425 | 429),
            // Abort reasons such as no_such_realm are not final: a router may still be starting. Certificates are renewed.
            Self::Refused { .. }
            | Self::Timeout { .. }
            | Self::Transport(_)
            | Self::Tls(_)
            | Self::Closed(_) => false,
        }
    }
}

/// Why a session ended.
#[derive(Debug, Error)]
pub enum CloseReason {
    /// We left, and the router agreed or took too long to.
    #[error("left")]
    Left,
    /// The router said GOODBYE.
    #[error("router closed the session: {uri}: {message}")]
    Goodbye {
        /// The reason, a URI.
        uri: String,
        /// The router's explanation, cut to 500 characters.
        message: String,
    },
    /// The router said ABORT.
    #[error("router aborted the session: {uri}: {message}")]
    Aborted {
        /// The reason, a URI.
        uri: String,
        /// The router's explanation, cut to 500 characters.
        message: String,
    },
    /// We gave up because the router sent something that nobody could be told about.
    #[error("router broke the protocol: {0}")]
    Protocol(ProtocolViolation),
    /// Authentication could not go on.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The router didn't answer HELLO or AUTHENTICATE in time.
    #[error("router did not open the session within {after:?}")]
    JoinTimeout {
        /// The time allowed.
        after: Duration,
    },
    /// Nothing came in spite of a ping: the connection is dead.
    #[error("router did not answer a ping within {after:?}")]
    PingTimeout {
        /// The time allowed.
        after: Duration,
    },
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// What a router did that it must not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolViolation {
    /// A message that cannot be read and concerns no request that is known.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message that has no place in the current state, or that only clients send.
    #[error("unexpected {message}")]
    Unexpected {
        /// The name of the message.
        message: &'static str,
    },
}
