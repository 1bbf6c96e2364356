//! What may stand where the protocol wants a URI.
//!
//! Routers drop the whole session over a URI that they find invalid, so ours are checked before they are
//! sent.

use std::fmt;

/// How procedures and topics are matched by a registration or subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Match {
    /// The very same URI.
    #[default]
    Exact,
    /// Every URI that begins with it.
    Prefix,
    /// Every URI that is equal where it has a component; empty components stand for any.
    Wildcard,
}

impl Match {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Wildcard => "wildcard",
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether it is a URI by the loose rule of the specification: components without white space and `#`, joined
/// by dots, none of them empty.
pub fn is_valid(uri: &str) -> bool {
    uri.split('.').all(|component| !component.is_empty() && is_component(component))
}

/// Whether it can be registered or subscribed to with that matching: a prefix may end with a dot, and a
/// wildcard has empty components.
pub fn is_valid_pattern(uri: &str, matching: Match) -> bool {
    match matching {
        Match::Exact => is_valid(uri),
        Match::Prefix => is_valid(uri.strip_suffix('.').unwrap_or(uri)),
        Match::Wildcard => !uri.is_empty() && uri.split('.').all(is_component),
    }
}

fn is_component(component: &str) -> bool {
    !component.chars().any(|c| c.is_whitespace() || c == '#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_router_would_refuse_is_found_before_it_is_sent() {
        for good in ["a", "com.example.x", "xbr.provider.0xab.sell", "com.Ümläut-1"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a.b\n", "a#", "#"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        assert!(is_valid_pattern("com.example.", Match::Prefix));
        assert!(is_valid_pattern("com..x", Match::Wildcard));
        assert!(!is_valid_pattern("com..x", Match::Exact));
        assert!(!is_valid_pattern("com. .x", Match::Wildcard));
        assert!(!is_valid_pattern("", Match::Prefix));
    }
}
