//! The program: keys that it makes, how it refuses a configuration, how a failed start ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xbr_core::{DelegateKey, Signer};

const CONFIG: &str = r#"
[seller]
key_file = "seller.key"
market_maker = "0x9a6ee47cdde089c8cea4c6b1aeee86eda770a3be"
[market]
url = "ws://127.0.0.1:1/ws"
realm = "realm1"
[store]
path = "seller.db"
[[api]]
id = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
prefix = "io.crossbar.example"
price = "35"
count = 3
[[feed]]
source = "stdin"
api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
uri = "io.crossbar.example"
"#;

const BUYER_CONFIG: &str = r#"
[buyer]
key_file = "seller.key"
market_maker = "0x9a6ee47cdde089c8cea4c6b1aeee86eda770a3be"
max_price = "35"
[market]
url = "ws://127.0.0.1:1/ws"
realm = "realm1"
[store]
path = "buyer.db"
[[subscribe]]
uri = "io.crossbar.example"
"#;

fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
    command.args(args).current_dir(folder.path()).env_clear().stdin(Stdio::null());
    command
}

fn output(folder: &TempDir, args: &[&str]) -> Output {
    program(folder, args).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A folder with a key and a configuration.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("seller.toml"), CONFIG).unwrap();
    fs::write(folder.path().join("buyer.toml"), BUYER_CONFIG).unwrap();
    assert!(output(&folder, &["keygen"]).status.success());
    folder
}

#[test]
fn config_check_knows_every_kind_of_file() {
    let folder = folder();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.toml");
    for (config, told) in
        [("seller.toml", "seller:  0x"), ("buyer.toml", "buyer:   0x"), (demo, "sensor:  a4ad2a2b")]
    {
        let checked = output(&folder, &["config", "check", config]);
        assert!(checked.status.success() && said(&checked).contains(told), "{}", said(&checked));
    }
}

