//! `[[feed]]`: what is read from it, and what is refused.

use std::path::{Path, PathBuf};

use xbr_seller::config::{Config, ConfigError, Environment, FeedSource};

/// The configuration with that `[[feed]]`, in the folder `conf`.
fn parse(feed: &str) -> Result<Config, ConfigError> {
    let text = format!(
        r#"
        [seller]
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
        api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
        uri = "io.crossbar.example.x"
        {feed}
        "#
    );
    Config::parse(Path::new("conf/seller.toml"), &text, &Environment::default())
}

fn source(feed: &str) -> FeedSource {
    parse(feed).unwrap().feeds.remove(0).source
}

#[test]
fn a_file_is_read_to_its_end_unless_it_is_to_be_followed() {
    let path = || PathBuf::from("conf/a.jsonl");
    assert_eq!(source("source = \"a.jsonl\""), FeedSource::Path(path()));
    assert_eq!(source("source = \"a.jsonl\"\nfollow = false"), FeedSource::Path(path()));
    let state_of = |file: &str| match source(&format!("source = \"{file}\"\nfollow = true")) {
        FeedSource::Follow { state, .. } => state,
        other => panic!("{other:?}"),
    };
    let state = state_of("a.jsonl");
    let name = state.to_str().unwrap();
    assert!(name.starts_with("conf/seller.db-feed-a.jsonl-"), "beside the store: {name}");
    assert_eq!(state_of("./b/../a.jsonl").parent(), state.parent());
    assert_ne!(state_of("b/a.jsonl"), state, "files of one name have places of their own");
}

#[test]
fn lines_are_taken_over_tcp_from_this_machine_only() {
    let FeedSource::Tcp(tcp) = source("source = \"tcp://[::1]:7071\"\nacknowledge = true") else { panic!() };
    assert_eq!((tcp.address.port(), tcp.acknowledge, tcp.max_connections), (7071, true, 16));
    for address in ["0.0.0.0:7071", "192.168.1.2:7071", "[::]:7071", "localhost:7071", "127.0.0.1", ""] {
        let error = parse(&format!("source = \"tcp://{address}\"")).unwrap_err().to_string();
        assert!(error.contains("feed[0].source: must be tcp://127.0.0.1:port"), "{address}: {error}");
    }
}

const ROUTER: &str = "source = \"wamp\"\nrouter = { url = \"ws://127.0.0.1:9000/ws\", realm = \"plant\" }\n";

/// What becomes of a topic, with that entry of `topics`.
fn mapped(entry: &str, topic: &str) -> Option<String> {
    let FeedSource::Wamp(bridge) = source(&format!("{ROUTER}topics = [{{ {entry} }}]")) else { panic!() };
    bridge.topics[0].map(topic)
}

#[test]
fn a_bridge_replaces_what_topics_begin_with() {
    for (entry, topic, uri) in [
        (r#"uri = "a.b""#, "a.b", Some("io.crossbar.example.x")),
        (r#"uri = "a.b", to = "io.crossbar.example.y""#, "a.b", Some("io.crossbar.example.y")),
        (r#"uri = "a.b", match = "prefix""#, "a.b.c.d", Some("io.crossbar.example.x.c.d")),
        (r#"uri = "a.b.", match = "prefix""#, "a.b.c", Some("io.crossbar.example.x.c")),
        (r#"uri = "a.b", match = "prefix", from = "a""#, "a.b.c", Some("io.crossbar.example.x.b.c")),
        (r#"uri = "a.b", match = "prefix", from = """#, "a.b", Some("io.crossbar.example.x.a.b")),
        (r#"uri = "a..c", match = "wildcard""#, "a.1.c", Some("io.crossbar.example.x.1.c")),
        (r#"uri = ".b", match = "wildcard""#, "1.b", Some("io.crossbar.example.x.1.b")),
        (r#"uri = "a", match = "prefix", from = "a""#, "b", None),
    ] {
        assert_eq!(mapped(entry, topic).as_deref(), uri, "{entry} {topic}");
    }
}

#[test]
fn what_a_feed_cannot_do_is_refused() {
    let same = ROUTER.replace("9000", "8080").replace("plant", "realm1");
    let bridge = |topics: &str| format!("{ROUTER}topics = [{topics}]");
    for (feed, told) in [
        ("source = \"stdin\"\nfollow = true".to_owned(), "feed[0].follow: unknown key"),
        ("source = \"a\"\nacknowledge = true".to_owned(), "feed[0].acknowledge: unknown key"),
        (ROUTER.to_owned(), "feed[0].topics: missing"),
        ("source = \"wamp\"\ntopics = [{ uri = \"a\" }]".to_owned(), "feed[0].router.url: missing"),
        (bridge(""), "feed[0].topics: missing"),
        (bridge("{ uri = \"a b\" }"), "feed[0].topics[0].uri: is no URI to be matched as exact"),
        (bridge("{ uri = \"a.b\", from = \"b\" }"), "feed[0].topics[0].from: not all topics begin with it"),
        (
            bridge("{ uri = \"a..b\", match = \"wildcard\", from = \"a.c\" }"),
            "feed[0].topics[0].from: not all topics begin with it; at most \"a\" can be replaced",
        ),
        (
            bridge("{ uri = \"a\", to = \"io.elsewhere\" }"),
            "the uri io.elsewhere is outside the API's prefix",
        ),
        (
            format!("{same}topics = [{{ uri = \"io\", match = \"prefix\" }}]"),
            "the bridge would republish its own events for ever",
        ),
    ] {
        let error = parse(&feed).unwrap_err().to_string();
        assert!(error.contains(told), "{feed}: {error}");
    }
    // The same realm is no loop as long as nothing comes back.
    parse(&format!("{same}topics = [{{ uri = \"plain\", match = \"prefix\" }}]")).unwrap();
}
