//! Events in a realm: who gets them, and what they say.

use xbr_core::Value;
use xbr_market::router::Bounds;
use xbr_wamp::message::{Dict, Message, Payload};

use crate::floor::*;

/// Who hears of a publication, in order.
fn hearers(floor: &mut Floor, options: Dict) -> Vec<u64> {
    let heard = floor.say(ALICE, publish(1, "com.topic", options));
    let mut to: Vec<u64> = heard.iter().map(|(to, _)| *to).collect();
    to.sort_unstable();
    to
}

#[test]
fn a_refused_request_says_why_in_the_order_of_the_checks() {
    let subscribe = |topic: &str, options| Message::Subscribe { request: 9, options, topic: topic.into() };
    let acknowledged = |key: &str, value: Value| [option("acknowledge", true), option(key, value)].concat();
    let long = Value::List(vec![1u32.into(); 1025]);
    let rows = [
        (ALICE, subscribe("no uri", option("match", 1u32)), "wamp.error.invalid_argument"),
        (ALICE, subscribe("no uri", Dict::new()), "wamp.error.invalid_uri"),
        (ALICE, subscribe("com..x", Dict::new()), "wamp.error.invalid_uri"),
        (ALICE, subscribe("com.[a]", option("match", "wildcard")), "wamp.error.invalid_uri"),
        (GUEST, subscribe("com.other", Dict::new()), "wamp.error.not_authorized"),
        (GUEST, subscribe("com.topic", option("match", "prefix")), "wamp.error.not_authorized"),
        (ALICE, Message::Unsubscribe { request: 9, subscription: 77 }, "wamp.error.no_such_subscription"),
        (ALICE, publish(9, "x", acknowledged("exclude_me", 1u32.into())), "wamp.error.invalid_argument"),
        (ALICE, publish(9, "x", acknowledged("eligible", 1u32.into())), "wamp.error.invalid_argument"),
        (ALICE, publish(9, "x", acknowledged("exclude", long)), "wamp.error.invalid_argument"),
        (
            ALICE,
            publish(9, "x", acknowledged("eligible_authid", vec![Value::from(1u32)].into())),
            "wamp.error.invalid_argument",
        ),
        (ALICE, publish(9, "no uri", option("acknowledge", true)), "wamp.error.invalid_uri"),
        (ALICE, publish(9, "wamp.x", option("acknowledge", true)), "wamp.error.invalid_uri"),
        (GUEST, publish(9, "com.topic", option("acknowledge", true)), "wamp.error.not_authorized"),
    ];
    for (session, message, uri) in rows {
        let mut floor = Floor::new();
        let heard = floor.say(session, message.clone());
        assert_eq!((errors(&heard), heard.len()), (vec![(session, 9, uri)], 1), "{message:?}");
    }
}

#[test]
fn a_publication_that_nobody_wants_confirmed_is_not_answered() {
    let mut floor = Floor::new();
    for message in [
        publish(9, "no uri", Dict::new()),
        publish(9, "com.topic", option("exclude", "me")),
        publish(9, "com.topic", Dict::new()),
    ] {
        assert_eq!(floor.say(ALICE, message), []);
    }
    assert_eq!(floor.say(GUEST, publish(9, "com.topic", Dict::new())), []);
    let heard = floor.say(ALICE, publish(9, "com.topic", option("acknowledge", true)));
    assert!(matches!(heard.as_slice(), [(ALICE, Message::Published { request: 9, .. })]));
}

#[test]
fn subscribers_are_chosen_as_the_publisher_says() {
    let ids = |ids: &[u64]| Value::List(ids.iter().map(|id| (*id).into()).collect());
    let names = |names: &[&str]| Value::List(names.iter().map(|name| (*name).into()).collect());
    let rows = [
        (Dict::new(), vec![BOB, CAROL, GUEST]),
        (option("exclude_me", true), vec![BOB, CAROL, GUEST]),
        (option("exclude_me", false), vec![ALICE, BOB, CAROL, GUEST]),
        (option("exclude", ids(&[BOB])), vec![CAROL, GUEST]),
        (option("eligible", ids(&[BOB, 99])), vec![BOB]),
        (option("eligible", ids(&[])), vec![]),
        (option("exclude_authid", names(&["gus"])), vec![BOB, CAROL]),
        (option("eligible_authid", names(&["gus", "nobody"])), vec![GUEST]),
        (option("exclude_authrole", names(&["member"])), vec![CAROL, GUEST]),
        (option("eligible_authrole", names(&["member"])), vec![BOB]),
        ([option("eligible", ids(&[BOB, CAROL])), option("exclude", ids(&[CAROL]))].concat(), vec![BOB]),
    ];
    for (options, expected) in rows {
        let mut floor = Floor::new();
        for session in [ALICE, BOB, CAROL, GUEST] {
            floor.subscribe(session, "com.topic", Dict::new());
        }
        assert_eq!(hearers(&mut floor, options.clone()), expected, "{options:?}");
    }
}

