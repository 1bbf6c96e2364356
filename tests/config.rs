//! The configuration: what is read from it, and what an operator is told about one that cannot be used.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xbr_actors::Retention;
use xbr_core::Amount;
use xbr_seller::config::{
    BenchConfig, BuyConfig, Config, ConfigError, DemoConfig, Environment, FeedSource, HostConfig, LogFormat,
};
use xbr_wamp::{Invoke, Serializer};

const API_ID: &str = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04";

const GOOD: &str = r#"[seller]
key_file = "seller.key"
market_maker = "0x9a6ee47cdde089c8cea4c6b1aeee86eda770a3be"
[market]
url = "ws://127.0.0.1:8080/ws"
realm = "realm1"
[store]
path = "seller.db"
[[api]]
id = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
prefix = "io.crossbar.example"
price = "35"
interval = "10s"
[[feed]]
source = "stdin"
api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
uri = "io.crossbar.example"
"#;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Path::new("conf/seller.toml"), text, &Environment::new(variables))
}

/// All that is wrong, one text each.
fn problems<T>(result: Result<T, ConfigError>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
    }
}

#[test]
fn every_bundled_configuration_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(problems(parse_any(&path, &text)), [""; 0], "{}", path.display());
            // A commented default must be right as well: with all of them switched on it is read, too.
            let line = |line: &str| match line.strip_prefix("# ") {
                Some(key) if key.split_once(" = ").is_some_and(|(name, _)| !name.contains([' ', '`'])) => {
                    format!("{key}\n")
                }
                _ => format!("{line}\n"),
            };
            let switched_on: String = text.lines().map(line).collect();
            assert_eq!(problems(parse_any(&path, &switched_on)), [""; 0], "{}", path.display());
            count += 1;
        }
    }
    assert_eq!(count, 5);
}

/// By the parser of its kind, which its name tells.
fn parse_any(path: &Path, text: &str) -> Result<(), ConfigError> {
    let environment = Environment::default();
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("buyer") => BuyConfig::parse(path, text, &environment).map(drop),
        Some("bench") => BenchConfig::parse(path, text, &environment).map(drop),
        Some("demo") => DemoConfig::parse(path, text, &environment).map(drop),
        Some("market") => HostConfig::parse(path, text, &environment).map(drop),
        _ => Config::parse(path, text, &environment).map(drop),
    }
}

#[test]
fn the_http_interface_is_bounded_and_needs_a_token_beyond_the_machine() {
    let with = |section: &str| parse(&format!("{GOOD}[http]\n{section}"), &[]);
    assert!(parse(GOOD, &[]).unwrap().http.is_none(), "there is none unless it is wanted");
    let http = with("").unwrap().http.unwrap();
    assert_eq!((http.listen.to_string().as_str(), http.max_body_bytes), ("127.0.0.1:7070", 1 << 20));
    let rate = http.rate.unwrap();
    assert_eq!((rate.per_second.get(), rate.burst.get(), http.max_connections), (1000, 2000, 256));
    assert!(with("rate = 0").unwrap().http.unwrap().rate.is_none());
    for beyond in ["0.0.0.0:7070", "[::]:7070", "192.168.0.1:80"] {
        let listen = format!("listen = \"{beyond}\"\n");
        assert_eq!(
            problems(with(&listen)),
            ["line 19: http.listen: http.token_file is required when others than this machine can connect"]
        );
        assert_eq!(problems(with(&format!("{listen}token_file = \"token\""))), [""; 0]);
    }
    assert_eq!(problems(with("listen = \"[::1]:1\"")), [""; 0]);
    assert_eq!(
        problems(with("listen = \"localhost\"\nburst = 0\nrequest_timeout = \"0s\"\ncolour = 1")).len(),
        4
    );
}

