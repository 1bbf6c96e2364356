//! What can be asked of a session, and what comes back.

use std::fmt;
use std::time::Duration;

use xbr_core::Value;

use crate::message::{Dict, Payload};
use crate::uri::Match;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A registration of this session.
    RegistrationId
);
id!(
    /// A subscription of this session.
    SubscriptionId
);
id!(
    /// A publication, as the router numbers it.
    PublicationId
);

/// A call of a remote procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The procedure's URI.
    pub procedure: String,
    /// The arguments.
    pub payload: Payload,
    /// How long to wait for the answer, instead of the session's default.
    pub timeout: Option<Duration>,
    /// Whether the callee shall learn who calls.
    pub disclose_me: bool,
}

impl Call {
    /// A call without arguments.
    pub fn new(procedure: impl Into<String>) -> Self {
        Self { procedure: procedure.into(), payload: Payload::default(), timeout: None, disclose_me: false }
    }

    /// Sets the positional arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = Value>) -> Self {
        self.payload.args = args.into_iter().collect();
        self
    }

    /// Sets the keyword arguments.
    #[must_use]
    pub fn kwargs(mut self, kwargs: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.payload.kwargs = kwargs.into_iter().collect();
        self
    }

    /// Sets how long to wait for the answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What a procedure returned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallResult {
    /// Positional results.
    pub args: Vec<Value>,
    /// Keyword results.
    pub kwargs: Dict,
}

/// Which callee of a procedure gets an invocation. All callees of a URI must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Invoke {
    /// There may be one callee only.
    #[default]
    Single,
    /// The callee that registered first.
    First,
    /// The callee that registered last.
    Last,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
}

impl Invoke {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::First => "first",
            Self::Last => "last",
            Self::RoundRobin => "roundrobin",
            Self::Random => "random",
        }
    }
}

/// How to register a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegisterOptions {
    /// Which URIs are answered.
    pub matching: Match,
    /// How invocations are shared with other callees.
    pub invoke: Invoke,
    /// Whether to take the registration over from whoever holds it (Crossbar).
    pub force_reregister: bool,
}

impl RegisterOptions {
    pub(crate) fn to_dict(self) -> Dict {
        let mut options = match_option(self.matching);
        if self.invoke != Invoke::Single {
            options.push(("invoke".to_owned(), self.invoke.as_str().into()));
        }
        if self.force_reregister {
            options.push(("force_reregister".to_owned(), true.into()));
        }
        options
    }
}

/// The option for a matching other than the default.
pub(crate) fn match_option(matching: Match) -> Dict {
    match matching {
        Match::Exact => Dict::new(),
        other => vec![("match".to_owned(), other.as_str().into())],
    }
}

/// An event to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// The topic's URI.
    pub topic: String,
    /// The arguments.
    pub payload: Payload,
    /// Whether the router shall confirm it. Without, nothing is known but that it was queued.
    pub acknowledge: bool,
}

impl Publish {
    /// An event without arguments, not acknowledged.
    pub fn new(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), payload: Payload::default(), acknowledge: false }
    }

    /// Sets the positional arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = Value>) -> Self {
        self.payload.args = args.into_iter().collect();
        self
    }

    /// Sets the keyword arguments.
    #[must_use]
    pub fn kwargs(mut self, kwargs: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.payload.kwargs = kwargs.into_iter().collect();
        self
    }

    /// Asks the router to confirm it.
    #[must_use]
    pub fn acknowledge(mut self) -> Self {
        self.acknowledge = true;
        self
    }
}

/// The answer to an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The results.
    Yield(Payload),
    /// An error with its URI.
    Error {
        /// The URI.
        uri: String,
        /// What goes with it.
        payload: Payload,
    },
}

impl Answer {
    /// An error with a text as its only argument.
    pub fn error(uri: &str, text: impl Into<String>) -> Self {
        let payload = Payload { args: vec![Value::Str(text.into())], kwargs: Dict::new() };
        Self::Error { uri: uri.to_owned(), payload }
    }
}
