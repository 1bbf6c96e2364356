//! WebSocket, plain and over TLS, with the WAMP sub-protocols.

use std::future::ready;
use std::pin::Pin;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Connection, Received, Target, Transport, tls};
use crate::codec::Serializer;
use crate::error::{ConnectError, TransportError};
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
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    let (stream, response) = match client_async_with_config(request, stream, Some(config)).await {
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
            Transmit::Message(bytes) => Ok(Message::Binary(bytes.into())),
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
