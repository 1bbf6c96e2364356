//! A market of three processes, `market`, `run` and `buy`, and what its operator does with channels.

use crate::programs::{PAYING_CHANNEL, TOPIC, World, said};

/// One in which no channel to a seller is open.
fn new_market() -> World {
    let world = World::new("count = 2\n");
    let text = world.read("market.toml");
    let (before, _) = text.split_once(PAYING_CHANNEL).unwrap();
    world.write("market.toml", before);
    world
}

fn channel(world: &World, args: &[&str]) -> String {
    world.succeed(&[&["market", "channel"], args, &["--config", "market.toml"]].concat())
}

#[test]
fn a_seller_and_a_buyer_trade_in_a_market_whose_channels_its_operator_opens_and_closes() {
    let world = new_market();
    let (market, seller_address) = (world.market(), world.address("seller"));
    let opened = channel(&world, &["open", "--seller", &seller_address, "--amount", "1000"]);
    assert!(opened.ends_with(&format!("is open: 1000 XBR for seller {seller_address}\n")), "{opened}");
    let listed = channel(&world, &["list"]);
    assert!(listed.starts_with("payment ") && listed.contains("1000 XBR, 1000 remain"), "{listed}");

    let mut seller = world.seller();
    let lines = world.buy(&mut seller, 3);
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["payload"]["a"] == 1 && line["topic"] == TOPIC));
    seller.stop();

    let listed = channel(&world, &["list"]);
    let spent = ["999 remain", "998.5 remain"].iter().any(|remain| listed.contains(remain));
    assert!(spent && listed.contains(" open\n"), "{listed}");
    let id = listed.split(' ').nth(1).unwrap();
    let close = ["close", "--channel", id, "--key-file", "buyer.key"];
    let closed = channel(&world, &close);
    assert_eq!(channel(&world, &close), closed, "the same again is answered the same");
    let others = ["close", "--channel", id, "--key-file", "seller.key", "--config", "market.toml"];
    let (others, _) = world.run(&[&["market", "channel"][..], &others].concat());
    assert!(others.contains("the key is not that of the channel's delegate"), "{others}");
    market.stop();

    let market = world.market();
    assert!(channel(&world, &["list"]).contains(" closed\n"));
    assert!(channel(&world, &["list", "--seller", &seller_address]).contains("1000 XBR, "));
    market.stop();
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = new_market();
    let (list, code) = world.run(&["market", "channel", "list", "--config", "market.toml"]);
    assert!(code == Some(1) && list.contains("is it running?"), "{list}");
    for args in [
        &["market"][..],
        &["market", "channel", "open", "--config", "market.toml", "--amount", "1"],
        &["market", "channel", "open", "--config", "market.toml", "--seller", "0x12", "--amount", "1"],
    ] {
        assert_eq!(world.run(args).1, Some(2), "{args:?}");
    }
    let told = world.succeed(&["config", "check", "market.toml"]);
    assert!(told.contains("member:  me as member, by a ticket\n"), "{told}");
    // The address is taken.
    let market = world.market();
    let mut second = world.command(&["market", "--config", "market.toml"]);
    let second = second.env("XBR_SELLER__STORE__PATH", "b.db").output().unwrap();
    assert_eq!(second.status.code(), Some(3), "{}", said(&second));
    assert!(said(&second).contains("cannot listen at 127.0.0.1"), "{}", said(&second));
    market.stop();
}
