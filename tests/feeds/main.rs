//! Feeds through the real program: what is published of them, and what becomes of it when the program is
//! killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers fail a test by panicking"
)]
#![allow(clippy::indexing_slicing, reason = "helpers fail a test by panicking")]

mod config;
mod world;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;

use world::{PRIVATE, TOPIC, World, line};
use xbr_core::Value;
use xbr_wamp::Publish;

const FOLLOW: &str = "source = \"prices.jsonl\"\nfollow = true\nin_flight = 8";

/// Appends lines to the file that is followed.
fn write(world: &World, numbers: RangeInclusive<u64>) {
    let mut file = OpenOptions::new().append(true).create(true).open(world.path("prices.jsonl")).unwrap();
    let text: String = numbers.map(line).collect();
    file.write_all(text.as_bytes()).unwrap();
}

fn all(numbers: RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_file_goes_on_where_it_was_after_a_stop_and_through_rotations() {
    let mut world = World::new().await;
    let mut subscriber = world.subscriber().await;
    let program = world.start(FOLLOW).await;
    // The file is not there yet.
    write(&world, 1..=50);
    assert_eq!(subscriber.numbers_until(50).await, all(1..=50));
    fs::rename(world.path("prices.jsonl"), world.path("prices.jsonl.1")).unwrap();
    write(&world, 51..=80);
    assert_eq!(subscriber.numbers_until(80).await, all(51..=80));
    program.stop().await;

    write(&world, 81..=90);
    fs::rename(world.path("prices.jsonl.1"), world.path("prices.jsonl.2")).unwrap();
    fs::rename(world.path("prices.jsonl"), world.path("prices.jsonl.1")).unwrap();
    write(&world, 91..=100);
    let program = world.start(FOLLOW).await;
    assert_eq!(subscriber.numbers_until(100).await, all(81..=100), "exactly once after a stop");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_a_followed_file_is_lost_with_a_killed_program() {
    const LAST: u64 = 3000;
    let mut world = World::new().await;
    let mut subscriber = world.subscriber().await;
    write(&world, 1..=LAST);
    let mut seen = Vec::new();
    for kill_after in [40, 700, 1300] {
        let program = world.start(FOLLOW).await;
        seen.extend(subscriber.numbers_until(kill_after).await);
        program.kill();
    }
    let program = world.start(FOLLOW).await;
    seen.extend(subscriber.numbers_until(LAST).await);
    let mut distinct = seen.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, all(1..=LAST));
    program.stop().await;

    write(&world, LAST + 1..=LAST + 10);
    let program = world.start(FOLLOW).await;
    assert_eq!(subscriber.numbers_until(LAST + 10).await, all(LAST + 1..=LAST + 10));
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_over_tcp_hear_what_became_of_their_lines() {
    let mut world = World::new().await;
    let mut subscriber = world.subscriber().await;
    // Nobody listens there now.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let feed = format!("source = \"tcp://{address}\"\nacknowledge = true\nmax_line_bytes = 1000");
    let program = world.start(&feed).await;
    let connect = || TcpStream::connect(address).unwrap();
    let (mut one, mut other) = (connect(), connect());
    one.write_all(format!("{}nonsense\n\n{}", line(1), line(2)).as_bytes()).unwrap();
    other.write_all(format!("\"{}\"\n{}12", "x".repeat(2000), line(3)).as_bytes()).unwrap();
    other.shutdown(std::net::Shutdown::Write).unwrap();
    let told = |stream: TcpStream, count| -> Vec<String> {
        BufReader::new(stream).lines().take(count).map(Result::unwrap).collect()
    };
    assert_eq!(told(one, 4), ["ok 1", "error 2: malformed JSON at column 2", "ok 3", "ok 4"]);
    assert_eq!(
        told(other, 10),
        ["error 1: longer than 1000 bytes", "ok 2", "error 3: the connection ended before the line did"]
    );
    let mut published = Vec::new();
    for _ in 0..3 {
        published.push(world::number(subscriber.next().await.1));
    }
    published.sort_unstable();
    assert_eq!(published, all(1..=3));
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_republishes_under_the_mapped_uri_and_comes_back() {
    let mut world = World::new().await;
    let mut subscriber = world.subscriber().await;
    let (private, _incoming) = world.join(PRIVATE).await;
    let feed = format!(
        r#"
        source = "wamp"
        router = {{ url = "ws://{}/", realm = "{PRIVATE}" }}
        topics = [
            {{ uri = "plant.sensor", match = "prefix" }},
            {{ uri = "plant.alarm", to = "{TOPIC}.alarm" }},
            {{ uri = "line..speed", match = "wildcard", to = "{TOPIC}.line" }},
        ]
        "#,
        world.address
    );
    let program = world.start(&feed).await;
    program.logged("the bridge is joined").await;
    let publish = async |topic: &str, args: Vec<Value>| {
        private.publish(Publish::new(topic).args(args).acknowledge()).await.unwrap();
    };
    for (topic, mapped, args, length) in [
        ("plant.sensor", "io.example", vec![Value::from(1_u64)], 1),
        ("plant.sensor.a.b", "io.example.a.b", vec!["four".into()], 5),
        ("plant.alarm", "io.example.alarm", vec![Value::Null], 1),
        ("line.7.speed", "io.example.line.7.speed", vec![Value::Null], 1),
        // A map of two: "args" with a list of two, and "kwargs" with an empty map.
        ("plant.sensor", "io.example", vec![Value::Null, Value::Null], 1 + 5 + 3 + 7 + 1),
    ] {
        publish("plant.other", vec![Value::Null]).await;
        publish(topic, args).await;
        assert_eq!(subscriber.next().await, (mapped.to_owned(), length));
    }
    program.stop().await;

    // Whoever is bridged may not be there when the program starts.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let feed = feed.replace(&world.address.to_string(), &address.to_string());
    let program = world.start(&feed).await;
    program.logged("the bridge is not joined, trying again").await;
    world.listen(address).await;
    program.logged("the bridge is joined").await;
    publish("plant.alarm", vec!["back".into()]).await;
    assert_eq!(subscriber.next().await, ("io.example.alarm".to_owned(), 5));
    program.stop().await;
}
