//! Each message both ways, and what is refused.

use xbr_core::cbor::Limits;

use super::*;
use crate::codec::Serializer;

fn dict(key: &str) -> Dict {
    vec![(key.to_owned(), Value::Bool(true))]
}

fn payload() -> Payload {
    Payload { args: vec![Value::Int(1), Value::Bytes(vec![2])], kwargs: dict("k") }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// One of each kind, with everything that it can have.
fn messages() -> Vec<(u64, Message)> {
    use code::*;
    let (request, details, options, extra) = (7, dict("d"), dict("o"), dict("e"));
    vec![
        (HELLO, Message::Hello { realm: text("realm1"), details: details.clone() }),
        (WELCOME, Message::Welcome { session: MAX_ID, details: details.clone() }),
        (ABORT, Message::Abort { details: details.clone(), reason: text("a.b") }),
        (CHALLENGE, Message::Challenge { method: text("ticket"), extra: extra.clone() }),
        (AUTHENTICATE, Message::Authenticate { signature: Proof(text("s")), extra }),
        (GOODBYE, Message::Goodbye { details: details.clone(), reason: text("a.b") }),
        (
            ERROR,
            Message::Error {
                request_type: CALL,
                request,
                details: details.clone(),
                error: text("a.b"),
                payload: payload(),
            },
        ),
        (
            PUBLISH,
            Message::Publish { request, options: options.clone(), topic: text("t"), payload: payload() },
        ),
        (PUBLISHED, Message::Published { request, publication: 9 }),
        (SUBSCRIBE, Message::Subscribe { request, options: options.clone(), topic: text("t") }),
        (SUBSCRIBED, Message::Subscribed { request, subscription: 9 }),
        (UNSUBSCRIBE, Message::Unsubscribe { request, subscription: 9 }),
        (UNSUBSCRIBED, Message::Unsubscribed { request: 0, details: details.clone() }),
        (
            EVENT,
            Message::Event { subscription: 1, publication: 2, details: details.clone(), payload: payload() },
        ),
        (CALL, Message::Call { request, options: options.clone(), procedure: text("p"), payload: payload() }),
        (CANCEL, Message::Cancel { request, options: options.clone() }),
        (RESULT, Message::Result { request, details: details.clone(), payload: payload() }),
        (REGISTER, Message::Register { request, options: options.clone(), procedure: text("p") }),
        (REGISTERED, Message::Registered { request, registration: 9 }),
        (UNREGISTER, Message::Unregister { request, registration: 9 }),
        (UNREGISTERED, Message::Unregistered { request: 0, details: details.clone() }),
        (INVOCATION, Message::Invocation { request, registration: 3, details, payload: payload() }),
        (INTERRUPT, Message::Interrupt { request, options: options.clone() }),
        (YIELD, Message::Yield { request, options, payload: payload() }),
    ]
}

#[test]
fn every_message_is_read_back_as_it_was_written() {
    for (code, message) in messages() {
        let mut elements = message.clone().into_elements();
        assert_eq!((elements[0].as_u64(), message.code()), (Some(code), code));
        assert_eq!(Message::parse(&mut elements), Ok(message), "{:?}", name(code));
    }
}

#[test]
fn every_message_survives_every_serializer() {
    for serializer in Serializer::ALL {
        for (code, message) in messages() {
            let bytes = serializer.encode(message.clone().into_elements()).unwrap();
            let mut elements = Vec::new();
            serializer.decode(&bytes, &Limits::default(), None, &mut elements).unwrap();
            assert_eq!(Message::parse(&mut elements), Ok(message), "{serializer} {:?}", name(code));
        }
    }
}

#[test]
fn every_message_is_refused_when_an_element_lacks_or_is_of_another_type() {
    for (code, message) in messages() {
        let elements = message.into_elements();
        for len in 1..elements.len().min(3) {
            let error = Message::parse(&mut elements[..len].to_vec());
            let may_end = matches!(code, code::UNSUBSCRIBED | code::UNREGISTERED) && len == 2;
            assert_eq!(error.is_err(), !may_end, "{:?} of {len}", name(code));
        }
        for index in 1..elements.len() {
            let mut wrong = elements.clone();
            wrong[index] = Value::Float(1.0);
            let error = Message::parse(&mut wrong);
            assert!(matches!(error, Err(MessageError::Type { .. })), "{:?} at {index}", name(code));
        }
        if code != code::ABORT {
            let excess = [elements, vec![Value::Null; 3]].concat();
            assert!(Message::parse(&mut excess.clone()).is_err(), "{:?}", name(code));
        }
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let of = |elements: &[Value]| Message::parse(&mut elements.to_vec());
    for code in [0, 7, 9, 15, 31, 37, 47, 63, 71, 1000] {
        assert_eq!(of(&[Value::from(code as u64), Value::Int(1)]), Err(MessageError::UnknownType), "{code}");
    }
    assert_eq!(of(&[]), Err(MessageError::UnknownType));
    assert_eq!(of(&["68".into()]), Err(MessageError::UnknownType));
    let beyond = of(&[code::PUBLISHED.into(), (MAX_ID + 1).into(), 1u64.into()]);
    assert!(matches!(beyond, Err(MessageError::Type { .. })));
    let numbered: Value = [(Value::Int(1), Value::Null)].into_iter().collect();
    assert!(of(&[code::RESULT.into(), 1u64.into(), numbered]).is_err());
}

#[test]
fn arguments_may_be_null_or_left_out() {
    let mut elements = vec![code::RESULT.into(), 1u64.into(), Value::Map(vec![]), Value::Null, Value::Null];
    let bare = Message::Result { request: 1, details: Dict::new(), payload: Payload::default() };
    assert_eq!(Message::parse(&mut elements), Ok(bare.clone()));
    assert_eq!(bare.into_elements().len(), 3);
}

#[test]
fn whom_an_unreadable_message_concerns_is_found_out() {
    for (elements, concerned) in [
        (vec![68u64, 7], Salvage::Invocation(7)),
        (vec![68], Salvage::Nobody),
        (vec![68, 0], Salvage::Nobody),
        (vec![68, MAX_ID + 1], Salvage::Nobody),
        (vec![36], Salvage::Droppable),
        (vec![69], Salvage::Droppable),
        (vec![50, 3], Salvage::Answer(3)),
        (vec![8, 48, 3], Salvage::Answer(3)),
        (vec![8, 48], Salvage::Nobody),
        (vec![65, 3], Salvage::Answer(3)),
        (vec![2, 3], Salvage::Nobody),
        (vec![], Salvage::Nobody),
    ] {
        let values: Vec<Value> = elements.iter().copied().map(Value::from).collect();
        assert_eq!(salvage(&values), concerned, "{elements:?}");
    }
}
