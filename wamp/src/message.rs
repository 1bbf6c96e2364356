//! WAMP messages as types, and as the lists of values that a serializer carries.
//!
//! Parsing checks arity and types. What could not be parsed still tells, by [`Salvage`], whom an answer is
//! due.

use std::fmt;

use thiserror::Error;
use xbr_core::Value;

/// The greatest id: 2^53.
pub const MAX_ID: u64 = 1 << 53;

/// A dictionary with text keys, in the order of the wire.
pub type Dict = Vec<(String, Value)>;

/// Type codes, as the specification numbers them.
pub mod code {
    #![allow(missing_docs)]
    pub const HELLO: u64 = 1;
    pub const WELCOME: u64 = 2;
    pub const ABORT: u64 = 3;
    pub const CHALLENGE: u64 = 4;
    pub const AUTHENTICATE: u64 = 5;
    pub const GOODBYE: u64 = 6;
    pub const ERROR: u64 = 8;
    pub const PUBLISH: u64 = 16;
    pub const PUBLISHED: u64 = 17;
    pub const SUBSCRIBE: u64 = 32;
    pub const SUBSCRIBED: u64 = 33;
    pub const UNSUBSCRIBE: u64 = 34;
    pub const UNSUBSCRIBED: u64 = 35;
    pub const EVENT: u64 = 36;
    pub const CALL: u64 = 48;
    pub const CANCEL: u64 = 49;
    pub const RESULT: u64 = 50;
    pub const REGISTER: u64 = 64;
    pub const REGISTERED: u64 = 65;
    pub const UNREGISTER: u64 = 66;
    pub const UNREGISTERED: u64 = 67;
    pub const INVOCATION: u64 = 68;
    pub const INTERRUPT: u64 = 69;
    pub const YIELD: u64 = 70;
}

/// What an application sends along: positional and keyword arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Payload {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Dict,
}

/// What proves who one is, which may be a password: never shown.
#[derive(Clone, PartialEq)]
pub struct Proof(pub String);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// A message in either direction. Ids are 1 to 2^53; `details`, `options` and `extra` are as the
/// specification has them.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Message {
    Hello { realm: String, details: Dict },
    Welcome { session: u64, details: Dict },
    Abort { details: Dict, reason: String },
    Challenge { method: String, extra: Dict },
    Authenticate { signature: Proof, extra: Dict },
    Goodbye { details: Dict, reason: String },
    Error { request_type: u64, request: u64, details: Dict, error: String, payload: Payload },
    Publish { request: u64, options: Dict, topic: String, payload: Payload },
    Published { request: u64, publication: u64 },
    Subscribe { request: u64, options: Dict, topic: String },
    Subscribed { request: u64, subscription: u64 },
    Unsubscribe { request: u64, subscription: u64 },
    Unsubscribed { request: u64, details: Dict },
    Event { subscription: u64, publication: u64, details: Dict, payload: Payload },
    Call { request: u64, options: Dict, procedure: String, payload: Payload },
    Cancel { request: u64, options: Dict },
    Result { request: u64, details: Dict, payload: Payload },
    Register { request: u64, options: Dict, procedure: String },
    Registered { request: u64, registration: u64 },
    Unregister { request: u64, registration: u64 },
    Unregistered { request: u64, details: Dict },
    Invocation { request: u64, registration: u64, details: Dict, payload: Payload },
    Interrupt { request: u64, options: Dict },
    Yield { request: u64, options: Dict, payload: Payload },
}

/// Why a list of values is not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The first element is no type code of the specification.
    #[error("unknown message type")]
    UnknownType,
    /// Too few elements.
    #[error("{message} lacks {field}")]
    Missing {
        /// The name of the message.
        message: &'static str,
        /// The name of the element.
        field: &'static str,
    },
    /// Too many elements.
    #[error("{message} has more elements than the specification knows")]
    Excess {
        /// The name of the message.
        message: &'static str,
    },
    /// An element of the wrong type.
    #[error("{field} of {message} must be {expected}, got {actual}")]
    Type {
        /// The name of the message.
        message: &'static str,
        /// The name of the element.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// The kind of value there was.
        actual: &'static str,
    },
}

