use super::*;

fn rule(uri: &str, matching: Match, subscribe: bool) -> Rule {
    Rule { uri: uri.to_owned(), matching, subscribe, ..Rule::default() }
}

fn role(rules: impl IntoIterator<Item = Rule>) -> Role {
    let mut role = Role::new("tester", rules);
    role.sort();
    role
}

#[test]
fn the_most_specific_rule_decides_and_without_one_nothing_is_allowed() {
    let role = role([
        rule("com.", Match::Prefix, true),
        rule("com.secret.", Match::Prefix, false),
        rule("com.secret.public", Match::Exact, true),
        rule("org..open", Match::Wildcard, true),
        rule("org.x.open", Match::Wildcard, false),
    ]);
    let rows = [
        ("com.a", true),
        ("com.secret.a", false),
        ("com.secret.public", true),
        ("com.secret.public.not", false),
        ("org.a.open", true),
        ("org.x.open", false),
        ("org.a.b.open", false),
        ("org.open", false),
        ("net.a", false),
    ];
    for (uri, allowed) in rows {
        assert_eq!(role.permits(Action::Subscribe, uri, Match::Exact), allowed, "{uri}");
        assert!(!role.permits(Action::Publish, uri, Match::Exact), "{uri}: no rule allows to publish");
    }
}

#[test]
fn a_pattern_is_refused_when_it_could_reach_what_is_forbidden() {
    let role = role([
        rule("com.", Match::Prefix, true),
        rule("com.secret.", Match::Prefix, false),
        rule("com.a.hidden", Match::Exact, false),
        rule("org..open", Match::Wildcard, true),
    ]);
    let rows = [
        ("com.b.", Match::Prefix, true),
        ("com.", Match::Prefix, false),
        ("com.sec", Match::Prefix, false),
        ("com.secret.x", Match::Prefix, false),
        ("com.a.", Match::Prefix, false),
        ("com.a.hid", Match::Prefix, false),
        ("co", Match::Prefix, false),
        ("com.b..c", Match::Wildcard, true),
        ("com..c", Match::Wildcard, false),
        ("com.a.", Match::Wildcard, false),
        ("..c", Match::Wildcard, false),
        ("org..open", Match::Wildcard, true),
        ("org.a.open", Match::Wildcard, true),
        ("org..", Match::Wildcard, false),
        ("org.", Match::Prefix, false),
    ];
    for (uri, matching, allowed) in rows {
        assert_eq!(role.permits(Action::Subscribe, uri, matching), allowed, "{uri} {matching}");
    }
}

#[test]
fn the_unrestricted_role_may_do_everything() {
    let role = Role::unrestricted("all");
    for action in [Action::Call, Action::Register, Action::Publish, Action::Subscribe] {
        assert!(role.permits(action, "a.b", Match::Exact), "{action:?}");
        assert!(role.permits(action, "a.", Match::Prefix), "{action:?}");
        assert!(role.permits(action, "..", Match::Wildcard), "{action:?}");
    }
}
