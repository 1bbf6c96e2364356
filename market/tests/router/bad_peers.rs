//! Clients that break the rules, or break: they are told or disconnected, and the others notice nothing.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use xbr_core::Value;
use xbr_wamp::message::{Dict, Message, Payload};
use xbr_wamp::{Call, Incoming, IncomingEvent, Match, Publish, RegisterOptions, Session};

use crate::raw::{Raw, hello};
use crate::support::*;

const VIOLATION: &str = "wamp.error.protocol_violation";

/// A router with a callee, and a caller that does well if the router does.
struct Neighbours {
    router: Router,
    caller: Session,
    _events: Incoming,
}

impl Neighbours {
    async fn new() -> Self {
        let mut options = options();
        options.max_message_bytes = 10_000;
        options.limits.max_items = 1000;
        Self::with(Router::with(options).await).await
    }

    async fn with(router: Router) -> Self {
        let (callee, incoming) = router.join().await;
        callee.register("com.echo", RegisterOptions::default()).await.unwrap();
        tokio::spawn(echo(incoming));
        let (caller, events) = router.join().await;
        Self { router, caller, _events: events }
    }

    async fn are_well(&self) {
        let args = vec![Value::from("still there?")];
        let result = self.caller.call(Call::new("com.echo").args(args.clone())).await.unwrap();
        assert_eq!(result.args, args);
        self.router.until("the bad one has gone", |status| status.sessions == 2).await;
    }
}

/// A subscriber that reads nothing unless it is told to.
async fn subscriber(router: &Router) -> Raw {
    let mut raw = Raw::join(router).await;
    raw.say(Message::Subscribe { request: 1, options: Dict::new(), topic: "com.topic".into() }).await;
    assert!(matches!(raw.hear().await, Some(Message::Subscribed { .. })));
    raw
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]))
}

fn echo_call(request: u64, argument: Value) -> Message {
    let payload = Payload { args: vec![argument], kwargs: Dict::new() };
    Message::Call { request, options: Dict::new(), procedure: "com.echo".into(), payload }
}

#[tokio::test]
async fn what_is_no_websocket_with_a_known_protocol_is_not_let_in() {
    let neighbours = Neighbours::new().await;
    let mut tcp = TcpStream::connect(("127.0.0.1", neighbours.router.port)).await.unwrap();
    tcp.write_all(b"\x16\x03\x01 this is no http\r\n\r\n").await.unwrap();
    // It may be reset instead.
    let _ = tcp.read_to_end(&mut Vec::new()).await;
    match connect_async(neighbours.router.url()).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 400),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        neighbours.router.until("both are counted", |status| status.refused == 2).await.connections,
        2
    );
    neighbours.are_well().await;
}

#[tokio::test]
async fn who_does_not_begin_with_hello_is_aborted() {
    let neighbours = Neighbours::new().await;
    let early = [
        Message::Goodbye { details: Dict::new(), reason: "a.b".into() },
        echo_call(1, Value::Null),
        Message::Authenticate { signature: xbr_wamp::message::Proof("x".into()), extra: Dict::new() },
        Message::Welcome { session: 1, details: Dict::new() },
    ];
    for message in early {
        let mut raw = Raw::connect(&neighbours.router).await;
        raw.say(message.clone()).await;
        assert_eq!(raw.ended().await.as_deref(), Some(VIOLATION), "{message:?}");
    }
    let mut raw = Raw::connect(&neighbours.router).await;
    raw.say(Message::Hello { realm: "realm2".into(), details: Dict::new() }).await;
    assert_eq!(raw.ended().await.as_deref(), Some("wamp.error.no_such_realm"));
    let mut raw = Raw::connect(&neighbours.router).await;
    for _ in 0..20 {
        raw.socket.send_ping().await;
    }
    assert_eq!(raw.ended().await, None, "pings are no reason to wait for a HELLO");
    neighbours.are_well().await;
}

#[tokio::test]
async fn what_nobody_can_be_told_of_ends_the_session() {
    let neighbours = Neighbours::new().await;
    let frames: [&[u8]; 6] = [
        b"",
        b"\xff\xff",
        b"\x80",
        b"\x83\x18\x30\x00\xa0",
        b"\x82\x18\x31\x01",
        b"\x84\x08\x18\x44\x00\xa0",
    ];
    for frame in frames {
        let mut raw = Raw::join(&neighbours.router).await;
        raw.send(frame.to_vec()).await;
        assert_eq!(raw.ended().await.as_deref(), Some(VIOLATION), "{frame:x?}");
    }
    let mut raw = Raw::join(&neighbours.router).await;
    raw.say(hello()).await;
    assert_eq!(raw.ended().await.as_deref(), Some(VIOLATION));
    let mut raw = Raw::join(&neighbours.router).await;
    raw.send(vec![0; 40_001]).await;
    assert_eq!(raw.ended().await, None, "beyond the hard limit");
    neighbours.are_well().await;
    assert_eq!(neighbours.router.handle.observe().await.unwrap().expelled, 7);
}

