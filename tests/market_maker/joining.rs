//! Joining, leaving and losing the session.

use tokio::net::TcpListener;

use super::*;

const NO_SUCH_REALM: &str = "wamp.error.no_such_realm";

fn reason(result: Result<(), MarketError>) -> String {
    match result {
        Err(MarketError::Join { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

fn welcome() -> Wamp {
    let roles = Value::from_iter([("dealer", Value::Map(Vec::new()))]);
    Wamp::Welcome { session: 5, details: vec![("roles".to_owned(), roles)] }
}

#[actix_rt::test]
async fn a_router_that_refuses_is_quoted_and_can_be_asked_again() {
    let mut it = market().await;
    it.reply(REALM, error(NO_SUCH_REALM));
    let refusal = reason(it.join().await);
    assert!(refusal.contains(NO_SUCH_REALM) && refusal.contains("the router's text"), "{refusal}");
    assert_eq!(it.ask(FetchConfig).await, Err(MarketError::NotJoined));
    it.router = it.router.again();
    assert_eq!(it.join().await, Ok(()));
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_router_that_is_not_there_fails_the_join() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    drop(listener);
    let unused = Stub::start(Choice::First).await;
    let it = market_at(unused, |client, _| client.url = url);
    assert!(reason(it.join().await).contains("connection failed"));
}

#[actix_rt::test]
async fn a_router_that_hangs_up_or_speaks_no_wamp_fails_the_join() {
    let it = market().await;
    it.order(Order::Drop);
    reason(it.join().await);
    let it = market_at(Stub::start(Choice::Status(503)).await, |_, _| {});
    assert!(reason(it.join().await).contains("503"));
    let it = market_at(Stub::start(Choice::Nothing).await, |_, _| {});
    reason(it.join().await);
    let it = market_at(Stub::start(Choice::First).await, |client, _| client.realm = "no realm".into());
    assert!(reason(it.join().await).contains("realm"));
}

#[actix_rt::test]
async fn a_router_that_never_opens_the_session_is_given_up() {
    let it = market_at(Stub::start(Choice::First).await, |client, _| {
        client.join_timeout = Duration::from_millis(20);
    });
    it.reply(REALM, Reply::Silence);
    reason(it.join().await);
}

#[actix_rt::test]
async fn a_second_join_ends_the_session_of_the_first() {
    let mut it = joined().await;
    assert_eq!(it.ask(it.serving()).await, Ok(()));
    let mut first = std::mem::replace(&mut it.router, Stub::start(Choice::First).await);
    it.router = first.again();
    assert_eq!(it.join().await, Ok(()));
    // Or else it would keep the registrations from its successor for good.
    let goodbye = async {
        while !matches!(first.heard.recv().await, Some(Wamp::Goodbye { .. })) {}
        while first.heard.recv().await.is_some() {}
    };
    soon(goodbye).await;
    it.reply(uri::REVOKE_OFFER, Reply::Result(vec![]));
    assert_eq!(it.ask(RevokeOffer { key_id: xbr_core::KeyId::new([1; 16]) }).await, Ok(()));
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_join_that_was_overtaken_by_another_comes_to_nothing() {
    let mut it = market().await;
    it.reply(REALM, Reply::Silence);
    let overtaken = it.session.send(it.joining());
    it.heard(|message| matches!(message, Wamp::Hello { .. }).then_some(())).await;
    let second = it.router.again();
    let mut first = std::mem::replace(&mut it.router, second);
    assert_eq!(it.join().await, Ok(()));
    first.orders.send(Order::Say(welcome())).unwrap();
    assert_eq!(soon(overtaken).await.unwrap(), Err(MarketError::NotJoined));
    soon(async { while !matches!(first.heard.recv().await, Some(Wamp::Goodbye { .. })) {} }).await;
    it.reply("com.topic", error("wamp.error.not_authorized"));
    let published = it.ask(Publish { topic: "com.topic".into(), args: vec![] }).await;
    assert!(matches!(published, Err(MarketError::Refused { .. })), "the second session lives: {published:?}");
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn a_lost_session_is_told_once_and_fails_what_waits_for_an_answer() {
    for order in ["drop", "goodbye", "abort"] {
        let mut it = joined().await;
        it.reply(uri::GET_CONFIG, Reply::Silence);
        let waiting = it.session.send(FetchConfig);
        it.heard_call(uri::GET_CONFIG).await;
        let (details, reason) = (Dict::new(), "wamp.close.system_shutdown".to_owned());
        it.order(match order {
            "goodbye" => Order::Say(Wamp::Goodbye { details, reason }),
            "abort" => Order::Say(Wamp::Abort { details, reason }),
            _ => Order::Drop,
        });
        let answer = soon(waiting).await.unwrap();
        assert!(
            matches!(&answer, Err(MarketError::Unanswered { procedure, .. }) if procedure == uri::GET_CONFIG),
            "{order}: {answer:?}"
        );
        let reason = it.lost().await;
        assert_eq!(reason.contains("system_shutdown"), order != "drop", "{reason}");
        assert_eq!(it.ask(FetchConfig).await, Err(MarketError::NotJoined));
        it.ask(Leave).await;
        it.router = it.router.again();
        assert_eq!(it.join().await, Ok(()));
        it.ask(Leave).await;
        it.assert_nothing_asked();
    }
}

#[actix_rt::test]
async fn leaving_says_goodbye_and_is_no_loss() {
    let mut it = joined().await;
    it.ask(Leave).await;
    it.heard_goodbye().await;
    assert_eq!(it.ask(FetchConfig).await, Err(MarketError::NotJoined));
    // Without a session there is nothing to leave.
    it.ask(Leave).await;
    it.router = it.router.again();
    assert_eq!(it.join().await, Ok(()));
    assert!(it.router.heard.recv().await.is_some());
    it.assert_nothing_asked();
}

#[actix_rt::test]
async fn an_actor_that_goes_takes_its_session_along() {
    let mut it = joined().await;
    let other = market().await.session;
    drop(std::mem::replace(&mut it.session, other));
    it.heard_goodbye().await;
    it.assert_nothing_asked();
}
