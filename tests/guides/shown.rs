//! What is shown beside commands: configurations, and what is answered.

use std::fs;
use std::path::Path;

use crate::pages::{ROOT, all};
use crate::programs::World;

#[test]
fn every_configuration_that_is_shown_can_be_used() {
    let world = World::new("");
    let whole = fs::read_to_string(Path::new(ROOT).join("config/seller.toml")).unwrap();
    world.write("bridge.ticket", "secret\n");
    let mut shown = 0;
    for page in all() {
        for block in page.blocks().iter().filter(|block| block.kind == "toml") {
            world.write("shown.toml", &format!("{whole}{}", block.text));
            let (told, code) = world.run(&["config", "check", "shown.toml"]);
            assert_eq!(code, Some(0), "{}: {told}", block.place);
            shown += 1;
        }
    }
    assert!(shown >= 3, "the guide of feeds shows some");
}

#[test]
fn every_block_is_of_a_kind_that_is_looked_at() {
    for page in all() {
        for block in page.blocks() {
            match block.kind.as_str() {
                "sh" | "sh stopped" => assert!(!block.text.is_empty()),
                // Below, and in the documentation's own tests.
                "toml" | "rust,no_run" => {}
                "json" => {
                    let value = serde_json::from_str::<serde_json::Value>(&block.text);
                    assert!(value.is_ok(), "{}: {value:?}", block.place);
                }
                // A dialogue, which `tests/feeds` leads; the configuration of another program.
                "text" | "yaml" => {}
                other => panic!("{}: nobody looks at {other:?}", block.place),
            }
        }
    }
}
