//! How a session begins, how it is kept alive and how it ends, on virtual time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;
#[path = "support/world.rs"]
mod world;

use world::{SECOND, World, config};
use xbr_core::Value;
use xbr_wamp::error::{CallError, CloseReason};
use xbr_wamp::message::{Dict, Message};
use xbr_wamp::request::Call;
use xbr_wamp::session::SessionConfig;
use xbr_wamp::{Auth, CryptosignKey, Serializer};

#[test]
fn a_dead_connection_is_found_and_a_live_one_kept() {
    let mut world = World::joined(Serializer::Cbor);
    assert_eq!(world.wait(), 20 * SECOND);
    world.run();
    assert_eq!(world.pings, 1);
    world.now += SECOND;
    world.engine.handle_sign_of_life(world.now);
    assert_eq!(world.wait(), 20 * SECOND);
    world.run();
    assert_eq!(world.pings, 2);
    assert!(world.engine.close_reason().is_none());
    assert_eq!(world.wait(), 5 * SECOND);
    assert!(matches!(world.engine.close_reason(), Some(CloseReason::PingTimeout { .. })));
    assert_eq!(world.engine.poll_timeout(), None);
}

#[test]
fn silence_of_our_own_making_is_not_held_against_the_peer() {
    let mut world = World::joined(Serializer::Cbor);
    world.register("com.busy");
    for token in 0..5 {
        world.call(Call::new("com.busy").timeout(SECOND), token);
    }
    world.wait();
    assert!(!world.engine.wants_input());
    for _ in 0..5 {
        world.wait();
    }
    assert_eq!(world.pings, 0);
    assert!(world.engine.close_reason().is_none());
}

#[test]
fn joining_is_bounded_and_a_refusal_is_told() {
    let mut world = World::new(config(Serializer::Cbor));
    world.router.silent = true;
    world.run();
    assert_eq!(world.wait(), 5 * SECOND);
    assert!(matches!(world.engine.close_reason(), Some(CloseReason::JoinTimeout { .. })));

    let mut world = World::new(config(Serializer::Cbor));
    let details = vec![("message".to_owned(), Value::from("no"))];
    let reason = "wamp.error.no_such_realm".to_owned();
    world.engine.handle_message(world.now, Message::Abort { details, reason });
    let Some(CloseReason::Aborted { uri, message }) = world.engine.close_reason() else { panic!() };
    assert_eq!((&**uri, &**message), ("wamp.error.no_such_realm", "no"));
}

#[test]
fn a_challenge_is_answered_once_and_only_for_the_method_offered() {
    let ticket = || Auth::Ticket { authid: "me".to_owned(), ticket: "sesame".to_owned().into() };
    let seed = [7; 32];
    let cryptosign = Auth::Cryptosign { authid: None, key: CryptosignKey::from_seed(&seed).unwrap() };
    let challenge = vec![("challenge".to_owned(), Value::from("ab".repeat(32)))];
    for (auth, method, extra) in
        [(ticket(), "ticket", Dict::new()), (cryptosign, "cryptosign", challenge.clone())]
    {
        let mut world = World::new(SessionConfig { auth, ..config(Serializer::Msgpack) });
        world.router.challenge = Some((method, extra.clone()));
        world.run();
        assert!(world.engine.details().is_some(), "{method}");
        assert!(!format!("{:?} {:?}", world.last_heard(), world.engine).contains("sesame"));
        let Message::Authenticate { signature, .. } = world.last_heard() else { panic!() };
        assert_eq!(signature.0 == "sesame", method == "ticket");
        world.engine.handle_message(world.now, Message::Challenge { method: method.to_owned(), extra });
        assert!(matches!(world.engine.close_reason(), Some(CloseReason::Protocol(_))));
    }
    let mut world = World::new(SessionConfig { auth: ticket(), ..config(Serializer::Msgpack) });
    world.router.challenge = Some(("cryptosign", challenge));
    world.run();
    assert!(matches!(world.last_heard(), Message::Abort { .. }));
    assert!(matches!(world.engine.close_reason(), Some(CloseReason::Auth(_))));
}

#[test]
fn goodbye_is_said_both_ways_and_leaving_is_bounded() {
    let mut world = World::joined(Serializer::Cbor);
    world.engine.leave(world.now);
    world.run();
    assert!(matches!(world.engine.close_reason(), Some(CloseReason::Left)));

    let mut world = World::joined(Serializer::Cbor);
    world.router.silent = true;
    world.engine.leave(world.now);
    world.call(Call::new("com.late"), 1);
    assert!(matches!(world.outcome(), (1, Err(CallError::Closed))));
    assert_eq!(world.wait(), 2 * SECOND);
    assert!(matches!(world.engine.close_reason(), Some(CloseReason::Left)));

    let mut world = World::joined(Serializer::Cbor);
    let reason = "wamp.close.system_shutdown".to_owned();
    world.engine.handle_message(world.now, Message::Goodbye { details: Dict::new(), reason });
    world.run();
    assert!(matches!(world.last_heard(), Message::Goodbye { .. }));
    assert!(matches!(world.engine.close_reason(), Some(CloseReason::Goodbye { .. })));
}

#[test]
fn hello_announces_what_there_is() {
    let mut world = World::joined(Serializer::Json);
    world.run();
    let Message::Hello { realm, details } = &world.router.heard[0].1 else { panic!() };
    let details: Value = details.iter().cloned().collect();
    assert_eq!((&**realm, details.field("agent").unwrap().as_str()), ("realm1", Some("test/1")));
    let roles = details.field("roles").unwrap();
    for (role, feature) in [("caller", "call_canceling"), ("callee", "shared_registration")] {
        let features = roles.field(role).unwrap().field("features").unwrap();
        assert_eq!(features.field(feature), Some(&Value::Bool(true)), "{role}");
    }
}
