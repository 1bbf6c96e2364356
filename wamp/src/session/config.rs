//! What a session is told from the start.

use std::time::Duration;

use xbr_core::Value;
use xbr_core::cbor::Limits;

use crate::auth::Auth;
use crate::codec::Serializer;
use crate::message::{Dict, Message};
use crate::reading::Reader;

/// How a session behaves. The transport has already settled the serializer.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The realm to join.
    pub realm: String,
    /// What we call ourselves towards the router.
    pub agent: String,
    /// How messages are serialized.
    pub serializer: Serializer,
    /// Who we are.
    pub auth: Auth,
    /// How much structure a message may have.
    pub limits: Limits,
    /// Up to which size a message is read in full. Of a larger one only the header is, to answer it.
    pub max_message_bytes: usize,
    /// Up to which size our own messages are sent.
    pub max_outgoing_bytes: usize,
    /// How long joining may take.
    pub join_timeout: Duration,
    /// How long requests wait for their answer, unless a call says otherwise.
    pub call_timeout: Duration,
    /// How long the router may take to answer our GOODBYE.
    pub leave_timeout: Duration,
    /// After how much silence a ping goes out; `None` for never.
    pub ping_interval: Option<Duration>,
    /// How long after a ping the connection counts as dead.
    pub ping_timeout: Duration,
    /// How many invocations and events may wait before reading stops. With four times as many waiting,
    /// because reading had to go on, invocations are refused and events dropped.
    pub max_backlog: usize,
    /// How many bytes of their frames may wait, likewise. One more frame may always wait.
    pub max_backlog_bytes: usize,
}

/// The roles, each with the features of the specification that this client really has.
const ROLES: [(&str, &[&str]); 4] = [
    ("caller", &["call_canceling", "caller_identification", "progressive_call_results"]),
    (
        "callee",
        &[
            "call_canceling",
            "caller_identification",
            "pattern_based_registration",
            "registration_revocation",
            "shared_registration",
        ],
    ),
    ("publisher", &[]),
    ("subscriber", &["pattern_based_subscription", "subscription_revocation"]),
];

impl SessionConfig {
    pub(super) fn reader(&self) -> Reader {
        let Self { serializer, limits, max_message_bytes, .. } = *self;
        Reader { serializer, limits, max_message_bytes }
    }

    pub(super) fn hello(&self) -> Message {
        let roles = ROLES.map(|(role, features)| {
            let features: Value = features.iter().map(|feature| (*feature, true)).collect();
            (role, Value::from_iter([("features", features)]))
        });
        let mut details: Dict = vec![
            ("roles".to_owned(), Value::from_iter(roles)),
            ("agent".to_owned(), Value::from(self.agent.as_str())),
        ];
        details.extend(self.auth.hello_details());
        Message::Hello { realm: self.realm.clone(), details }
    }
}
