//! `/healthz`, `/readyz` and `/metrics`.

use crate::programs::{API, wait_for};
use crate::world::World;

#[test]
fn a_seller_is_ready_while_its_market_is_there_and_says_what_is_missing_when_not() {
    let mut world = World::new("");
    let market = world.market();
    let seller = world.seller();
    world.wait_until_ready();
    assert_eq!(world.get("/healthz").unwrap(), (200, "{\"alive\":true}".to_owned()));
    assert_eq!(world.metric("xbr_seller_ready").unwrap(), "1");
    let state = "xbr_seller_key_offered{api_id=\"627f1b5c-58c2-43b1-8422-a34f7d3f5a04\"}";
    assert_eq!(world.metric(state).unwrap(), "1", "{API}");

    let status = |code: i32, sign: &str| {
        let output = world.command(&["status", "--config", "seller.toml"]).output().unwrap();
        let (exit, told) =
            (output.status, String::from_utf8([output.stdout, output.stderr].concat()).unwrap());
        assert!(exit.code() == Some(code) && told.contains(sign), "{code} and {sign}: {exit} {told}");
    };
    status(0, "seller:   started, ready, since 20");

    // The router is there, the market maker is not: the next key cannot be offered.
    drop(market);
    let missing = |code: &str| {
        wait_for(code, || world.readiness().filter(|(status, codes)| *status == 503 && codes == &[code]));
    };
    missing("key_not_offered");
    status(1, "missing:  key_not_offered");
    assert_eq!(world.get("/healthz").unwrap().0, 200, "a seller that waits lives");
    let market = world.market();
    world.wait_until_ready();

    world.stop_router();
    wait_for("not joined", || {
        world
            .readiness()
            .filter(|(status, codes)| *status == 503 && codes.iter().any(|it| it == "not_joined"))
    });
    assert_eq!(world.metric("xbr_seller_ready").unwrap(), "0");
    assert_eq!(world.metric("xbr_seller_sessions_lost_total").unwrap(), "1");
    drop(market);
    world.start_router();
    let _market = world.market();
    world.wait_until_ready();
    seller.stop();
    let output = world.command(&["status", "--config", "seller.toml", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}
