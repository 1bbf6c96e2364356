//! Everything that is refused is a problem, with the right status and code.

use std::io::Write as _;

use crate::client::{Request, get, post, request};
use crate::programs::API;
use crate::world::World;

#[test]
fn what_is_refused_says_so_with_a_status_and_a_code() {
    const INVALID: &str = "wamp.error.invalid_argument";
    const UNKNOWN: &str = "crossbar.error.no_such_object";
    const NO_PATH: &str = "wamp.error.no_such_procedure";
    let unknown = "00000000-0000-4000-8000-000000000000";
    let api = |rest: &str| format!("/v1/apis/{API}{rest}");
    let deep = "[".repeat(100) + &"]".repeat(100);
    let new = |change: &str| {
        post("/v1/apis").json(&format!(r#"{{"id":"{unknown}","prefix":"a","price":"1","count":1{change}}}"#))
    };
    let table: Vec<(Request, u16, &str)> = vec![
        (get("/v1"), 404, NO_PATH),
        (get("/v2/state"), 404, NO_PATH),
        (post("/v1/state"), 405, NO_PATH),
        (request("PUT", &api("")), 405, NO_PATH),
        (get("/v1/apis/nonsense"), 400, INVALID),
        (get("/v1/apis/%ff"), 400, INVALID),
        (get(&format!("/v1/apis/{unknown}")), 404, UNKNOWN),
        (request("DELETE", &format!("/v1/apis/{unknown}")), 404, UNKNOWN),
        (post(&format!("/v1/apis/{unknown}/rotate")), 404, UNKNOWN),
        (post(&format!("/v1/apis/{unknown}/pause")), 404, UNKNOWN),
        (post(&format!("/v1/apis/{unknown}/publish")).json("1"), 404, UNKNOWN),
        (post(&api("/wrap")), 415, INVALID),
        (post(&api("/wrap")).body("text/plain", "1"), 415, INVALID),
        (post(&api("/wrap-batch")).body("application/octet-stream", "1"), 415, INVALID),
        (post(&api("/wrap")).json(""), 400, INVALID),
        (post(&api("/wrap")).json("{"), 400, INVALID),
        (post(&api("/wrap")).json(r#"{"a":1,"a":2}"#), 400, INVALID),
        (post(&api("/wrap")).json(&deep), 400, INVALID),
        (post(&api("/wrap")).body("application/json", [0xff]), 400, INVALID),
        (post(&api("/wrap")).body("application/cbor", [0x82, 1]), 400, INVALID),
        (post(&api("/wrap-batch")).json("1"), 400, INVALID),
        (post(&api("/wrap?url=io.example")).json("1"), 400, INVALID),
        (post(&api("/wrap?uri=not%20a%20uri")).json("1"), 400, INVALID),
        (post(&api("/wrap?uri=io.crossbar.examples")).json("1"), 422, "xbr_seller.error.outside_prefix"),
        (post(&api("/publish")).json("1").header("idempotency-key", "a b"), 400, INVALID),
        (post("/v1/apis").json("[]"), 400, INVALID),
        (post("/v1/apis").json("{}"), 400, INVALID),
        (new(r#","colour":"red""#), 400, INVALID),
        (new(r#","interval":"soon""#), 400, INVALID),
        (new(r#","interval":"0s""#), 400, INVALID),
        (new(r#","expires_after":"1s""#), 400, INVALID),
        (request("PATCH", &api("")).json(r#"{"price":35}"#), 400, INVALID),
        (request("PATCH", &api("")).json(r#"{"price":"-1"}"#), 400, INVALID),
        (get("/v1/sales?limit=0"), 400, INVALID),
        (get("/v1/sales?limit=1001"), 400, INVALID),
        (get("/v1/sales?cursor=nonsense"), 400, INVALID),
        (get("/v1/sales?from=yesterday"), 400, INVALID),
        (get("/v1/sales?api_id=1"), 400, INVALID),
        (get("/v1/sales?order=up"), 400, INVALID),
        (get("/v1/sales?colour=red"), 400, INVALID),
        (get("/v1/keys?state=lost"), 400, INVALID),
        (get("/v1/offers?state=offered"), 400, INVALID),
        (get("/v1/earnings?step=0s"), 400, INVALID),
    ];
    let world = World::new();
    let seller = world.seller(&[]);
    for (request, status, code) in table {
        let answer = seller.send(&request);
        assert_eq!(answer.problem(status), code, "{request:?}");
    }
    let wrong_method = seller.send(&post("/v1/state"));
    assert_eq!(wrong_method.header("allow"), Some("GET,HEAD"));
    seller.stop();
}

#[test]
fn bodies_are_bounded_in_length_and_time_and_what_is_malformed_harms_nobody() {
    let world = World::new();
    let seller = world.seller(&[
        ("XBR_SELLER__HTTP__MAX_BODY_BYTES", "1000"),
        ("XBR_SELLER__HTTP__REQUEST_TIMEOUT", "300ms"),
    ]);
    let wrap = post(&format!("/v1/apis/{API}/wrap"));
    let just = format!("\"{}\"", "a".repeat(998));
    assert_eq!(seller.send(&wrap.clone().json(&just)).status, 200);
    let too_large = wrap.clone().json(&format!("{just} "));
    assert_eq!(seller.send(&too_large).problem(413), "wamp.error.payload_size_exceeded");
    // The same without an announcement.
    let chunk = format!("3e9\r\n{just} \r\n0\r\n\r\n");
    let chunked = wrap.clone().json(&chunk).header("transfer-encoding", "chunked");
    assert_eq!(seller.send(&chunked).problem(413), "wamp.error.payload_size_exceeded");

    let late = wrap.clone().json("\"abc").header("content-length", "10");
    assert_eq!(seller.send(&late).problem(408), "xbr_seller.error.request_timeout");

    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nhost: \xff\r\n\r\n"]
    {
        let mut stream = std::net::TcpStream::connect(seller.address).unwrap();
        stream.write_all(nonsense).unwrap();
        drop(stream);
    }
    assert_eq!(seller.send(&get("/v1/state")).status, 200);
    seller.stop();
}
