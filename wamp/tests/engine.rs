//! Requests, invocations and events in the session engine, joined to a router in memory on virtual time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;
#[path = "support/world.rs"]
mod world;

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use world::{SECOND, World};
use xbr_core::Value;
use xbr_wamp::error::{CallError, CloseReason};
use xbr_wamp::message::{Dict, Message, Payload, code};
use xbr_wamp::request::{Answer, Call, CallResult, Publish};
use xbr_wamp::session::{Completion, Inbound, Reply};
use xbr_wamp::{Match, Serializer};

#[test]
fn a_call_goes_round_with_every_serializer() {
    for serializer in Serializer::ALL {
        let mut world = World::joined(serializer);
        world.register("com.echo");
        let args = vec![Value::Bytes(vec![0, 255]), Value::from("ü"), Value::Int(-1)];
        let kwargs = vec![("k".to_owned(), Value::Bytes(vec![]))];
        world.call(Call::new("com.echo").args(args.clone()).kwargs(kwargs.clone()), 1);
        let (request, payload) = world.invocation();
        assert_eq!(payload, Payload { args: args.clone(), kwargs: kwargs.clone() });
        world.engine.respond(request, Answer::Yield(payload));
        world.run();
        let (token, outcome) = world.outcome();
        assert_eq!((token, outcome.unwrap()), (1, Reply::Result(CallResult { args, kwargs })));
        // A second answer goes nowhere.
        world.engine.respond(request, Answer::Yield(Payload::default()));
        assert_eq!(world.engine.poll_transmit(), None);
    }
}

#[test]
fn events_and_acknowledgements_come_back() {
    let mut world = World::joined(Serializer::Cbor);
    world.engine.subscribe(world.now, "com.topic", Match::Exact, 1);
    world.run();
    let Ok(Reply::Subscribed(subscription)) = world.outcome().1 else { panic!() };
    world.engine.publish(world.now, Publish::new("com.topic").args([Value::Int(1)]), 2);
    assert!(matches!(world.outcome(), (2, Ok(Reply::Published(None)))));
    world.engine.publish(world.now, Publish::new("com.topic").acknowledge(), 3);
    world.run();
    assert!(matches!(world.outcome(), (3, Ok(Reply::Published(Some(_))))));
    for expected in [vec![Value::Int(1)], vec![]] {
        let Some(Inbound::Event { topic, payload, .. }) = world.engine.poll_inbound() else { panic!() };
        assert_eq!((&*topic, payload.args), ("com.topic", expected));
    }
    world.engine.unsubscribe(world.now, subscription, 4);
    world.run();
    assert!(matches!(world.outcome(), (4, Ok(Reply::Unsubscribed))));
    let stray = Message::Event {
        subscription: subscription.0,
        publication: 1,
        details: Dict::new(),
        payload: Payload::default(),
    };
    world.engine.handle_message(world.now, stray);
    assert!(world.engine.poll_inbound().is_none());
}

