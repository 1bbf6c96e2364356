//! Calls in a realm: who is invoked, what comes back, and that something always does.

use std::time::Duration;

use xbr_core::Value;
use xbr_market::router::Bounds;
use xbr_market::router::realm::{Features, Hindrance, Undelivered};
use xbr_wamp::message::{Dict, Message, Payload};

use crate::floor::*;

#[test]
fn a_refused_request_says_why_in_the_order_of_the_checks() {
    let none = Dict::new;
    let rows = [
        (ALICE, call(9, "no uri", option("timeout", "soon")), "wamp.error.invalid_argument"),
        (ALICE, call(9, "com.x", option("timeout", -1i64)), "wamp.error.invalid_argument"),
        (ALICE, call(9, "com.x", option("receive_progress", 1u32)), "wamp.error.invalid_argument"),
        (ALICE, call(9, "com.x", option("disclose_me", "yes")), "wamp.error.invalid_argument"),
        (ALICE, call(9, "com.x", option("progress", true)), "wamp.error.invalid_argument"),
        (ALICE, call(9, "no uri", none()), "wamp.error.invalid_uri"),
        (ALICE, call(9, "com..x", none()), "wamp.error.invalid_uri"),
        (GUEST, call(9, "com.x", none()), "wamp.error.not_authorized"),
        (ALICE, call(9, "com.x", none()), "wamp.error.no_such_procedure"),
        (GUEST, call(9, "com.open.x", none()), "wamp.error.no_such_procedure"),
        (ALICE, register(9, "com.x", option("invoke", "twice")), "wamp.error.invalid_argument"),
        (ALICE, register(9, "com.x", option("match", "regex")), "wamp.error.invalid_argument"),
        (ALICE, register(9, "com.x", option("force_reregister", 1u32)), "wamp.error.invalid_argument"),
        (ALICE, register(9, "com.", none()), "wamp.error.invalid_uri"),
        (ALICE, register(9, "com.*.x", option("match", "wildcard")), "wamp.error.invalid_uri"),
        (ALICE, register(9, "wamp.session.get", none()), "wamp.error.invalid_uri"),
        (GUEST, register(9, "com.open.x", none()), "wamp.error.not_authorized"),
        (ALICE, register(9, "com.taken", none()), "wamp.error.procedure_already_exists"),
        (ALICE, Message::Unregister { request: 9, registration: 77 }, "wamp.error.no_such_registration"),
    ];
    for (session, message, uri) in rows {
        let mut floor = Floor::new();
        floor.register(BOB, "com.taken", none());
        let heard = floor.say(session, message.clone());
        assert_eq!(errors(&heard), [(session, 9, uri)], "{message:?}");
        assert_eq!(heard.len(), 1);
    }
}

#[test]
fn what_clients_must_not_do_ends_their_session_and_no_other() {
    let rows = [
        call(0, "com.x", Dict::new()),
        call((1 << 53) + 1, "com.x", Dict::new()),
        register(0, "com.x", Dict::new()),
        publish(0, "com.x", Dict::new()),
        Message::Unsubscribe { request: 1, subscription: 0 },
        yields(0, Dict::new()),
        cancel(1, "softly"),
        Message::Result { request: 1, details: Dict::new(), payload: Payload::default() },
        Message::Hello { realm: "realm1".into(), details: Dict::new() },
        Message::Welcome { session: 1, details: Dict::new() },
        Message::Error {
            request_type: 48,
            request: 1,
            details: Dict::new(),
            error: "a.b".into(),
            payload: Payload::default(),
        },
    ];
    for message in rows {
        let mut floor = Floor::new();
        floor.register(BOB, "com.x", Dict::new());
        let heard = floor.say(ALICE, message.clone());
        assert!(is_expelled(ALICE, &heard), "{message:?} {heard:?}");
        assert_eq!(floor.realm.status().sessions, 3);
        assert_eq!(floor.say(ALICE, call(2, "com.x", Dict::new())), [], "it is a stranger now");
        floor.invoke(CAROL, 1, "com.x", Dict::new());
    }
}

#[test]
fn a_call_with_the_id_of_another_or_an_answer_for_another_ends_the_session() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    let (_, invocation) = floor.invoke(ALICE, 5, "com.x", Dict::new());
    assert!(is_expelled(CAROL, &floor.say(CAROL, yields(invocation, Dict::new()))));
    let heard = floor.say(ALICE, call(5, "com.x", Dict::new()));
    assert!(heard.iter().any(|(to, message)| *to == ALICE && matches!(message, Message::Abort { .. })));
    assert!(errors(&heard).is_empty(), "no second answer: {heard:?}");
    assert_eq!(floor.realm.status().calls, 0);
}