#[tokio::test]
async fn an_unreadable_request_costs_an_error_and_not_the_session() {
    let neighbours = Neighbours::new().await;
    let mut raw = Raw::join(&neighbours.router).await;
    let rows = [
        (nested(70), "wamp.error.invalid_argument"),
        (Value::List(vec![Value::Null; 1001]), "wamp.error.invalid_argument"),
        (Value::Bytes(vec![0; 20_000]), "wamp.error.payload_size_exceeded"),
    ];
    for (request, (argument, uri)) in (5..).zip(rows) {
        raw.say(echo_call(request, argument.clone())).await;
        assert_eq!(raw.hear_error().await, (request, uri.to_owned()));
        for acknowledged in [false, true] {
            let options = vec![("acknowledge".to_owned(), acknowledged.into())];
            let payload = Payload { args: vec![argument.clone()], kwargs: Dict::new() };
            raw.say(Message::Publish { request, options, topic: "com.x".into(), payload }).await;
        }
        assert_eq!(
            raw.hear_error().await,
            (request, uri.to_owned()),
            "only what is acknowledged is answered"
        );
    }
    raw.say(echo_call(9, Value::Null)).await;
    assert!(matches!(raw.hear().await, Some(Message::Result { request: 9, .. })));
    drop(raw);
    neighbours.are_well().await;
}

