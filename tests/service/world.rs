//! A router in this process, and a market maker, a seller and a buyer that are processes of the program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xbr_core::{DelegateKey, Signer};
use xbr_market::router::{RealmOptions, Role, RouterHandle, RouterOptions};

pub(crate) const API: &str = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04";
/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct World {
    folder: TempDir,
    router: Option<RouterHandle>,
    runtime: Runtime,
    router_at: SocketAddr,
    http: SocketAddr,
}

/// A process of the program, killed when it is dropped, and the lines of its log.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Receiver<String>,
}

/// An address where nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Looks until there is something to see.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: it does not happen");
        std::thread::sleep(PAUSE);
    }
}

impl World {
    /// A router that runs, and configurations with these additions to the seller's.
    pub(crate) fn new(seller: &str) -> Self {
        let mut world = Self {
            folder: TempDir::new().unwrap(),
            router: None,
            runtime: Runtime::new().unwrap(),
            router_at: free_address(),
            http: free_address(),
        };
        world.start_router();
        for who in ["maker", "seller", "buyer"] {
            assert!(
                world.command(&["keygen", "--out", &format!("{who}.key")]).output().unwrap().status.success()
            );
        }
        let (maker, buyer) = (world.address("maker"), world.address("buyer"));
        let market = format!("[market]\nurl = \"ws://{}/ws\"\nrealm = \"realm1\"\n", world.router_at);
        world.write(
            "market.toml",
            &format!(
                "{market}[maker]\nkey_file = \"maker.key\"\nmarket_id = \"7b1f4e0a-2c5d-4a8f-9d36-5e8c1a2b3c4d\"\n\
                 [store]\npath = \"market.db\"\n[[channel]]\nbuyer = \"{buyer}\"\namount = \"100\"\n\
                 [[channel]]\nseller = \"{}\"\namount = \"100\"\n",
                world.address("seller"),
            ),
        );
        world.write(
            "buyer.toml",
            &format!(
                "{market}[buyer]\nkey_file = \"buyer.key\"\nmarket_maker = \"{maker}\"\nmax_price = \"9\"\n\
                 [store]\npath = \"buyer.db\"\n[[subscribe]]\nuri = \"io.example\"\n"
            ),
        );
        world.write(
            "seller.toml",
            &format!(
                "{market}[seller]\nkey_file = \"seller.key\"\nmarket_maker = \"{maker}\"\n\
                 [store]\npath = \"seller.db\"\n[http]\nlisten = \"{}\"\n\
                 [[feed]]\nsource = \"stdin\"\napi = \"{API}\"\nuri = \"io.example\"\n{}{seller}",
                world.http,
                api(API, "io.example", "0.5"),
            ),
        );
        world
    }

    pub(crate) fn start_router(&mut self) {
        self.router = Some(self.runtime.block_on(router(self.router_at)));
    }

    pub(crate) fn stop_router(&mut self) {
        if let Some(router) = self.router.take() {
            self.runtime.block_on(router.shutdown(Duration::ZERO));
        }
    }

    /// Buys one key of what the seller publishes meanwhile; the line that the seller says then. The buyer remembers no
    /// key that it has.
    pub(crate) fn buy_one(&self, seller: &mut Running) -> String {
        for entry in fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().starts_with("buyer.db") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let mut buy = self.command(&["buy", "--config", "buyer.toml", "--count", "1"]);
        let mut buyer = buy.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let bought = wait_for("a purchase", || {
            seller.feed("{\"a\":1}\n");
            buyer.try_wait().unwrap()
        });
        assert!(bought.success());
        seller.says("\"sold\"")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Changes the seller's configuration.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = self.read("seller.toml");
        assert!(text.contains(from), "{from} in {text}");
        self.write("seller.toml", &text.replace(from, to));
    }

    fn address(&self, who: &str) -> String {
        let key: DelegateKey = self.read(&format!("{who}.key")).trim().parse().unwrap();
        key.address().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(args).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    pub(crate) fn market(&self) -> Running {
        Running::start(self.command(&["market", "--config", "market.toml"]), "\"started\"")
    }

    /// A seller that has started, to be fed by the test.
    pub(crate) fn seller(&self) -> Running {
        let mut command = self.command(&["run", "--config", "seller.toml"]);
        command.stdin(Stdio::piped());
        Running::start(command, "\"started\"")
    }

    /// A GET request: status and body.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// What `/readyz` answers: status, and the codes of the reasons.
    pub(crate) fn readiness(&self) -> Option<(u16, Vec<String>)> {
        let (status, body) = self.get("/readyz")?;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["ready"], status == 200, "{body}");
        let codes = body["reasons"].as_array().unwrap().iter();
        Some((status, codes.map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()))
    }

    pub(crate) fn wait_until_ready(&self) {
        wait_for("ready", || self.readiness().filter(|(status, _)| *status == 200));
    }

    /// The value of a metric, with its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        let (status, text) = self.get("/metrics")?;
        assert_eq!(status, 200);
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
    }
}

/// A router in which everybody may do everything.
async fn router(address: SocketAddr) -> RouterHandle {
    let role = Role::unrestricted("anonymous").disclosed();
    let realm = RealmOptions::new("realm1").role(role).anonymous("anonymous");
    let router = RouterHandle::here(RouterOptions::new([realm])).unwrap();
    router.listen(address).await.unwrap();
    router
}

/// An `[[api]]`.
pub(crate) fn api(id: &str, prefix: &str, price: &str) -> String {
    format!("[[api]]\nid = \"{id}\"\nprefix = \"{prefix}\"\nprice = \"{price}\"\ninterval = \"1s\"\n")
}

impl Running {
    pub(crate) fn start(mut command: Command, sign: &str) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (to, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // A test that is over reads no more.
                let _ = to.send(line);
            }
        });
        let running = Self { stdin: child.stdin.take(), child, log };
        running.says(sign);
        running
    }

    /// Waits for a line of the log.
    pub(crate) fn says(&self, sign: &str) -> String {
        let mut said = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(sign) => return line,
                Ok(line) => said.push(line),
                Err(_) => panic!("it does not say {sign}:\n{}", said.join("\n")),
            }
        }
    }

    /// Writes to its standard input, if that was piped.
    pub(crate) fn feed(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was stopped is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