#[test]
fn results_and_errors_reach_the_caller_with_all_they_carry() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    let heard = floor.say(ALICE, call(5, "com.x", Dict::new()));
    let [(BOB, Message::Invocation { request, details, payload: carried, .. })] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert_eq!((details, carried), (&Dict::new(), &payload("asked")), "the caller is not disclosed");
    let result = Message::Result { request: 5, details: Dict::new(), payload: payload("answer") };
    assert_eq!(floor.say(BOB, yields(*request, Dict::new())), [(ALICE, result)]);

    let (_, request) = floor.invoke(ALICE, 6, "com.x", Dict::new());
    let heard = floor.say(BOB, fails(request, "com.error.own"));
    let [(ALICE, Message::Error { request: 6, error, payload: carried, .. })] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert_eq!((error.as_str(), carried), ("com.error.own", &payload("failure")));

    let (_, request) = floor.invoke(ALICE, 7, "com.x", Dict::new());
    let heard = floor.say(BOB, fails(request, "not a uri"));
    assert_eq!(errors(&heard), [(ALICE, 7, "wamp.error.invalid_uri")]);
    assert_eq!(floor.say(BOB, yields(request, Dict::new())), [], "a late answer is nobody's");
}

#[test]
fn callers_are_disclosed_by_their_role_or_wish() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    for (caller, authid, options) in
        [(CAROL, "carol", Dict::new()), (ALICE, "alice", option("disclose_me", true))]
    {
        let heard = floor.say(caller, call(1, "com.x", options));
        let [(_, Message::Invocation { details, .. })] = heard.as_slice() else { panic!() };
        let details: Value = details.clone().into_iter().collect();
        assert_eq!(details.field("caller"), Some(&Value::from(caller)));
        assert_eq!(details.field("caller_authid"), Some(&Value::from(authid)));
        assert!(details.field("caller_authrole").is_some());
    }
}

#[test]
fn parts_of_a_result_come_if_they_are_asked_for() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    let progress = || option("progress", true);
    let heard = floor.say(ALICE, call(5, "com.x", option("receive_progress", true)));
    let [(_, Message::Invocation { request, details, .. })] = heard.as_slice() else { panic!() };
    assert_eq!(*details, option("receive_progress", true));
    for _ in 0..3 {
        let part = Message::Result { request: 5, details: progress(), payload: payload("answer") };
        assert_eq!(floor.say(BOB, yields(*request, progress())), [(ALICE, part)]);
    }
    assert_eq!(floor.say(BOB, yields(*request, Dict::new())).len(), 1);
    assert_eq!(floor.say(BOB, yields(*request, progress())), []);

    let (_, request) = floor.invoke(ALICE, 6, "com.x", Dict::new());
    assert_eq!(floor.say(BOB, yields(request, progress())), [], "nobody asked for parts");
    assert_eq!(floor.say(BOB, yields(request, Dict::new())).len(), 1);
}

#[test]
fn a_callee_that_does_not_answer_in_time_is_answered_for() {
    let bounds = {
        let mut bounds = Bounds::default();
        bounds.max_call_timeout = Duration::from_secs(60);
        bounds
    };
    for (options, after) in [
        (option("timeout", 5_000u32), 5),
        (option("timeout", 0u32), 60),
        (Dict::new(), 60),
        (option("timeout", u64::MAX), 60),
    ] {
        let mut floor = Floor::bounded(bounds);
        floor.register(BOB, "com.x", Dict::new());
        let (_, invocation) = floor.invoke(ALICE, 5, "com.x", options);
        assert_eq!(floor.realm.poll_timeout(), Some(floor.now + Duration::from_secs(after)));
        assert_eq!(floor.pass(Duration::from_secs(after - 1)), []);
        let heard = floor.pass(Duration::from_secs(1));
        assert_eq!(errors(&heard), [(ALICE, 5, "wamp.error.timeout")]);
        assert!(heard.iter().any(|(to, message)| *to == BOB
            && matches!(message, Message::Interrupt { request, .. } if *request == invocation)));
        assert_eq!(floor.say(BOB, yields(invocation, Dict::new())), []);
        assert_eq!(floor.realm.poll_timeout(), None);
    }
}