#[test]
fn patterns_get_their_events_with_the_topic() {
    let mut floor = Floor::new();
    let prefix = floor.subscribe(BOB, "com.", option("match", "prefix"));
    let wildcard = floor.subscribe(BOB, "com..end", option("match", "wildcard"));
    let exact = floor.subscribe(BOB, "com.x.end", Dict::new());
    let heard = floor.say(ALICE, publish(1, "com.x.end", Dict::new()));
    let mut found = Vec::new();
    for (to, message) in heard {
        let Message::Event { subscription, details, payload: carried, .. } = message else { panic!() };
        assert_eq!((to, carried), (BOB, payload("told")));
        let topic = details.iter().find(|(key, _)| key == "topic").map(|(_, topic)| topic.clone());
        assert_eq!(topic, (subscription != exact).then(|| "com.x.end".into()), "only patterns need it");
        found.push(subscription);
    }
    found.sort_unstable();
    assert_eq!(found, [prefix, wildcard, exact]);
    assert_eq!(floor.say(ALICE, publish(2, "org.x.end", Dict::new())), []);
}

#[test]
fn publishers_are_disclosed_by_their_role_or_wish() {
    for (publisher, options, disclosed) in
        [(ALICE, Dict::new(), false), (ALICE, option("disclose_me", true), true), (CAROL, Dict::new(), true)]
    {
        let mut floor = Floor::new();
        floor.subscribe(BOB, "com.topic", Dict::new());
        let heard = floor.say(publisher, publish(1, "com.topic", options));
        let [(BOB, Message::Event { details, .. })] = heard.as_slice() else { panic!("{heard:?}") };
        let details: Value = details.clone().into_iter().collect();
        assert_eq!(details.field("publisher"), disclosed.then(|| Value::from(publisher)).as_ref());
    }
}

#[test]
fn who_unsubscribed_or_left_gets_no_more_events() {
    let mut floor = Floor::new();
    let subscription = floor.subscribe(BOB, "com.topic", Dict::new());
    assert_eq!(floor.subscribe(BOB, "com.topic", Dict::new()), subscription, "once is enough");
    floor.subscribe(CAROL, "com.topic", Dict::new());
    assert_eq!(hearers(&mut floor, Dict::new()), [BOB, CAROL]);
    let heard = floor.say(BOB, Message::Unsubscribe { request: 3, subscription });
    assert!(matches!(heard.as_slice(), [(BOB, Message::Unsubscribed { request: 3, .. })]));
    assert_eq!(hearers(&mut floor, Dict::new()), [CAROL]);
    floor.leave(CAROL);
    assert!(hearers(&mut floor, Dict::new()).is_empty());
    assert_eq!(floor.realm.status().subscriptions, 0);
}

#[test]
fn a_session_cannot_take_up_more_than_its_share() {
    let mut bounds = Bounds::default();
    (bounds.max_subscriptions, bounds.max_in_realm) = (2, 3);
    let mut floor = Floor::bounded(bounds);
    floor.subscribe(ALICE, "com.a", Dict::new());
    floor.subscribe(ALICE, "com.b", Dict::new());
    let subscribe =
        |topic: &str| Message::Subscribe { request: 9, options: Dict::new(), topic: topic.into() };
    assert_eq!(errors(&floor.say(ALICE, subscribe("com.c"))), [(ALICE, 9, "wamp.error.unavailable")]);
    floor.subscribe(BOB, "com.c", Dict::new());
    assert_eq!(errors(&floor.say(BOB, subscribe("com.d"))), [(BOB, 9, "wamp.error.unavailable")]);
    let nothing =
        Message::Event { subscription: 1, publication: 1, details: Dict::new(), payload: Payload::default() };
    assert!(is_expelled(BOB, &floor.say(BOB, nothing)));
    floor.subscribe(CAROL, "com.d", Dict::new());
}
