//! Sales, keys and offers, a page at a time and as a whole.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{get, post};
use crate::programs::{API, said, wait_for};
use crate::world::{Seller, World};

/// A seller that has sold a key for each of so many events.
fn sold(world: &World, count: usize) -> Seller {
    let seller = world.seller(&[("XBR_SELLER__API__0__COUNT", "1")]);
    let mut buyer = world.buyer(count);
    let publish = post(&format!("/v1/apis/{API}/publish")).json("1");
    // Whether the buyer has subscribed in time does not matter: it takes so many of those that come.
    wait_for("the purchases", || {
        assert_eq!(seller.send(&publish).status, 200);
        buyer.try_wait().unwrap()
    });
    let output = buyer.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    seller
}

fn rows(page: &Value, name: &str) -> Vec<Value> {
    page[name].as_array().unwrap().clone()
}

/// Walks through a list.
fn walk(seller: &Seller, path: &str, name: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = seller.send(&get(&format!("{path}{cursor}"))).json(200);
        all.extend(rows(&page, name));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn sales_are_told_in_pages_and_as_a_whole_and_keys_with_what_they_earned() {
    let world = World::new();
    let seller = sold(&world, 5);
    let page = seller.send(&get("/v1/sales")).json(200);
    let sales = rows(&page, "sales");
    assert!(sales.len() >= 5, "{page}");
    assert!(sales.iter().all(|sale| sale["amount"] == "0.5" && sale["api_id"] == API));
    assert!(sales.is_sorted_by(|a, b| a["seq"].as_u64() > b["seq"].as_u64()), "the latest come first");
    let channel = seller.send(&get("/v1/channels")).json(200)["channels"][0].clone();
    assert_eq!((&sales[0]["seq"], &sales[0]["remaining"]), (&channel["seq"], &channel["remaining"]));

    let walked = walk(&seller, "/v1/sales?limit=2", "sales");
    assert_eq!(walked, sales);
    let mut upwards = walk(&seller, "/v1/sales?limit=3&order=asc", "sales");
    upwards.reverse();
    assert_eq!(upwards, sales);

    let lines = seller.send(&get("/v1/sales").header("accept", "application/x-ndjson"));
    let lines: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, sales);
    let csv = seller.send(&get("/v1/sales?format=csv&limit=2"));
    assert_eq!(csv.header("content-type"), Some("text/csv"));
    let csv: Vec<Vec<&str>> = csv.text().lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(csv.len(), 1 + 2);
    for (column, name) in csv[0].iter().enumerate() {
        let value = &sales[0][name];
        assert_eq!(csv[1][column], value.as_str().map_or(value.to_string(), str::to_owned), "{name}");
    }

    // Each filter picks what it says.
    let key_id = sales[1]["key_id"].as_str().unwrap();
    let picked = |filter: &str| rows(&seller.send(&get(&format!("/v1/sales?{filter}"))).json(200), "sales");
    assert_eq!(picked(&format!("key_id={key_id}")), [sales[1].clone()]);
    assert_eq!(picked(&format!("from={}", sales[1]["sold"].as_str().unwrap())), sales[..2]);
    assert_eq!(picked(&format!("to={}", sales[1]["sold"].as_str().unwrap())), sales[2..]);
    assert_eq!(
        picked(&format!("api_id={API}&channel_id={}", channel["channel_id"].as_str().unwrap())),
        sales
    );
    assert!(picked(&format!("channel_id={API}")).is_empty());

    let keys = walk(&seller, "/v1/keys?limit=3", "keys");
    let ids: BTreeSet<_> = keys.iter().map(|key| key["key_id"].to_string()).collect();
    assert_eq!(ids.len(), keys.len(), "a key comes once");
    let key = keys.iter().find(|key| key["key_id"] == key_id).unwrap();
    assert_eq!((key["sales"].as_u64(), key["earned"].as_str()), (Some(1), Some("0.5")));
    let offers = walk(&seller, "/v1/offers?limit=1000", "offers");
    assert!(!offers.is_empty() && offers.iter().all(|offer| offer["state"] == "offered"));
    let earned = seller.send(&get("/v1/earnings?step=1day")).json(200);
    let earned: u64 = rows(&earned, "earnings").iter().map(|step| step["sales"].as_u64().unwrap()).sum();
    assert_eq!(earned, sales.len() as u64);
    seller.stop();
}