#[test]
fn a_canceled_call_ends_as_the_mode_says() {
    let interrupt =
        |request, mode: &str| (BOB, Message::Interrupt { request, options: option("mode", mode) });
    for mode in ["skip", "kill", "killnowait"] {
        let mut floor = Floor::new();
        floor.register(BOB, "com.x", Dict::new());
        let (_, invocation) = floor.invoke(ALICE, 5, "com.x", Dict::new());
        let heard = floor.say(ALICE, cancel(5, mode));
        assert_eq!(heard.contains(&interrupt(invocation, mode)), mode != "skip", "{heard:?}");
        let canceled = [(ALICE, 5, "wamp.error.canceled")];
        if mode == "kill" {
            assert!(errors(&heard).is_empty(), "the callee has the last word");
            assert_eq!(errors(&floor.say(BOB, fails(invocation, "wamp.error.canceled"))), canceled);
        } else {
            assert_eq!(errors(&heard), canceled);
        }
        assert_eq!(floor.say(BOB, yields(invocation, Dict::new())), []);
        assert_eq!(floor.say(ALICE, cancel(5, mode)), [], "it crossed the answer");
        assert_eq!(floor.realm.status().calls, 0);
    }
}

#[test]
fn who_does_not_know_interrupts_gets_none() {
    let mut floor = Floor::new();
    floor.join(20, "old", "member", Features::default());
    floor.register(20, "com.x", Dict::new());
    for mode in ["skip", "kill", "killnowait"] {
        floor.invoke(ALICE, 5, "com.x", Dict::new());
        let heard = floor.say(ALICE, cancel(5, mode));
        assert_eq!((errors(&heard), heard.len()), (vec![(ALICE, 5, "wamp.error.canceled")], 1), "{mode}");
    }
    floor.invoke(ALICE, 6, "com.x", option("timeout", 1u32));
    assert_eq!(floor.pass(Duration::from_secs(1)).len(), 1);
    floor.invoke(BOB, 6, "com.x", Dict::new());
    assert_eq!(floor.leave(BOB), []);
}

#[test]
fn when_a_callee_leaves_its_callers_are_told() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    floor.invoke(ALICE, 5, "com.x", Dict::new());
    floor.invoke(CAROL, 5, "com.x", Dict::new());
    floor.invoke(BOB, 5, "com.x", Dict::new());
    let mut heard = floor.leave(BOB);
    heard.sort_by_key(|(to, _)| *to);
    assert_eq!(errors(&heard), [(ALICE, 5, "wamp.error.canceled"), (CAROL, 5, "wamp.error.canceled")]);
    assert_eq!((heard.len(), floor.realm.status().calls), (2, 0));
    assert_eq!(
        errors(&floor.say(ALICE, call(6, "com.x", Dict::new()))),
        [(ALICE, 6, "wamp.error.no_such_procedure")]
    );
}

#[test]
fn when_a_caller_leaves_its_callee_is_interrupted() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    let (_, invocation) = floor.invoke(ALICE, 5, "com.x", Dict::new());
    let heard = floor.leave(ALICE);
    assert!(
        matches!(heard.as_slice(), [(BOB, Message::Interrupt { request, .. })] if *request == invocation)
    );
    assert_eq!(floor.say(BOB, yields(invocation, Dict::new())), []);
}

#[test]
fn shared_registrations_are_invoked_by_their_policy() {
    let rows: [(&str, &[u64]); 4] = [
        ("first", &[ALICE, ALICE, ALICE]),
        ("last", &[CAROL, CAROL, CAROL]),
        ("roundrobin", &[ALICE, BOB, CAROL, ALICE]),
        ("random", &[]),
    ];
    for (policy, expected) in rows {
        let mut floor = Floor::new();
        for callee in [ALICE, BOB, CAROL] {
            floor.register(callee, "com.x", option("invoke", policy));
        }
        let other = register(2, "com.x", option("invoke", "single"));
        assert_eq!(errors(&floor.say(ALICE, other)).len(), 1, "all must agree");
        let invoked: Vec<u64> =
            (1..=200).map(|request| floor.invoke(BOB, request, "com.x", Dict::new()).0).collect();
        assert!(invoked.starts_with(expected), "{policy} {invoked:?}");
        let reached = [ALICE, BOB, CAROL].into_iter().filter(|callee| invoked.contains(callee)).count();
        assert_eq!(reached, if matches!(policy, "first" | "last") { 1 } else { 3 }, "{policy}");
        assert_eq!(floor.realm.status().registrations, 1);
    }
}

#[test]
fn patterns_are_matched_the_most_specific_first() {
    let mut floor = Floor::new();
    floor.register(ALICE, "com.a.", option("match", "prefix"));
    floor.register(BOB, "com.a.b", Dict::new());
    floor.register(CAROL, "com..c", option("match", "wildcard"));
    let rows = [("com.a.b", BOB), ("com.a.b.c", ALICE), ("com.a.c", ALICE), ("com.x.c", CAROL)];
    for (request, (procedure, callee)) in (1..).zip(rows) {
        assert_eq!(floor.invoke(BOB, request, procedure, Dict::new()).0, callee, "{procedure}");
    }
}

