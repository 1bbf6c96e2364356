//! Sales, keys, earnings and receipts, beside a service that runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::ROTATION;
use crate::programs::{API, World};

const CONFIG: [&str; 2] = ["--config", "seller.toml"];

fn with<'a>(command: &[&'a str], args: &[&'a str]) -> Vec<&'a str> {
    [command, &CONFIG[..], args].concat()
}

#[test]
fn what_was_sold_is_told_while_the_service_runs() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    world.buy(&mut seller, 3);

    let sales = world.values(&with(&["sales"], &["--json"]));
    assert!(sales.len() >= 3, "{sales:?}");
    assert!(sales.iter().all(|sale| sale["amount"] == "0.5" && sale["api"] == API), "{sales:?}");
    let times: Vec<&str> = sales.iter().map(|sale| sale["sold_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times[0].ends_with('Z'), "{times:?}");
    let seqs: Vec<u64> = sales.iter().map(|sale| sale["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");

    let [key, channel] = ["key", "channel"].map(|field| sales[1][field].as_str().unwrap());
    let one = world.values(&with(&["sales"], &["--json", "--key", key]));
    assert!(one.iter().all(|sale| sale["key"] == key) && !one.is_empty());
    assert_eq!(world.values(&with(&["sales"], &["--json", "--channel", channel, "--api", API])), sales);
    assert_eq!(world.values(&with(&["sales"], &["--json", "--limit", "1"])), sales[sales.len() - 1..]);
    assert!(world.values(&with(&["sales"], &["--json", "--until", times[0]])).is_empty());
    assert_eq!(world.values(&with(&["sales"], &["--json", "--since", times[1]])).len(), sales.len() - 1);
    assert_eq!(world.values(&with(&["sales"], &["--json", "--since", "1h"])), sales);
    assert_eq!(world.succeed(&with(&["sales"], &["--csv"])).lines().count(), sales.len() + 1);
    let text = world.succeed(&with(&["sales"], &[]));
    assert!(text.contains("0.5 XBR  key ") && text.contains(channel), "{text}");
    let none = "00000000-0000-0000-0000-000000000000";
    assert_eq!(world.succeed(&with(&["sales"], &["--key", none])), "no such sale\n");
    assert_eq!(world.run(&with(&["sales"], &["--key", "nonsense"])).1, Some(2));

    let keys = world.values(&with(&["keys"], &["--json", "--state", "offered"]));
    let sold = keys.iter().find(|entry| entry["key"] == key).unwrap();
    assert_eq!((&sold["sales"], &sold["earned"]), (&Value::from(1), &Value::from("0.5")), "{sold}");
    assert!(world.succeed(&with(&["keys"], &["--api", API])).contains("sold 1 times for 0.5 XBR"));

    let days = world.values(&with(&["sales", "earnings"], &["--json"]));
    let sum: u64 = days.iter().map(|day| day["sales"].as_u64().unwrap()).sum();
    assert_eq!(sum, sales.len() as u64, "{days:?}");
    assert!(world.succeed(&with(&["sales", "earnings"], &["--by", "hour"])).contains("XBR by"));
    seller.stop();
    market.stop();
}

#[test]
fn whoever_follows_sees_each_sale_as_it_is_made() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    let mut follow = world.command(&with(&["sales"], &["--json", "--follow"]));
    let mut follower = follow.stdout(Stdio::piped()).spawn().unwrap();
    world.buy(&mut seller, 2);
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let followed: Vec<Value> =
        lines.take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(followed, world.values(&with(&["sales"], &["--json"]))[..2]);
    follower.kill().unwrap();
    follower.wait().unwrap();
    seller.stop();
    market.stop();
}

#[test]
fn receipts_are_exported_while_the_service_runs_and_checked_without_it() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    world.buy(&mut seller, 2);
    let told = world.succeed(&with(&["sales", "export"], &["--out", "receipts.csv"]));
    assert!(told.starts_with("receipts.csv has 1 channels, "), "{told}");
    assert_eq!(fs::metadata(world.path("receipts.csv")).unwrap().permissions().mode() & 0o777, 0o600);
    world.write("receipts.json", &world.succeed(&with(&["sales", "export"], &["--format", "json"])));
    let again = world.run(&with(&["sales", "export"], &["--out", "receipts.csv"]));
    assert!(again.1 == Some(1) && again.0.contains("File exists"), "{again:?}");
    seller.stop();
    market.stop();

    let (maker, owner) = (world.address("maker"), world.address("seller"));
    for file in ["receipts.csv", "receipts.json"] {
        let told = world.succeed(&["sales", "verify", file, "--market-maker", &maker, "--seller", &owner]);
        assert!(told.starts_with(&format!("{file} is right: 1 channels, ")), "{told}");
        let wrong = world.run(&["sales", "verify", file, "--seller", &maker]);
        assert!(wrong.1 == Some(1) && wrong.0.contains("the seller is"), "{wrong:?}");
    }
    // The second sale costs one unit less.
    let text = world.read("receipts.csv").replacen(",0.5,", ",0.499999999999999999,", 2);
    world.write("changed.csv", &text.replacen(",0.499999999999999999,", ",0.5,", 1));
    let (told, code) = world.run(&["sales", "verify", "changed.csv"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("changed.csv: line 4: amount and surplus are not"), "{told}");
    assert_eq!(world.run(&["sales", "verify", "seller.toml"]).1, Some(1));
    assert_eq!(world.run(&["sales", "verify", "nowhere.csv"]).1, Some(1));
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let world = World::new(ROTATION);
    for command in [&["sales"][..], &["keys"], &["sales", "export"], &["sales", "earnings"]] {
        let (told, code) = world.run(&with(command, &[]));
        assert!(code == Some(1) && told.contains("does not exist yet"), "{told}");
    }
    assert!(!world.path("seller.db").exists());
}
