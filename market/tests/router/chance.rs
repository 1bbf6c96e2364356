//! A realm against chance: whatever sessions say, in whatever order, nothing panics, strangers hear nothing,
//! and every call gets exactly one final answer.

use std::collections::HashSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use xbr_core::Value;
use xbr_core::cbor::Limits;
use xbr_market::router::Bounds;
use xbr_market::router::realm::Features;
use xbr_wamp::Serializer;
use xbr_wamp::message::{Dict, Message, Payload, code};

use crate::floor::*;

const SESSIONS: [u64; 4] = [ALICE, BOB, CAROL, GUEST];

#[derive(Debug, Clone)]
enum Deed {
    Say(Message),
    /// Answers one of the invocations heard so far, whoever's it is.
    Answer {
        choice: usize,
        own: bool,
        progress: bool,
        fails: bool,
    },
    Leave,
    Return,
    Pass(u64),
}

fn uri() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "com.a",
        "com.b",
        "com.open.x",
        "com.",
        "com..x",
        "",
        "no uri",
        "wamp.x",
        "com.*",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0u64..20).prop_map(Value::from),
        prop::sample::select(vec![
            "exact",
            "prefix",
            "wildcard",
            "single",
            "roundrobin",
            "kill",
            "skip",
            "killnowait"
        ])
        .prop_map(Value::from),
        vec((10u64..16).prop_map(Value::from), 0..3).prop_map(Value::List),
        Just(Value::Null),
    ]
}

fn dict() -> impl Strategy<Value = Dict> {
    let keys = vec![
        "match",
        "invoke",
        "force_reregister",
        "timeout",
        "receive_progress",
        "progress",
        "mode",
        "acknowledge",
        "exclude_me",
        "eligible",
        "exclude",
        "disclose_me",
    ];
    vec((prop::sample::select(keys).prop_map(str::to_owned), value()), 0..3)
}

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![60 => 1u64..12, 1 => Just(0), 1 => Just(1 << 53), 1 => Just((1 << 53) + 1)]
}

