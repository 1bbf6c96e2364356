//! Our own client with the router: every serializer, every way to authenticate, over a socket and without.

use std::time::Duration;

use xbr_core::Value;
use xbr_market::router::Identity;
use xbr_wamp::{
    Auth, Call, CloseReason, ConnectError, Incoming, IncomingEvent, Match, Publish, RegisterOptions,
    Serializer, connect,
};

use crate::support::*;

fn values() -> Vec<Value> {
    vec![
        Value::Bytes((0..=255).collect()),
        Value::from("ü\u{1F980}"),
        Value::Int(u64::MAX.into()),
        Value::List(vec![Value::Null, true.into()]),
    ]
}

#[tokio::test]
async fn values_survive_between_every_two_serializers() {
    let router = Router::start().await;
    for serves in Serializer::ALL {
        for calls in Serializer::ALL {
            let (callee, incoming) = connect(router.client(Auth::Anonymous, serves)).await.unwrap();
            let (caller, _events) = connect(router.client(Auth::Anonymous, calls)).await.unwrap();
            callee.register("com.echo", RegisterOptions::default()).await.unwrap();
            let served = tokio::spawn(echo(incoming));
            let call = Call::new("com.echo").args(values()).kwargs([("k".to_owned(), 1u32.into())]);
            let result = caller.call(call).await.unwrap();
            assert_eq!(result.args, values(), "{serves} {calls}");
            assert_eq!(result.kwargs, [("k".to_owned(), 1u32.into())]);
            callee.leave().await;
            served.await.unwrap();
        }
    }
}

#[tokio::test]
async fn every_way_to_authenticate_lets_the_right_ones_in_and_nobody_else() {
    let router = Router::start().await;
    let rows = [
        (Auth::Anonymous, "anonymous", "member"),
        (ticket("tom", TICKET), "tom", "member"),
        (Auth::Cryptosign { authid: Some("kate".into()), key: cryptosign_key() }, "kate", "seen"),
        (Auth::Cryptosign { authid: None, key: cryptosign_key() }, "kate", "seen"),
    ];
    for (auth, authid, role) in rows {
        let (session, _incoming) = router.join_as(auth.clone()).await.unwrap();
        let details = session.details();
        assert_eq!(details.authid.as_deref(), Some(authid));
        assert_eq!(details.authrole.as_deref(), Some(role));
        assert_eq!(details.authmethod.as_deref(), Some(auth.method()));
    }
    let stranger = xbr_wamp::CryptosignKey::from_seed(&[8; 32]).unwrap();
    let refused = [
        ticket("tom", "open sesam"),
        ticket("tom", ""),
        ticket("nobody", TICKET),
        ticket("gus", TICKET),
        Auth::Cryptosign { authid: Some("kate".into()), key: stranger },
        Auth::Cryptosign { authid: Some("tom".into()), key: cryptosign_key() },
    ];
    let count = refused.len();
    for auth in refused {
        let error = router.join_as(auth.clone()).await.unwrap_err();
        let wanted = "wamp.error.authentication_failed";
        assert!(matches!(&error, ConnectError::Refused { uri, .. } if uri == wanted), "{auth:?} {error}");
    }
    assert_eq!(router.handle.observe().await.unwrap().refused, count as u64);
}

#[tokio::test]
async fn a_session_in_the_process_needs_no_socket_and_no_proof() {
    let router = Router::start().await;
    let (callee, incoming) = router.local("seller", "seen").await;
    assert_eq!(callee.details().authid.as_deref(), Some("seller"));
    let (caller, _events) = router.join().await;
    callee.register("com.echo", RegisterOptions::default()).await.unwrap();
    tokio::spawn(echo(incoming));
    assert_eq!(caller.call(Call::new("com.echo").args(values())).await.unwrap().args, values());
}

