//! The router of these tests behind a real WebSocket on loopback. Each [`Stub`] serves one connection, and is a router
//! of its own.

#![allow(dead_code, reason = "each test uses its own part")]

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use xbr_wamp::Serializer;
use xbr_wamp::message::Message;

use super::support::{Reply, Router, read, write};

/// What a test makes the stub do besides routing.
#[derive(Debug)]
pub(crate) enum Order {
    Say(Message),
    /// Answers the next request for this realm, procedure or topic in this way.
    Reply(String, Reply),
    /// Reads and writes nothing any more, but keeps the connection.
    Stall,
    /// Breaks the connection off.
    Drop,
}

pub(crate) struct Stub {
    pub(crate) url: String,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    /// What the client has said.
    pub(crate) heard: mpsc::UnboundedReceiver<Message>,
    /// With TLS, the certificate that a client has to trust.
    pub(crate) certificate_pem: Option<String>,
    listener: Arc<TcpListener>,
    acceptor: Option<TlsAcceptor>,
    choice: Choice,
}

/// How the stub answers the handshake.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    /// With the first sub-protocol offered.
    First,
    /// With this sub-protocol.
    Name(&'static str),
    /// Without any.
    Nothing,
    /// With an HTTP error.
    Status(u16),
}

impl Stub {
    pub(crate) async fn start(choice: Choice) -> Self {
        Self::listen(choice, false).await
    }

    pub(crate) async fn start_tls() -> Self {
        Self::listen(Choice::First, true).await
    }

    async fn listen(choice: Choice, tls: bool) -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let port = listener.local_addr().unwrap().port();
        if tls {
            let (acceptor, pem) = acceptor();
            let url = format!("wss://localhost:{port}/ws");
            return Self::accept(url, Some(pem), listener, Some(acceptor), choice);
        }
        Self::accept(format!("ws://127.0.0.1:{port}/ws"), None, listener, None, choice)
    }

    /// Serves the next connection at the same address, once this one has been accepted.
    pub(crate) fn again(&self) -> Self {
        let (certificate, acceptor) = (self.certificate_pem.clone(), self.acceptor.clone());
        Self::accept(self.url.clone(), certificate, self.listener.clone(), acceptor, self.choice)
    }

    fn accept(
        url: String,
        certificate_pem: Option<String>,
        listener: Arc<TcpListener>,
        acceptor: Option<TlsAcceptor>,
        choice: Choice,
    ) -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (hearing, heard) = mpsc::unbounded_channel();
        let (listening, tls) = (listener.clone(), acceptor.clone());
        tokio::spawn(async move {
            let (tcp, _) = listening.accept().await.unwrap();
            drop(listening);
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve(stream, choice, ordered, hearing).await;
                    }
                }
                None => serve(tcp, choice, ordered, hearing).await,
            }
        });
        Self { url, orders, heard, certificate_pem, listener, acceptor, choice }
    }
}

fn acceptor() -> (TlsAcceptor, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    choice: Choice,
    mut orders: mpsc::UnboundedReceiver<Order>,
    heard: mpsc::UnboundedSender<Message>,
) {
    let mut chosen = String::new();
    #[allow(clippy::result_large_err, reason = "the handshake's own type")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let offered = request.headers()["Sec-WebSocket-Protocol"].to_str().unwrap();
        chosen = match choice {
            Choice::First => offered.split(", ").next().unwrap().to_owned(),
            Choice::Name(name) => name.to_owned(),
            Choice::Nothing => return Ok(response),
            Choice::Status(status) => {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::from_u16(status).unwrap();
                return Err(refusal);
            }
        };
        let header = HeaderValue::from_str(&chosen).unwrap();
        response.headers_mut().insert("Sec-WebSocket-Protocol", header);
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, answer).await else { return };
    let serializer = Serializer::ALL.into_iter().find(|serializer| serializer.subprotocol() == chosen);
    let Some(serializer) = serializer else { return };
    let mut router = Router::default();
    loop {
        tokio::select! {
            // What a test ordered before it made the client speak counts already.
            biased;
            Some(order) = orders.recv() => match order {
                Order::Say(message) => router.say(0, message),
                Order::Reply(uri, reply) => router.replies.push_back((uri, reply)),
                Order::Stall => std::future::pending().await,
                Order::Drop => return,
            },
            frame = socket.next() => match frame {
                Some(Ok(Frame::Binary(bytes))) if !serializer.is_text() => {
                    let message = read(serializer, &bytes);
                    let _ = heard.send(message.clone());
                    router.hear(0, message);
                }
                Some(Ok(Frame::Text(text))) if serializer.is_text() => {
                    let message = read(serializer, text.as_bytes());
                    let _ = heard.send(message.clone());
                    router.hear(0, message);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
        while let Some((_, message)) = router.next() {
            let bytes = write(serializer, message);
            let frame = match serializer.is_text() {
                true => Frame::text(String::from_utf8(bytes).unwrap()),
                false => Frame::binary(bytes),
            };
            socket.feed(frame).await.unwrap();
        }
        socket.flush().await.unwrap();
    }
}
