//! A configuration that changes while the service runs.

use crate::world::{API, World, api, wait_for};

const OTHER: &str = "a4ad2a2b-6a0d-4f4e-8a0e-1f0f7a4d1c11";

#[test]
fn apis_come_and_go_and_prices_change_from_the_next_key_on() {
    let world = World::new("");
    let _market = world.market();
    let mut seller = world.seller();
    assert!(world.buy_one(&mut seller).contains("\"amount\":\"0.5\""));

    world.edit("price = \"0.5\"", "price = \"0.75\"");
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
fn a_file_that_is_bad_or_changes_what_is_fixed_changes_nothing() {
    let world = World::new("");
    let _market = world.market();
    let mut seller = world.seller();
    let good = world.read("seller.toml");
    let refused = |told: &[&str]| {
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