#[test]
fn defaults_are_those_that_are_documented() {
    let config = parse(GOOD, &[]).unwrap();
    assert_eq!(config.seller.grace, Duration::from_secs(10));
    assert_eq!(config.seller.close_at, Amount::from_units(1));
    assert_eq!((config.seller.low_balance, config.seller.offline_keys.get()), (Amount::ZERO, 1000));
    assert_eq!(config.seller.channel_poll, Some(Duration::from_secs(60)));
    assert_eq!(config.seller.retention, Retention::default());
    assert_eq!(config.store.path, PathBuf::from("conf/seller.db"));
    assert_eq!(config.store.master_key_file, PathBuf::from("conf/seller.db.master"));
    assert_eq!(config.market.serializers, Serializer::ALL);
    assert_eq!(config.market.ping_interval, Some(Duration::from_secs(20)));
    assert_eq!(config.apis[0].terms.price, Amount::from_xbr(35));
    assert_eq!(config.feeds[0].source, FeedSource::Stdin);
    assert_eq!((config.feeds[0].max_line_bytes, config.feeds[0].in_flight), (1 << 20, 64));
    assert_eq!((config.log.filter.as_str(), config.log.format), ("info", LogFormat::Auto));
}

#[test]
fn what_bounds_the_sellers_money_and_keys_is_read() {
    let seller = "low_balance = \"0.5\"\nchannel_poll = \"0s\"\noffline_keys = 7\n[market]";
    let text = GOOD.replace("[market]", seller) + "[retention]\nmax_age = \"1h\"\nmax_keys = 9\n";
    let seller = parse(&text, &[]).unwrap().seller;
    assert_eq!((seller.low_balance, seller.channel_poll), ("0.5".parse().unwrap(), None));
    assert_eq!(seller.offline_keys.get(), 7);
    let retention = Retention { max_age: Some(Duration::from_secs(3600)), max_keys: NonZeroU64::new(9) };
    assert_eq!(seller.retention, retention);
}

