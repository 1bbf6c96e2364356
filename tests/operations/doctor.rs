//! The doctor finds what is wrong, says what to do, and changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::world::World;

const DOCTOR: [&str; 4] = ["doctor", "--config", "seller.toml", "--json"];

/// Name and outcome of each check, and all that is said.
fn examine(world: &World, variables: &[(&str, &str)]) -> (Vec<(String, String)>, String, Option<i32>) {
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
    let (world, market) = World::selling();
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
    fs::set_permissions(world.path("wrong.ticket"), fs::Permissions::from_mode(0o600)).unwrap();
    world.write("open.key", &world.read("seller.key"));
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
        ("XBR_SELLER__MARKET__URL", &web, "router", "check the path in market.url"),
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
        let all = ["configuration", "store", "router", "authentication", "market maker", "clock", "channel"];
        assert!(all.iter().all(|name| !outcome(&checks, name).is_empty()));
    }
    market.stop();
    let (checks, text, _) = examine(&world, &[]);
    assert_eq!((outcome(&checks, "router"), outcome(&checks, "channel")), ("failed", "skipped"), "{text}");
    assert_eq!(outcome(&checks, "store"), "ok", "{text}");
}

#[test]
fn a_damaged_or_outdated_store_is_found_and_left_as_it_is() {
    let (world, market) = World::selling();
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
