//! The spans of a sale, at a collector.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::programs::{API, wait_for};
use crate::world::World;

/// A collector that takes everything: where it listens, and what it is sent.
fn collector() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (to, taken) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A test that is over takes no more.
            let Ok(()) = to.send(take(stream.unwrap())) else { return };
        }
    });
    (endpoint, taken)
}

/// A request's first line, and its body.
fn take(mut stream: TcpStream) -> (String, Value) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the request is cut off");
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= wanted.parse::<usize>().unwrap() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            return (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap());
        }
    }
}

fn text<'a>(span: &'a Value, key: &str) -> &'a str {
    span[key].as_str().unwrap()
}

fn attributes(span: &Value) -> BTreeMap<&str, &str> {
    span["attributes"].as_array().unwrap().iter().map(|it| (text(it, "key"), value(it))).collect()
}

#[test]
fn the_steps_of_a_sale_reach_the_collector_below_the_sale_and_without_secrets() {
    let (endpoint, taken) = collector();
    let world = World::new(&format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n"));
    let _market = world.market();
    let mut seller = world.seller();
    world.buy_one(&mut seller);

    let mut spans = Vec::new();
    let sale = wait_for("the spans of a sale", || {
        while let Ok((first, body)) = taken.recv_timeout(Duration::from_millis(100)) {
            assert_eq!(first, "POST /v1/traces HTTP/1.1");
            let resource = &body["resourceSpans"][0];
            assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "xbr-seller");
            spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().clone());
        }
        spans.iter().find(|span| span["name"] == "sale" && attributes(span)["outcome"] == "sold").cloned()
    });
    let told = attributes(&sale);
    assert_eq!((told["api"], told["seq"]), (API, "2"));
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), ["api", "channel", "outcome", "seq"]);
    assert_eq!((text(&sale, "parentSpanId"), &sale["kind"]), ("", &Value::from(2)));

    let of_sale: Vec<_> = spans.iter().filter(|span| span["traceId"] == sale["traceId"]).collect();
    let named =
        |name: &str| *of_sale.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let parents = [
        ("decode", "sale"),
        ("check", "sale"),
        ("crypto", "sale"),
        ("seal", "crypto"),
        ("digest", "crypto"),
        ("sign", "crypto"),
        ("recover", "crypto"),
        ("decide", "sale"),
        ("commit", "sale"),
        ("reply", "sale"),
    ];
    assert_eq!(of_sale.len(), parents.len() + 1, "{of_sale:?}");
    for (name, parent) in parents {
        let (span, parent) = (named(name), named(parent));
        assert_eq!(span["parentSpanId"], parent["spanId"], "{name}");
        let at = |span: &Value, key| text(span, key).parse::<u64>().unwrap();
        let (began, ended) = ("startTimeUnixNano", "endTimeUnixNano");
        assert!(at(span, began) <= at(span, ended) && at(parent, began) <= at(span, began), "{name}");
        assert!(at(span, ended) <= at(parent, ended), "{name}");
        assert!(attributes(span).is_empty(), "{name}");
    }
    seller.stop();
}

/// The value of an attribute, which is a text here.
fn value(attribute: &Value) -> &str {
    attribute["value"].as_object().unwrap().values().next().unwrap().as_str().unwrap()
}