/// What is replaced in the good configuration, by what, and what an operator is told then.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("interval = ", "intervall = ", "line 13: api[0].intervall: unknown key; did you mean interval?"),
    (
        "[store]",
        "colour = 1\n[store]",
        "line 7: market.colour: unknown key; known here: url, realm, serializers, auth, \
            cafile, connect_timeout, call_timeout, ping_timeout, ping_interval, max_message_bytes, \
            max_depth, invoke, force_reregister",
    ),
    ("[store]", "[lgo]\n[store]", "line 7: lgo: unknown key; did you mean log?"),
    (
        "[[feed]]",
        "[feed]",
        "line 14: feed: must be an array of tables, each begun with [[feed]], got a table",
    ),
    (
        "[market]",
        "offline_keys = 0\n[market]",
        "line 4: seller.offline_keys: must be from 1 to 1000000, got 0",
    ),
    (
        "[market]",
        "[retention]\nmax_keys = 0\n[market]",
        "line 5: retention.max_keys: must be from 1 to 18446744073709551615, got 0",
    ),
    (
        "\"35\"",
        "35",
        "line 12: api[0].price: must be a string of decimal XBR with up to 18 decimals, such as \
            \"35\" or \"0.5\", got an integer",
    ),
    (
        "\"35\"",
        "3.5",
        "line 12: api[0].price: must be a string of decimal XBR with up to 18 decimals, such as \
            \"35\" or \"0.5\", got a float",
    ),
    ("\"35\"", "\"-1\"", "line 12: api[0].price: amount must be decimal XBR such as 35 or 0.5, got \"-1\""),
    (
        "\"35\"",
        "\"1.0000000000000000001\"",
        "line 12: api[0].price: amount has 19 decimals, the token has 18",
    ),
    (
        "\"10s\"",
        "10",
        "line 13: api[0].interval: must be a duration such as \"10s\" or \"1m 30s\", got an integer",
    ),
    (
        "interval = \"10s\"",
        "count = 0",
        "line 13: api[0].count: must be from 1 to 18446744073709551615, got 0",
    ),
    ("interval = \"10s\"\n", "", "line 9: api[0]: a rotation needs an interval, a count, or both"),
    (
        "interval = \"10s\"",
        "count = 5\nexpires_after = \"1h\"",
        "line 9: api[0]: expires_after must be longer than \
            the rotation interval, which must be set, plus the lead of the next key (a quarter of it, at most 5s; \
            with a count all of it)",
    ),
    (
        "interval = \"10s\"",
        "interval = \"10s\"\nexpires_after = \"1m\"",
        "line 9: api[0]: expires_after must be \
            from 5 min to 24 h, got 60s",
    ),
    (
        "a770a3be\"",
        "\"",
        "line 3: seller.market_maker: address must be 0x and 40 hex digits, got \
            \"0x9a6ee47cdde089c8cea4c6b1aeee86ed\"",
    ),
    (
        "[market]",
        "grace = \"ages\"\n[market]",
        "line 4: seller.grace: must be a duration such as 10s or 1m 30s, got \
            \"ages\": expected number at 0",
    ),
    (
        "[market]",
        "reconcile = \"lax\"\n[market]",
        "line 4: seller.reconcile: must be one of surplus, strict, got \
            \"lax\"",
    ),
    (
        "[market]",
        "provider_id = \"a.b\"\n[market]",
        "line 4: seller.provider_id: provider_id must be one WAMP URI \
            part of a to z, 0 to 9 and _, got \"a.b\"",
    ),
    (
        "ws://",
        "http://",
        "line 5: market.url: must be ws://host[:port]/path or wss://host[:port]/path, got \
            \"http://127.0.0.1:8080/ws\"",
    ),
    (
        "8080",
        "80800",
        "line 5: market.url: must be ws://host[:port]/path or wss://host[:port]/path, got \
            \"ws://127.0.0.1:80800/ws\"",
    ),
    ("realm1", "realm 1", "line 6: market.realm: is no realm: \"realm 1\""),
    (
        "[store]",
        "serializers = [\"ubjson\"]\n[store]",
        "line 7: market.serializers: serializer must be cbor, \
            msgpack or json, got \"ubjson\"",
    ),
    (
        "[store]",
        "serializers = []\n[store]",
        "line 7: market.serializers: must name at least one of cbor, msgpack \
            and json",
    ),
    (
        "[store]",
        "force_reregister = \"yes\"\n[store]",
        "line 7: market.force_reregister: must be true or false, \
            got a string",
    ),
    (
        "[store]",
        "max_message_bytes = 1\n[store]",
        "line 7: market.max_message_bytes: must be from 65536 to \
            1073741824, got 1",
    ),
    (
        "[store]",
        "auth = { method = \"ticket\", authid = \"me\" }\n[store]",
        "line 7: market.auth.ticket_file: \
            missing; it must be the path of a file",
    ),
    (
        "[store]",
        "auth = { method = \"anonymous\", authid = \"me\" }\n[store]",
        "line 7: market.auth.authid: unknown \
            key; known here: method",
    ),
    (
        "[store]",
        "auth = { method = \"password\" }\n[store]",
        "line 7: market.auth.method: must be one of anonymous, \
            ticket, cryptosign, got \"password\"",
    ),
    ("\"stdin\"", "\"\"", "line 15: feed[0].source: must not be empty"),
    (
        "uri = \"io",
        "uri = \"org",
        "line 14: feed[0].api: the uri org.crossbar.example is outside the API's prefix \
            io.crossbar.example",
    ),
    (
        "api = \"6",
        "api = \"7",
        "line 14: feed[0].api: there is no [[api]] with the id \
            727f1b5c-58c2-43b1-8422-a34f7d3f5a04",
    ),
    (
        "uri =",
        "max_line_bytes = 8388608\nuri =",
        "line 14: feed[0].api: market.max_message_bytes must be at least 4 \
            times max_line_bytes",
    ),
    (
        "[store]",
        "[log]\nlevel = \"info,a=nonsense\"\n[store]",
        "line 8: log.level: is no filter such as info, or info,xbr_wamp=debug: error parsing level filter: \
            expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
    ),
    ("[seller]", "[seller", "conf/seller.toml: line 1, column 8: unclosed table, expected `]`"),
];