/// Whom an unreadable message concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salvage {
    /// A call to us with this request id: it can be answered with an ERROR.
    Invocation(u64),
    /// An answer to our request with this id: the request fails.
    Answer(u64),
    /// An event, or an interrupt, that can be left out.
    Droppable,
    /// Nobody that could be told.
    Nobody,
}

/// Finds out whom a message concerned of which only these first elements could be read.
pub fn salvage(elements: &[Value]) -> Salvage {
    let id =
        |index: usize| elements.get(index).and_then(Value::as_u64).filter(|id| (1..=MAX_ID).contains(id));
    let answer = |index| id(index).map_or(Salvage::Nobody, Salvage::Answer);
    match elements.first().and_then(Value::as_u64) {
        Some(code::INVOCATION) => id(1).map_or(Salvage::Nobody, Salvage::Invocation),
        Some(code::EVENT | code::INTERRUPT) => Salvage::Droppable,
        Some(code::ERROR) => answer(2),
        Some(
            code::RESULT
            | code::PUBLISHED
            | code::SUBSCRIBED
            | code::UNSUBSCRIBED
            | code::REGISTERED
            | code::UNREGISTERED,
        ) => answer(1),
        _ => Salvage::Nobody,
    }
}

/// Hands out the elements of a message one by one.
struct Elements<'a> {
    message: &'static str,
    rest: std::vec::Drain<'a, Value>,
}

impl Elements<'_> {
    fn next(&mut self, field: &'static str) -> Result<Value, MessageError> {
        self.rest.next().ok_or(MessageError::Missing { message: self.message, field })
    }

    fn wrong(&self, field: &'static str, expected: &'static str, actual: &Value) -> MessageError {
        MessageError::Type { message: self.message, field, expected, actual: actual.kind() }
    }

    fn id(&mut self, field: &'static str) -> Result<u64, MessageError> {
        let value = self.next(field)?;
        let id = value.as_u64().filter(|id| *id <= MAX_ID);
        id.ok_or_else(|| self.wrong(field, "an id", &value))
    }

    fn text(&mut self, field: &'static str) -> Result<String, MessageError> {
        match self.next(field)? {
            Value::Str(text) => Ok(text),
            other => Err(self.wrong(field, "a string", &other)),
        }
    }

    fn dict(&mut self, field: &'static str) -> Result<Dict, MessageError> {
        match self.next(field)? {
            Value::Map(pairs) => self.text_keys(field, pairs),
            other => Err(self.wrong(field, "a map", &other)),
        }
    }

    fn text_keys(&self, field: &'static str, pairs: Vec<(Value, Value)>) -> Result<Dict, MessageError> {
        pairs
            .into_iter()
            .map(|(key, value)| match key {
                Value::Str(key) => Ok((key, value)),
                other => Err(self.wrong(field, "a map with text keys", &other)),
            })
            .collect()
    }

    /// The optional details at the end of an answer, which some routers send and others don't.
    fn optional_dict(&mut self, field: &'static str) -> Result<Dict, MessageError> {
        match self.rest.len() {
            0 => Ok(Dict::new()),
            _ => self.dict(field),
        }
    }

    /// The optional arguments at the end; null stands for none.
    fn payload(&mut self) -> Result<Payload, MessageError> {
        let args = match self.rest.next() {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::List(args)) => args,
            Some(other) => return Err(self.wrong("arguments", "a list", &other)),
        };
        let kwargs = match self.rest.next() {
            None | Some(Value::Null) => Dict::new(),
            Some(Value::Map(pairs)) => self.text_keys("keyword arguments", pairs)?,
            Some(other) => return Err(self.wrong("keyword arguments", "a map", &other)),
        };
        Ok(Payload { args, kwargs })
    }
}

