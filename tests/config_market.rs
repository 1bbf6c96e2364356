//! The configuration of a market: what is read from it, and what an operator is told about one that cannot
//! be used.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use xbr_core::Amount;
use xbr_market::maker::OfferPolicy;
use xbr_market::router::RouterHandle;
use xbr_seller::config::{ConfigError, Environment, HostConfig, Member, RealmConfig, RouterConfig};

const GOOD: &str = r#"[maker]
key_file = "market.key"
market_id = "7b1f4e0a-2c5d-4a8f-9d36-5e8c1a2b3c4d"
[store]
path = "market.db"
[router]
listen = ["127.0.0.1:0"]
realm = "realm1"
anonymous = "member"
[[role]]
name = "member"
rules = [{ uri = "io.example", match = "prefix", publish = true }]
[[principal]]
authid = "me"
role = "member"
ticket_file = "ticket"
[[channel]]
buyer = "0xdfc1ca4598d62a1568599b40d6c123cc31132142"
amount = "1000"
"#;

fn router(config: HostConfig) -> RouterConfig {
    match config.realm {
        RealmConfig::Own(router) => router,
        other => panic!("{other:?}"),
    }
}

fn parse(text: &str) -> Result<HostConfig, ConfigError> {
    HostConfig::parse(Path::new("conf/market.toml"), text, &Environment::default())
}

#[test]
fn defaults_are_those_that_are_documented() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.maker.offers, OfferPolicy::Verified);
    assert_eq!((config.maker.chain_id, config.maker.max_in_flight), (1, 64));
    assert_eq!(
        (config.maker.buy_patience, config.maker.grace),
        (Duration::from_secs(25), Duration::from_secs(10))
    );
    let [channel] = config.channels.as_slice() else { panic!("{:?}", config.channels) };
    assert!(matches!(channel.member, Member::Buyer(_)));
    assert_eq!(channel.amount, Amount::from_xbr(1000));
    let router = router(config);
    assert_eq!((router.max_connections, router.max_message_bytes), (1024, 4 << 20));
    assert!(!router.roles[0].disclose_caller && router.roles[0].rules[0].publish);
}

#[test]
fn a_checked_configuration_makes_a_router() {
    let options = router(parse(GOOD).unwrap()).options(vec![SecretString::from("secret")], [7; 32]);
    assert_eq!(options.realms[0].principals.len(), 2, "the operator, and who is configured");
    RouterHandle::spawn(options).unwrap();
}

#[test]
fn a_market_without_a_router_of_its_own_joins_another() {
    let own = GOOD.find("[router]").unwrap()..GOOD.find("[[channel]]").unwrap();
    let market = "[market]\nurl = \"ws://router.example/ws\"\nrealm = \"realm1\"\n";
    let mut text = GOOD.to_owned();
    text.replace_range(own, market);
    let RealmConfig::Other { market, force_reregister: false } = parse(&text).unwrap().realm else {
        panic!("{text}")
    };
    assert_eq!(market.url, "ws://router.example/ws");
    let both = format!("{GOOD}[market]\nurl = \"ws://router.example/ws\"\nrealm = \"realm1\"\n");
    assert!(matches!(parse(&both), Err(ConfigError::Invalid { .. })));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_key() {
    for (from, to, told) in [
        ("market_id = \"7b", "market_id = \"zz", "line 3: maker.market_id: market_oid must be"),
        (
            "[\"127.0.0.1:0\"]",
            "[\"localhost\"]",
            "line 7: router.listen: must be an address and a port, got \"loc",
        ),
        (
            "anonymous = \"member\"",
            "anonymous = \"guest\"",
            "line 9: router.anonymous: there is no [[role]] with the n",
        ),
        (
            "name = \"member\"",
            "name = \"operator\"",
            "line 11: role[0].name: is a role of the market itself; choose",
        ),
        (
            "publish = true",
            "publsh = true",
            "line 12: role[0].rules[0].publsh: unknown key; did you mean publish?",
        ),
        ("io.example", "io..example", "line 12: role[0].rules[0].uri: is no URI to be matched as prefix"),
        (
            "authid = \"me\"",
            "authid = \"operator\"",
            "line 14: principal[0].authid: is a member of the market itself",
        ),
        (
            "role = \"member\"\nticket",
            "role = \"other\"\nticket",
            "line 15: principal[0].role: there is no [[role]] with",
        ),
        ("ticket_file = \"ticket\"", "", "line 13: principal[0]: needs either a ticket_file or a public_key"),
        (
            "ticket_file = \"ticket\"",
            "public_key = \"00\"",
            "line 16: principal[0].public_key: an ed25519 public key",
        ),
        ("buyer = ", "member = ", "line 17: channel[0]: needs the address of either a buyer or a seller"),
        ("amount = \"1000\"", "amount = 1000", "line 19: channel[0].amount: must be a string of decimal XBR"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let Err(ConfigError::Invalid { problems, .. }) = parse(&GOOD.replacen(from, to, 1)) else {
            panic!("{to} was taken");
        };
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.starts_with(told)), "{told} in {problems:#?}");
    }
}
