//! Transports: what carries the messages of one session, and says which serializer was agreed on.
//!
//! A transport is a stream of frames in and a sink of frames out; the client drives any that there is. What
//! is put into the sink goes out when it is flushed.

mod tls;
mod websocket;

use std::path::PathBuf;
use std::pin::Pin;

use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::Bytes;

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
pub(crate) enum Received {
    /// A message, serialized.
    Message(Bytes),
    /// Something else that shows that the peer lives.
    SignOfLife,
}

/// Frames in both directions.
pub(crate) trait Transport:
    Stream<Item = Result<Received, TransportError>> + Sink<Transmit, Error = TransportError> + Send
{
}

impl<T> Transport for T where
    T: Stream<Item = Result<Received, TransportError>> + Sink<Transmit, Error = TransportError> + Send
{
}

/// A connection that was just made.
pub(crate) struct Connection {
    pub(crate) serializer: Serializer,
    pub(crate) transport: Pin<Box<dyn Transport>>,
}

/// Dials a router. Times out only by the system's own rules.
///
/// # Errors
/// [`ConnectError`] up to the handshake of the transport.
pub(crate) async fn dial(target: &Target<'_>) -> Result<Connection, ConnectError> {
    websocket::dial(target).await
}
