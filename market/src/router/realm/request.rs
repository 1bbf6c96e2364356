//! What a session asks for, checked before the dealer or the broker sees it. Pure.

use std::time::Duration;

use thiserror::Error;
use wampproto::uris;
use xbr_core::Value;
use xbr_wamp::message::Dict;
use xbr_wamp::{Match, uri};

use crate::router::permissions::{Action, Role};

/// How many sessions, names or roles an event may be addressed to or kept from, each.
const MAX_LISTED: usize = 1024;

/// Why a request is refused. The session goes on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// An option has a value that it cannot have.
    #[error("option {option} must be {expected}")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Not a URI, or not a pattern of this kind.
    #[error("not a valid uri")]
    InvalidUri,
    /// A URI that begins with `wamp.`.
    #[error("uri is reserved")]
    Reserved,
    /// The role does not allow it.
    #[error("role may not {0:?} this uri")]
    NotAuthorized(Action),
    /// The session, or all of the realm, has as many as there may be.
    #[error("there are {max} {what} already")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

impl Refusal {
    /// The error URI on the wire.
    pub(super) const fn uri(&self) -> &'static str {
        match self {
            Self::Option { .. } => uris::INVALID_ARGUMENT,
            Self::InvalidUri | Self::Reserved => uris::INVALID_URI,
            Self::NotAuthorized(_) => uris::NOT_AUTHORIZED,
            Self::TooMany { .. } => uris::UNAVAILABLE,
        }
    }
}

/// Whether a role may do something with a URI.
pub(super) fn check(role: &Role, action: Action, uri: &str, matching: Match) -> Result<(), Refusal> {
    // In a wildcard the routing crate would take these for those of file names.
    let foreign = matching == Match::Wildcard && uri.contains(['*', '?', '[', '\\']);
    if foreign || !uri::is_valid_pattern(uri, matching) {
        return Err(Refusal::InvalidUri);
    }
    if matches!(action, Action::Register | Action::Publish) && !role.trusted && uri.starts_with("wamp.") {
        return Err(Refusal::Reserved);
    }
    match role.permits(action, uri, matching) {
        true => Ok(()),
        false => Err(Refusal::NotAuthorized(action)),
    }
}

/// Refuses what would be more than `max`.
pub(super) fn limit(what: &'static str, actual: usize, max: usize) -> Result<(), Refusal> {
    if actual >= max {
        return Err(Refusal::TooMany { what, max });
    }
    Ok(())
}

/// Reads the options of a request. What is absent or null is not set.
pub(super) struct Options<'a>(pub(super) &'a Dict);

impl<'a> Options<'a> {
    fn get(&self, option: &str) -> Option<&'a Value> {
        let found = self.0.iter().find(|(name, _)| name == option).map(|(_, value)| value);
        found.filter(|value| **value != Value::Null)
    }

    /// A truth value, false if not set.
    pub(super) fn flag(&self, option: &'static str) -> Result<bool, Refusal> {
        Ok(self.choice(option)?.unwrap_or(false))
    }

    /// A truth value, if set.
    pub(super) fn choice(&self, option: &'static str) -> Result<Option<bool>, Refusal> {
        let wrong = Refusal::Option { option, expected: "true or false" };
        self.get(option).map(|value| value.as_bool().ok_or(wrong)).transpose()
    }

    /// One of some words, the first if not set.
    pub(super) fn word(
        &self,
        option: &'static str,
        words: &[&'static str],
        expected: &'static str,
    ) -> Result<&'static str, Refusal> {
        let wanted = match self.get(option) {
            None => words.first().copied(),
            Some(value) => words.iter().copied().find(|word| value.as_str() == Some(word)),
        };
        wanted.ok_or(Refusal::Option { option, expected })
    }

    /// The option `match`.
    pub(super) fn matching(&self) -> Result<Match, Refusal> {
        let known = [Match::Exact, Match::Prefix, Match::Wildcard];
        let word = self.word("match", &known.map(Match::as_str), "exact, prefix or wildcard")?;
        Ok(known.into_iter().find(|matching| matching.as_str() == word).unwrap_or_default())
    }

    /// A time in milliseconds; 0 is as good as not set.
    pub(super) fn milliseconds(&self, option: &'static str) -> Result<Option<Duration>, Refusal> {
        let Some(value) = self.get(option) else { return Ok(None) };
        let ms = value.as_u64().ok_or(Refusal::Option { option, expected: "a time in milliseconds" })?;
        Ok(Some(Duration::from_millis(ms)).filter(|time| !time.is_zero()))
    }

    /// A list of what `item` reads, if set.
    pub(super) fn list<T>(
        &self,
        option: &'static str,
        item: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Refusal> {
        let Some(value) = self.get(option) else { return Ok(None) };
        let wrong = Refusal::Option { option, expected: "a list of at most 1024 ids or names" };
        let items = value.as_list().filter(|items| items.len() <= MAX_LISTED);
        items.and_then(|items| items.iter().map(item).collect()).map(Some).ok_or(wrong)
    }
}
