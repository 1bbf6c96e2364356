//! What a router is made of: realms, who may join them, what they may do there, and bounds. Nothing of it
//! changes while the router runs.

use std::collections::HashSet;
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;
use xbr_core::cbor::Limits;
use xbr_wamp::{Match, Serializer, uri};

use super::permissions::Role;

/// What a router is made of. Made by [`RouterOptions::new`], then adjusted field by field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RouterOptions {
    /// The realms that can be joined.
    pub realms: Vec<RealmOptions>,
    /// What is served to clients, who choose. Default: all.
    pub serializers: Vec<Serializer>,
    /// How many connections there may be at once, those that have not joined yet included. Default: 1024.
    pub max_connections: usize,
    /// How long a client may take from its connection to its WELCOME. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How long a client may take to read what was sent. Default: 30 s.
    pub write_timeout: Duration,
    /// After how much silence a client is sent a ping; `None` for never. Default: 20 s.
    pub ping_interval: Option<Duration>,
    /// How long after a ping a client counts as dead. Default: 10 s.
    pub ping_timeout: Duration,
    /// Up to which size messages are routed. A request up to four times as large is answered with an error;
    /// what is larger still ends the connection. Default: 4 MiB.
    pub max_message_bytes: usize,
    /// How much structure a message may have. Default: 64 levels and 100,000 values.
    pub limits: Limits,
    /// How many messages may wait to be read by a client; one that has more waiting is disconnected. Beside
    /// what it did not ask for, there should be room for an answer to each of its calls. Default: 16,384.
    pub max_queued_messages: usize,
    /// How many messages may wait to be read by a client before it gets only what it asked for: events and
    /// interrupts are left out then, calls of its procedures fail, and calls of its own whose results come in
    /// parts. Default: 4096.
    pub max_queued_unasked: usize,
    /// How many bytes may wait to be read by a client: beyond half of it, it gets only what it asked for, and
    /// with more waiting it is disconnected. One message is let through in any case. Default: 32 MiB.
    pub max_queued_bytes: usize,
    /// What each session may take up in its realm.
    pub bounds: Bounds,
}

/// What a session may take up in its realm, and all together.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Bounds {
    /// How many procedures a session may register. Default: 1024.
    pub max_registrations: usize,
    /// How many topics a session may subscribe to. Default: 1024.
    pub max_subscriptions: usize,
    /// How many calls of a session may be under way, and how many invocations may wait for a callee's answer.
    /// Default: 4096.
    pub max_calls: usize,
    /// How many registrations and how many subscriptions there may be in the realm: each is looked at for
    /// each call or publication. Default: 4096.
    pub max_in_realm: usize,
    /// How long a callee may take, whatever the caller allows. Default: 10 min.
    pub max_call_timeout: Duration,
}

/// A realm and who may join it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RealmOptions {
    /// Its name, a URI.
    pub name: String,
    /// The roles that there are.
    pub roles: Vec<Role>,
    /// Who may join, with a proof.
    pub principals: Vec<Principal>,
    /// The role of those who join without a proof; `None` if nobody may. Default: `None`.
    pub anonymous: Option<String>,
}

/// Somebody who may join a realm. Several with the same authid are one, with several proofs.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The name.
    pub authid: String,
    /// The name of the role.
    pub role: String,
    /// The proof.
    pub credential: Credential,
}

/// What somebody proves to be somebody with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A ticket, that is a password.
    Ticket(SecretString),
    /// The Ed25519 key whose signature is asked for (`cryptosign`).
    Cryptosign {
        /// The public key: 32 bytes.
        public_key: [u8; 32],
    },
}

/// Who a session in this process is. It needs no proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub authid: String,
    /// The name of a role of the realm.
    pub role: String,
}

