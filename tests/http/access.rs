//! Who may ask, and how often.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use crate::client::{Connection, get, post, request};
use crate::programs::{API, said, wait_for};
use crate::world::World;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn without_a_token_web_pages_are_kept_out() {
    let world = World::new();
    let seller = world.seller(&[]);
    let (port, foreign) = (seller.address.port(), "wamp.error.not_authorized");
    let host = |host: &str| seller.send(&get("/v1/state").header("host", host));
    for good in [&format!("localhost:{port}"), "127.0.0.1", "[::1]:80", "LocalHost"] {
        assert_eq!(host(good).status, 200, "{good}");
    }
    for bad in ["example.org", &format!("example.org:{port}"), "localhost.example.org", "192.168.0.1", ""] {
        assert_eq!(host(bad).problem(403), foreign, "{bad}");
    }
    let pause = post(&format!("/v1/apis/{API}/resume"));
    let own = format!("http://{}", seller.address);
    assert_eq!(seller.send(&pause.clone().header("origin", &own)).status, 200);
    assert_eq!(seller.send(&pause.clone().header("sec-fetch-site", "same-origin")).status, 200);
    for bad in ["http://example.org", "null", "http://127.0.0.1:1", &format!("https://{}", seller.address)] {
        assert_eq!(seller.send(&pause.clone().header("origin", bad)).problem(403), foreign, "{bad}");
    }
    assert_eq!(seller.send(&pause.header("sec-fetch-site", "cross-site")).problem(403), foreign);
    let preflight = request("OPTIONS", "/v1/apis").header("origin", "http://example.org");
    assert_eq!(seller.send(&preflight).header("access-control-allow-origin"), None);
    seller.stop();
}

#[test]
fn with_a_token_only_those_who_have_it_are_answered() {
    let world = World::new();
    world.write("token", &format!("{TOKEN}\n"));
    let seller = world.seller(&[("XBR_SELLER__HTTP__TOKEN_FILE", "token")]);
    let with = |value: &str| seller.send(&get("/v1/state").header("authorization", value));
    assert_eq!(with(&format!("Bearer {TOKEN}")).status, 200);
    let elsewhere = get("/v1/state").header("host", "example.org");
    let elsewhere = seller.send(&elsewhere.header("authorization", &format!("bearer {TOKEN}")));
    assert_eq!(elsewhere.status, 200, "whoever has the token may come from anywhere");
    let (short, long) = (&TOKEN[1..], format!("{TOKEN}0"));
    for bad in [TOKEN, "", "Bearer", "Bearer ", &format!("Basic {TOKEN}"), &format!("Bearer {short}"), &long]
    {
        let answer = with(bad);
        assert_eq!(answer.problem(401), "wamp.error.authentication_failed", "{bad}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let anonymous = seller.send(&get("/v1/state"));
    assert_eq!(anonymous.status, 401);
    seller.stop();

    // Where others than this machine can connect there must be one.
    let open = |args: &[&str]| {
        let mut command = world.command(args);
        command.env("XBR_SELLER__HTTP__LISTEN", "0.0.0.0:0").output().unwrap()
    };
    let refused = open(&["config", "check", "seller.toml"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("http.token_file is required"), "{}", said(&refused));
    world.write("token", "short");
    let mut short = world.command(&["config", "check", "seller.toml"]);
    let short = short.env("XBR_SELLER__HTTP__TOKEN_FILE", "token").output().unwrap();
    assert!(said(&short).contains("at least 16 visible ASCII characters"), "{}", said(&short));
}

#[test]
fn the_rate_is_bounded() {
    let world = World::new();
    let seller = world.seller(&[("XBR_SELLER__HTTP__RATE", "1"), ("XBR_SELLER__HTTP__BURST", "3")]);
    let answers: Vec<_> = (0..5).map(|_| seller.send(&get("/v1/state"))).collect();
    assert!(answers[..3].iter().all(|answer| answer.status == 200));
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.problem(429), "xbr_seller.error.rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    seller.stop();
}

#[test]
fn one_connection_too_many_waits_until_another_goes() {
    let world = World::new();
    let seller = world.seller(&[("XBR_SELLER__HTTP__MAX_CONNECTIONS", "2")]);
    let address = seller.address;
    let (mut first, _silent) = (Connection::new(address), TcpStream::connect(address).unwrap());
    let look = get(&format!("/v1/apis/{API}"));
    assert_eq!(first.send(&look).json(200)["paused"], false);
    let third = thread::spawn(move || post(&format!("/v1/apis/{API}/pause")).send(address).status);
    for _ in 0..50 {
        assert_eq!(first.send(&look).json(200)["paused"], false, "a third is served");
    }
    drop(first);
    assert_eq!(third.join().unwrap(), 200);
    seller.stop();
}

#[test]
fn a_stop_waits_for_the_answers_that_are_under_way_and_takes_no_more() {
    let world = World::new();
    let mut seller = world.seller(&[]);
    let idle = TcpStream::connect(seller.address).unwrap();
    let mut half = TcpStream::connect(seller.address).unwrap();
    let head = format!(
        "POST /v1/apis/{API}/publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 2\r\n\r\n1"
    );
    half.write_all(head.as_bytes()).unwrap();
    // It is under way when another one was answered after it.
    assert_eq!(seller.send(&get("/v1/state")).status, 200);
    seller.process.signal("-TERM");
    wait_for("an end of connections", || TcpStream::connect(seller.address).err());
    half.write_all(b"1").unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    seller.process.ended();
    drop(idle);
}

#[test]
fn an_address_that_is_taken_is_a_failed_start() {
    let world = World::new();
    let seller = world.seller(&[]);
    let mut second = world.command(&["run", "--config", "seller.toml"]);
    let address = seller.address.to_string();
    let second = second
        .env("XBR_SELLER__HTTP__LISTEN", &address)
        .env("XBR_SELLER__STORE__PATH", "second.db")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(3), "{}", said(&second));
    assert!(said(&second).contains(&format!("cannot listen at {address}")), "{}", said(&second));
    seller.stop();
}