#[test]
fn what_is_wrong_is_told_with_its_place_and_key() {
    for (from, to, told) in REFUSALS {
        assert!(GOOD.contains(from), "{from}");
        assert_eq!(problems(parse(&GOOD.replacen(from, to, 1), &[])), [*told], "{to}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text =
        GOOD.replace("realm = ", "reallm = ").replace("\"35\"", "35").replace("market_maker = ", "x = ");
    let told = problems(parse(&text, &[("XBR_SELLER__STORE__PAHT", "x"), ("RUST_LOG", "a=b=c")]));
    let places: Vec<_> = told.iter().map(|problem| problem.rsplit_once(": ").unwrap().0.to_owned()).collect();
    assert_eq!(told.len(), 7, "{told:#?}");
    for (place, key) in [
        ("line 1", "seller.market_maker"),
        ("line 3", "seller.x"),
        ("line 4", "market.realm"),
        ("line 6", "market.reallm"),
        ("line 12", "api[0].price"),
        ("environment variable XBR_SELLER__STORE__PAHT", "store.paht"),
        ("environment variable RUST_LOG", "log.level"),
    ] {
        let expected = format!("{place}: {key}");
        assert!(places.iter().any(|place| place.starts_with(&expected)), "{expected} in {told:#?}");
    }
    assert!(told[0].starts_with("line 1") && told[4].starts_with("line 12"), "{told:#?}");
}

#[test]
fn two_of_what_must_be_one_are_refused() {
    let twice = |head: &str| format!("{GOOD}{}", &GOOD[GOOD.find(head).unwrap()..]);
    let told = problems(parse(&twice("[[feed]]"), &[]));
    assert_eq!(told, ["line 18: feed[1].api: another feed reads the same source"]);
    let told = problems(parse(&twice("[[api]]").replacen("\"stdin\"", "\"a.jsonl\"", 1), &[]));
    assert_eq!(told, [format!("line 18: api[1].id: {API_ID} is there already")]);
}

#[test]
fn the_environment_overrides_the_file_with_the_types_of_the_keys() {
    let config = parse(
        GOOD,
        &[
            ("XBR_SELLER__SELLER__GRACE", "250ms"),
            ("XBR_SELLER__SELLER__CLOSE_AT", "7"),
            ("XBR_SELLER__MARKET__URL", "wss://[::1]/ws?x=1"),
            ("XBR_SELLER__MARKET__SERIALIZERS", "json, cbor"),
            ("XBR_SELLER__MARKET__FORCE_REREGISTER", "true"),
            ("XBR_SELLER__MARKET__INVOKE", "roundrobin"),
            ("XBR_SELLER__MARKET__PING_INTERVAL", "0s"),
            ("XBR_SELLER__MARKET__AUTH", "{ method = \"anonymous\" }"),
            ("XBR_SELLER__API__0__PRICE", "0.000000000000000001"),
            ("XBR_SELLER__API__0__CATEGORIES__KIND", "live"),
            ("XBR_SELLER__FEED__1__SOURCE", "/tmp/other"),
            ("XBR_SELLER__FEED__1__API", API_ID),
            ("XBR_SELLER__FEED__1__URI", "io.crossbar.example.other"),
            ("XBR_SELLER__STORE", "{ path = \"/var/lib/seller.db\" }"),
            ("XBR_SELLER_CONFIG", "not one of them"),
            ("RUST_LOG", "debug"),
        ],
    )
    .unwrap();
    assert_eq!(config.seller.grace, Duration::from_millis(250));
    assert_eq!(config.seller.close_at, Amount::from_units(7));
    assert_eq!(config.market.url, "wss://[::1]/ws?x=1");
    assert_eq!(config.market.serializers, [Serializer::Json, Serializer::Cbor]);
    assert!(config.serving.force_reregister);
    assert_eq!(config.serving.invoke, Invoke::RoundRobin);
    assert_eq!(config.market.ping_interval, None);
    assert_eq!(config.apis[0].terms.price, Amount::from_units(1));
    assert_eq!(config.apis[0].terms.categories["kind"], "live");
    assert_eq!(config.feeds[1].source, FeedSource::Path("/tmp/other".into()));
    assert_eq!(config.store.path, PathBuf::from("/var/lib/seller.db"));
    assert_eq!(config.log.filter, "debug");
}

#[test]
fn an_override_that_fits_nowhere_is_refused() {
    for (name, value, told) in [
        ("XBR_SELLER__MARKET__URI", "x", "market.uri: unknown key; did you mean url?"),
        ("XBR_SELLER__MARKETS__URL", "x", "markets: unknown key; did you mean market?"),
        (
            "XBR_SELLER__API__2__PRICE",
            "1",
            "api.2.price: there are 1 entries; only an existing one, or the next, can \
            be set",
        ),
        (
            "XBR_SELLER__MARKET__URL__X",
            "1",
            "market.url.x: must be a table or a list, to be overridden in part, got a \
            string",
        ),
        ("XBR_SELLER__SELLER__CLOSE_AT", "soon", "seller.close_at: must be an integer, got a string"),
        ("XBR_SELLER__MARKET__AUTH", "ticket", "market.auth: is not a list or table in the notation of TOML"),
    ] {
        let told = format!("environment variable {name}: {told}");
        assert_eq!(problems(parse(GOOD, &[(name, value)])), [told]);
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn secrets_that_others_can_read_are_refused_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let auth = "auth = { method = \"cryptosign\", key_file = \"sign.key\" }\n[store]";
    let text = GOOD.replace("[store]", auth).replace("\"stdin\"", "\"missing.jsonl\"");
    write(&at("seller.toml"), &text, 0o644);
    write(&at("seller.key"), &"11".repeat(32), 0o640);
    write(&at("sign.key"), "0x11", 0o600);
    write(&at("seller.db.master"), &"22".repeat(32), 0o604);
    let Err(ConfigError::Invalid { problems, .. }) =
        Config::load(&at("seller.toml"), &Environment::default())
    else {
        panic!("it was taken");
    };
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let path = |name: &str| at(name).display().to_string();
    let (key, sign, master) = (path("seller.key"), path("sign.key"), path("seller.db.master"));
    assert_eq!(
        told,
        [
            format!("line 2: seller.key_file: {key} is accessible to others (mode 040); run chmod 600 {key}"),
            format!("line 7: market.auth.key_file: cannot use {sign}: an ed25519 seed must be 64 hex digits"),
            format!(
                "line 9: seller.master_key_file: the master key file {master} is accessible to others \
                 (mode 004); run chmod 600 {master}"
            ),
            format!(
                "line 16: feed[0].source: cannot use {}: No such file or directory (os error 2)",
                path("missing.jsonl")
            ),
        ]
    );
    let shown = told.concat();
    assert!(!shown.contains(&"11".repeat(32)) && !shown.contains(&"22".repeat(32)));
}

#[test]
fn a_store_without_its_master_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("seller.toml"), GOOD, 0o644);
    write(&at("seller.key"), &"11".repeat(32), 0o600);
    let load = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&at("seller.toml"), &Environment::new(variables))
    };
    let (_, secrets) = load(&[]).unwrap();
    assert!(secrets.master_key.is_none(), "it is made at the first start, not before");
    write(&at("seller.db"), "something", 0o600);
    let told = load(&[]).unwrap_err().to_string();
    assert!(told.contains("of an existing store is missing; restore it from a backup"), "{told}");
    assert!(load(&[("XBR_SELLER_MASTER_KEY", &"33".repeat(32))]).unwrap().1.master_key.is_some());
    let told = load(&[("XBR_SELLER_MASTER_KEY", "33")]).unwrap_err().to_string();
    assert!(told.contains("the master key in XBR_SELLER_MASTER_KEY must be 64 hex digits"), "{told}");
}
