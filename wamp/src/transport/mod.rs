//! Transports: what carries the messages of one session, and says which serializer was agreed on.
//!
//! A transport is a stream of frames in and a sink of frames out; the client drives any that there is. What
//! is put into the sink goes out when it is flushed. [`accept`] is the other side of a WebSocket that was
//! dialled, [`duplex`] both sides of a connection within the process.

mod duplex;
mod tls;
mod websocket;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Sink, Stream};

pub use duplex::duplex;
pub use tls::Certificate;
pub use websocket::accept;

use crate::codec::Serializer;
use crate::error::{ConnectError, TransportError};
use crate::session::Transmit;

/// Whom to trust as a router over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// The roots that the operating system trusts.
    #[default]
    System,
    /// The certificates of a PEM file, and nobody else.
    PemFile(PathBuf),
}

/// What to dial.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) url: &'a str,
    pub(crate) serializers: &'a [Serializer],
    pub(crate) roots: &'a Roots,
    /// Beyond this size of a message the connection fails.
    pub(crate) max_frame_bytes: usize,
}

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// A message, serialized.
    Message(Bytes),
    /// Something else that shows that the peer lives.
    SignOfLife,
}

/// Frames in both directions.
pub trait Transport:
    Stream<Item = Result<Received, TransportError>> + Sink<Transmit, Error = TransportError> + Send
{
}

impl<T> Transport for T where
    T: Stream<Item = Result<Received, TransportError>> + Sink<Transmit, Error = TransportError> + Send
{
}

/// A connection that was just made.
pub struct Connection {
    /// The serializer that both sides agreed on.
    pub serializer: Serializer,
    /// What carries the frames.
    pub transport: Pin<Box<dyn Transport>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("serializer", &self.serializer).finish_non_exhaustive()
    }
}

/// Dials a router. Times out only by the system's own rules.
///
/// # Errors
/// [`ConnectError`] up to the handshake of the transport.
pub(crate) async fn dial(target: &Target<'_>) -> Result<Connection, ConnectError> {
    websocket::dial(target).await
}
