//! The guide of the HTTP interface, beside a seller that sells.

use crate::pages::page;
use crate::programs::{World, said, shell};

#[test]
fn every_command_of_the_http_guide_works() {
    let (world, market) = World::selling("interval = \"1h\"\n");
    let mut seller = world.seller();
    let address = seller.http_address().to_string();
    let blocks = page("docs/http.md").blocks();
    for block in blocks.iter().filter(|block| block.kind == "sh") {
        let commands = block.text.replace("127.0.0.1:7070", &address);
        let output = shell(&commands, &world.path("")).output().unwrap();
        assert!(output.status.success(), "{}: {commands}{}", block.place, said(&output));
    }
    seller.stop();
    market.stop();
}
