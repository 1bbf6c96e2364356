//! Routing a call: from the caller's frame to the callee's, and back with the answer.

use std::hint::black_box;
use std::time::Instant;

use xbr_market::router::realm::{Delivery, Features, Newcomer, Realm};
use xbr_market::router::{Bounds, RealmOptions, Role};
use xbr_wamp::Serializer;
use xbr_wamp::message::{Dict, Message, Payload};

use crate::Path;
use crate::sale::{channel, reader, request_of, sale};

const CALLER: u64 = 11;
const CALLEE: u64 = 12;
const PROCEDURE: &str = "xbr.provider.acme.sell";

pub(crate) fn paths() -> Vec<Path> {
    let mut floor = Floor::new();
    let args = request_of(&sale(&channel())).to_args();
    let mut request = 0;
    vec![Path::new("route a call", 500, move || {
        request += 1;
        let payload = Payload { args: args.clone(), kwargs: Dict::new() };
        let (options, procedure) = (Dict::new(), PROCEDURE.to_owned());
        let asked = floor.say(CALLER, Message::Call { request, options, procedure, payload });
        let Message::Invocation { request, payload, .. } = asked else { panic!("not invoked") };
        let answered = floor.say(CALLEE, Message::Yield { request, options: Dict::new(), payload });
        assert!(matches!(black_box(answered), Message::Result { .. }));
    })]
}

/// A realm with a caller and a callee.
struct Floor {
    realm: Realm,
    now: Instant,
}

impl Floor {
    fn new() -> Self {
        let options = RealmOptions::new("realm1").role(Role::unrestricted("member"));
        let mut floor = Self { realm: Realm::new(&options, Bounds::default()), now: Instant::now() };
        for session in [CALLER, CALLEE] {
            let (authid, role) = (session.to_string(), "member".to_owned());
            assert!(floor.realm.join(Newcomer { session, authid, role, features: Features::default() }));
        }
        let register =
            Message::Register { request: 1, options: Dict::new(), procedure: PROCEDURE.to_owned() };
        assert!(matches!(floor.say(CALLEE, register), Message::Registered { .. }));
        floor
    }

    /// Somebody says something, in bytes; what somebody hears of it, from bytes as well.
    fn say(&mut self, session: u64, message: Message) -> Message {
        let frame = Serializer::Cbor.encode(message.into_elements()).unwrap();
        let message = reader().read(&frame, |_| ()).unwrap();
        self.realm.handle(self.now, session, message);
        let Some(Delivery::Message { message, .. }) = self.realm.poll_delivery() else { panic!("no answer") };
        let frame = Serializer::Cbor.encode(message.into_elements()).unwrap();
        reader().read(&frame, |_| ()).unwrap()
    }
}
