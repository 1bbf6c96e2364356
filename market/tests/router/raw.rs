//! A client that says whatever a test wants it to, over a WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use xbr_core::Value;
use xbr_core::cbor::Limits;
use xbr_wamp::Serializer;
use xbr_wamp::message::{Dict, Message};

use crate::support::{REALM, Router};

pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Raw {
    /// A connection that has not joined.
    pub(crate) async fn connect(router: &Router) -> Self {
        let mut request = router.url().into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "wamp.2.cbor".parse().unwrap());
        Self { socket: connect_async(request).await.unwrap().0 }
    }

    /// A session.
    pub(crate) async fn join(router: &Router) -> Self {
        let mut raw = Self::connect(router).await;
        raw.say(hello()).await;
        assert!(matches!(raw.hear().await, Some(Message::Welcome { .. })));
        raw
    }

    pub(crate) async fn say(&mut self, message: Message) {
        self.send(Serializer::Cbor.encode(message.into_elements()).unwrap()).await;
    }

    /// What the router has closed already takes nothing, which is fine.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) {
        let _ = self.socket.send(Frame::binary(bytes)).await;
    }

    /// The next message; `None` when the router has closed the connection.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        while let Some(Ok(frame)) = self.socket.next().await {
            if let Frame::Binary(bytes) = frame {
                let mut elements = Vec::new();
                Serializer::Cbor.decode(&bytes, &Limits::default(), None, &mut elements).unwrap();
                return Some(Message::parse(&mut elements).unwrap());
            }
        }
        None
    }

    /// The next error, with its request.
    pub(crate) async fn hear_error(&mut self) -> (u64, String) {
        match self.hear().await {
            Some(Message::Error { request, error, .. }) => (request, error),
            other => panic!("{other:?}"),
        }
    }

    /// The router ends this connection; the reason of its ABORT comes back, if there is one.
    pub(crate) async fn ended(&mut self) -> Option<String> {
        let mut reason = None;
        while let Some(message) = self.hear().await {
            if let Message::Abort { reason: given, .. } = message {
                reason = Some(given);
            }
        }
        reason
    }
}

pub(crate) fn hello() -> Message {
    let roles = Value::from_iter([("caller", Value::from_iter([("features", Value::Map(Vec::new()))]))]);
    let details: Dict = vec![("roles".to_owned(), roles)];
    Message::Hello { realm: REALM.into(), details }
}
