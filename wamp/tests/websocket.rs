//! The client over real sockets on loopback: handshake, sub-protocols, TLS, limits, order and the ends of a
//! session.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/stub.rs"]
mod stub;
mod support;

use std::time::Duration;

use stub::{Choice, Order, Stub};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use xbr_core::Value;
use xbr_wamp::error::TransportError;
use xbr_wamp::message::{Dict, Message, Payload, code};
use xbr_wamp::{
    Call, CallError, ClientOptions, CloseReason, ConnectError, Incoming, IncomingEvent, Match, Publish,
    RegisterOptions, Roots, Serializer, Session, connect,
};

fn options(stub: &Stub) -> ClientOptions {
    ClientOptions::new(stub.url.as_str(), "realm1")
}

async fn joined(stub: &Stub) -> (Session, Incoming) {
    connect(options(stub)).await.unwrap()
}

/// Answers every invocation with its own arguments, until the session ends; returns why.
async fn echo(mut incoming: Incoming) -> CloseReason {
    loop {
        match incoming.next().await.unwrap() {
            IncomingEvent::Invocation(call) => call.responder.yield_result(call.args, call.kwargs),
            IncomingEvent::Closed(reason) => return reason,
            other => panic!("{other:?}"),
        }
    }
}

async fn heard(stub: &mut Stub, wanted: impl Fn(&Message) -> bool) -> Message {
    loop {
        let message = stub.heard.recv().await.unwrap();
        if wanted(&message) {
            return message;
        }
    }
}

#[tokio::test]
async fn the_serializer_that_the_router_chooses_is_taken() {
    for serializer in Serializer::ALL {
        let stub = Stub::start(Choice::Name(serializer.subprotocol())).await;
        let (session, incoming) = joined(&stub).await;
        assert_eq!(session.details().serializer, serializer);
        assert_eq!(session.details().authid.as_deref(), Some("me"));
        session.register("com.echo", RegisterOptions::default()).await.unwrap();
        let served = tokio::spawn(echo(incoming));
        let args = vec![Value::Bytes(vec![0, 255]), Value::from("ü"), Value::Int(u64::MAX.into())];
        let result = session.call(Call::new("com.echo").args(args.clone())).await.unwrap();
        assert_eq!(result.args, args);
        session.leave().await;
        assert!(matches!(served.await.unwrap(), CloseReason::Left));
        assert!(matches!(session.call(Call::new("com.echo")).await, Err(CallError::Closed)));
    }
}

#[tokio::test]
async fn serializers_are_offered_in_the_configured_order() {
    let stub = Stub::start(Choice::First).await;
    let mut options = options(&stub);
    options.serializers = vec![Serializer::Json, Serializer::Cbor];
    assert_eq!(connect(options).await.unwrap().0.details().serializer, Serializer::Json);
}

#[tokio::test]
async fn a_serializer_that_was_not_offered_is_refused() {
    for choice in [Choice::Name("wamp.2.msgpack"), Choice::Name("wamp.2.ubjson"), Choice::Nothing] {
        let stub = Stub::start(choice).await;
        let mut options = options(&stub);
        options.serializers = vec![Serializer::Cbor];
        let error = connect(options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Serializer) && error.is_permanent(), "{choice:?} {error}");
    }
}

#[tokio::test]
async fn what_can_be_known_to_fail_fails_before_dialing() {
    for url in ["", "http://localhost/", "ws:///", "nonsense"] {
        let error = connect(ClientOptions::new(url, "realm1")).await.unwrap_err();
        assert!(matches!(error, ConnectError::InvalidUrl { .. }), "{url:?} {error}");
    }
    let realm = connect(ClientOptions::new("ws://127.0.0.1:1/", "a realm")).await;
    assert!(matches!(realm, Err(ConnectError::InvalidRealm { .. })));
    let mut options = ClientOptions::new("ws://127.0.0.1:1/", "realm1");
    options.serializers.clear();
    assert!(matches!(connect(options).await, Err(ConnectError::NoSerializer)));
}

