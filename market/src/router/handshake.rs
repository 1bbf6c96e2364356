//! From HELLO to WELCOME, without I/O, clock or runtime: one for each connection, gone when it is over.
//! Proofs are verified by the acceptor of `wampproto`, tickets here, in constant time.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;
use wampproto::acceptor::Acceptor;
use wampproto::authenticators::server::{AuthRequest, AuthResponse, ServerAuthenticator};
use wampproto::messages::authenticate::Authenticate;
use wampproto::messages::hello::Hello;
use wampproto::messages::message::Message as Routed;
use wampproto::messages::types::{Error, Value as RoutedValue};
use wampproto::serializers::json::JSONSerializer;
use wampproto::uris;
use xbr_core::Value;
use xbr_wamp::message::{Dict, Message};

use super::options::{Credential, Identity, Principal, RealmOptions};
use super::realm::{Features, Newcomer, abort, convert};

/// What a client is told of the router.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The roles, each with the features of the specification that this router really has.
const ROLES: [(&str, &[&str]); 2] = [
    (
        "broker",
        &[
            "pattern_based_subscription",
            "publisher_exclusion",
            "publisher_identification",
            "subscriber_blackwhite_listing",
        ],
    ),
    (
        "dealer",
        &[
            "call_canceling",
            "call_timeout",
            "caller_identification",
            "pattern_based_registration",
            "progressive_call_results",
            "registration_revocation",
            "shared_registration",
        ],
    ),
];

/// What follows from what a client said.
#[derive(Debug)]
pub(super) enum Step {
    /// It has to prove who it is: a CHALLENGE.
    Challenge(Message),
    /// It is let in.
    Welcome {
        /// Who it is.
        newcomer: Newcomer,
        /// The realm it wants to join.
        realm: String,
        /// The WELCOME.
        message: Message,
    },
    /// It is not let in: an ABORT.
    Abort(Message),
}

/// The handshake of one connection.
pub(super) struct Handshake {
    realms: Arc<[Arc<RealmOptions>]>,
    local: Option<Identity>,
    begun: Option<Begun>,
}

/// What HELLO has settled.
struct Begun {
    acceptor: Acceptor,
    realm: String,
    features: Features,
}

impl Handshake {
    /// For a client that may join these realms; one in this process is known already.
    pub(super) fn new(realms: Arc<[Arc<RealmOptions>]>, local: Option<Identity>) -> Self {
        Self { realms, local, begun: None }
    }

    /// The client said something.
    pub(super) fn handle(&mut self, message: Message) -> Step {
        match (message, &mut self.begun) {
            (Message::Hello { realm, details }, None) => self.hello(realm, &details),
            (Message::Authenticate { signature, .. }, Some(begun)) => {
                begun.step(&Authenticate { signature: signature.0, extra: HashMap::new() })
            }
            (other, _) => refused(uris::PROTOCOL_VIOLATION, format!("unexpected {}", other.name())),
        }
    }

    fn hello(&mut self, realm: String, details: &Dict) -> Step {
        let Some(known) = self.realms.iter().find(|known| known.name == realm) else {
            return refused(uris::NO_SUCH_REALM, "there is no such realm".to_owned());
        };
        if self.local.as_ref().is_some_and(|local| !known.has_role(&local.role)) {
            return refused(uris::NO_SUCH_ROLE, "the realm has no such role".to_owned());
        }
        let door = Door { realm: Arc::clone(known), local: self.local.clone() };
        // It serializes nothing, and the time it would note is not used.
        let acceptor =
            Acceptor::with_clock(Box::new(JSONSerializer {}), Box::new(door), Box::new(String::new));
        let hello = routed_hello(&realm, details);
        let begun = Begun { acceptor, realm, features: features(details) };
        self.begun.insert(begun).step(&hello)
    }
}

impl Begun {
    fn step(&mut self, message: &dyn Routed) -> Step {
        let answer = self.acceptor.receive_message(message);
        match answer.ok().and_then(|answer| convert::message(answer.as_ref())) {
            Some(challenge @ Message::Challenge { .. }) => Step::Challenge(challenge),
            Some(Message::Welcome { session, .. }) => self.welcome(session),
            Some(Message::Abort { reason, .. }) => refused(&reason, "authentication failed".to_owned()),
            _ => refused(uris::PROTOCOL_VIOLATION, "unexpected message".to_owned()),
        }
    }

