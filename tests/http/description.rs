//! The description of the interface, and the interface, agree.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{get, request};
use crate::world::World;

const ROUTER: &str = include_str!("../../src/http/mod.rs");

#[test]
fn every_path_is_described_and_every_described_operation_is_there() {
    let world = World::new();
    let seller = world.seller(&[]);
    let description = seller.send(&get("/v1/openapi.json")).json(200);
    let paths = description["paths"].as_object().unwrap();
    let routed: BTreeSet<_> =
        ROUTER.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), routed);

    for (path, item) in paths {
        let concrete = path.replace("{api_id}", "nonsense");
        let described: BTreeSet<_> =
            item.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect();
        // What is not described is not there: the answer names what is.
        let answer = seller.send(&request("TRACE", &concrete));
        assert_eq!(answer.problem(405), "wamp.error.no_such_procedure", "{path}");
        let allowed = answer.header("allow").unwrap().split(',');
        let allowed: BTreeSet<_> =
            allowed.filter(|method| *method != "HEAD").map(str::to_ascii_lowercase).collect();
        assert_eq!(allowed, described, "{path}");
    }
    references(&description, &description);
    seller.stop();
}

/// Every reference leads somewhere.
fn references(value: &Value, root: &Value) {
    if let Some(reference) = value["$ref"].as_str() {
        assert!(root.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    match value {
        Value::Object(object) => object.values().for_each(|value| references(value, root)),
        Value::Array(array) => array.iter().for_each(|value| references(value, root)),
        _ => {}
    }
}