/// Why there can be no such router.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// Without realms nobody can join.
    #[error("router needs a realm")]
    NoRealm,
    /// Without serializers nobody can speak.
    #[error("router needs a serializer")]
    NoSerializer,
    /// A bound of zero lets nothing through.
    #[error("{bound} must not be 0")]
    Zero {
        /// The name of the bound.
        bound: &'static str,
    },
    /// A realm's name is not a URI.
    #[error("realm is not a valid uri: {realm:?}")]
    InvalidRealm {
        /// The name.
        realm: String,
    },
    /// Two realms, or two roles of a realm, have the same name.
    #[error("{what} {name:?} is there twice")]
    Twice {
        /// `realm` or `role`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A rule is for something that is not a URI.
    #[error("rule of role {role:?} is for an invalid uri: {uri:?}")]
    InvalidRule {
        /// The role.
        role: String,
        /// What it is for.
        uri: String,
    },
    /// Somebody is to have a role that there is not.
    #[error("realm {realm:?} has no role {role:?}")]
    UnknownRole {
        /// The realm.
        realm: String,
        /// The role.
        role: String,
    },
}

impl RouterOptions {
    /// The defaults, for these realms.
    pub fn new(realms: impl IntoIterator<Item = RealmOptions>) -> Self {
        Self {
            realms: realms.into_iter().collect(),
            serializers: Serializer::ALL.to_vec(),
            max_connections: 1024,
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(10),
            max_message_bytes: 4 << 20,
            limits: Limits { max_items: 100_000, ..Limits::default() },
            max_queued_messages: 16_384,
            max_queued_unasked: 4096,
            max_queued_bytes: 32 << 20,
            bounds: Bounds::default(),
        }
    }

    /// Checks what the types don't.
    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.realms.is_empty() {
            return Err(OptionsError::NoRealm);
        }
        if self.serializers.is_empty() {
            return Err(OptionsError::NoSerializer);
        }
        let bounds = [
            ("max_connections", self.max_connections),
            ("max_message_bytes", self.max_message_bytes),
            ("max_queued_messages", self.max_queued_messages),
            ("max_queued_bytes", self.max_queued_bytes),
        ];
        if let Some((bound, _)) = bounds.into_iter().find(|(_, value)| *value == 0) {
            return Err(OptionsError::Zero { bound });
        }
        unique("realm", self.realms.iter().map(|realm| realm.name.as_str()))?;
        self.realms.iter().try_for_each(RealmOptions::check)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_registrations: 1024,
            max_subscriptions: 1024,
            max_calls: 4096,
            max_in_realm: 4096,
            max_call_timeout: Duration::from_secs(600),
        }
    }
}

impl RealmOptions {
    /// A realm that nobody may join yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), roles: Vec::new(), principals: Vec::new(), anonymous: None }
    }

    /// Adds a role.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.roles.push(role);
        self
    }

    /// Adds somebody who may join.
    #[must_use]
    pub fn principal(
        mut self,
        authid: impl Into<String>,
        role: impl Into<String>,
        credential: Credential,
    ) -> Self {
        self.principals.push(Principal { authid: authid.into(), role: role.into(), credential });
        self
    }

    /// Lets anybody join, in that role.
    #[must_use]
    pub fn anonymous(mut self, role: impl Into<String>) -> Self {
        self.anonymous = Some(role.into());
        self
    }

    pub(super) fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }

    fn check(&self) -> Result<(), OptionsError> {
        if !uri::is_valid(&self.name) {
            return Err(OptionsError::InvalidRealm { realm: self.name.clone() });
        }
        unique("role", self.roles.iter().map(|role| role.name.as_str()))?;
        for role in &self.roles {
            // The empty prefix is the rule for everything.
            let mut rules = role.rules.iter();
            let bad = rules.find(|rule| {
                let everything = rule.uri.is_empty() && rule.matching == Match::Prefix;
                !everything && !uri::is_valid_pattern(&rule.uri, rule.matching)
            });
            if let Some(rule) = bad {
                return Err(OptionsError::InvalidRule { role: role.name.clone(), uri: rule.uri.clone() });
            }
        }
        let mut needed = self.principals.iter().map(|principal| &principal.role).chain(&self.anonymous);
        match needed.find(|role| !self.has_role(role)) {
            None => Ok(()),
            Some(role) => Err(OptionsError::UnknownRole { realm: self.name.clone(), role: role.clone() }),
        }
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), OptionsError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(OptionsError::Twice { what, name: name.to_owned() });
        }
    }
    Ok(())
}
