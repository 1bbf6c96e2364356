//! A market, a seller and a buyer, a process each, in a folder of their own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use xbr_core::{DelegateKey, Signer};

pub(crate) const API: &str = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04";

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with the keys and configurations of everybody.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) router: SocketAddr,
}

/// A process that runs until it is stopped, or until the test fails.
pub(crate) struct Running {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was stopped is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{:#?}", self.seen);
    }

    /// Waits for a line of the log with this in it.
    pub(crate) fn until(&mut self, part: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }
}

/// A seller that takes lines.
pub(crate) struct Seller {
    pub(crate) running: Running,
    stdin: ChildStdin,
}

impl Seller {
    pub(crate) fn stop(self) {
        drop(self.stdin);
        self.running.stop();
    }
}

impl World {
    /// With a market that runs, and an open channel for the seller.
    pub(crate) fn selling() -> (Self, Running) {
        let world = Self::new();
        let market = world.market();
        let seller = world.address("seller");
        world.succeed(&[
            "market",
            "channel",
            "open",
            "--config",
            "market.toml",
            "--seller",
            &seller,
            "--amount",
            "1000",
        ]);
        (world, market)
    }

    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        // Nobody listens there now.
        let router = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let world = Self { folder, router };
        for who in ["maker", "seller", "buyer"] {
            world.succeed(&["keygen", "--out", &format!("{who}.key")]);
        }
        world.write("ticket", "secret\n");
        fs::set_permissions(world.path("ticket"), fs::Permissions::from_mode(0o600)).unwrap();
        world.write_market();
        world.write_seller();
        world.write_buyer();
        world
    }

    fn write_market(&self) {
        let (router, buyer) = (self.router, self.address("buyer"));
        let text = format!(
            r#"
[maker]
key_file = "maker.key"
market_id = "7b1f4e0a-2c5d-4a8f-9d36-5e8c1a2b3c4d"
[store]
path = "market.db"
[router]
listen = ["{router}"]
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
        );
        self.write("market.toml", &text);
    }

    fn section_market(&self) -> String {
        let router = self.router;
        format!(
            r#"
[market]
url = "ws://{router}/"
realm = "realm1"
auth = {{ method = "ticket", authid = "me", ticket_file = "ticket" }}
"#
        )
    }

    fn write_seller(&self) {
        let (market, maker) = (self.section_market(), self.address("maker"));
        let text = format!(
            r#"{market}
[seller]
key_file = "seller.key"
market_maker = "{maker}"
[store]
path = "seller.db"
[[api]]
id = "{API}"
prefix = "io.example"
price = "0.5"
count = 1
[[feed]]
source = "stdin"
api = "{API}"
uri = "io.example"
"#
        );
        self.write("seller.toml", &text);
    }

    fn write_buyer(&self) {
        let (market, maker) = (self.section_market(), self.address("maker"));
        let text = format!(
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
        );
        self.write("buyer.toml", &text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn address(&self, who: &str) -> String {
        let secret = self.read(&format!("{who}.key"));
        secret.trim().parse::<DelegateKey>().unwrap().address().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(args).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// What it says, and its exit code.
    pub(crate) fn run(&self, args: &[&str]) -> (String, Option<i32>) {
        let output = self.command(args).output().unwrap();
        (said(&output), output.status.code())
    }

    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command prints, a JSON value a line.
    pub(crate) fn values(&self, args: &[&str]) -> Vec<Value> {
        self.succeed(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn start(&self, args: &[&str], stdin: Stdio) -> Running {
        let mut command = self.command(args);
        let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            // Whoever read them may have gone.
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Running { child, log, seen: Vec::new() }
    }

    pub(crate) fn market(&self) -> Running {
        let mut market = self.start(&["market", "--config", "market.toml"], Stdio::null());
        market.until("\"started\"");
        market
    }

    pub(crate) fn seller(&self) -> Seller {
        let mut running = self.start(&["run", "--config", "seller.toml"], Stdio::piped());
        running.until("\"started\"");
        let stdin = running.child.stdin.take().unwrap();
        Seller { running, stdin }
    }

    /// Lets a buyer buy so many events of the seller.
    pub(crate) fn buy(&self, seller: &mut Seller, count: u32) {
        let mut buyer = self.command(&["buy", "--config", "buyer.toml", "--count", &count.to_string()]);
        let mut buyer = buyer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whether the buyer has subscribed in time does not matter: it takes some of those that come.
        while buyer.try_wait().unwrap().is_none() {
            seller.stdin.write_all(b"{\"a\":1}\n").unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = buyer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Seller {
    /// Feeds a buyer until it has been refused, and ends it.
    pub(crate) fn refused(&mut self, buyer: &mut Child) {
        let (lines, log) = channel();
        let stderr = BufReader::new(buyer.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let begun = std::time::Instant::now();
        let mut seen = Vec::new();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nobody was refused: {seen:#?}");
            self.stdin.write_all(b"{\"a\":1}\n").unwrap();
            if let Ok(line) = log.recv_timeout(Duration::from_millis(50)) {
                seen.push(line);
            }
            if seen.iter().any(|line| line.contains("xbr.error.")) {
                break;
            }
        }
        buyer.kill().unwrap();
        buyer.wait().unwrap();
    }
}
