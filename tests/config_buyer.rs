//! The configuration of a buyer: what is read from it, and what an operator is told about one that cannot be
//! used.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use xbr_core::Amount;
use xbr_seller::config::{BuyConfig, ConfigError, Environment};
use xbr_wamp::Match;

const GOOD: &str = r#"[buyer]
key_file = "buyer.key"
market_maker = "0x9a6ee47cdde089c8cea4c6b1aeee86eda770a3be"
max_price = "35"
[market]
url = "ws://127.0.0.1:8080/ws"
realm = "realm1"
[store]
path = "buyer.db"
[[subscribe]]
uri = "io.crossbar.example"
"#;

fn parse(text: &str) -> Result<BuyConfig, ConfigError> {
    BuyConfig::parse(Path::new("conf/buyer.toml"), text, &Environment::default())
}

fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_those_that_are_documented() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.buyer.max_price, Amount::from_xbr(35));
    assert_eq!(config.buyer.close_at, Amount::from_units(1));
    assert_eq!((config.buyer.grace, config.buyer.consumer_id.as_str()), (Duration::from_secs(10), ""));
    assert_eq!(config.store.master_key_file, PathBuf::from("conf/buyer.db.master"));
    assert_eq!(config.subscriptions.len(), 1);
    assert_eq!(config.subscriptions[0].matching, Match::Exact);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_key() {
    for (from, to, told) in [
        ("max_price = \"35\"\n", "", "line 1: buyer.max_price: missing; it must be a string of decimal XBR"),
        ("\"35\"", "35", "line 4: buyer.max_price: must be a string of decimal XBR"),
        ("[store]", "invoke = \"single\"\n[store]", "line 8: market.invoke: unknown key; known here: url, "),
        (
            "uri = \"io.",
            "uri = \"io..",
            "line 11: subscribe[0].uri: is no URI to be matched as exact: \"io..",
        ),
        (
            "uri =",
            "match = \"regex\"\nuri =",
            "line 11: subscribe[0].match: must be one of exact, prefix, wil",
        ),
        (
            "[[subscribe]]\nuri =",
            "[log]\nlevel =",
            "line 1: subscribe: missing; it must be an array of tables",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let problems = problems(&GOOD.replacen(from, to, 1));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(told), "{told} in {problems:#?}");
    }
    let wildcard = GOOD.replace("uri = \"io.", "match = \"wildcard\"\nuri = \"io..");
    assert_eq!(parse(&wildcard).unwrap().subscriptions[0].uri, "io..crossbar.example");
}
