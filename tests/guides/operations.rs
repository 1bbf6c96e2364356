//! The guide of the operator, beside a seller that sells.

use crate::pages::page;
use crate::programs::{World, said, shell};

#[test]
fn what_the_operators_guide_shows_works() {
    let (world, market) = World::selling("count = 1\n");
    let mut seller = world.seller();
    world.buy(&mut seller, 2);
    let mut running = Some(seller);
    for block in page("docs/operations.md").blocks() {
        let stopped = match block.kind.as_str() {
            "sh" => false,
            "sh stopped" => true,
            other => panic!("{}: {other}", block.place),
        };
        match running.take() {
            Some(seller) if stopped => seller.stop(),
            None if !stopped => running = Some(world.seller()),
            same => running = same,
        }
        let output = shell(&block.text, &world.path("")).output().unwrap();
        assert!(output.status.success(), "{}: {}{}", block.place, block.text, said(&output));
    }
    drop(running);
    market.stop();
}