#[test]
fn config_check_tells_what_becomes_of_the_topics_of_a_bridge() {
    let folder = folder();
    let bridge = r#"
[[feed]]
source = "wamp"
api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
uri = "io.crossbar.example"
router = { url = "ws://127.0.0.1:9000/ws", realm = "plant" }
topics = [
    { uri = "plant.alarm" },
    { uri = "plant.sensor", match = "prefix" },
    { uri = "plant..speed", match = "wildcard", to = "io.crossbar.example.fast" },
    { uri = "raw", match = "prefix", from = "" },
]
"#;
    fs::write(folder.path().join("bridge.toml"), format!("{CONFIG}{bridge}")).unwrap();
    let checked = output(&folder, &["config", "check", "bridge.toml"]);
    assert!(checked.status.success(), "{}", said(&checked));
    let told = said(&checked);
    let (_, told) =
        told.split_once("feed:    ws://127.0.0.1:9000/ws plant to io.crossbar.example\n").unwrap();
    let told: Vec<_> = told.lines().map(str::trim).collect();
    let mapped = [
        "plant.alarm becomes io.crossbar.example",
        "plant.sensor (prefix): plant.sensor… becomes io.crossbar.example…",
        "plant..speed (wildcard): plant… becomes io.crossbar.example.fast…",
        "raw (prefix): … becomes io.crossbar.example.…",
    ];
    assert_eq!(told, mapped);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keygen_makes_a_private_key_file_and_tells_who_it_is() {
    let folder = folder();
    let path = folder.path().join("seller.key");
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let again = output(&folder, &["keygen", "--out", "seller.key"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("it exists already, and is left as it is"), "{}", said(&again));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let other = output(&folder, &["keygen", "--out", "other.key"]);
    let secret = fs::read_to_string(folder.path().join("other.key")).unwrap();
    let key: DelegateKey = secret.trim().parse().unwrap();
    let told = said(&other);
    assert!(told.contains(&format!("address:     {}\n", key.address())), "{told}");
    let public_key: String = key.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told.matches(&format!("0x{public_key}\n")).count(), 2, "public key and provider id: {told}");
    assert!(!told.contains(secret.trim()) && secret != text);
}

#[test]
fn keygen_makes_a_cryptosign_key() {
    let folder = folder();
    let made = output(&folder, &["keygen", "--cryptosign"]);
    assert!(made.status.success() && said(&made).contains("public key:  "), "{}", said(&made));
    assert_eq!(mode(&folder.path().join("cryptosign.key")), 0o600);
    let auth = "{ method = \"cryptosign\", key_file = \"cryptosign.key\" }";
    let checked = program(&folder, &["config", "check", "seller.toml"])
        .env("XBR_SELLER__MARKET__AUTH", auth)
        .output()
        .unwrap();
    assert!(checked.status.success() && said(&checked).contains("as cryptosign"), "{}", said(&checked));
}

#[test]
fn a_bad_configuration_ends_with_code_2_and_all_that_is_wrong() {
    let folder = folder();
    assert!(output(&folder, &["config", "check", "seller.toml"]).status.success());
    let text = CONFIG.replace("price", "prise").replace("seller.key", "none.key");
    fs::write(folder.path().join("bad.toml"), text).unwrap();
    for args in [&["config", "check", "bad.toml"][..], &["run", "--config", "bad.toml"]] {
        let refused = output(&folder, args);
        assert_eq!(refused.status.code(), Some(2));
        for told in [
            "line 3: seller.key_file: cannot use none.key: No such file or directory",
            "line 10: api[0].price: missing; it must be a string of decimal XBR",
            "line 13: api[0].prise: unknown key; did you mean price?",
        ] {
            assert!(said(&refused).contains(told), "{told} in {}", said(&refused));
        }
    }
    for args in [&["run", "--config", "nowhere.toml"][..], &["run"], &["sell"]] {
        assert_eq!(output(&folder, args).status.code(), Some(2), "{args:?}");
    }
    assert!(!folder.path().join("seller.db").exists(), "nothing is made for a bad configuration");
}

#[test]
fn a_router_that_is_not_there_is_a_failed_start_with_advice() {
    let folder = folder();
    for (command, config, told, store) in [
        ("run", "seller.toml", "cannot sell: ", "seller.db"),
        ("buy", "buyer.toml", "cannot buy: ", "buyer.db"),
    ] {
        let failed = program(&folder, &[command]).env("XBR_SELLER_CONFIG", config).output().unwrap();
        assert_eq!(failed.status.code(), Some(3), "{}", said(&failed));
        let lines: Vec<serde_json::Value> =
            said(&failed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!((&last["level"], &last["target"]), (&"ERROR".into(), &"xbr_seller::commands".into()));
        assert!(last["advice"].as_str().unwrap().contains("check that the router"), "{last}");
        assert!(last["timestamp"].is_string() && last["message"].as_str().unwrap().starts_with(told));
        for name in [store.to_owned(), format!("{store}.master")] {
            assert_eq!(mode(&folder.path().join(&name)), 0o600, "{name}");
        }
    }
}

#[test]
fn a_store_that_is_open_elsewhere_is_a_failed_start() {
    let folder = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let run = || {
        let mut command = program(&folder, &["run", "--config", "seller.toml"]);
        command.env("XBR_SELLER__MARKET__URL", &url).stderr(Stdio::piped());
        command
    };
    let mut first = run().spawn().unwrap();
    // It holds the store by the time that it dials.
    let (_connection, _) = listener.accept().unwrap();
    let second = run().output().unwrap();
    assert_eq!(second.status.code(), Some(3), "{}", said(&second));
    assert!(said(&second).contains("it is open already"), "{}", said(&second));
    stop_in_time(&mut first, "TERM");
}

#[test]
fn looking_at_channels_and_closing_one_make_no_store() {
    let folder = folder();
    for args in [&["channels", "--json"][..], &["channels"], &["close", "--yes"]] {
        let refused = output(&folder, &[args, &["--config", "seller.toml"]].concat());
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(said(&refused).contains("it does not exist yet"), "{}", said(&refused));
    }
    assert!(!folder.path().join("seller.db").exists());
    let both = output(&folder, &["close", "--config", "seller.toml", "--cooperative", "--at-block", "5"]);
    assert_eq!(both.status.code(), Some(2), "a state is signed for one block");
    let none = output(&folder, &["close", "--config", "seller.toml", "--channel", "five"]);
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn a_signal_during_the_start_is_a_clean_stop_even_with_a_pipe_that_stays_open() {
    for signal in ["TERM", "INT"] {
        let folder = folder();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let mut command = program(&folder, &["run", "--config", "seller.toml"]);
        command.env("XBR_SELLER__MARKET__URL", url).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"1\n").unwrap();
        let (_connection, _) = listener.accept().unwrap();
        stop_in_time(&mut child, signal);
    }
}

fn stop_in_time(child: &mut std::process::Child, signal: &str) {
    let begun = Instant::now();
    // Twice at once, as a shell does that signals the process and its group. It may be gone before the
    // second.
    let pid = child.id().to_string();
    Command::new("kill").args([&format!("-{signal}"), &pid, &pid]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(12), "longer than the grace period");
}

#[test]
fn the_help_teaches() {
    let folder = TempDir::new().unwrap();
    let help = said(&output(&folder, &["--help"]));
    for word in [
        "demo",
        "buy",
        "market",
        "keygen",
        "config check",
        "Examples:",
        "Exit codes:",
        "XBR_SELLER__MARKET__URL",
    ] {
        assert!(help.contains(word), "{word} in {help}");
    }
    assert!(said(&output(&folder, &["--version"])).starts_with("xbr-seller "));
    assert!(said(&output(&folder, &["run", "--help"])).contains("XBR_SELLER_CONFIG"));
}