    fn welcome(&mut self, session: u64) -> Step {
        let Ok(joined) = self.acceptor.session_details() else {
            return refused(uris::AUTHENTICATION_FAILED, "authentication failed".to_owned());
        };
        let (authid, role) = (joined.authid.clone(), joined.auth_role.clone());
        let roles = ROLES.map(|(role, features)| {
            let features: Value = features.iter().map(|feature| (*feature, true)).collect();
            (role, Value::from_iter([("features", features)]))
        });
        let details = [
            ("realm", self.realm.as_str().into()),
            ("authid", authid.as_str().into()),
            ("authrole", role.as_str().into()),
            ("authmethod", joined.auth_method.as_str().into()),
            ("authprovider", "static".into()),
            ("agent", AGENT.into()),
            ("roles", Value::from_iter(roles)),
        ];
        let details = details.map(|(key, value)| (key.to_owned(), value)).to_vec();
        Step::Welcome {
            newcomer: Newcomer { session, authid, role, features: self.features },
            realm: self.realm.clone(),
            message: Message::Welcome { session, details },
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("local", &self.local).finish_non_exhaustive()
    }
}

fn refused(reason: &str, text: String) -> Step {
    Step::Abort(abort(reason, text))
}

/// Who the client says it is and how it would prove that; the rest is of no use to the acceptor.
fn routed_hello(realm: &str, details: &Dict) -> Hello {
    let detail = |key: &str| details.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let authid = detail("authid").and_then(Value::as_str).unwrap_or_default();
    let methods = detail("authmethods").and_then(Value::as_list).unwrap_or_default();
    let methods = methods.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let key = detail("authextra").and_then(|extra| extra.field("pubkey")).and_then(Value::as_str);
    let extra = key.map(|key| ("pubkey".to_owned(), RoutedValue::str(key)));
    let roles = HashMap::from([("caller".to_owned(), RoutedValue::dict(HashMap::new()))]);
    Hello::new(realm, authid, extra.into_iter().collect(), roles, methods)
}

fn features(details: &Dict) -> Features {
    let roles = details.iter().find(|(name, _)| name == "roles").map(|(_, roles)| roles);
    let callee = roles.and_then(|roles| roles.field("callee")?.field("features"));
    let has = |feature| callee.and_then(|features| features.field(feature)?.as_bool()).unwrap_or(false);
    Features {
        call_canceling: has("call_canceling"),
        registration_revocation: has("registration_revocation"),
    }
}

/// Decides who may join a realm.
struct Door {
    realm: Arc<RealmOptions>,
    local: Option<Identity>,
}

impl Door {
    fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.realm.principals.iter()
    }

    fn anonymous(&self) -> Option<Identity> {
        self.local.clone().or_else(|| {
            let role = self.realm.anonymous.clone()?;
            Some(Identity { authid: "anonymous".to_owned(), role })
        })
    }

    fn by_ticket(&self, authid: &str, ticket: &str) -> Option<&Principal> {
        self.principals().find(|principal| match &principal.credential {
            Credential::Ticket(expected) if principal.authid == authid => {
                expected.expose_secret().as_bytes().ct_eq(ticket.as_bytes()).into()
            }
            _ => false,
        })
    }

    /// The owner of a key, which is proved afterwards. Without an authid the key alone says who it is.
    fn by_key(&self, authid: &str, key: &str) -> Option<&Principal> {
        let key = hex::decode(key).ok()?;
        self.principals().find(|principal| match &principal.credential {
            Credential::Cryptosign { public_key } => {
                (authid.is_empty() || principal.authid == authid) && *key == *public_key
            }
            Credential::Ticket(_) => false,
        })
    }
}

impl ServerAuthenticator for Door {
    fn methods(&self) -> Vec<String> {
        let knows = |wanted: fn(&Credential) -> bool| self.principals().any(|each| wanted(&each.credential));
        let methods = [
            ("anonymous", self.anonymous().is_some()),
            ("ticket", self.local.is_none() && knows(|each| matches!(each, Credential::Ticket(_)))),
            (
                "cryptosign",
                self.local.is_none() && knows(|each| matches!(each, Credential::Cryptosign { .. })),
            ),
        ];
        methods.into_iter().filter(|(_, served)| *served).map(|(method, _)| method.to_owned()).collect()
    }

    fn authenticate(&self, request: &AuthRequest) -> Result<AuthResponse, Error> {
        let known = |principal: &Principal| Identity {
            authid: principal.authid.clone(),
            role: principal.role.clone(),
        };
        let found = match (request.method.as_str(), &request.ticket, &request.public_key) {
            ("anonymous", ..) => self.anonymous(),
            ("ticket", Some(ticket), _) => self.by_ticket(&request.authid, ticket).map(known),
            ("cryptosign", _, Some(key)) => self.by_key(&request.authid, key).map(known),
            _ => None,
        };
        let found = found.ok_or_else(|| Error::new("nobody known by that"))?;
        Ok(AuthResponse::new(found.authid, found.role))
    }
}
