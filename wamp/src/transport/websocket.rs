//! WebSocket, plain and over TLS, with the WAMP sub-protocols.

use std::future::ready;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use super::{Connection, Received, Target, Transport, tls};
use crate::codec::Serializer;
use crate::error::{AcceptError, ConnectError, TransportError};
use crate::session::Transmit;

pub(super) async fn dial(target: &Target<'_>) -> Result<Connection, ConnectError> {
    let request = request(target)?;
    let invalid = || ConnectError::InvalidUrl { url: target.url.chars().take(200).collect() };
    let host = request.uri().host().ok_or_else(invalid)?;
    // An IPv6 address has brackets in a URL and nowhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let secure = match request.uri().scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(invalid()),
    };
    let port = request.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(TransportError::Io)?;
    tcp.set_nodelay(true).map_err(TransportError::Io)?;
    if secure {
        let stream = tls::connect(tcp, &host, target.roots).await?;
        handshake(request, stream, target).await
    } else {
        handshake(request, tcp, target).await
    }
}

fn request(target: &Target<'_>) -> Result<Request, ConnectError> {
    let invalid = |_| ConnectError::InvalidUrl { url: target.url.chars().take(200).collect() };
    let mut request = target.url.into_client_request().map_err(invalid)?;
    let offered: Vec<&str> = target.serializers.iter().map(|serializer| serializer.subprotocol()).collect();
    let offered = HeaderValue::from_str(&offered.join(", ")).map_err(|_| ConnectError::NoSerializer)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
    Ok(request)
}

async fn handshake<S>(request: Request, stream: S, target: &Target<'_>) -> Result<Connection, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let max = target.max_frame_bytes;
    let (stream, response) = match client_async_with_config(request, stream, Some(bounded(max))).await {
        Ok(connected) => connected,
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => {
            return Err(ConnectError::Serializer);
        }
        Err(Error::Http(response)) => return Err(ConnectError::Http { status: response.status().as_u16() }),
        Err(error) => return Err(failure(error, max).into()),
    };
    let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
    let offered = target.serializers.iter().copied();
    let serializer = offered.into_iter().find(|serializer| Some(serializer.subprotocol()) == chosen);
    let serializer = serializer.ok_or(ConnectError::Serializer)?;
    Ok(Connection { serializer, transport: frames(stream, serializer, max) })
}

/// Answers the WebSocket handshake of a client, and agrees on the first of its sub-protocols that is among
/// `serializers`. A message beyond `max_frame_bytes` fails the connection. Waits as long as the client does.
///
/// # Errors
/// [`AcceptError`].
pub async fn accept<S>(
    stream: S,
    serializers: &[Serializer],
    max_frame_bytes: usize,
) -> Result<Connection, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut agreed = None;
    #[allow(clippy::result_large_err, reason = "the handshake's own type")]
    let answer = |request: &server::Request, mut response: server::Response| {
        agreed = agree(request, serializers);
        match agreed {
            Some(serializer) => {
                let chosen = HeaderValue::from_static(serializer.subprotocol());
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
                Ok(response)
            }
            None => {
                let mut refusal = server::ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::BAD_REQUEST;
                Err(refusal)
            }
        }
    };
    let accepted = accept_hdr_async_with_config(stream, answer, Some(bounded(max_frame_bytes))).await;
    match (accepted, agreed) {
        (Ok(stream), Some(serializer)) => {
            Ok(Connection { serializer, transport: frames(stream, serializer, max_frame_bytes) })
        }
        (Err(Error::Http(_)) | Ok(_), _) => Err(AcceptError::Serializer),
        (Err(error), _) => Err(failure(error, max_frame_bytes).into()),
    }
}

fn agree(request: &server::Request, serializers: &[Serializer]) -> Option<Serializer> {
    let headers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered =
        headers.iter().filter_map(|names| names.to_str().ok()).flat_map(|names| names.split(','));
    offered.find_map(|name| {
        serializers.iter().copied().find(|serializer| serializer.subprotocol() == name.trim())
    })
}

fn bounded(max_frame_bytes: usize) -> WebSocketConfig {
    let max = Some(max_frame_bytes);
    WebSocketConfig::default().max_message_size(max).max_frame_size(max)
}

/// The messages of a WebSocket as frames of a transport.
fn frames<S>(stream: WebSocketStream<S>, serializer: Serializer, max: usize) -> Pin<Box<dyn Transport>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let frames = stream.map(move |message| match message {
        Ok(Message::Binary(bytes)) => Ok(Received::Message(bytes)),
        Ok(Message::Text(text)) => Ok(Received::Message(Bytes::from(text))),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Received::SignOfLife),
        Ok(Message::Close(_)) => Err(TransportError::Closed),
        Err(error) => Err(failure(error, max)),
    });
    Box::pin(frames.sink_map_err(move |error| failure(error, max)).with(move |transmit| {
        ready(match transmit {
            Transmit::Ping => Ok(Message::Ping(Bytes::new())),
            Transmit::Message(bytes) if serializer.is_text() => match Utf8Bytes::try_from(bytes) {
                Ok(text) => Ok(Message::Text(text)),
                Err(_) => Err(TransportError::Protocol { message: "text is not utf-8".to_owned() }),
            },
            Transmit::Message(bytes) => Ok(Message::Binary(bytes)),
        })
    }))
}

fn failure(error: Error, max: usize) -> TransportError {
    match error {
        Error::Io(error) => TransportError::Io(error),
        Error::ConnectionClosed | Error::AlreadyClosed => TransportError::Closed,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => TransportError::Closed,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => TransportError::TooLarge { max },
        other => TransportError::Protocol { message: other.to_string() },
    }
}
