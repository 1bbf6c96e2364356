//! Offers: for what a key is sold, to whom the market maker may sell it, and for how long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::amount::Amount;
use crate::ids::{ApiId, KeyId};

/// The shortest validity that the market maker accepts for an offer that expires, counted from `valid_from`.
pub const MIN_VALIDITY: Duration = Duration::from_secs(5 * 60);
/// How far ahead of now an offer may expire at most.
pub const MAX_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far `valid_from` lies before the key's making, so that a market maker whose clock is behind takes it. The
/// reference does the same.
pub const BACKDATE: Duration = Duration::from_secs(10);

/// Why the terms of an API cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TermsError {
    /// The prefix is not a URI that the market maker takes.
    #[error("prefix must match ^([\\da-z_]+\\.)*([\\da-z_]*)$, got {actual:?}")]
    Prefix {
        /// The prefix, cut to 100 characters.
        actual: String,
    },
    /// An offer may be valid for five minutes to a day less the backdating.
    #[error("expires_after must be from 5 min to 24 h, got {actual:?}")]
    Expiry {
        /// The validity there was.
        actual: Duration,
    },
    /// An offer must allow at least one copy.
    #[error("copies must be at least 1")]
    Copies,
}

/// The terms on which the keys of one API are sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferTerms {
    /// The API.
    pub api_id: ApiId,
    /// The URI, or prefix of URIs, under which its payloads are published.
    pub prefix: UriPrefix,
    /// Price of one key.
    pub price: Amount,
    /// Free-form labels of the offer.
    pub categories: BTreeMap<String, String>,
    /// For how long a key may be bought after it was offered; `None`: for ever.
    pub expires_after: Option<Duration>,
    /// How many times one key may be sold; `None`: without limit.
    pub copies: Option<u64>,
}

impl OfferTerms {
    /// Checks the bounds that the market maker sets.
    ///
    /// # Errors
    /// [`TermsError`], the first that applies.
    pub fn check(&self) -> Result<(), TermsError> {
        match self.expires_after {
            Some(validity) if !(MIN_VALIDITY..=MAX_VALIDITY).contains(&validity) => {
                Err(TermsError::Expiry { actual: validity })
            }
            _ if self.copies == Some(0) => Err(TermsError::Copies),
            _ => Ok(()),
        }
    }

    /// The offer of a key on these terms.
    ///
    /// `now_ns` is Unix time in nanoseconds; the offer is valid from [`BACKDATE`] before it, and expires
    /// `expires_after` from now.
    pub fn offer(&self, key_id: KeyId, now_ns: u64) -> KeyOffer {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        KeyOffer {
            key_id,
            api_id: self.api_id,
            uri: self.prefix.clone(),
            valid_from_ns: now_ns.saturating_sub(ns(BACKDATE)),
            price: self.price,
            categories: self.categories.clone(),
            expires_ns: self.expires_after.map(|validity| now_ns.saturating_add(ns(validity))),
            copies: self.copies,
        }
    }
}

/// The offer of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOffer {
    /// The key.
    pub key_id: KeyId,
    /// The API that it belongs to.
    pub api_id: ApiId,
    /// The URI, or prefix of URIs, of the payloads.
    pub uri: UriPrefix,
    /// From when on it is valid, Unix time in ns.
    pub valid_from_ns: u64,
    /// Price of the key.
    pub price: Amount,
    /// Free-form labels.
    pub categories: BTreeMap<String, String>,
    /// When it expires, Unix time in ns; `None`: never.
    pub expires_ns: Option<u64>,
    /// How many times it may be sold; `None`: without limit.
    pub copies: Option<u64>,
}

/// A URI, or a prefix of URIs, that an offer is for: `^([\da-z_]+\.)*([\da-z_]*)$`, which allows the empty text (all
/// URIs) and a dot at the end. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UriPrefix(Arc<str>);

impl UriPrefix {
    /// From a text.
    ///
    /// # Errors
    /// [`TermsError::Prefix`] when the market maker would not take it.
    pub fn new(text: impl Into<String>) -> Result<Self, TermsError> {
        let text = text.into();
        let part =
            |part: &str| part.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == b'_');
        let mut parts = text.rsplit('.');
        let last_is_valid = parts.next().is_some_and(part);
        if !last_is_valid || !parts.all(|p| !p.is_empty() && part(p)) || text.len() > 1000 {
            return Err(TermsError::Prefix { actual: text.chars().take(100).collect() });
        }
        Ok(Self(text.into()))
    }

    /// Whether a payload of the URI is covered: the URI itself, or one below it, parts compared whole. A prefix that
    /// ends in a dot, and the empty prefix, cover everything that begins with them.
    pub fn covers(&self, uri: &str) -> bool {
        match uri.strip_prefix(&*self.0) {
            Some(rest) => {
                rest.is_empty() || rest.starts_with('.') || self.0.is_empty() || self.0.ends_with('.')
            }
            None => false,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for UriPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_what_the_market_maker_takes() {
        for good in ["", "a", "io.crossbar.example", "io.crossbar.", "_.0"] {
            assert!(UriPrefix::new(good).is_ok(), "{good:?}");
        }
        for bad in [".", "a..b", ".a", "A", "a b", "a-b", "é", "a\n"] {
            assert!(UriPrefix::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_covers_whole_parts_only() {
        for (prefix, uri, covered) in [
            ("io.crossbar", "io.crossbar", true),
            ("io.crossbar", "io.crossbar.example", true),
            ("io.crossbar", "io.crossbarista", false),
            ("io.crossbar.", "io.crossbar.x", true),
            ("io.crossbar.", "io.crossbar", false),
            ("", "anything.at_all", true),
            ("io.crossbar", "io", false),
        ] {
            assert_eq!(UriPrefix::new(prefix).unwrap().covers(uri), covered, "{prefix:?} {uri:?}");
        }
    }

    #[test]
    fn terms_that_the_market_maker_refuses_are_refused_here() {
        let terms = |expires_after, copies| OfferTerms {
            api_id: ApiId::new([1; 16]),
            prefix: UriPrefix::new("a").unwrap(),
            price: Amount::ZERO,
            categories: BTreeMap::new(),
            expires_after,
            copies,
        };
        assert_eq!(terms(None, None).check(), Ok(()));
        assert_eq!(terms(Some(MIN_VALIDITY), Some(1)).check(), Ok(()));
        assert!(terms(Some(Duration::from_secs(299)), None).check().is_err());
        assert!(terms(Some(Duration::from_secs(86_401)), None).check().is_err());
        assert_eq!(terms(None, Some(0)).check(), Err(TermsError::Copies));
        let offer = terms(Some(MIN_VALIDITY), None).offer(KeyId::new([2; 16]), 20_000_000_000);
        assert_eq!((offer.valid_from_ns, offer.expires_ns), (10_000_000_000, Some(320_000_000_000)));
    }
}
