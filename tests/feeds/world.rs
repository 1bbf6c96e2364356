//! A market around the real program: the router and the market maker are in this process, and somebody who
//! subscribes without buying. A line is known by its length, which encryption keeps.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use xbr_core::wire::{ChannelType, MarketDomain};
use xbr_core::{Address, Amount, DelegateKey, MarketId, Signer};
use xbr_market::maker::store::MemoryMakerStore;
use xbr_market::maker::{ChannelGrant, MakerHandle, MakerOptions};
use xbr_market::router::{Identity, RealmOptions, Role, RouterHandle, RouterOptions};
use xbr_wamp::{Incoming, IncomingEvent, Match, Session};

/// What everything is published under.
pub(crate) const TOPIC: &str = "io.example";
/// The realm of the market.
pub(crate) const REALM: &str = "realm1";
/// The realm of those who are bridged.
pub(crate) const PRIVATE: &str = "private";
/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(30);
const MARKET: MarketId = MarketId::new([0x31; 16]);
const EVERYBODY: &str = "everybody";

/// Everybody but the program.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    router: RouterHandle,
    _maker: MakerHandle,
    market_maker: Address,
    starts: u32,
}

/// The program, running.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that was stopped is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let realm = |name| {
            let role = Role::unrestricted(EVERYBODY).disclosed();
            RealmOptions::new(name).role(role).anonymous(EVERYBODY)
        };
        let router = RouterHandle::spawn(RouterOptions::new([realm(REALM), realm(PRIVATE)])).unwrap();
        let address = router.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();

        let (maker, secret) = (DelegateKey::from_bytes(&[0x11; 32]).unwrap(), [0x22; 32]);
        let seller = DelegateKey::from_bytes(&secret).unwrap();
        let market_maker = maker.address();
        let domain = MarketDomain {
            chain_id: Amount::from_units(1),
            verifying_contract: Address::new([0x44; 20]),
            market_id: MARKET,
        };
        let store = Arc::new(MemoryMakerStore::new().unwrap());
        let mut options = MakerOptions::new(Arc::new(maker), domain, store, dial(&router, REALM));
        let grant = ChannelGrant {
            kind: ChannelType::Paying,
            delegate: seller.address(),
            amount: Amount::from_xbr(1000),
        };
        options.channels = vec![grant];
        let maker = MakerHandle::spawn(options).unwrap();
        maker.start().await.unwrap();

        let folder = TempDir::new().unwrap();
        let mut key = File::options();
        let key = key.write(true).create_new(true).mode(0o600).open(folder.path().join("seller.key"));
        std::io::Write::write_all(&mut key.unwrap(), hex::encode(secret).as_bytes()).unwrap();
        Self { folder, address, router, _maker: maker, market_maker, starts: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A session that only listens to or publishes what everybody may.
    pub(crate) async fn join(&self, realm: &str) -> (Session, Incoming) {
        dial(&self.router, realm).connect().await.unwrap()
    }

    /// Who takes all that is published.
    pub(crate) async fn subscriber(&self) -> Subscriber {
        let (session, incoming) = self.join(REALM).await;
        session.subscribe(TOPIC, Match::Prefix).await.unwrap();
        Subscriber { _session: session, incoming }
    }

    /// Has the router listen there as well.
    pub(crate) async fn listen(&self, address: SocketAddr) {
        self.router.listen(address).await.unwrap();
    }

    /// Starts the program with that feed, and waits until it is started.
    pub(crate) async fn start(&mut self, feed: &str) -> Program {
        let (address, market_maker) = (self.address, self.market_maker);
        let config = format!(
            r#"
                [seller]
                key_file = "seller.key"
                market_maker = "{market_maker}"
                [market]
                url = "ws://{address}/"
                realm = "{REALM}"
                [store]
                path = "seller.db"
                [[api]]
                id = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
                prefix = "{TOPIC}"
                price = "1"
                interval = "1h"
                [[feed]]
                api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
                uri = "{TOPIC}"
                {feed}
            "#
        );
        fs::write(self.path("seller.toml"), config).unwrap();
        self.starts += 1;
        let log = self.path(&format!("{}.log", self.starts));
        let child = Command::new(env!("CARGO_BIN_EXE_xbr-seller"))
            .args(["run", "--config", "seller.toml"])
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let program = Program { child, log };
        program.logged("feed started").await;
        program
    }
}

fn dial(router: &RouterHandle, realm: &str) -> xbr_wamp::Dial {
    router.dial(realm, Identity { authid: EVERYBODY.to_owned(), role: EVERYBODY.to_owned() })
}

impl Program {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has that in it.
    pub(crate) async fn logged(&self, text: &str) {
        let found = async {
            while !self.log().contains(text) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, found).await.unwrap_or_else(|_| panic!("no {text:?} in {}", self.log()));
    }

    /// `SIGKILL`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        let status = tokio::task::spawn_blocking(move || (self.child.wait().unwrap(), self.log()));
        let (status, log) = status.await.unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

/// Whoever subscribes and cannot decrypt.
pub(crate) struct Subscriber {
    _session: Session,
    incoming: Incoming,
}

impl Subscriber {
    /// The next event: its topic, and how long its payload is in CBOR.
    pub(crate) async fn next(&mut self) -> (String, usize) {
        let event = timeout(SOON, self.incoming.next()).await.expect("an event in time").unwrap();
        let IncomingEvent::Event(event) = event else { panic!("{event:?}") };
        // A nonce of 24 and an authenticator of 16 bytes.
        (event.topic.to_string(), event.args[2].as_bytes().unwrap().len() - 40)
    }

    /// The numbers of events up to the one with this number.
    pub(crate) async fn numbers_until(&mut self, last: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            numbers.push(number(self.next().await.1));
        }
        numbers
    }
}

/// A line with a number, which its length tells: a text of so many characters and 256 more.
pub(crate) fn line(number: u64) -> String {
    format!("\"{}\"\n", "x".repeat(256 + usize::try_from(number).unwrap()))
}

/// The number of a line from the length of its CBOR.
pub(crate) fn number(length: usize) -> u64 {
    // A text of 256 to 65535 bytes has a head of three.
    u64::try_from(length - 3 - 256).unwrap()
}