impl Message {
    /// Reads a message out of its elements.
    ///
    /// # Errors
    /// [`MessageError`] for an unknown type code, a wrong number of elements, or an element of the wrong
    /// type. Apply [`salvage`] to the elements beforehand if an answer is due: they are taken out.
    pub fn parse(elements: &mut Vec<Value>) -> Result<Self, MessageError> {
        let code = elements.first().and_then(Value::as_u64).ok_or(MessageError::UnknownType)?;
        let message = name(code).ok_or(MessageError::UnknownType)?;
        let mut elements = Elements { message, rest: elements.drain(1..) };
        let parsed = if code < code::PUBLISH {
            Self::parse_session(code, &mut elements)?
        } else if code < code::CALL {
            Self::parse_pubsub(code, &mut elements)?
        } else {
            Self::parse_rpc(code, &mut elements)?
        };
        match elements.rest.len() {
            0 => Ok(parsed),
            _ => Err(MessageError::Excess { message }),
        }
    }

    fn parse_session(code: u64, e: &mut Elements<'_>) -> Result<Self, MessageError> {
        Ok(match code {
            code::HELLO => Self::Hello { realm: e.text("realm")?, details: e.dict("details")? },
            code::WELCOME => Self::Welcome { session: e.id("session")?, details: e.dict("details")? },
            code::ABORT => {
                let abort = Self::Abort { details: e.dict("details")?, reason: e.text("reason")? };
                e.payload()?;
                abort
            }
            code::CHALLENGE => Self::Challenge { method: e.text("method")?, extra: e.dict("extra")? },
            code::AUTHENTICATE => {
                Self::Authenticate { signature: Proof(e.text("signature")?), extra: e.dict("extra")? }
            }
            code::GOODBYE => Self::Goodbye { details: e.dict("details")?, reason: e.text("reason")? },
            code::ERROR => Self::Error {
                request_type: e.id("request type")?,
                request: e.id("request")?,
                details: e.dict("details")?,
                error: e.text("error")?,
                payload: e.payload()?,
            },
            _ => return Err(MessageError::UnknownType),
        })
    }

    fn parse_pubsub(code: u64, e: &mut Elements<'_>) -> Result<Self, MessageError> {
        let id = e.id(if code == code::EVENT { "subscription" } else { "request" })?;
        Ok(match code {
            code::PUBLISH => Self::Publish {
                request: id,
                options: e.dict("options")?,
                topic: e.text("topic")?,
                payload: e.payload()?,
            },
            code::PUBLISHED => Self::Published { request: id, publication: e.id("publication")? },
            code::SUBSCRIBE => {
                Self::Subscribe { request: id, options: e.dict("options")?, topic: e.text("topic")? }
            }
            code::SUBSCRIBED => Self::Subscribed { request: id, subscription: e.id("subscription")? },
            code::UNSUBSCRIBE => Self::Unsubscribe { request: id, subscription: e.id("subscription")? },
            code::UNSUBSCRIBED => Self::Unsubscribed { request: id, details: e.optional_dict("details")? },
            code::EVENT => Self::Event {
                subscription: id,
                publication: e.id("publication")?,
                details: e.dict("details")?,
                payload: e.payload()?,
            },
            _ => return Err(MessageError::UnknownType),
        })
    }

