//! What happens, as server-sent events.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use serde_json::Value;

use crate::client::{Answer, Connection, get, post, request};
use crate::programs::{API, wait_for};
use crate::world::{Seller, World};

/// A stream of events that is read.
struct Reader(BufReader<TcpStream>);

#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Reader {
    fn new(seller: &Seller, last_id: Option<&str>) -> Self {
        let mut reading = get("/v1/events");
        if let Some(id) = last_id {
            reading = reading.header("last-event-id", id);
        }
        Self::over(reading.open(seller.address))
    }

    fn over((answer, reader): (Answer, BufReader<TcpStream>)) -> Self {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        Self(reader)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event of a name; `None` when the stream ends.
    fn next(&mut self, name: &str) -> Option<Event> {
        loop {
            let mut event = Event { id: String::new(), name: String::new(), data: Value::Null };
            loop {
                let line = self.line()?;
                match line.split_once(": ") {
                    Some(("id", id)) => event.id = id.to_owned(),
                    Some(("event", name)) => event.name = name.to_owned(),
                    Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                    _ if line.is_empty() && !event.name.is_empty() => break,
                    // The lengths of chunks, and comments.
                    _ => {}
                }
            }
            if event.name == name {
                return Some(event);
            }
        }
    }
}

#[test]
fn what_happens_is_told_and_told_again_to_whoever_comes_back() {
    let world = World::new();
    let seller = world.seller(&[]);
    let mut reader = Reader::new(&seller, None);
    let reset = reader.next("reset").unwrap();

    let rotate = post(&format!("/v1/apis/{API}/rotate"));
    let first = seller.send(&rotate).json(200)["key_id"].clone();
    let rotation = reader.next("rotation").unwrap();
    assert_eq!((&rotation.data["key_id"], &rotation.data["price"]), (&first, &"0.5".into()));
    let api = seller.send(&get(&format!("/v1/apis/{API}"))).json(200);
    for member in ["created", "rotates"] {
        assert_eq!(rotation.data[member], api["key"][member], "{member}");
    }
    let second = seller.send(&rotate).json(200)["key_id"].clone();
    assert_eq!(reader.next("rotation").unwrap().data["previous"], first);
    seller.send(&request("PATCH", &format!("/v1/apis/{API}")).json(r#"{"price":"1"}"#)).json(200);
    let change = reader.next("api").unwrap();
    assert_eq!((&change.data["api_id"], &change.data["change"]), (&API.into(), &"price".into()));

    let mut again = Reader::new(&seller, Some(&rotation.id));
    assert_eq!(again.next("rotation").unwrap().data["key_id"], second);
    let mut from_the_start = Reader::new(&seller, Some(&reset.id));
    assert_eq!(from_the_start.next("rotation").unwrap().id, rotation.id);
    for unknown in ["", "nonsense", "0-1", &format!("{}999", rotation.id)] {
        assert!(Reader::new(&seller, Some(unknown)).next("reset").is_some(), "{unknown}");
    }

    seller.stop();
    assert!(reader.next("reset").is_none(), "the stream ends with the service");
}

#[test]
fn a_reader_that_falls_behind_is_left_with_a_comment() {
    let world = World::new();
    let seller = world.seller(&[("XBR_SELLER__HTTP__RATE", "0")]);
    let mut slow = Reader::over(get("/v1/events").open_over(Connection::narrow(seller.address)));
    // More than fits into the buffers on the way, and 256 more.
    const EVENTS: usize = 6_000;
    let resume = post(&format!("/v1/apis/{API}/resume"));
    let mut asking = Connection::new(seller.address);
    for _ in 0..EVENTS / 200 {
        (0..200).for_each(|_| asking.write(&resume));
        (0..200).for_each(|_| assert_eq!(asking.read().status, 200));
    }
    let (mut told, mut last) = (0, String::new());
    while let Some(line) = slow.line() {
        told += usize::from(line == "event: api");
        last = if line.starts_with(':') { line } else { last };
    }
    assert!(told < EVENTS, "it was left");
    assert_eq!(last, ": too slow, or the service stops; come back with Last-Event-ID");
    seller.stop();
}

#[test]
fn what_a_feed_has_done_is_told() {
    let world = World::new();
    let mut seller = world.seller(&[]);
    let mut reader = Reader::new(&seller, None);
    seller.process.feed("{\"a\":1}\nnonsense\n");
    let feed = loop {
        let feeds = reader.next("feeds").unwrap().data;
        if feeds["feeds"][0]["published"] == 1 && feeds["feeds"][0]["skipped"] == 1 {
            break feeds["feeds"][0].clone();
        }
    };
    let state = seller.send(&get("/v1/state")).json(200);
    assert_eq!((&feed["feed"], &feed), (&"stdin".into(), &state["feeds"][0]));
    seller.stop();
}

#[test]
fn a_sale_is_told_and_so_is_the_balance_after_it() {
    let world = World::new();
    let seller = world.seller(&[]);
    let mut reader = Reader::new(&seller, None);
    let mut buyer = world.buyer(1);
    let publish = post(&format!("/v1/apis/{API}/publish")).json("1");
    wait_for("a purchase", || {
        assert_eq!(seller.send(&publish).status, 200);
        buyer.try_wait().unwrap()
    });
    let sale = reader.next("sale").unwrap().data;
    assert_eq!(
        (&sale["outcome"], &sale["amount"], &sale["api_id"]),
        (&"sold".into(), &"0.5".into(), &API.into())
    );
    let balance = reader.next("balance").unwrap().data;
    assert_eq!(balance["channels"][0]["earned"], "0.5");
    seller.stop();
}

#[test]
fn why_the_session_is_away_is_told_to_those_who_listen_and_those_who_ask() {
    let mut world = World::new();
    let seller = world.seller(&[]);
    let state = || seller.send(&get("/v1/state")).json(200);
    assert_eq!((&state()["state"], &state()["reason"]), (&"started".into(), &Value::Null));
    let mut reader = Reader::new(&seller, None);
    world.stop_market();
    while reader.next("state").unwrap().data["reason"].is_null() {}
    assert!(state()["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{}", state());
    world.start_market();
    while reader.next("state").unwrap().data["state"] != "started" {}
    assert_eq!(state()["reason"], Value::Null);
    seller.stop();
}
