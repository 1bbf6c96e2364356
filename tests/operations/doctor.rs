//! The doctor finds what is wrong, says what to do, and changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use xbr_wamp::transport::Certificate;

use crate::ROTATION;
use crate::programs::World;

/// What is looked at, whatever is wrong.
const ALL: [&str; 10] = [
    "configuration",
    "store",
    "HTTP interface",
    "router",
    "TLS",
    "WebSocket",
    "authentication",
    "market maker",
    "clock",
    "channel",
];

const DOCTOR: [&str; 4] = ["doctor", "--config", "seller.toml", "--json"];

/// An environment variable: its name and its value.
type Variable<'a> = (&'a str, &'a str);

/// Name and outcome of each check, and all that is said.
fn examine(world: &World, variables: &[Variable<'_>]) -> (Vec<(String, String)>, String, Option<i32>) {
    let output = world.command(&DOCTOR).envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    let checks = found["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| ["name", "outcome"].map(|field| check[field].as_str().unwrap().to_owned()).into());
    (checks.collect(), text, output.status.code())
}

fn outcome<'a>(checks: &'a [(String, String)], name: &str) -> &'a str {
    &checks.iter().find(|check| check.0 == name).unwrap_or_else(|| panic!("no {name} in {checks:?}")).1
}

/// The same address, over TLS.
fn secure(url: &str) -> String {
    url.replace("ws://", "wss://")
}

/// A server that answers everything with 404, and lives as long as the test.
fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    format!("ws://{address}/")
}

#[test]
fn each_fault_is_found_and_nothing_else_is_called_one() {
    let (world, market) = World::selling(ROTATION);
    let (healthy, text, code) = examine(&world, &[]);
    assert!(code == Some(0) && healthy.iter().all(|check| check.1 == "ok"), "{text}");
    assert!(!world.path("seller.db").exists(), "nothing is made");
    let mut seller = world.seller();
    world.buy(&mut seller, 1);
    let (healthy, text, code) = examine(&world, &[]);
    assert!(code == Some(0) && healthy.iter().all(|check| check.1 == "ok"), "{text}");
    assert!(text.contains("the store agrees"), "{text}");
    seller.stop();

    world.succeed(&["keygen", "--out", "other.key"]);
    world.write("wrong.ticket", "other\n");
    fs::write(world.path("open.key"), world.read("seller.key")).unwrap();
    let ticket = r#"{ method = "ticket", authid = "me", ticket_file = "wrong.ticket" }"#;
    let (other, web) = (world.address("other"), web_server());
    let master = "4d".repeat(32);
    // The variable, the check that fails, and what is said.
    let table = [
        ("XBR_SELLER__MARKET__REALM", "no realm", "configuration", "is no realm"),
        ("XBR_SELLER__SELLER__KEY_FILE", "open.key", "key files", "chmod 600"),
        ("XBR_SELLER__SELLER__KEY_FILE", "nowhere.key", "key files", "No such file"),
        ("XBR_SELLER_MASTER_KEY", &master, "store", "the master key is not the one"),
        ("XBR_SELLER__MARKET__URL", "ws://127.0.0.1:1/", "router", "check that the router runs"),
        ("XBR_SELLER__MARKET__URL", &web, "WebSocket", "check the path in market.url"),
        ("XBR_SELLER__MARKET__URL", &secure(&web), "TLS", "check the port in market.url"),
        ("XBR_SELLER__MARKET__SERIALIZERS", "json", "", ""),
        ("XBR_SELLER__MARKET__AUTH", ticket, "authentication", "check market.realm and market.auth"),
        ("XBR_SELLER__MARKET__REALM", "realm2", "authentication", "check market.realm and market.auth"),
        ("XBR_SELLER__SELLER__MARKET_MAKER", &other, "market maker", "correct seller.market_maker"),
        ("XBR_SELLER__SELLER__KEY_FILE", "other.key", "channel", "operator to open one"),
        ("XBR_SELLER__SELLER__LOW_BALANCE", "10000", "", ""),
    ];
    for (variable, value, name, told) in table {
        let (checks, text, code) = examine(&world, &[(variable, value)]);
        if name.is_empty() {
            assert_eq!(code, Some(0), "{variable}: {text}");
            continue;
        }
        assert_eq!((outcome(&checks, name), code), ("failed", Some(1)), "{variable} = {value}: {text}");
        assert!(text.contains(told), "{variable} = {value}: {text}");
        // What comes before it is not touched by it, nor is the disk.
        let before = checks.iter().take_while(|check| check.0 != name);
        assert!(before.into_iter().all(|check| check.1 == "ok"), "{variable} = {value}: {text}");
        assert!(ALL.iter().all(|name| !outcome(&checks, name).is_empty()));
    }
    market.stop();
    let (checks, text, _) = examine(&world, &[]);
    assert_eq!((outcome(&checks, "router"), outcome(&checks, "channel")), ("failed", "skipped"), "{text}");
    assert_eq!(outcome(&checks, "store"), "ok", "{text}");
}