#[tokio::test]
async fn events_reach_every_subscriber_but_the_publisher() {
    let router = Router::start().await;
    let (publisher, mut own) = router.join().await;
    publisher.subscribe("com.topic", Match::Exact).await.unwrap();
    let mut subscribers = Vec::new();
    for serializer in Serializer::ALL {
        let (session, incoming) = connect(router.client(Auth::Anonymous, serializer)).await.unwrap();
        let subscription = session.subscribe("com.topic", Match::Exact).await.unwrap();
        subscribers.push((session, incoming, subscription));
    }
    let publish = Publish::new("com.topic").args(values()).acknowledge();
    let publication = publisher.publish(publish).await.unwrap();
    for (_session, incoming, subscription) in &mut subscribers {
        let Some(IncomingEvent::Event(event)) = incoming.next().await else { panic!() };
        assert_eq!((event.subscription, Some(event.publication)), (*subscription, publication));
        assert_eq!((&*event.topic, event.args), ("com.topic", values()));
    }
    publisher.leave().await;
    assert!(matches!(own.next().await, Some(IncomingEvent::Closed(_))));
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_lets_nobody_in_any_more() {
    let router = Router::start().await;
    let (_remote, mut incoming) = router.join().await;
    let (_local, mut events) = router.local("here", "member").await;
    router.until("both have joined", |status| status.sessions == 2).await;
    router.handle.shutdown(Duration::from_secs(5)).await;
    for incoming in [&mut incoming, &mut events] {
        let Some(IncomingEvent::Closed(CloseReason::Goodbye { uri, .. })) = incoming.next().await else {
            panic!()
        };
        assert_eq!(uri, "wamp.close.system_shutdown");
    }
    assert_eq!(router.handle.observe().await.unwrap().sessions, 0);
    assert!(router.join_as(Auth::Anonymous).await.is_err());
    let identity = Identity { authid: "late".into(), role: "member".into() };
    assert!(router.handle.dial(REALM, identity).connect().await.is_err());
    assert!(router.handle.listen(([127, 0, 0, 1], 0).into()).await.is_err());
}

#[tokio::test]
async fn what_the_other_side_cannot_carry_is_an_error_and_nobody_waits() {
    let router = Router::start().await;
    let large = Value::BigInt { negative: false, magnitude: vec![1; 32] };
    let (callee, incoming) = connect(router.client(Auth::Anonymous, Serializer::Msgpack)).await.unwrap();
    callee.register("com.msgpack", RegisterOptions::default()).await.unwrap();
    tokio::spawn(echo(incoming));
    let (caller, incoming) = router.join().await;
    caller.register("com.cbor", RegisterOptions::default()).await.unwrap();
    tokio::spawn(answer_with(incoming, large.clone()));

    let call = Call::new("com.msgpack").args([large.clone()]);
    assert_eq!(caller.call(call).await.unwrap_err().uri(), Some("wamp.error.invalid_argument"));
    let called = callee.call(Call::new("com.cbor")).await;
    assert_eq!(called.unwrap_err().uri(), Some("wamp.error.invalid_argument"));

    let (json, _events) = connect(router.client(Auth::Anonymous, Serializer::Json)).await.unwrap();
    let result = json.call(Call::new("com.cbor")).await.unwrap();
    assert_eq!(result.args, [large], "big integers survive where there is a form for them");
}

/// Answers every invocation with this value.
async fn answer_with(mut incoming: Incoming, value: Value) {
    while let Some(event) = incoming.next().await {
        if let IncomingEvent::Invocation(call) = event {
            call.responder.yield_result(vec![value.clone()], Vec::new());
        }
    }
}

#[tokio::test]
async fn a_registration_is_taken_over_from_a_session_that_hears_of_it() {
    let router = Router::start().await;
    let (first, mut incoming) = router.join().await;
    let registration = first.register("com.echo", RegisterOptions::default()).await.unwrap();
    let (second, events) = router.join_as(ticket("tom", TICKET)).await.unwrap();
    let refused = second.register("com.echo", RegisterOptions::default()).await.unwrap_err();
    assert_eq!(refused.uri(), Some("wamp.error.procedure_already_exists"));
    let options = RegisterOptions { force_reregister: true, ..RegisterOptions::default() };
    second.register("com.echo", options).await.unwrap();
    tokio::spawn(echo(events));
    let Some(IncomingEvent::RegistrationRevoked { registration: taken, .. }) = incoming.next().await else {
        panic!()
    };
    assert_eq!(taken, registration);
    first.call(Call::new("com.echo")).await.unwrap();
}

#[tokio::test]
async fn a_role_with_few_rights_has_no_more_than_those() {
    let router = Router::start().await;
    let (guest, _incoming) = router.join_as(ticket("gus", "please")).await.unwrap();
    let denied = Some("wamp.error.not_authorized");
    assert_eq!(guest.call(Call::new("com.echo")).await.unwrap_err().uri(), denied);
    assert_eq!(guest.register("com.open.x", RegisterOptions::default()).await.unwrap_err().uri(), denied);
    assert_eq!(guest.publish(Publish::new("com.topic").acknowledge()).await.unwrap_err().uri(), denied);
    assert_eq!(guest.subscribe("com.", Match::Prefix).await.unwrap_err().uri(), denied);
    guest.subscribe("com.topic", Match::Exact).await.unwrap();
    let unknown = guest.call(Call::new("com.open.x")).await.unwrap_err();
    assert_eq!(unknown.uri(), Some("wamp.error.no_such_procedure"), "it may call this, but nobody serves it");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_caller_gives_up_interrupts_the_callee() {
    let router = Router::start().await;
    let (callee, mut incoming) = router.local("callee", "member").await;
    callee.register("com.slow", RegisterOptions::default()).await.unwrap();
    let (caller, _events) = router.local("caller", "member").await;
    let call = Call::new("com.slow").timeout(Duration::from_secs(5));
    let called = tokio::spawn(async move { caller.call(call).await.map(drop).map_err(|_| caller) });
    let Some(IncomingEvent::Invocation(invocation)) = incoming.next().await else { panic!() };
    let caller = called.await.unwrap().unwrap_err();
    while !invocation.responder.is_interrupted() {
        tokio::task::yield_now().await;
    }
    drop(invocation);
    router.until("nothing is under way", |status| status.calls == 0).await;
    caller.leave().await;
}
