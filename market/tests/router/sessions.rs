//! Our own client with the router: every serializer, every way to authenticate, over a socket and without.

use std::time::Duration;

use xbr_core::Value;
use xbr_market::router::Identity;
use xbr_wamp::{
    Auth, Call, CloseReason, ConnectError, IncomingEvent, Match, Publish, RegisterOptions, Serializer,
    connect,
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
