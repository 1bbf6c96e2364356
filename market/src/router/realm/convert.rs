//! Between our messages and those of `wampproto`, without what applications send along: its values cannot
//! carry everything, so they never pass through it.

use std::collections::HashMap;

use wampproto::messages::event::Event;
use wampproto::messages::invocation::Invocation;
use wampproto::messages::message::Message as Routed;
use wampproto::messages::result::Result_;
use wampproto::messages::types::Value as RoutedValue;
use xbr_core::Value;
use xbr_wamp::message::{Dict, Message, Payload};

/// Options as the dealer and the broker take them.
pub(super) type Options = HashMap<String, RoutedValue>;

/// Options out of those that are set.
pub(super) fn options<const N: usize>(options: [(&str, Option<RoutedValue>); N]) -> Options {
    options.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// A flag that is set, as an option.
pub(super) fn flag(set: bool) -> Option<RoutedValue> {
    set.then_some(RoutedValue::Bool(true))
}

/// An id as `wampproto` has it. Ids are at most 2^53.
pub(super) fn id(id: u64) -> i64 {
    i64::try_from(id).unwrap_or_default()
}

/// A message of the dealer, the broker or the acceptor as one of ours; `None` for one that is none.
pub(in crate::router) fn message(routed: &dyn Routed) -> Option<Message> {
    frequent(routed).or_else(|| rare(routed))
}

/// Those that come with every call and every publication, without the detour over lists of values.
fn frequent(routed: &dyn Routed) -> Option<Message> {
    let (routed, payload) = (routed.as_any(), Payload::default());
    if let Some(Invocation { request_id, registration_id, details, .. }) = routed.downcast_ref() {
        let (request, registration) = (request_id.unsigned_abs(), registration_id.unsigned_abs());
        return Some(Message::Invocation { request, registration, details: dict(details), payload });
    }
    if let Some(Result_ { request_id, details, .. }) = routed.downcast_ref() {
        return Some(Message::Result { request: request_id.unsigned_abs(), details: dict(details), payload });
    }
    let Event { subscription_id, publication_id, details, .. } = routed.downcast_ref()?;
    let (subscription, publication) = (subscription_id.unsigned_abs(), publication_id.unsigned_abs());
    Some(Message::Event { subscription, publication, details: dict(details), payload })
}

fn rare(routed: &dyn Routed) -> Option<Message> {
    let mut elements: Vec<Value> = routed.marshal().into_iter().map(value).collect();
    Message::parse(&mut elements).ok()
}

fn dict(routed: &Options) -> Dict {
    routed.iter().map(|(key, item)| (key.clone(), value(item.clone()))).collect()
}

fn value(routed: RoutedValue) -> Value {
    match routed {
        RoutedValue::Null => Value::Null,
        RoutedValue::Int(int) => Value::Int(int.into()),
        RoutedValue::UInt(int) => Value::Int(int.into()),
        RoutedValue::Float(float) => Value::Float(float),
        RoutedValue::Bool(bool) => Value::Bool(bool),
        RoutedValue::Str(text) => Value::Str(text),
        RoutedValue::List(items) => Value::List(items.into_iter().map(value).collect()),
        RoutedValue::Dict(pairs) => pairs.into_iter().map(|(key, item)| (key, value(item))).collect(),
        RoutedValue::Bytes(bytes) => Value::Bytes(bytes.0),
    }
}
