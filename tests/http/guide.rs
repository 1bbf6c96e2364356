//! Every command of the guide works.

use std::process::Command;

use crate::world::{World, said};

const GUIDE: &str = include_str!("../../docs/http.md");

#[test]
fn every_command_of_the_guide_works() {
    let world = World::new();
    let seller = world.seller(&[]);
    let blocks: Vec<_> =
        GUIDE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "{blocks:?}");
    for block in blocks {
        let block = block.replace("127.0.0.1:7070", &seller.address.to_string());
        let output = Command::new("sh").args(["-ec", &block]).output().unwrap();
        assert!(output.status.success(), "{block}\n{}", said(&output));
    }
    seller.stop();
}
