//! Transports by themselves: connections within the process, and the side of a WebSocket that is dialled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use xbr_core::Value;
use xbr_core::cbor::Limits;
use xbr_wamp::error::{AcceptError, TransportError};
use xbr_wamp::message::{Dict, Message};
use xbr_wamp::session::Transmit;
use xbr_wamp::transport::{Connection, Received, accept, duplex};
use xbr_wamp::{Call, CallError, ClientOptions, ConnectError, Serializer, connect_over};

fn frame(text: &'static str) -> Transmit {
    Transmit::Message(Bytes::from_static(text.as_bytes()))
}

async fn hear(connection: &mut Connection) -> Option<Bytes> {
    match connection.transport.next().await {
        Some(Ok(Received::Message(bytes))) => Some(bytes),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_ends_of_a_duplex_hear_each_other_until_one_is_gone() {
    let (mut near, mut far) = duplex(Serializer::Json, 4);
    assert_eq!((near.serializer, far.serializer), (Serializer::Json, Serializer::Json));
    near.transport.send(frame("one")).await.unwrap();
    near.transport.send(frame("two")).await.unwrap();
    far.transport.send(frame("three")).await.unwrap();
    assert_eq!(hear(&mut far).await.unwrap(), "one");
    assert_eq!(hear(&mut near).await.unwrap(), "three");
    drop(near);
    assert_eq!(hear(&mut far).await.unwrap(), "two", "what was sent before still arrives");
    assert_eq!(hear(&mut far).await, None);
    assert!(matches!(far.transport.send(frame("four")).await, Err(TransportError::Closed)));
}

#[tokio::test]
async fn a_full_duplex_makes_its_writer_wait() {
    let (mut near, mut far) = duplex(Serializer::Cbor, 1);
    let mut sent = 0;
    while near.transport.send(frame("more")).now_or_never().is_some() {
        sent += 1;
        assert!(sent < 10, "it has no bound");
    }
    for _ in 0..sent {
        hear(&mut far).await.unwrap();
    }
    assert!(near.transport.send(frame("more")).now_or_never().is_some());
}

#[tokio::test]
async fn a_ping_over_a_duplex_is_answered() {
    let (mut near, _far) = duplex(Serializer::Cbor, 1);
    assert!(near.transport.next().now_or_never().is_none());
    near.transport.send(Transmit::Ping).await.unwrap();
    assert!(matches!(near.transport.next().await, Some(Ok(Received::SignOfLife))));
    assert!(near.transport.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_session_can_be_had_over_any_connection() {
    let (near, mut far) = duplex(Serializer::Cbor, 4);
    let router = tokio::spawn(async move {
        let hello = hear(&mut far).await.unwrap();
        let mut elements = Vec::new();
        Serializer::Cbor.decode(&hello, &Limits::default(), None, &mut elements).unwrap();
        assert!(
            matches!(Message::parse(&mut elements), Ok(Message::Hello { realm, .. }) if realm == "realm1")
        );
        let details: Dict = vec![("authid".to_owned(), Value::from("me"))];
        let welcome = Message::Welcome { session: 7, details }.into_elements();
        let bytes = Serializer::Cbor.encode(welcome).unwrap();
        far.transport.send(Transmit::Message(bytes.into())).await.unwrap();
        hear(&mut far).await.unwrap();
    });
    let (session, _incoming) = connect_over(near, ClientOptions::new("", "realm1")).await.unwrap();
    assert_eq!((session.details().session, session.details().authid.as_deref()), (7, Some("me")));
    assert!(matches!(session.call(Call::new("com.x")).await, Err(CallError::Lost)), "the other end has gone");
    router.await.unwrap();

    let (near, _far) = duplex(Serializer::Cbor, 4);
    let invalid = connect_over(near, ClientOptions::new("", "a realm")).await;
    assert!(matches!(invalid, Err(ConnectError::InvalidRealm { .. })));
}

/// Both sides of a handshake in which the client offers these sub-protocols.
async fn handshake(
    offered: Option<&str>,
    served: &[Serializer],
) -> (Result<Connection, AcceptError>, Result<tokio_tungstenite::WebSocketStream<TcpStream>, Error>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    if let Some(offered) = offered {
        request.headers_mut().insert("Sec-WebSocket-Protocol", offered.parse().unwrap());
    }
    let dial = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        client_async(request, tcp).await.map(|(socket, _)| socket)
    };
    let answer = async {
        let (tcp, _) = listener.accept().await.unwrap();
        accept(tcp, served, 1000).await
    };
    tokio::join!(answer, dial)
}

#[tokio::test]
async fn the_first_protocol_that_is_served_is_agreed_on() {
    let rows: [(&str, &[Serializer], Serializer); 3] = [
        ("wamp.2.json, wamp.2.cbor", &Serializer::ALL, Serializer::Json),
        ("wamp.2.cbor.batched,wamp.2.msgpack", &Serializer::ALL, Serializer::Msgpack),
        ("wamp.2.json, wamp.2.cbor", &[Serializer::Cbor], Serializer::Cbor),
    ];
    for (offered, served, agreed) in rows {
        let (accepted, dialled) = handshake(Some(offered), served).await;
        assert_eq!(accepted.unwrap().serializer, agreed, "{offered}");
        dialled.unwrap();
    }
}

#[tokio::test]
async fn a_client_without_a_protocol_that_is_served_is_refused() {
    for offered in [None, Some("wamp.2.ubjson"), Some("mqtt")] {
        let (accepted, dialled) = handshake(offered, &Serializer::ALL).await;
        assert!(matches!(accepted, Err(AcceptError::Serializer)), "{offered:?} {accepted:?}");
        assert!(matches!(dialled, Err(Error::Http(response)) if response.status() == 400));
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_fails_the_connection() {
    let (accepted, dialled) = handshake(Some("wamp.2.cbor"), &Serializer::ALL).await;
    let (mut connection, mut socket) = (accepted.unwrap(), dialled.unwrap());
    socket.send(Frame::binary(vec![1; 1000])).await.unwrap();
    assert_eq!(hear(&mut connection).await.unwrap().len(), 1000);
    socket.send(Frame::binary(vec![1; 1001])).await.unwrap();
    let failed = connection.transport.next().await;
    assert!(matches!(failed, Some(Err(TransportError::TooLarge { max: 1000 }))), "{failed:?}");
}
