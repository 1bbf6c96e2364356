//! The guide of the operator is true: what it shows works, in its order.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::world::{World, said};

const GUIDE: &str = include_str!("../../docs/operations.md");

/// The commands of the guide, each with the line that it begins at, and whether the service is stopped for it.
fn blocks() -> Vec<(usize, bool, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, bool, String)> = None;
    for (number, line) in GUIDE.lines().enumerate() {
        match (&mut open, line) {
            (None, "```sh") => open = Some((number + 1, false, String::new())),
            (None, "```sh stopped") => open = Some((number + 1, true, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, _, block)), line) => block.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn what_the_guide_shows_works() {
    let (world, market) = World::selling();
    let mut seller = world.seller();
    world.buy(&mut seller, 2);
    let mut running = Some(seller);
    let folder = Path::new(env!("CARGO_BIN_EXE_xbr-seller")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    assert!(blocks().len() > 5);
    for (line, stopped, block) in blocks() {
        match running.take() {
            Some(seller) if stopped => seller.stop(),
            None if !stopped => running = Some(world.seller()),
            same => running = same,
        }
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &block]).current_dir(world.path("")).env("PATH", &path);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "line {line} of the guide: {block}{}", said(&output));
    }
    drop(running);
    market.stop();
}