#[tokio::test]
async fn an_unreadable_answer_reaches_the_caller_as_an_error() {
    let neighbours = Neighbours::new().await;
    let mut raw = Raw::join(&neighbours.router).await;
    raw.say(Message::Register { request: 1, options: Dict::new(), procedure: "com.bad".into() }).await;
    assert!(matches!(raw.hear().await, Some(Message::Registered { .. })));
    for (argument, uri) in [
        (nested(70), "wamp.error.invalid_argument"),
        (Value::Bytes(vec![0; 20_000]), "wamp.error.payload_size_exceeded"),
    ] {
        let caller = neighbours.caller.clone();
        let call = tokio::spawn(async move { caller.call(Call::new("com.bad")).await });
        let Some(Message::Invocation { request, .. }) = raw.hear().await else { panic!() };
        let payload = Payload { args: vec![argument], kwargs: Dict::new() };
        raw.say(Message::Yield { request, options: Dict::new(), payload }).await;
        assert_eq!(call.await.unwrap().unwrap_err().uri(), Some(uri));
    }
    let caller = neighbours.caller.clone();
    let call = tokio::spawn(async move { caller.call(Call::new("com.bad")).await });
    assert!(matches!(raw.hear().await, Some(Message::Invocation { .. })));
    drop(raw);
    assert_eq!(call.await.unwrap().unwrap_err().uri(), Some("wamp.error.canceled"), "the callee broke off");
    neighbours.are_well().await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_misses_events_and_holds_nobody_up() {
    let mut options = options();
    options.max_queued_unasked = 4;
    let neighbours = Neighbours::with(Router::with(options).await).await;
    let raw = subscriber(&neighbours.router).await;
    let (reader, mut incoming) = neighbours.router.join().await;
    reader.subscribe("com.topic", Match::Exact).await.unwrap();
    // More than the buffers of the system and of the queue hold.
    for number in 0..400u32 {
        let event = Publish::new("com.topic").args([number.into(), Value::Bytes(vec![0; 65_536])]);
        neighbours.caller.publish(event.acknowledge()).await.unwrap();
        let Some(IncomingEvent::Event(event)) = incoming.next().await else { panic!() };
        assert_eq!(event.args.first(), Some(&number.into()));
    }
    let status = neighbours.router.handle.observe().await.unwrap();
    assert!(status.dropped_events > 0 && status.expelled == 0, "{status:?}");
    drop(raw);
    reader.leave().await;
    neighbours.are_well().await;
}

#[tokio::test]
async fn a_callee_that_does_not_read_is_busy_and_stays() {
    let neighbours = Neighbours::with(Router::start().await).await;
    let mut raw = Raw::join(&neighbours.router).await;
    raw.say(Message::Register { request: 1, options: Dict::new(), procedure: "com.deaf".into() }).await;
    assert!(matches!(raw.hear().await, Some(Message::Registered { .. })));
    let mut calls = Vec::new();
    // More than the buffers of the system and of the queue hold.
    for _ in 0..80 {
        let caller = neighbours.caller.clone();
        let call = Call::new("com.deaf").args([Value::Bytes(vec![0; 1 << 20])]);
        calls.push(tokio::spawn(async move { caller.call(call).await }));
    }
    let (first, _, rest) = futures_util::future::select_all(calls).await;
    assert_eq!(first.unwrap().unwrap_err().uri(), Some("wamp.error.unavailable"));
    let status = neighbours.router.handle.observe().await.unwrap();
    assert_eq!((status.expelled, status.sessions), (0, 3));
    drop(raw);
    for call in rest {
        assert!(call.await.unwrap().unwrap_err().uri().is_some(), "each gets its answer");
    }
    neighbours.are_well().await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_its_results_is_disconnected() {
    let mut options = options();
    (options.max_queued_messages, options.max_queued_unasked) = (8, 4);
    let neighbours = Neighbours::with(Router::with(options).await).await;
    let (callee, mut incoming) = neighbours.router.local("callee", "member").await;
    callee.register("com.large", RegisterOptions::default()).await.unwrap();
    let mut raw = Raw::join(&neighbours.router).await;
    let mut responders = Vec::new();
    for request in 1..=60 {
        let (options, procedure, payload) = (Dict::new(), "com.large".to_owned(), Payload::default());
        raw.say(Message::Call { request, options, procedure, payload }).await;
        let Some(IncomingEvent::Invocation(invocation)) = incoming.next().await else { panic!() };
        responders.push(invocation.responder);
    }
    for responder in responders {
        responder.yield_result(vec![Value::Bytes(vec![0; 1 << 20])], Dict::new());
    }
    neighbours.router.until("it is expelled", |status| status.expelled == 1 && status.sessions == 3).await;
    callee.leave().await;
    neighbours.are_well().await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_in_time_is_disconnected() {
    let router = Router::start().await;
    let mut tcp = TcpStream::connect(("127.0.0.1", router.port)).await.unwrap();
    let mut raw = Raw::connect(&router).await;
    let _ = tcp.read_to_end(&mut Vec::new()).await;
    assert_eq!(raw.ended().await, None);
    assert_eq!(router.handle.observe().await.unwrap().refused, 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_pings_is_gone() {
    let router = Router::start().await;
    let raw = Raw::join(&router).await;
    router.until("it has joined", |status| status.sessions == 1).await;
    // Who doesn't read doesn't answer; the operating system does, but that does not count.
    tokio::time::sleep(Duration::from_secs(31)).await;
    router.until("it is given up", |status| status.sessions == 0 && status.connections == 0).await;
    drop(raw);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let router = Router::start().await;
    let raw = subscriber(&router).await;
    let (publisher, _events) = router.local("publisher", "member").await;
    // More than the buffers of the system hold.
    for _ in 0..50 {
        let event = Publish::new("com.topic").args([Value::Bytes(vec![0; 1 << 20])]);
        publisher.publish(event.acknowledge()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    router.until("it is given up", |status| status.sessions == 1 && status.connections == 0).await;
    drop(raw);
}

#[tokio::test]
async fn arbitrary_frames_cost_their_sender_the_session_at_most() {
    let neighbours = Neighbours::new().await;
    let mut runner = TestRunner::deterministic();
    let frames = vec(any::<u8>(), 0..40);
    let mut raw = Raw::join(&neighbours.router).await;
    for round in 0..300 {
        let mut frame = frames.new_tree(&mut runner).unwrap().current();
        if round % 2 == 0 {
            frame.splice(0..0, [0x84, 0x18, 48, 1, 0xa0]);
        }
        raw.send(frame).await;
        // Something that is answered if the session lives on.
        let (options, payload) = (vec![("acknowledge".to_owned(), true.into())], Payload::default());
        raw.say(Message::Publish { request: 7, options, topic: "com.x".into(), payload }).await;
        loop {
            match raw.hear().await {
                Some(Message::Published { request: 7, .. }) => break,
                Some(Message::Error { .. } | Message::Abort { .. }) => {}
                None => {
                    raw = Raw::join(&neighbours.router).await;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    drop(raw);
    neighbours.are_well().await;
}

#[tokio::test]
async fn there_are_no_more_connections_than_allowed() {
    let mut options = options();
    options.max_connections = 2;
    let neighbours = Neighbours::with(Router::with(options).await).await;
    assert!(neighbours.router.join_as(xbr_wamp::Auth::Anonymous).await.is_err());
    assert_eq!(neighbours.router.handle.observe().await.unwrap().refused, 1);
    neighbours.are_well().await;
}

/// Sends a ping without waiting for its answer.
trait SendPing {
    async fn send_ping(&mut self);
}

impl SendPing for tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>> {
    async fn send_ping(&mut self) {
        let _ = futures_util::SinkExt::send(self, Frame::Ping(Default::default())).await;
    }
}