#[test]
fn what_is_wrong_with_the_http_interface_is_found() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    let own = seller.http_address().to_string();
    // What listens there without being the service: it takes connections, and says nothing that is HTTP.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let foreign = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let _ = stream.unwrap().write_all(b"220 ready\r\n");
        }
    });
    world.succeed(&["keygen", "--out", "other.key"]);
    fs::write(world.path("open.token"), "0123456789abcdef").unwrap();
    world.write("token", "0123456789abcdef");
    world.write("short.token", "0123");
    let (listen, token) = ("XBR_SELLER__HTTP__LISTEN", "XBR_SELLER__HTTP__TOKEN_FILE");
    let key = "XBR_SELLER__SELLER__KEY_FILE";
    // The variables, what is said, and whether it is a fault.
    let table: [(&[Variable<'_>], &str, bool); 9] = [
        (&[], "127.0.0.1:0 is free; for programs of this machine", false),
        (&[(token, "token")], "127.0.0.1:0 is free; with a token", false),
        (&[(listen, &own)], "the service answers at", false),
        (&[(listen, &own), (key, "other.key")], "another seller is at", true),
        (&[(listen, &foreign)], "another program is at", true),
        (&[(listen, "192.0.2.1:7070"), (token, "token")], "cannot listen at 192.0.2.1:7070", true),
        (&[(token, "open.token")], "chmod 600", true),
        (&[(token, "short.token")], "at least 16 visible ASCII characters", true),
        (&[(token, "nowhere.token")], "No such file", true),
    ];
    for (variables, told, is_fault) in table {
        let (checks, text, _) = examine(&world, variables);
        let expected = if is_fault { "failed" } else { "ok" };
        assert_eq!(outcome(&checks, "HTTP interface"), expected, "{variables:?}: {text}");
        assert!(text.contains(told), "{variables:?}: {text}");
        // It hides nothing else.
        assert_eq!((outcome(&checks, "key files"), outcome(&checks, "market maker")), ("ok", "ok"), "{text}");
    }
    let (checks, text, _) = examine(&world, &[(listen, "0.0.0.0:0")]);
    assert_eq!(
        (outcome(&checks, "configuration"), outcome(&checks, "HTTP interface")),
        ("failed", "skipped")
    );
    assert!(text.contains("http.token_file is required"), "{text}");
    seller.stop();

    let mut seller = world.seller_with(&[(token, "token")]);
    let own = seller.http_address().to_string();
    let (checks, text, _) = examine(&world, &[(listen, &own)]);
    assert_eq!(outcome(&checks, "HTTP interface"), "failed", "{text}");
    assert!(text.contains("takes another token"), "{text}");
    assert_eq!(outcome(&examine(&world, &[(listen, &own), (token, "token")]).0, "HTTP interface"), "ok");
    seller.stop();
    let text = world.read("seller.toml").replace("[http]\nlisten = \"127.0.0.1:0\"\n", "");
    world.write("seller.toml", &text);
    let (_, text, _) = examine(&world, &[]);
    assert!(text.contains("none, as the configuration has no section [http]"), "{text}");
    market.stop();
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_from_a_router_that_is_none() {
    let (world, market) = World::selling(ROTATION);
    let (url, certificate) = tls_server(&world);
    world.write("ca.pem", &certificate);
    world.write("empty.pem", "");
    let url = ("XBR_SELLER__MARKET__URL", url.as_str());
    let cafile = |file| ("XBR_SELLER__MARKET__CAFILE", file);
    // Nobody else vouches for it; who does is no certificate; and nothing is spoken over it.
    for (file, at) in [(None, "TLS"), (Some("empty.pem"), "TLS"), (Some("ca.pem"), "WebSocket")] {
        let variables: Vec<_> = [url].into_iter().chain(file.map(cafile)).collect();
        let (checks, text, code) = examine(&world, &variables);
        assert_eq!((outcome(&checks, at), code), ("failed", Some(1)), "{file:?}: {text}");
        assert!(at == "WebSocket" || text.contains("market.cafile"), "{file:?}: {text}");
        let before = checks.iter().take_while(|check| check.0 != at);
        assert!(before.into_iter().all(|check| check.1 == "ok"), "{file:?}: {text}");
        assert_eq!(outcome(&checks, "authentication"), "skipped", "{file:?}: {text}");
    }
    market.stop();
}

/// A server that speaks TLS and nothing over it, and the certificate that it shows.
fn tls_server(world: &World) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    world.write("server.pem", &certificate);
    world.write("server.key", &made.signing_key.serialize_pem());
    let shown = Certificate::from_pem_files(&world.path("server.pem"), &world.path("server.key")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever does not trust it goes.
                let _ = shown.accept(stream).await;
            }
        });
    });
    (format!("wss://localhost:{port}/"), certificate)
}

#[test]
fn a_damaged_or_outdated_store_is_found_and_left_as_it_is() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    world.buy(&mut seller, 1);
    world.succeed(&["backup", "--config", "seller.toml", "--out", "old.backup"]);
    world.buy(&mut seller, 1);
    seller.stop();
    world.succeed(&["restore", "--config", "seller.toml", "old.backup", "--force"]);
    let (checks, text, code) = examine(&world, &[]);
    assert_eq!((outcome(&checks, "channel"), code), ("failed", Some(1)), "{text}");
    assert!(text.contains("the store comes from a backup"), "{text}");

    let mut bytes = fs::read(world.path("seller.db")).unwrap();
    let maker = hex::decode(world.address("maker").trim_start_matches("0x")).unwrap();
    let place = bytes.windows(20).position(|window| window == maker).unwrap();
    bytes[place] ^= 1;
    fs::write(world.path("seller.db"), &bytes).unwrap();
    let (checks, text, code) = examine(&world, &[]);
    assert_eq!((outcome(&checks, "store"), code), ("failed", Some(1)), "{text}");
    assert!(text.contains("do not sell on"), "{text}");
    assert_eq!(fs::read(world.path("seller.db")).unwrap(), bytes);
    let (told, _) = world.run(&["doctor", "--config", "seller.toml"]);
    assert!(
        told.contains("\nFAILED   store ") && told.contains("\n                         -> do not sell"),
        "{told}"
    );
    market.stop();
}