    fn parse_rpc(code: u64, e: &mut Elements<'_>) -> Result<Self, MessageError> {
        let request = e.id("request")?;
        Ok(match code {
            code::CALL => Self::Call {
                request,
                options: e.dict("options")?,
                procedure: e.text("procedure")?,
                payload: e.payload()?,
            },
            code::CANCEL => Self::Cancel { request, options: e.dict("options")? },
            code::RESULT => Self::Result { request, details: e.dict("details")?, payload: e.payload()? },
            code::REGISTER => {
                Self::Register { request, options: e.dict("options")?, procedure: e.text("procedure")? }
            }
            code::REGISTERED => Self::Registered { request, registration: e.id("registration")? },
            code::UNREGISTER => Self::Unregister { request, registration: e.id("registration")? },
            code::UNREGISTERED => Self::Unregistered { request, details: e.optional_dict("details")? },
            code::INVOCATION => Self::Invocation {
                request,
                registration: e.id("registration")?,
                details: e.dict("details")?,
                payload: e.payload()?,
            },
            code::INTERRUPT => Self::Interrupt { request, options: e.dict("options")? },
            code::YIELD => Self::Yield { request, options: e.dict("options")?, payload: e.payload()? },
            _ => return Err(MessageError::UnknownType),
        })
    }

    /// The name of its type, as the specification writes it.
    pub fn name(&self) -> &'static str {
        name(self.code()).unwrap_or_default()
    }

    /// The code of its type.
    pub const fn code(&self) -> u64 {
        match self {
            Self::Hello { .. } => code::HELLO,
            Self::Welcome { .. } => code::WELCOME,
            Self::Abort { .. } => code::ABORT,
            Self::Challenge { .. } => code::CHALLENGE,
            Self::Authenticate { .. } => code::AUTHENTICATE,
            Self::Goodbye { .. } => code::GOODBYE,
            Self::Error { .. } => code::ERROR,
            Self::Publish { .. } => code::PUBLISH,
            Self::Published { .. } => code::PUBLISHED,
            Self::Subscribe { .. } => code::SUBSCRIBE,
            Self::Subscribed { .. } => code::SUBSCRIBED,
            Self::Unsubscribe { .. } => code::UNSUBSCRIBE,
            Self::Unsubscribed { .. } => code::UNSUBSCRIBED,
            Self::Event { .. } => code::EVENT,
            Self::Call { .. } => code::CALL,
            Self::Cancel { .. } => code::CANCEL,
            Self::Result { .. } => code::RESULT,
            Self::Register { .. } => code::REGISTER,
            Self::Registered { .. } => code::REGISTERED,
            Self::Unregister { .. } => code::UNREGISTER,
            Self::Unregistered { .. } => code::UNREGISTERED,
            Self::Invocation { .. } => code::INVOCATION,
            Self::Interrupt { .. } => code::INTERRUPT,
            Self::Yield { .. } => code::YIELD,
        }
    }

    /// The elements of the message, in the order of the wire.
    pub fn into_elements(self) -> Vec<Value> {
        use code::*;
        match self {
            Self::Hello { realm, details } => vec![HELLO.into(), realm.into(), dict(details)],
            Self::Welcome { session, details } => vec![WELCOME.into(), session.into(), dict(details)],
            Self::Abort { details, reason } => vec![ABORT.into(), dict(details), reason.into()],
            Self::Challenge { method, extra } => vec![CHALLENGE.into(), method.into(), dict(extra)],
            Self::Authenticate { signature, extra } => {
                vec![AUTHENTICATE.into(), signature.0.into(), dict(extra)]
            }
            Self::Goodbye { details, reason } => vec![GOODBYE.into(), dict(details), reason.into()],
            Self::Error { request_type, request, details, error, payload } => payload.append_to(vec![
                ERROR.into(),
                request_type.into(),
                request.into(),
                dict(details),
                error.into(),
            ]),
            Self::Publish { request, options, topic, payload } => {
                payload.append_to(vec![PUBLISH.into(), request.into(), dict(options), topic.into()])
            }
            Self::Published { request, publication } => ids(PUBLISHED, request, publication),
            Self::Subscribe { request, options, topic } => {
                vec![SUBSCRIBE.into(), request.into(), dict(options), topic.into()]
            }
            Self::Subscribed { request, subscription } => ids(SUBSCRIBED, request, subscription),
            Self::Unsubscribe { request, subscription } => ids(UNSUBSCRIBE, request, subscription),
            Self::Unsubscribed { request, details } => answer(UNSUBSCRIBED, request, details),
            Self::Event { subscription, publication, details, payload } => {
                payload.append_to(vec![EVENT.into(), subscription.into(), publication.into(), dict(details)])
            }
            Self::Call { request, options, procedure, payload } => {
                payload.append_to(vec![CALL.into(), request.into(), dict(options), procedure.into()])
            }
            Self::Cancel { request, options } => vec![CANCEL.into(), request.into(), dict(options)],
            Self::Result { request, details, payload } => {
                payload.append_to(vec![RESULT.into(), request.into(), dict(details)])
            }
            Self::Register { request, options, procedure } => {
                vec![REGISTER.into(), request.into(), dict(options), procedure.into()]
            }
            Self::Registered { request, registration } => ids(REGISTERED, request, registration),
            Self::Unregister { request, registration } => ids(UNREGISTER, request, registration),
            Self::Unregistered { request, details } => answer(UNREGISTERED, request, details),
            Self::Invocation { request, registration, details, payload } => {
                payload.append_to(vec![INVOCATION.into(), request.into(), registration.into(), dict(details)])
            }
            Self::Interrupt { request, options } => vec![INTERRUPT.into(), request.into(), dict(options)],
            Self::Yield { request, options, payload } => {
                payload.append_to(vec![YIELD.into(), request.into(), dict(options)])
            }
        }
    }
}

