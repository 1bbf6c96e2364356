//! What is told to the APIs, and what they and the seller tell.

use serde_json::{Value, json};

use crate::client::{get, post, request};
use crate::programs::API;
use crate::world::World;

#[test]
fn an_api_is_priced_paused_resumed_rotated_added_and_removed() {
    let world = World::new();
    let seller = world.seller(&[]);
    let (path, wrap) = (format!("/v1/apis/{API}"), post(&format!("/v1/apis/{API}/wrap")).json("1"));
    let told = |what: &str| seller.send(&post(&format!("/v1/apis/{API}/{what}")));

    let api = seller.send(&get(&path)).json(200);
    assert_eq!((api["price"].as_str(), api["interval"].as_str()), (Some("0.5"), Some("1h")));
    assert_eq!((&api["paused"], &api["key"]["offered"]), (&json!(false), &json!(true)));
    assert!(api["key"]["rotates"].as_str() > api["key"]["created"].as_str(), "{api}");

    let changed = seller.send(&request("PATCH", &path).json(r#"{"price":"0.000000000000000001"}"#)).json(200);
    assert_eq!(changed["price"], "0.000000000000000001");
    assert_eq!(changed["key"]["price"], "0.5", "what is offered keeps its price");
    let key_id = told("rotate").json(200)["key_id"].clone();
    let rotated = seller.send(&get(&path)).json(200);
    assert_eq!((&rotated["key"]["key_id"], &rotated["key"]["price"]), (&key_id, &changed["price"]));

    assert_eq!(told("pause").json(200)["paused"], true);
    assert_eq!(seller.send(&wrap).problem(409), "xbr_seller.error.paused");
    assert_eq!(told("rotate").problem(409), "xbr_seller.error.paused");
    assert_eq!(told("resume").json(200)["paused"], false);
    assert_eq!(seller.send(&wrap).json(200)["key_id"], key_id);

    let id = "00000000-0000-4000-8000-000000000001";
    let new = format!(r#"{{"id":"{id}","prefix":"io.other","price":"1","interval":"10s","copies":3}}"#);
    let added = seller.send(&post("/v1/apis").json(&new));
    assert_eq!(added.header("location"), Some(format!("/v1/apis/{id}").as_str()));
    assert_eq!(added.json(201)["copies"], 3);
    assert_eq!(seller.send(&post("/v1/apis").json(&new)).problem(409), "xbr_seller.error.api_exists");
    let ids = |answer: Value| answer["apis"].as_array().unwrap().len();
    assert_eq!(ids(seller.send(&get("/v1/apis")).json(200)), 2);
    assert_eq!(seller.send(&request("DELETE", &format!("/v1/apis/{id}"))).status, 204);
    assert_eq!(ids(seller.send(&get("/v1/apis")).json(200)), 1);
    seller.stop();
}

#[test]
fn the_seller_tells_how_it_and_its_channels_stand() {
    let world = World::new();
    let seller = world.seller(&[]);
    let state = seller.send(&get("/v1/state")).json(200);
    assert_eq!((&state["state"], &state["channels"][0]["remaining"]), (&json!("started"), &json!("1000")));
    assert_eq!(state["apis"][0]["categories"], json!({ "kind": "test" }));
    let balance = seller.send(&get("/v1/balance")).json(200)["balances"][0].clone();
    assert_eq!(balance["market_maker"], json!({ "remaining": "1000", "in_flight": "0", "seq": 1 }));
    assert_eq!(balance["channel"], seller.send(&get("/v1/channels")).json(200)["channels"][0]);
    let head = seller.send(&request("HEAD", "/v1/state"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    seller.stop();
}