#[tokio::test]
async fn an_http_error_is_told_by_its_status() {
    let stub = Stub::start(Choice::Status(404)).await;
    let error = connect(options(&stub)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Http { status: 404 }) && error.is_permanent());
    for status in [408, 425, 429, 503] {
        assert!(!ConnectError::Http { status }.is_permanent(), "{status} may pass by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_answer_the_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let error = connect(ClientOptions::new(url, "realm1")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { after } if after == Duration::from_secs(10)));
}

#[tokio::test]
async fn tls_trusts_the_given_root_and_nobody_else() {
    let directory = std::env::temp_dir().join(format!("xbr-wamp-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("root.pem");
    let stub = Stub::start_tls().await;
    std::fs::write(&file, stub.certificate_pem.as_ref().unwrap()).unwrap();
    let mut trusting = options(&stub);
    trusting.roots = Roots::PemFile(file.clone());
    let (session, _incoming) = connect(trusting).await.unwrap();
    session.leave().await;

    let other = Stub::start_tls().await;
    let mut distrusting = options(&other);
    distrusting.roots = Roots::PemFile(file.clone());
    assert!(matches!(connect(distrusting).await, Err(ConnectError::Tls(_))));

    std::fs::write(&file, "no certificate").unwrap();
    let third = Stub::start_tls().await;
    let mut rootless = options(&third);
    rootless.roots = Roots::PemFile(file);
    assert!(matches!(connect(rootless).await, Err(ConnectError::Roots { .. })));
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn tls_is_for_the_host_that_was_dialed_and_a_stranger_is_not_trusted() {
    let directory = std::env::temp_dir().join(format!("xbr-wamp-host-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("root.pem");
    let stub = Stub::start_tls().await;
    std::fs::write(&file, stub.certificate_pem.as_ref().unwrap()).unwrap();
    let mut elsewhere = ClientOptions::new(stub.url.replace("localhost", "127.0.0.1"), "realm1");
    elsewhere.roots = Roots::PemFile(file);
    let error = connect(elsewhere).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");

    let stranger = Stub::start_tls().await;
    let error = connect(options(&stranger)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_) | ConnectError::Roots { .. }), "{error}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn an_answer_that_came_in_time_counts_though_it_is_read_late() {
    let mut stub = Stub::start(Choice::First).await;
    let (session, _incoming) = joined(&stub).await;
    tokio::time::pause();
    let call = Call::new("com.none").timeout(Duration::from_secs(5));
    let caller = tokio::spawn(async move { session.call(call).await });
    // The stub answers before it is heard of again here.
    heard(&mut stub, |message| matches!(message, Message::Call { .. })).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(caller.await.unwrap().unwrap_err().uri(), Some("wamp.error.no_such_procedure"));
}

fn invocation(request: u64, size: usize) -> Message {
    let payload = Payload { args: vec![Value::Bytes(vec![0; size])], kwargs: Dict::new() };
    Message::Invocation { request, registration: 1, details: Dict::new(), payload }
}

#[tokio::test]
async fn beyond_the_soft_limit_is_answered_and_beyond_the_hard_limit_closes() {
    let mut stub = Stub::start(Choice::First).await;
    let mut options = options(&stub);
    options.max_message_bytes = 1000;
    let (session, incoming) = connect(options).await.unwrap();
    session.register("com.echo", RegisterOptions::default()).await.unwrap();
    let served = tokio::spawn(echo(incoming));
    stub.orders.send(Order::Say(invocation(77, 3000))).unwrap();
    let answer = heard(&mut stub, |message| matches!(message, Message::Error { .. })).await;
    let Message::Error { request_type, request, error, .. } = answer else { panic!() };
    assert_eq!((request_type, request), (code::INVOCATION, 77));
    assert_eq!(error, "wamp.error.invalid_argument");
    assert!(session.call(Call::new("com.echo")).await.is_ok(), "the session lives on");
    assert_eq!(session.statistics().malformed_invocations(), 1);

    stub.orders.send(Order::Say(invocation(78, 5000))).unwrap();
    let reason = served.await.unwrap();
    assert!(matches!(reason, CloseReason::Transport(TransportError::TooLarge { max: 4000 })), "{reason}");
}

#[tokio::test]
async fn a_handler_can_call_while_invocations_pile_up() {
    let stub = Stub::start(Choice::First).await;
    let mut options = options(&stub);
    options.incoming_capacity = 1;
    let (session, mut incoming) = connect(options).await.unwrap();
    session.register("com.outer", RegisterOptions::default()).await.unwrap();
    let mut callers = Vec::new();
    for _ in 0..4 {
        let session = session.clone();
        callers.push(tokio::spawn(async move { session.call(Call::new("com.outer")).await }));
    }
    for _ in 0..4 {
        let Some(IncomingEvent::Invocation(invocation)) = incoming.next().await else { panic!() };
        let inner = session.call(Call::new("com.none")).await.unwrap_err();
        assert_eq!(inner.uri(), Some("wamp.error.no_such_procedure"));
        invocation.responder.yield_result(vec![], vec![]);
    }
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn events_wait_for_a_slow_reader_in_their_order() {
    for (capacity, bytes) in [(2, 64 << 20), (1024, 1)] {
        let stub = Stub::start(Choice::First).await;
        let mut options = options(&stub);
        (options.incoming_capacity, options.incoming_bytes) = (capacity, bytes);
        let (session, mut incoming) = connect(options).await.unwrap();
        session.subscribe("com.topic", Match::Exact).await.unwrap();
        let publisher = tokio::spawn(async move {
            for number in 0..500u64 {
                session.publish(Publish::new("com.topic").args([number.into()])).await.unwrap();
            }
            session
        });
        for number in 0..500u64 {
            let event = timeout(Duration::from_secs(5), incoming.next()).await;
            let Some(IncomingEvent::Event(event)) = event.expect("nothing wakes the driver") else {
                panic!()
            };
            assert_eq!((&*event.topic, event.args), ("com.topic", vec![Value::from(number)]));
        }
        assert_eq!(publisher.await.unwrap().statistics().dropped_events(), 0);
    }
}

#[tokio::test]
async fn an_unanswered_invocation_gets_an_error() {
    let stub = Stub::start(Choice::First).await;
    let (session, mut incoming) = joined(&stub).await;
    session.register("com.dropped", RegisterOptions::default()).await.unwrap();
    let caller = session.clone();
    let call = tokio::spawn(async move { caller.call(Call::new("com.dropped")).await });
    drop(incoming.next().await.unwrap());
    assert_eq!(call.await.unwrap().unwrap_err().uri(), Some("wamp.error.runtime_error"));
    drop(incoming);
    let unheard = session.call(Call::new("com.dropped")).await.unwrap_err();
    assert_eq!(unheard.uri(), Some("wamp.error.runtime_error"));
}

#[tokio::test]
async fn parts_of_a_result_come_through_the_channel() {
    let mut stub = Stub::start(Choice::First).await;
    let (session, mut incoming) = joined(&stub).await;
    session.register("com.parts", RegisterOptions::default()).await.unwrap();
    let (progress, mut parts) = mpsc::channel(4);
    let caller = session.clone();
    let call = tokio::spawn(async move { caller.call_with_progress(Call::new("com.parts"), progress).await });
    let Some(IncomingEvent::Invocation(invocation)) = incoming.next().await else { panic!() };
    let call_message = heard(&mut stub, |message| matches!(message, Message::Call { .. })).await;
    let Message::Call { request, .. } = call_message else { panic!() };
    let details = vec![("progress".to_owned(), Value::Bool(true))];
    let payload = Payload { args: vec![Value::Int(1)], kwargs: Dict::new() };
    stub.orders.send(Order::Say(Message::Result { request, details, payload })).unwrap();
    assert_eq!(parts.recv().await.unwrap().args, [Value::Int(1)]);
    invocation.responder.yield_result(vec![Value::Int(2)], vec![]);
    assert_eq!(call.await.unwrap().unwrap().args, [Value::Int(2)]);
    assert!(parts.recv().await.is_none());
}

#[tokio::test]
async fn a_broken_connection_leaves_the_outcome_open() {
    let mut stub = Stub::start(Choice::First).await;
    let (session, mut incoming) = joined(&stub).await;
    session.register("com.held", RegisterOptions::default()).await.unwrap();
    let caller = session.clone();
    let call = tokio::spawn(async move { caller.call(Call::new("com.held")).await });
    let held = incoming.next().await.unwrap();
    heard(&mut stub, |message| matches!(message, Message::Call { .. })).await;
    stub.orders.send(Order::Drop).unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Lost) && error.is_outcome_unknown());
    let Some(IncomingEvent::Closed(CloseReason::Transport(_))) = incoming.next().await else { panic!() };
    assert!(incoming.next().await.is_none());
    drop(held);
    let late = session.call(Call::new("com.held")).await.unwrap_err();
    assert!(matches!(late, CallError::Closed) && late.is_not_sent());
}

#[tokio::test]
async fn a_half_open_connection_is_found_by_pings() {
    let stub = Stub::start(Choice::First).await;
    let (session, mut incoming) = joined(&stub).await;
    stub.orders.send(Order::Stall).unwrap();
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let Some(IncomingEvent::Closed(reason)) = incoming.next().await else { panic!() };
    assert!(matches!(reason, CloseReason::PingTimeout { .. }), "{reason}");
    assert_eq!(started.elapsed().as_secs(), 30);
    assert!(session.is_closed());
}

#[tokio::test]
async fn a_router_that_never_reads_does_not_keep_calls_waiting_for_ever() {
    let stub = Stub::start(Choice::First).await;
    let mut options = options(&stub);
    // The calls' own time begins when they are sent, and no ping tells that nobody reads.
    (options.ping_interval, options.call_timeout) = (None, Duration::from_millis(500));
    let (session, mut incoming) = connect(options).await.unwrap();
    stub.orders.send(Order::Stall).unwrap();
    let large = || Call::new("com.large").args(vec![Value::from("x".repeat(8 << 20))]);
    let calls = (0..20).map(|_| session.call(large().timeout(Duration::from_secs(3600))));
    for outcome in futures_util::future::join_all(calls).await {
        assert!(outcome.is_err());
    }
    let Some(IncomingEvent::Closed(reason)) = incoming.next().await else { panic!() };
    assert!(matches!(reason, CloseReason::Transport(TransportError::Blocked { .. })), "{reason}");
}

#[tokio::test]
async fn pings_keep_a_quiet_connection_alive() {
    let stub = Stub::start(Choice::First).await;
    let mut options = options(&stub);
    options.ping_interval = Some(Duration::from_millis(1));
    let (session, _incoming) = connect(options).await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(!session.is_closed());
    }
    assert!(session.call(Call::new("com.none")).await.unwrap_err().uri().is_some());
}

#[tokio::test]
async fn who_only_listens_can_still_answer() {
    let mut stub = Stub::start(Choice::First).await;
    let (session, mut incoming) = joined(&stub).await;
    let registration = session.register("com.echo", RegisterOptions::default()).await.unwrap();
    drop(session);
    let (details, payload) = (Dict::new(), Payload::default());
    let invocation = Message::Invocation { request: 77, registration: registration.0, details, payload };
    stub.orders.send(Order::Say(invocation)).unwrap();
    let Some(IncomingEvent::Invocation(invocation)) = incoming.next().await else { panic!() };
    invocation.responder.yield_result(vec![], vec![]);
    heard(&mut stub, |message| matches!(message, Message::Yield { request: 77, .. })).await;
}

#[tokio::test]
async fn goodbye_is_said_when_nobody_is_left() {
    let mut stub = Stub::start(Choice::First).await;
    let (session, incoming) = joined(&stub).await;
    drop(session);
    drop(incoming);
    heard(&mut stub, |message| matches!(message, Message::Goodbye { .. })).await;
}

#[tokio::test]
async fn frames_leave_in_the_order_of_the_commands() {
    let mut stub = Stub::start(Choice::First).await;
    let (session, _incoming) = joined(&stub).await;
    for number in 0..1000u64 {
        session.publish(Publish::new("com.topic").args([number.into()])).await.unwrap();
    }
    session.leave().await;
    for number in 0..1000u64 {
        let message = heard(&mut stub, |message| matches!(message, Message::Publish { .. })).await;
        let Message::Publish { request, payload, .. } = message else { panic!() };
        assert_eq!((request, payload.args), (number + 1, vec![Value::from(number)]));
    }
}