#[test]
fn a_forced_registration_takes_over_and_tells_who_had_it() {
    let mut floor = Floor::new();
    floor.join(20, "old", "member", Features::default());
    let taken = floor.register(BOB, "com.x", option("invoke", "roundrobin"));
    floor.register(20, "com.x", option("invoke", "roundrobin"));
    let (_, under_way) = floor.invoke(ALICE, 5, "com.x", Dict::new());
    let heard = floor.say(CAROL, register(7, "com.x", option("force_reregister", true)));
    let details = vec![
        ("registration".to_owned(), taken.into()),
        ("reason".to_owned(), "wamp.error.unregistered".into()),
    ];
    assert_eq!(heard[0], (BOB, Message::Unregistered { request: 0, details }));
    assert!(matches!(heard[1], (CAROL, Message::Registered { request: 7, .. })));
    assert_eq!(heard.len(), 2, "who does not know revocations is told nothing: {heard:?}");
    assert_eq!(floor.invoke(ALICE, 6, "com.x", Dict::new()).0, CAROL);
    assert_eq!(floor.say(BOB, yields(under_way, Dict::new())).len(), 1, "what was under way is answered");
    let gone = Message::Unregister { request: 8, registration: taken };
    assert_eq!(errors(&floor.say(BOB, gone)), [(BOB, 8, "wamp.error.no_such_registration")]);
    assert_eq!(errors(&floor.say(GUEST, register(9, "com.x", option("force_reregister", true)))).len(), 1);
    assert_eq!(floor.invoke(ALICE, 7, "com.x", Dict::new()).0, CAROL, "who may not register takes nothing");
}

#[test]
fn what_cannot_be_delivered_is_answered_for() {
    let mut floor = Floor::new();
    floor.register(BOB, "com.x", Dict::new());
    let (_, invocation) = floor.invoke(ALICE, 5, "com.x", Dict::new());
    floor.realm.undeliverable(BOB, Undelivered::Invocation { request: invocation }, Hindrance::Form);
    assert_eq!(errors(&floor.heard()), [(ALICE, 5, "wamp.error.invalid_argument")]);

    let (_, invocation) = floor.invoke(ALICE, 6, "com.x", Dict::new());
    let result = floor.say(BOB, yields(invocation, Dict::new())).remove(0).1;
    floor.realm.undeliverable(ALICE, Undelivered::of(&result).unwrap(), Hindrance::Form);
    assert_eq!(errors(&floor.heard()), [(ALICE, 6, "wamp.error.invalid_argument")]);

    let (_, invocation) = floor.invoke(ALICE, 7, "com.x", option("receive_progress", true));
    let part = floor.say(BOB, yields(invocation, option("progress", true))).remove(0).1;
    floor.realm.undeliverable(ALICE, Undelivered::of(&part).unwrap(), Hindrance::Room);
    let heard = floor.heard();
    assert_eq!(errors(&heard), [(ALICE, 7, "wamp.error.unavailable")]);
    assert!(heard.iter().any(|(to, message)| *to == BOB && matches!(message, Message::Interrupt { .. })));
    assert_eq!(floor.say(BOB, yields(invocation, Dict::new())), []);
}

#[test]
fn a_session_cannot_take_up_more_than_its_share() {
    let mut bounds = Bounds::default();
    (bounds.max_registrations, bounds.max_calls, bounds.max_in_realm) = (2, 3, 4);
    let mut floor = Floor::bounded(bounds);
    for procedure in ["com.a", "com.b"] {
        floor.register(BOB, procedure, Dict::new());
    }
    let unavailable = "wamp.error.unavailable";
    assert_eq!(errors(&floor.say(BOB, register(9, "com.c", Dict::new()))), [(BOB, 9, unavailable)]);
    floor.register(CAROL, "com.c", Dict::new());
    floor.register(CAROL, "com.d", Dict::new());
    let full = floor.say(ALICE, register(9, "com.e", Dict::new()));
    assert_eq!(errors(&full), [(ALICE, 9, unavailable)], "the realm is full");

    let invocations: Vec<u64> =
        (1..=3).map(|request| floor.invoke(ALICE, request, "com.a", Dict::new()).1).collect();
    assert_eq!(errors(&floor.say(ALICE, call(4, "com.c", Dict::new()))), [(ALICE, 4, unavailable)]);
    let busy = floor.say(CAROL, call(4, "com.a", Dict::new()));
    assert_eq!((errors(&busy), busy.len()), (vec![(CAROL, 4, unavailable)], 1), "the callee is busy");
    floor.invoke(CAROL, 5, "com.d", Dict::new());
    assert_eq!(floor.say(BOB, yields(invocations[0], Dict::new())).len(), 1);
    floor.invoke(ALICE, 5, "com.a", Dict::new());
}
