//! A market of three processes, `market`, `run` and `buy`, and what its operator does with channels.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use xbr_core::{DelegateKey, Signer};

/// A folder with the keys and configurations of everybody.
struct World {
    folder: TempDir,
}

/// A process that runs until it is stopped, or until the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that was stopped is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        // Nobody listens there now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let world = Self { folder };
        for who in ["maker", "seller", "buyer"] {
            let made = world.command(&["keygen", "--out", &format!("{who}.key")]).output().unwrap();
            assert!(made.status.success(), "{}", said(&made));
        }
        let (maker, buyer) = (world.address("maker"), world.address("buyer"));
        let write = |name: &str, text: String| fs::write(world.path(name), text).unwrap();
        write("ticket", "secret\n".to_owned());
        Command::new("chmod").arg("600").arg(world.path("ticket")).status().unwrap();
        write(
            "market.toml",
            format!(
                r#"
[maker]
key_file = "maker.key"
market_id = "7b1f4e0a-2c5d-4a8f-9d36-5e8c1a2b3c4d"
[store]
path = "market.db"
[router]
listen = ["{address}"]
realm = "realm1"
[[role]]
name = "member"
disclose = true
rules = [
    {{ uri = "xbr.marketmaker.", match = "prefix", call = true, subscribe = true }},
    {{ uri = "xbr.provider.", match = "prefix", register = true, publish = true }},
    {{ uri = "io.example", publish = true, subscribe = true }},
]
[[principal]]
authid = "me"
role = "member"
ticket_file = "ticket"
[[channel]]
buyer = "{buyer}"
amount = "100"
"#
            ),
        );
        let market = format!(
            r#"
[market]
url = "ws://{address}/"
realm = "realm1"
auth = {{ method = "ticket", authid = "me", ticket_file = "ticket" }}
"#
        );
        write(
            "seller.toml",
            format!(
                r#"{market}
[seller]
key_file = "seller.key"
market_maker = "{maker}"
[store]
path = "seller.db"
[[api]]
id = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
prefix = "io.example"
price = "0.5"
count = 2
[[feed]]
source = "stdin"
api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
uri = "io.example"
"#
            ),
        );
        write(
            "buyer.toml",
            format!(
                r#"{market}
[buyer]
key_file = "buyer.key"
market_maker = "{maker}"
max_price = "1"
[store]
path = "buyer.db"
[[subscribe]]
uri = "io.example"
"#
            ),
        );
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self, who: &str) -> String {
        let secret = fs::read_to_string(self.path(&format!("{who}.key"))).unwrap();
        secret.trim().parse::<DelegateKey>().unwrap().address().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(args).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts a process, and waits until its log says so.
    fn start(&self, args: &[&str], message: &str, stdin: Stdio) -> Running {
        let mut command = self.command(args);
        let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(message) {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it has ended: {seen}");
            seen.push_str(&line);
        }
        // Nobody reads the rest, but it has to go somewhere.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Running(child)
    }

    fn market(&self) -> Running {
        self.start(&["market", "--config", "market.toml"], "\"started\"", Stdio::null())
    }

    fn channel(&self, args: &[&str]) -> String {
        let output = self.output(&[&["market", "channel"], args, &["--config", "market.toml"]].concat());
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_seller_and_a_buyer_trade_in_a_market_whose_channels_its_operator_opens_and_closes() {
    let world = World::new();
    let (market, seller_address) = (world.market(), world.address("seller"));
    let opened = world.channel(&["open", "--seller", &seller_address, "--amount", "1000"]);
    assert!(opened.ends_with(&format!("is open: 1000 XBR for seller {seller_address}\n")), "{opened}");
    let listed = world.channel(&["list"]);
    assert!(listed.starts_with("payment ") && listed.contains("100 XBR, 100 remain"), "{listed}");

    let buyer = world.command(&["buy", "--config", "buyer.toml", "--count", "3"]);
    let mut buyer = buyer_piped(buyer);
    let mut seller = world.start(&["run", "--config", "seller.toml"], "\"started\"", Stdio::piped());
    let mut stdin = seller.0.stdin.take().unwrap();
    // Whether the buyer has subscribed in time does not matter: it takes three of those that come.
    let output = loop {
        stdin.write_all(b"{\"a\":1}\n").unwrap();
        if buyer.try_wait().unwrap().is_some() {
            break buyer.wait_with_output().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let lines: Vec<Value> =
        output.stdout.split(|c| *c == b'\n').filter(|line| !line.is_empty()).map(parse).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["payload"]["a"] == 1 && line["topic"] == "io.example"));
    drop(stdin);
    seller.stop();

    let listed = world.channel(&["list"]);
    let spent = ["99 remain", "98.5 remain"].iter().any(|remain| listed.contains(remain));
    assert!(spent && listed.contains(" open\n"), "{listed}");
    let id = listed.split(' ').nth(1).unwrap();
    let close = ["close", "--channel", id, "--key-file", "buyer.key"];
    let closed = world.channel(&close);
    assert_eq!(world.channel(&close), closed, "the same again is answered the same");
    let others = ["close", "--channel", id, "--key-file", "seller.key", "--config", "market.toml"];
    let others = world.output(&[&["market", "channel"][..], &others].concat());
    assert!(said(&others).contains("the key is not that of the channel's delegate"), "{}", said(&others));
    market.stop();

    let market = world.market();
    assert!(world.channel(&["list"]).contains(" closed\n"));
    assert!(world.channel(&["list", "--seller", &seller_address]).contains("1000 XBR, "));
    market.stop();
}

fn buyer_piped(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = World::new();
    let list = world.output(&["market", "channel", "list", "--config", "market.toml"]);
    assert_eq!(list.status.code(), Some(1));
    assert!(said(&list).contains("is it running?"), "{}", said(&list));
    for args in [
        &["market"][..],
        &["market", "channel", "open", "--config", "market.toml", "--amount", "1"],
        &["market", "channel", "open", "--config", "market.toml", "--seller", "0x12", "--amount", "1"],
    ] {
        assert_eq!(world.output(args).status.code(), Some(2), "{args:?}");
    }
    let checked = world.output(&["config", "check", "market.toml"]);
    let told = said(&checked);
    assert!(checked.status.success() && told.contains("member:  me as member, by a ticket\n"), "{told}");
    // The address is taken.
    let market = world.market();
    let mut second = world.command(&["market", "--config", "market.toml"]);
    let second = second.env("XBR_SELLER__STORE__PATH", "b.db").output().unwrap();
    assert_eq!(second.status.code(), Some(3), "{}", said(&second));
    assert!(said(&second).contains("cannot listen at 127.0.0.1"), "{}", said(&second));
    market.stop();
}
