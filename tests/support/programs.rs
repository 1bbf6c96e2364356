//! A market, a seller and a buyer as an operator has them: processes of the program, in a folder with the keys and
//! configurations of all three.

#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use xbr_core::{DelegateKey, Signer};

/// The API that is sold.
pub const API: &str = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04";
/// What its payloads are published under.
pub const TOPIC: &str = "io.crossbar.example";
/// The section of the seller's channel in `market.toml`.
pub const PAYING_CHANNEL: &str = "[[channel]]\nseller = ";
/// Longer than anything takes: a test that waits for ever says nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something.
const PAUSE: Duration = Duration::from_millis(20);
const WHO: [(&str, &str); 3] = [("maker", "11"), ("seller", "22"), ("buyer", "33")];

/// Looks until there is something to see.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: it does not happen");
        std::thread::sleep(PAUSE);
    }
}

/// An address of this machine where nobody listens now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Everything that a process has said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A shell that ends with the first command that fails, in this folder and with the program on its path.
pub fn shell(script: &str, folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_xbr-seller")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path).stdin(Stdio::null());
    shell
}

/// A folder with the keys and configurations of everybody.
pub struct World {
    folder: TempDir,
    /// Where the market's router listens, once it runs.
    pub router: SocketAddr,
}

impl World {
    /// The seller's configuration ends with `seller`: the rest of its `[[api]]`, its rotation at least, and other
    /// sections.
    pub fn new(seller: &str) -> Self {
        let world = Self { folder: TempDir::new().unwrap(), router: free_address() };
        for (who, byte) in WHO {
            world.write(&format!("{who}.key"), &byte.repeat(32));
        }
        world.write("ticket", "secret\n");
        world.write("market.toml", &world.market_config());
        world.write("seller.toml", &format!("{}{seller}", world.seller_config()));
        world.write("buyer.toml", &world.buyer_config());
        world
    }

    /// With a market that runs.
    pub fn selling(seller: &str) -> (Self, Running) {
        let world = Self::new(seller);
        let market = world.market();
        (world, market)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Puts something else in the place of a part of a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{from} in {text}");
        self.write(name, &text.replace(from, to));
    }

    /// The address of whoever has the key `who.key`.
    pub fn address(&self, who: &str) -> String {
        let key: DelegateKey = self.read(&format!("{who}.key")).trim().parse().unwrap();
        key.address().to_string()
    }

    /// The program in this folder, with an empty environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(args).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What it says, and its exit code.
    pub fn run(&self, args: &[&str]) -> (String, Option<i32>) {
        let output = self.output(args);
        (said(&output), output.status.code())
    }

    /// What it prints when all is well.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it prints, a JSON value a line.
    pub fn values(&self, args: &[&str]) -> Vec<Value> {
        self.succeed(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn market(&self) -> Running {
        Running::start(self.command(&["market", "--config", "market.toml"]), "\"started\"")
    }

    /// A seller that has started, to be fed by the test.
    pub fn seller(&self) -> Running {
        self.seller_with(&[])
    }

    /// One with environment variables over its configuration.
    pub fn seller_with(&self, variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(&["run", "--config", "seller.toml"]);
        command.envs(variables.iter().copied()).stdin(Stdio::piped());
        Running::start(command, "\"started\"")
    }

    /// A buyer of so many events, who may not have subscribed yet.
    pub fn buyer(&self, count: usize) -> Child {
        let mut command = self.command(&["buy", "--config", "buyer.toml", "--count", &count.to_string()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Lets a buyer buy so many events of the seller, and gives what it prints.
    pub fn buy(&self, seller: &mut Running, count: usize) -> Vec<Value> {
        let mut buyer = self.buyer(count);
        // Whether it has subscribed in time does not matter: it takes some of those that come.
        wait_for("a purchase", || {
            seller.feed("{\"a\":1}\n");
            buyer.try_wait().unwrap()
        });
        let output = buyer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn market_config(&self) -> String {
        let (router, buyer, seller) = (self.router, self.address("buyer"), self.address("seller"));
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
[[role]]
name = "member"
disclose = true
rules = [
    {{ uri = "xbr.marketmaker.", match = "prefix", call = true, subscribe = true }},
    {{ uri = "xbr.provider.", match = "prefix", register = true, publish = true }},
    {{ uri = "{TOPIC}", match = "prefix", publish = true, subscribe = true }},
]
[[principal]]
authid = "me"
role = "member"
ticket_file = "ticket"
[[channel]]
buyer = "{buyer}"
amount = "1000"
{PAYING_CHANNEL}"{seller}"
amount = "1000"
"#
        )
    }

    fn seller_config(&self) -> String {
        let (market, maker) = (self.section_market(), self.address("maker"));
        format!(
            r#"{market}
[seller]
key_file = "seller.key"
market_maker = "{maker}"
[store]
path = "seller.db"
[http]
listen = "127.0.0.1:0"
[[feed]]
source = "stdin"
api = "{API}"
uri = "{TOPIC}"
[[api]]
id = "{API}"
prefix = "{TOPIC}"
price = "0.5"
"#
        )
    }

    fn buyer_config(&self) -> String {
        let (market, maker) = (self.section_market(), self.address("maker"));
        format!(
            r#"{market}
[buyer]
key_file = "buyer.key"
market_maker = "{maker}"
max_price = "10"
[store]
path = "buyer.db"
[[subscribe]]
uri = "{TOPIC}"
match = "prefix"
"#
        )
    }

    /// How everybody joins the market's router.
    fn section_market(&self) -> String {
        let router = self.router;
        format!(
            r#"
[market]
url = "ws://{router}/"
realm = "realm1"
auth = {{ method = "ticket", authid = "me", ticket_file = "ticket" }}
call_timeout = "5s"
"#
        )
    }
}

/// A process that runs until it is stopped, or until the test fails, and what it says in its log.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts it, and waits for a line of its log.
    pub fn start(mut command: Command, sign: &str) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = channel();
        std::thread::spawn(move || {
            // Whoever read them may have gone.
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let mut running = Self { stdin: child.stdin.take(), child, log, seen: Vec::new() };
        running.says(sign);
        running
    }

    /// Waits for the next line with this in it.
    pub fn says(&mut self, sign: &str) -> String {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("it does not say {sign:?}"),
            }
            if let Some(line) = self.seen.last().filter(|line| line.contains(sign)) {
                return line.clone();
            }
        }
    }

    /// The first line with this in it, which may have come already.
    pub fn has_said(&mut self, sign: &str) -> String {
        match self.seen.iter().find(|line| line.contains(sign)) {
            Some(line) => line.clone(),
            None => self.says(sign),
        }
    }

    /// The same, if it has come by now.
    pub fn has_said_by_now(&mut self, sign: &str) -> Option<String> {
        self.seen.extend(self.log.try_iter());
        self.seen.iter().find(|line| line.contains(sign)).cloned()
    }

    /// Where its HTTP interface listens.
    pub fn http_address(&mut self) -> SocketAddr {
        let line: Value = serde_json::from_str(&self.has_said("the HTTP interface listens")).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Writes to its standard input, if that was piped.
    pub fn feed(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) {
        self.signal("-TERM");
        self.ended();
    }

    /// Waits until it has stopped in order.
    pub fn ended(&mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was stopped is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.seen.extend(self.log.iter());
            let _ = writeln!(io::stderr(), "the log of {}:\n{}", self.child.id(), self.seen.join("\n"));
        }
    }
}