#[test]
fn request_ids_have_no_gaps_even_when_requests_fail() {
    let mut world = World::joined(Serializer::Json);
    world.call(Call::new("com.a"), 1);
    world.call(Call::new("not a uri"), 2);
    world.call(Call::new("com.b").args([Value::Float(f64::NAN)]), 3);
    world.call(Call::new("com.c").args([Value::Bytes(vec![0; 10_000])]), 4);
    world.call(Call::new("com.d"), 5);
    let mut outcomes: Vec<_> = std::iter::from_fn(|| world.engine.poll_completion()).collect();
    outcomes.sort_by_key(|completion| match completion {
        Completion::Done { token, .. } => *token,
        Completion::Progress(..) => 0,
    });
    let errors: Vec<CallError> = outcomes
        .into_iter()
        .map(|completion| match completion {
            Completion::Done { outcome, .. } => outcome.unwrap_err(),
            Completion::Progress(..) => panic!(),
        })
        .collect();
    assert_eq!(errors[0].uri(), Some("wamp.error.no_such_procedure"));
    assert!(matches!(errors[1], CallError::InvalidUri { .. }) && errors[1].is_not_sent());
    assert!(matches!(errors[2], CallError::Encode(_)) && errors[2].is_not_sent());
    assert!(matches!(errors[3], CallError::TooLarge { max: 10_000, .. }) && errors[3].is_not_sent());
    let ids: Vec<u64> = world
        .router
        .heard
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Call { request, .. } => Some(*request),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn a_call_times_out_is_canceled_and_its_late_result_ignored() {
    let mut world = World::joined(Serializer::Cbor);
    world.register("com.slow");
    world.call(Call::new("com.slow").timeout(3 * SECOND), 1);
    let Some(Inbound::Invocation { request, interrupted, .. }) = world.engine.poll_inbound() else {
        panic!()
    };
    assert_eq!(world.wait(), 3 * SECOND);
    let (token, outcome) = world.outcome();
    let error = outcome.unwrap_err();
    assert!(matches!(error, CallError::Timeout { after } if after == 3 * SECOND));
    assert!(token == 1 && error.is_outcome_unknown() && !error.is_not_sent());
    assert!(!interrupted.load(Ordering::Relaxed));
    world.run();
    let Message::Cancel { options, .. } = world.last_heard() else { panic!() };
    assert_eq!(options[0].1.as_str(), Some("killnowait"));
    assert!(interrupted.load(Ordering::Relaxed));
    // The interrupted handler may finish nevertheless: a sale that was made stays made.
    world.engine.respond(request, Answer::Yield(Payload::default()));
    world.run();
    assert!(world.engine.poll_completion().is_none());
    assert_eq!(world.engine.statistics().late_answers(), 1);
    world.call(Call::new("com.none"), 2);
    assert_eq!(world.outcome().1.unwrap_err().uri(), Some("wamp.error.no_such_procedure"));
}

#[test]
fn parts_of_a_result_are_told_before_the_last() {
    let mut world = World::joined(Serializer::Cbor);
    world.router.silent = true;
    let request = world.engine.call(world.now, Call::new("com.parts"), true, 1).unwrap();
    world.run();
    let Message::Call { options, .. } = world.last_heard() else { panic!() };
    assert_eq!(options[0], ("receive_progress".to_owned(), Value::Bool(true)));
    for details in [vec![("progress".to_owned(), Value::Bool(true))], Dict::new()] {
        let message = Message::Result { request, details, payload: Payload::default() };
        world.engine.handle_message(world.now, message);
    }
    assert!(matches!(world.engine.poll_completion(), Some(Completion::Progress(id, _)) if id == request));
    assert!(matches!(world.outcome(), (1, Ok(Reply::Result(_)))));
}

/// Frames that no serializer reads, or that are no message, with the ids in front of what is wrong.
fn malformed(serializer: Serializer, head: &[u64]) -> Vec<Vec<u8>> {
    let head: Vec<Value> = head.iter().copied().map(Value::from).collect();
    let frame = |rest: Vec<Value>| serializer.encode([head.clone(), rest].concat()).unwrap();
    let (dict, mut deep) = (Value::Map(vec![]), Value::Null);
    for _ in 0..100 {
        deep = Value::List(vec![deep]);
    }
    vec![
        frame(vec![]),
        frame(vec![dict.clone(), Value::Bool(true)]),
        frame(vec![dict.clone(), Value::List(vec![]), dict.clone(), Value::Null]),
        frame(vec![dict.clone(), Value::List(vec![deep])]),
        frame(vec![dict.clone(), Value::List(vec![Value::Null; 1001])]),
        frame(vec![dict, Value::List(vec![Value::Bytes(vec![0; 10_000])])]),
    ]
}

#[test]
fn a_malformed_invocation_is_answered_and_the_session_lives_on() {
    for serializer in Serializer::ALL {
        let mut world = World::joined(serializer);
        for (count, frame) in (1..).zip(malformed(serializer, &[code::INVOCATION, 77, 1])) {
            world.engine.handle_frame(world.now, &frame);
            world.run();
            let Message::Error { request_type, request, error, payload, .. } = world.last_heard() else {
                panic!("{serializer} {count}")
            };
            assert_eq!((*request_type, *request), (code::INVOCATION, 77));
            assert_eq!(error, "wamp.error.invalid_argument");
            assert!(!payload.args[0].as_str().unwrap().is_empty());
            assert_eq!(world.engine.statistics().malformed_invocations(), count);
        }
        assert!(world.engine.close_reason().is_none());
        world.register("com.still.alive");
    }
}

#[test]
fn an_oversize_invocation_is_answered_with_its_size() {
    let mut world = World::joined(Serializer::Cbor);
    let frame = malformed(Serializer::Cbor, &[code::INVOCATION, 77, 1]).pop().unwrap();
    world.engine.handle_frame(world.now, &frame);
    world.run();
    let Message::Error { payload, .. } = world.last_heard() else { panic!() };
    let text = format!("message of {} bytes exceeds the limit of 10000", frame.len());
    assert_eq!(payload.args[0].as_str(), Some(&*text));
}

#[test]
fn a_malformed_event_is_dropped_and_a_malformed_answer_fails_its_request() {
    for serializer in Serializer::ALL {
        let mut world = World::joined(serializer);
        for frame in malformed(serializer, &[code::EVENT, 5, 6]) {
            world.engine.handle_frame(world.now, &frame);
        }
        assert_eq!(world.engine.statistics().dropped_events(), 6);
        world.router.silent = true;
        for (request, head) in (1..).zip([[code::RESULT, 1, 0], [code::ERROR, code::CALL, 2]]) {
            world.call(Call::new("com.x"), request);
            let frame = malformed(serializer, &head).remove(1);
            world.engine.handle_frame(world.now, &frame);
            let (token, outcome) = world.outcome();
            assert_eq!(token, request);
            assert!(matches!(&outcome, Err(error @ CallError::Malformed(_)) if error.is_outcome_unknown()));
        }
        assert!(world.engine.close_reason().is_none());
    }
}

#[test]
fn an_answer_of_another_kind_fails_the_request() {
    let mut world = World::joined(Serializer::Cbor);
    world.router.silent = true;
    world.call(Call::new("com.x"), 1);
    world.engine.handle_message(world.now, Message::Registered { request: 1, registration: 2 });
    assert!(matches!(world.outcome(), (1, Err(CallError::Malformed(_)))));
}

#[test]
fn only_garbage_without_any_id_ends_the_session() {
    for frame in [&b""[..], b"\xff", b"\x80", b"\x82\x18\x63\x01", b"\x81\x18\x44", b"\x83\x01\x61a\xa0"] {
        let mut world = World::joined(Serializer::Cbor);
        world.router.silent = true;
        world.call(Call::new("com.x"), 1);
        world.engine.handle_frame(world.now, frame);
        world.run();
        let Message::Abort { reason, .. } = world.last_heard() else { panic!("{frame:?}") };
        assert_eq!(reason, "wamp.error.protocol_violation");
        assert!(matches!(world.engine.close_reason(), Some(CloseReason::Protocol(_))));
        assert!(matches!(world.outcome(), (1, Err(CallError::Lost))));
        world.call(Call::new("com.x"), 2);
        assert!(matches!(world.outcome(), (2, Err(CallError::Closed))));
    }
}

#[test]
fn an_answer_that_cannot_be_sent_becomes_an_error() {
    for (serializer, value) in
        [(Serializer::Msgpack, Value::Int(1 << 64)), (Serializer::Cbor, Value::Bytes(vec![0; 10_001]))]
    {
        let mut world = World::joined(serializer);
        world.register("com.big");
        world.call(Call::new("com.big"), 1);
        let (request, _) = world.invocation();
        world.engine.respond(request, Answer::Yield(Payload { args: vec![value], kwargs: Dict::new() }));
        world.run();
        assert_eq!(world.outcome().1.unwrap_err().uri(), Some("wamp.error.runtime_error"));
    }
}

#[test]
fn an_invalid_error_uri_is_not_sent() {
    let mut world = World::joined(Serializer::Cbor);
    world.register("com.bad");
    world.call(Call::new("com.bad"), 1);
    let (request, _) = world.invocation();
    world.engine.respond(request, Answer::error("no uri", "text"));
    world.run();
    assert_eq!(world.outcome().1.unwrap_err().uri(), Some("wamp.error.runtime_error"));
}

#[test]
fn refusals_do_not_pile_up_for_a_router_that_never_reads() {
    let mut world = World::joined(Serializer::Cbor);
    for request in 1..=64 {
        assert!(world.engine.wants_input(), "{request}");
        let (details, payload) = (Dict::new(), Payload::default());
        let unknown = Message::Invocation { request, registration: 9, details, payload };
        world.engine.handle_message(world.now, unknown);
    }
    assert!(!world.engine.wants_input());
    world.run();
    assert!(world.engine.wants_input(), "it has read them");
}

#[test]
fn reading_stops_at_a_backlog_of_few_but_large_messages() {
    let mut world = World::joined(Serializer::Cbor);
    world.register("com.busy");
    for token in 0..3 {
        world.call(Call::new("com.busy").args(["x".repeat(9000).into()]).timeout(SECOND), token);
    }
    world.wait();
    assert!(!world.engine.wants_input(), "three are fewer than four, but too large");
    assert!(world.engine.poll_inbound().is_some());
    assert!(world.engine.wants_input());
}

#[test]
fn reading_stops_at_the_backlog_but_never_while_an_answer_is_due() {
    let mut world = World::joined(Serializer::Cbor);
    world.register("com.busy");
    for token in 0..4 {
        assert!(world.engine.wants_input());
        world.call(Call::new("com.busy").timeout(SECOND), token);
    }
    assert!(world.engine.wants_input(), "four answers are due");
    for token in 4..20 {
        world.call(Call::new("com.busy").timeout(SECOND), token);
    }
    let shed = std::iter::from_fn(|| world.engine.poll_completion()).count();
    assert_eq!(shed, 4, "beyond four times the backlog, calls are refused");
    assert_eq!(world.engine.statistics().shed_invocations(), 4);
    world.wait();
    assert!(!world.engine.wants_input(), "nothing is due any more");
    for _ in 0..13 {
        assert!(world.engine.poll_inbound().is_some());
    }
    assert!(world.engine.wants_input());
}

#[test]
fn a_registration_taken_by_another_is_told() {
    let mut world = World::joined(Serializer::Cbor);
    world.register("com.mine");
    let details = vec![("registration".to_owned(), Value::from(1002u64))];
    world.engine.handle_message(world.now, Message::Unregistered { request: 0, details });
    let Some(Inbound::Unregistered { procedure, .. }) = world.engine.poll_inbound() else { panic!() };
    assert_eq!(&*procedure, "com.mine");
    let payload = Payload::default();
    let invocation = Message::Invocation { request: 5, registration: 1002, details: Dict::new(), payload };
    world.engine.handle_message(world.now, invocation);
    world.run();
    let Message::Error { error, .. } = world.last_heard() else { panic!() };
    assert_eq!(error, "wamp.error.no_such_procedure");
}

proptest! {
    #[test]
    fn no_frame_makes_the_engine_panic(frames in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..40), 0..10)
    ) {
        let mut world = World::joined(Serializer::Cbor);
        for frame in frames {
            world.engine.handle_frame(world.now, &frame);
        }
    }
}