fn message() -> impl Strategy<Value = Message> {
    let session = (id(), dict(), uri()).prop_flat_map(|(request, options, uri)| {
        let payload = Payload::default();
        prop_oneof![
            6 => Just(Message::Call {
                request,
                options: options.clone(),
                procedure: uri.clone(),
                payload: payload.clone()
            }),
            4 => Just(Message::Register { request, options: options.clone(), procedure: uri.clone() }),
            2 => Just(Message::Subscribe { request, options: options.clone(), topic: uri.clone() }),
            2 => Just(Message::Publish {
                request,
                options: options.clone(),
                topic: uri.clone(),
                payload: payload.clone()
            }),
            2 => Just(Message::Cancel { request, options: options.clone() }),
            1 => Just(Message::Unregister { request, registration: request }),
            1 => Just(Message::Unsubscribe { request, subscription: request }),
            1 => Just(Message::Yield { request, options, payload: payload.clone() }),
            1 => Just(fails(request, &uri)),
        ]
    });
    prop_oneof![
        80 => session,
        1 => Just(Message::Goodbye { details: Dict::new(), reason: "a.b".into() }),
        1 => id().prop_map(|session| Message::Welcome { session, details: Dict::new() }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        10 => message().prop_map(Deed::Say),
        6 => (any::<usize>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(choice, own, progress, fails)| Deed::Answer { choice, own: own || choice % 4 > 0, progress, fails }
        ),
        1 => Just(Deed::Leave),
        2 => Just(Deed::Return),
        1 => (0u64..3000).prop_map(Deed::Pass),
    ]
}

/// What the test knows of the realm.
struct Witness {
    floor: Floor,
    present: HashSet<u64>,
    /// Calls without a final answer.
    open: HashSet<(u64, u64)>,
    invocations: Vec<(u64, u64)>,
}

impl Witness {
    fn new() -> Self {
        let mut bounds = Bounds::default();
        (bounds.max_calls, bounds.max_registrations, bounds.max_call_timeout) =
            (3, 3, Duration::from_secs(2));
        let present = SESSIONS.into_iter().collect();
        Self { floor: Floor::bounded(bounds), present, open: HashSet::new(), invocations: Vec::new() }
    }

    fn does(&mut self, who: u64, deed: Deed) {
        match deed {
            Deed::Say(message) => self.says(who, message),
            Deed::Answer { choice, own, progress, fails: failing } => {
                let Some(&(callee, request)) =
                    self.invocations.get(choice.checked_rem(self.invocations.len()).unwrap_or(0))
                else {
                    return;
                };
                let options = if progress { option("progress", true) } else { Dict::new() };
                let answer = if failing { fails(request, "com.error") } else { yields(request, options) };
                self.says(if own { callee } else { who }, answer);
            }
            Deed::Leave => {
                self.gone(who);
                self.floor.realm.leave(who);
            }
            Deed::Return if !self.present.contains(&who) => {
                let features = Features { call_canceling: who < CAROL, registration_revocation: who == BOB };
                self.floor.join(who, "again", "member", features);
                self.present.insert(who);
            }
            Deed::Return => {}
            Deed::Pass(ms) => {
                self.floor.now += Duration::from_millis(ms);
                self.floor.realm.handle_timeout(self.floor.now);
            }
        }
        self.listen();
    }

    fn says(&mut self, who: u64, message: Message) {
        if let Message::Call { request, .. } = &message
            && self.present.contains(&who)
        {
            self.open.insert((who, *request));
        }
        self.floor.realm.handle(self.floor.now, who, message);
    }

    fn gone(&mut self, who: u64) {
        self.present.remove(&who);
        self.open.retain(|(caller, _)| *caller != who);
    }

    fn listen(&mut self) {
        let heard = self.floor.heard();
        for (to, message) in heard {
            assert!(self.present.contains(&to), "{to} is a stranger: {message:?}");
            match message {
                Message::Abort { .. } => self.gone(to),
                Message::Invocation { request, .. } => self.invocations.push((to, request)),
                Message::Result { details, .. } if !details.is_empty() => {}
                Message::Result { request, .. }
                | Message::Error { request_type: code::CALL, request, .. } => {
                    assert!(self.open.remove(&(to, request)), "{to} got an answer too many to {request}");
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_gets_exactly_one_final_answer(
        deeds in vec((prop::sample::select(SESSIONS.to_vec()), deed()), 1..120)
    ) {
        let mut witness = Witness::new();
        for (who, deed) in deeds {
            witness.does(who, deed);
        }
        witness.does(ALICE, Deed::Pass(2000));
        prop_assert!(witness.open.is_empty(), "not answered: {:?}", witness.open);
        let status = witness.floor.realm.status();
        prop_assert_eq!((status.calls, status.sessions), (0, witness.present.len()));
        prop_assert_eq!(witness.floor.realm.poll_timeout(), None);
        for who in SESSIONS {
            witness.does(who, Deed::Leave);
        }
        prop_assert_eq!(witness.floor.realm.status(), Default::default());
    }

    #[test]
    fn no_frame_makes_a_realm_panic(frames in vec(vec(any::<u8>(), 0..60), 1..20), lead in 0usize..40) {
        let mut floor = Floor::new();
        let heads: [&[u8]; 4] = [&[0x84, 0x18, 48, 1], &[0x94, 64, 1, 0x80], b"[48,1,{},\"com.a\"", &[]];
        for (index, frame) in frames.iter().enumerate() {
            let bytes = [heads[(lead + index) % heads.len()], frame].concat();
            for serializer in Serializer::ALL {
                let mut elements = Vec::new();
                if serializer.decode(&bytes, &Limits::default(), None, &mut elements).is_ok()
                    && let Ok(message) = Message::parse(&mut elements)
                {
                    floor.say(ALICE, message);
                }
            }
        }
    }
}

#[test]
fn answers_are_counted_at_all() {
    let mut witness = Witness::new();
    witness.does(BOB, Deed::Say(register(1, "com.a", Dict::new())));
    witness.does(ALICE, Deed::Say(call(1, "com.a", Dict::new())));
    assert_eq!((witness.open.len(), witness.invocations.len()), (1, 1));
    witness.does(BOB, Deed::Answer { choice: 0, own: true, progress: false, fails: false });
    assert!(witness.open.is_empty());
}