impl Payload {
    /// Appends the arguments, leaving out what is empty at the end.
    fn append_to(self, mut elements: Vec<Value>) -> Vec<Value> {
        let has_kwargs = !self.kwargs.is_empty();
        if has_kwargs || !self.args.is_empty() {
            elements.push(Value::List(self.args));
        }
        if has_kwargs {
            elements.push(dict(self.kwargs));
        }
        elements
    }
}

fn dict(pairs: Dict) -> Value {
    pairs.into_iter().collect()
}

fn ids(code: u64, first: u64, second: u64) -> Vec<Value> {
    vec![code.into(), first.into(), second.into()]
}

fn answer(code: u64, request: u64, details: Dict) -> Vec<Value> {
    let mut elements = vec![code.into(), request.into()];
    if !details.is_empty() {
        elements.push(dict(details));
    }
    elements
}

/// The name of a type of messages, as the specification writes it.
fn name(code: u64) -> Option<&'static str> {
    Some(match code {
        code::HELLO => "HELLO",
        code::WELCOME => "WELCOME",
        code::ABORT => "ABORT",
        code::CHALLENGE => "CHALLENGE",
        code::AUTHENTICATE => "AUTHENTICATE",
        code::GOODBYE => "GOODBYE",
        code::ERROR => "ERROR",
        code::PUBLISH => "PUBLISH",
        code::PUBLISHED => "PUBLISHED",
        code::SUBSCRIBE => "SUBSCRIBE",
        code::SUBSCRIBED => "SUBSCRIBED",
        code::UNSUBSCRIBE => "UNSUBSCRIBE",
        code::UNSUBSCRIBED => "UNSUBSCRIBED",
        code::EVENT => "EVENT",
        code::CALL => "CALL",
        code::CANCEL => "CANCEL",
        code::RESULT => "RESULT",
        code::REGISTER => "REGISTER",
        code::REGISTERED => "REGISTERED",
        code::UNREGISTER => "UNREGISTER",
        code::UNREGISTERED => "UNREGISTERED",
        code::INVOCATION => "INVOCATION",
        code::INTERRUPT => "INTERRUPT",
        code::YIELD => "YIELD",
        _ => return None,
    })
}

/// What a dictionary holds under a key.
pub(crate) fn field<'a>(dict: &'a Dict, key: &str) -> Option<&'a Value> {
    dict.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// A text that a dictionary holds under a key.
pub(crate) fn text(dict: &Dict, key: &str) -> Option<String> {
    field(dict, key).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests;
