//! A market and a seller with an HTTP interface, as processes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use xbr_core::{DelegateKey, Signer};

use crate::client::{Answer, Request};

pub const API: &str = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04";
pub const PREFIX: &str = "io.crossbar.example";

const WHO: [(&str, [u8; 32]); 3] = [("maker", [0x11; 32]), ("seller", [0x22; 32]), ("buyer", [0x33; 32])];

/// A folder with the keys and configurations of everybody, and the market.
pub struct World {
    folder: TempDir,
    market: Option<Running>,
}

/// A process that runs until it is stopped, or until the test fails.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that was stopped is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A seller that runs, and where its interface listens.
pub struct Seller {
    process: Running,
    pub address: SocketAddr,
}

impl Seller {
    pub fn send(&self, request: &Request) -> Answer {
        request.send(self.address)
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) {
        self.terminate();
        self.wait();
    }

    pub fn terminate(&self) {
        Command::new("kill").args(["-TERM", &self.process.0.id().to_string()]).status().unwrap();
    }

    pub fn wait(&mut self) {
        assert_eq!(self.process.0.wait().unwrap().code(), Some(0));
    }
}

impl World {
    /// With a market that runs.
    pub fn new() -> Self {
        let mut world = Self { folder: TempDir::new().unwrap(), market: None };
        for (who, secret) in WHO {
            world.write_secret(&format!("{who}.key"), &hex::encode(secret));
        }
        // Nobody listens there now.
        let router = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        world.write("market.toml", &market(router));
        world.write("seller.toml", &seller(router));
        world.write("buyer.toml", &buyer(router));
        world.start_market();
        world
    }

    pub fn start_market(&mut self) {
        let (market, _) = self.start(&["market", "--config", "market.toml"], &[], "\"started\"");
        self.market = Some(market);
    }

    pub fn stop_market(&mut self) {
        self.market = None;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn write_secret(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(args).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// A seller that sells, with environment variables over its configuration.
    pub fn seller(&self, variables: &[(&str, &str)]) -> Seller {
        let (process, log) = self.start(&["run", "--config", "seller.toml"], variables, "\"started\"");
        let line = log.lines().find(|line| line.contains("the HTTP interface listens")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let address = line["fields"]["address"].as_str().or_else(|| line["address"].as_str());
        Seller { process, address: address.unwrap().parse().unwrap() }
    }

    /// A buyer who takes so many events, and has subscribed.
    pub fn buyer(&self, count: usize) -> Child {
        let args = ["buy", "--config", "buyer.toml", "--count", &count.to_string()];
        self.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a process, and waits until its log says so. Gives the log up to there.
    fn start(&self, args: &[&str], variables: &[(&str, &str)], message: &str) -> (Running, String) {
        let mut command = self.command(args);
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(message) {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it has ended: {seen}");
            seen.push_str(&line);
        }
        // A test that fails shows the rest.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        });
        (Running(child), seen)
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn address(who: &str) -> String {
    let (_, secret) = WHO.into_iter().find(|(name, _)| *name == who).unwrap();
    DelegateKey::from_bytes(&secret).unwrap().address().to_string()
}

fn market(router: SocketAddr) -> String {
    let (seller, buyer) = (address("seller"), address("buyer"));
    format!(
        r#"
[maker]
key_file = "maker.key"
market_id = "7b1f4e0a-2c5d-4a8f-9d36-5e8c1a2b3c4d"
[store]
path = "market.db"
[router]
listen = ["{router}"]
realm = "realm1"
anonymous = "member"
[[role]]
name = "member"
disclose = true
rules = [
    {{ uri = "xbr.marketmaker.", match = "prefix", call = true, subscribe = true }},
    {{ uri = "xbr.provider.", match = "prefix", register = true, publish = true }},
    {{ uri = "{PREFIX}", match = "prefix", publish = true, subscribe = true }},
]
[[channel]]
seller = "{seller}"
amount = "1000"
[[channel]]
buyer = "{buyer}"
amount = "1000"
"#
    )
}

fn connection(router: SocketAddr) -> String {
    format!("[market]\nurl = \"ws://{router}/\"\nrealm = \"realm1\"\ncall_timeout = \"5s\"\n")
}

fn seller(router: SocketAddr) -> String {
    let (connection, maker) = (connection(router), address("maker"));
    format!(
        r#"{connection}
[seller]
key_file = "seller.key"
market_maker = "{maker}"
[store]
path = "seller.db"
[[api]]
id = "{API}"
prefix = "{PREFIX}"
price = "0.5"
interval = "1h"
categories = {{ kind = "test" }}
[http]
listen = "127.0.0.1:0"
"#
    )
}

fn buyer(router: SocketAddr) -> String {
    let (connection, maker) = (connection(router), address("maker"));
    format!(
        r#"{connection}
[buyer]
key_file = "buyer.key"
market_maker = "{maker}"
max_price = "1"
[store]
path = "buyer.db"
[[subscribe]]
uri = "{PREFIX}"
match = "prefix"
"#
    )
}
