//! A configuration that changes while the service runs.

use std::io::BufRead as _;

use serde_json::{Value, json};

use crate::programs::{API, wait_for};
use crate::world::{World, api};

const OTHER: &str = "a4ad2a2b-6a0d-4f4e-8a0e-1f0f7a4d1c11";

#[test]
fn apis_come_and_go_and_prices_change_from_the_next_key_on() {
    let world = World::new("");
    let _market = world.market();
    let mut seller = world.seller();
    assert!(world.buy_one(&mut seller).contains("\"amount\":\"0.5\""));

    world.edit("seller.toml", "price = \"0.5\"", "price = \"0.75\"");
    let text = world.read("seller.toml");
    world.write("seller.toml", &format!("{text}{}", api(OTHER, "io.other", "2")));
    seller.signal("-HUP");
    let line = seller.says("configuration reloaded");
    assert!(
        line.contains(&format!("\"added\":\"{OTHER}\"")) && line.contains(&format!("{API}=0.75")),
        "{line}"
    );
    // Keys that were made keep their price: the current one, and the next one if it was there already.
    wait_for("the price", || {
        Some(world.buy_one(&mut seller)).filter(|line| line.contains("\"amount\":\"0.75\""))
    });

    world.write("seller.toml", &text);
    seller.signal("-HUP");
    let line = seller.says("configuration reloaded");
    assert!(line.contains(&format!("\"removed\":\"{OTHER}\"")), "{line}");
    seller.signal("-HUP");
    seller.says("nothing in the configuration has changed");
    seller.stop();
}

#[test]
fn a_new_token_counts_at_once_and_readers_of_events_hear_what_became_of_apis() {
    let world = World::new("");
    world.edit("seller.toml", "[http]\n", "[http]\ntoken_file = \"token\"\n");
    let (old, new) = ("the-old-token-0123", "the-new-token-0123");
    world.write("token", old);
    let _market = world.market();
    let mut seller = world.seller();
    let state =
        |token: &str| world.get_with("/v1/state", &format!("Authorization: Bearer {token}\r\n")).unwrap().0;
    assert_eq!((state(old), state(new)), (200, 401));
    let events = world.events(old);

    // A token that is none changes nothing, like everything else that is bad.
    world.write("token", "short");
    seller.signal("-HUP");
    seller.says("the new configuration is refused");
    assert_eq!(state(old), 200);

    world.write("token", new);
    world.edit("seller.toml", "price = \"0.5\"", "price = \"0.75\"");
    let text = world.read("seller.toml");
    world.write("seller.toml", &format!("{text}{}", api(OTHER, "io.other", "2")));
    seller.signal("-HUP");
    assert!(seller.says("configuration reloaded").contains("\"token\":true"));
    assert_eq!((state(old), state(new)), (401, 200));
    world.write("seller.toml", &text);
    seller.signal("-HUP");
    seller.says("configuration reloaded");
    let told = events.lines().map(Result::unwrap).filter(|line| line.contains("\"change\""));
    let told: Vec<Value> =
        told.take(3).map(|line| serde_json::from_str(line.trim_start_matches("data: ")).unwrap()).collect();
    let change = |api: &str, change: &str| json!({ "api_id": api, "change": change });
    assert_eq!(told, [change(OTHER, "added"), change(API, "price"), change(OTHER, "removed")]);
    seller.stop();
}

#[test]
fn a_file_that_is_bad_or_changes_what_is_fixed_changes_nothing() {
    let world = World::new("");
    let _market = world.market();
    let mut seller = world.seller();
    let good = world.read("seller.toml");
    let mut refused = |told: &[&str]| {
        seller.signal("-HUP");
        let line = seller.says("the new configuration is refused");
        assert!(told.iter().all(|told| line.contains(told)), "{line}");
    };

    // Each would change the price as well.
    let dear = good.replace("price = \"0.5\"", "price = \"7\"");
    world.write("seller.toml", &dear.replace("interval = \"1s\"", "intervall = \"1s\""));
    refused(&["api[0].intervall: unknown key"]);
    world.write("seller.toml", &dear.replace("seller.db", "other.db").replace("realm1", "realm2"));
    refused(&["market.realm", "store.path", "restart"]);
    world.write("seller.toml", &dear.replace("interval = \"1s\"", "interval = \"3s\""));
    refused(&["api[0].interval", API]);
    std::fs::copy(world.path("buyer.key"), world.path("seller.key")).unwrap();
    world.write("seller.toml", &dear);
    refused(&["seller.key_file"]);
    std::fs::remove_file(world.path("seller.toml")).unwrap();
    refused(&["seller.toml"]);

    assert!(world.buy_one(&mut seller).contains("\"amount\":\"0.5\""));
    seller.stop();
}
