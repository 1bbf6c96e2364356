//! What a role may do: rules for URIs, the most specific one first, and nothing without a rule. Pure.

use xbr_wamp::Match;

/// What sessions with this role may do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Role {
    /// The name.
    pub name: String,
    /// What is allowed. The rule for the very URI comes first, then the longest prefix, then wildcards, those
    /// with more components given before those with fewer.
    pub rules: Vec<Rule>,
    /// Whether callees learn who calls, even if the caller does not ask for it. Default: no.
    pub disclose_caller: bool,
    /// Whether subscribers learn who publishes, even if the publisher does not ask for it. Default: no.
    pub disclose_publisher: bool,
    /// Whether URIs that begin with `wamp.` may be registered and published to. Default: no.
    pub trusted: bool,
}

/// What is allowed with some URIs; all is forbidden that is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Which URIs; the empty prefix stands for all.
    pub uri: String,
    /// How they are matched.
    pub matching: Match,
    /// Whether they may be called.
    pub call: bool,
    /// Whether they may be registered.
    pub register: bool,
    /// Whether they may be published to.
    pub publish: bool,
    /// Whether they may be subscribed to.
    pub subscribe: bool,
}

/// What somebody wants to do with a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Call it.
    Call,
    /// Register it.
    Register,
    /// Publish to it.
    Publish,
    /// Subscribe to it.
    Subscribe,
}

impl Role {
    /// A role with these rules.
    pub fn new(name: impl Into<String>, rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { name: name.into(), rules: rules.into_iter().collect(), ..Self::default() }
    }

    /// A role that may do everything with every URI, except with those that begin with `wamp.`.
    pub fn unrestricted(name: impl Into<String>) -> Self {
        Self::new(name, [Rule::all("", Match::Prefix)])
    }

    /// Discloses callers and publishers of this role.
    #[must_use]
    pub fn disclosed(mut self) -> Self {
        (self.disclose_caller, self.disclose_publisher) = (true, true);
        self
    }

    /// Brings the rules in the order in which [`Self::permits`] looks at them.
    pub(super) fn sort(&mut self) {
        self.rules.sort_by_key(|rule| {
            let (rank, given) = match rule.matching {
                Match::Exact => (0, 0),
                Match::Prefix => (1, rule.uri.len()),
                Match::Wildcard => (2, rule.uri.split('.').filter(|part| !part.is_empty()).count()),
            };
            (rank, std::cmp::Reverse(given))
        });
    }

    /// Whether the role may do that. A pattern is allowed by a rule that is for every URI that it could
    /// match, unless a more specific rule forbids some of them.
    pub(super) fn permits(&self, action: Action, uri: &str, matching: Match) -> bool {
        for rule in &self.rules {
            if covers((&rule.uri, rule.matching), (uri, matching)) {
                return rule.allows(action);
            }
            if !rule.allows(action) && rule.concerns((uri, matching)) {
                return false;
            }
        }
        false
    }
}

impl Rule {
    /// Allows everything with these URIs.
    pub fn all(uri: impl Into<String>, matching: Match) -> Self {
        Self { uri: uri.into(), matching, call: true, register: true, publish: true, subscribe: true }
    }

    fn allows(&self, action: Action) -> bool {
        match action {
            Action::Call => self.call,
            Action::Register => self.register,
            Action::Publish => self.publish,
            Action::Subscribe => self.subscribe,
        }
    }

    /// Whether some URI could be matched by the rule and by a pattern. It may say yes when there is none.
    fn concerns(&self, pattern: (&str, Match)) -> bool {
        if self.matching == Match::Exact {
            return covers(pattern, (&self.uri, Match::Exact));
        }
        let (ours, theirs) = (head(&self.uri, self.matching), head(pattern.0, pattern.1));
        pattern.1 != Match::Exact && (ours.starts_with(theirs) || theirs.starts_with(ours))
    }
}

/// Whether the first pattern matches every URI that the second one does.
fn covers((wide, by): (&str, Match), (narrow, matching): (&str, Match)) -> bool {
    match (by, matching) {
        (Match::Exact, Match::Exact) => wide == narrow,
        (Match::Prefix, _) => head(narrow, matching).starts_with(wide),
        (Match::Wildcard, Match::Exact | Match::Wildcard) => {
            let (wide, narrow) = (wide.split('.'), narrow.split('.'));
            wide.clone().count() == narrow.clone().count()
                && wide.zip(narrow).all(|(wide, narrow)| wide.is_empty() || wide == narrow)
        }
        (Match::Exact, _) | (Match::Wildcard, Match::Prefix) => false,
    }
}

/// The text that everything begins with that a pattern matches.
fn head(uri: &str, matching: Match) -> &str {
    let end = match matching {
        Match::Exact | Match::Prefix => None,
        Match::Wildcard if uri.starts_with('.') => Some(0),
        Match::Wildcard => uri.find("..").map(|dot| dot + 1),
    };
    end.and_then(|end| uri.get(..end)).unwrap_or(uri)
}

#[cfg(test)]
mod tests;
