//! The load generator as a program: what it measures of a seller of its own and of one that runs, and what it
//! says of one that does not sell.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use xbr_core::offer::{KeyOffer, UriPrefix};
use xbr_core::wire::{MarketDomain, SellReceipt, SellRequest, UnsignedOffer, uri};
use xbr_core::{Address, Amount, ApiId, DelegateKey, KeyId, MarketId, ProviderId, Signature, Signer};
use xbr_market::router::{RealmOptions, Role, RouterHandle, RouterOptions};
use xbr_wamp::{Call, ClientOptions, IncomingEvent, RegisterOptions, connect};

/// A folder with keys in it, and a router without a market maker.
struct World {
    folder: TempDir,
    _router: RouterHandle,
    address: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let realm = RealmOptions::new("realm1").role(Role::unrestricted("any")).anonymous("any");
        let router = RouterHandle::spawn(RouterOptions::new([realm])).unwrap();
        let address = router.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let world = Self { folder: TempDir::new().unwrap(), _router: router, address };
        for who in ["market", "seller"] {
            assert!(
                command(&["keygen", "--out"]).arg(world.key_file(who)).output().unwrap().status.success()
            );
        }
        world
    }

    fn key_file(&self, who: &str) -> PathBuf {
        self.folder.path().join(format!("{who}.key"))
    }

    fn key(&self, who: &str) -> DelegateKey {
        fs::read_to_string(self.key_file(who)).unwrap().trim().parse().unwrap()
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// A load generator that waits for an offer.
    fn bench(&self, args: &[&str]) -> Bench {
        let mut command = command(&["bench", "--json", "--realm", "realm1", "--url", &self.url()]);
        let mut child = command
            .arg("--key-file")
            .arg(self.key_file("market"))
            .args(args)
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("waiting for an offer") {
            assert!(log.read_line(&mut seen).unwrap() > 0, "it has ended: {seen}");
        }
        Bench { child, log }
    }
}

/// A process that runs until the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bench {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Bench {
    /// Its exit code and its report, once it has ended.
    fn end(mut self) -> (Option<i32>, Value) {
        let (mut log, mut told) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        self.log.read_to_string(&mut log).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, serde_json::from_str(&told).unwrap_or_else(|_| panic!("no report: {told}{log}")))
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn bench(args: &[&str]) -> Output {
    command(&[&["bench"], args].concat()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The part of a measurement that must hold whatever the machine: percentiles rise, and nothing failed.
fn check_level(level: &Value, in_flight: u64, sales: u64) {
    assert_eq!((&level["in_flight"], &level["sales"]), (&in_flight.into(), &sales.into()), "{level}");
    assert_eq!(level["errors"], serde_json::json!({}));
    let latency = |name: &str| level["latency_us"][name].as_u64().unwrap();
    let latencies = ["p50", "p90", "p99", "p99_9", "max"].map(latency);
    assert!(latencies.is_sorted() && latencies[0] > 0, "{level}");
    assert!(level["sales_per_second"].as_f64().unwrap() > 0.0, "{level}");
}

#[test]
fn a_seller_of_its_own_is_measured_reported_and_drawn() {
    let folder = TempDir::new().unwrap();
    let (svg, dir) = (folder.path().join("latency.svg"), folder.path().to_str().unwrap());
    let args = ["--in-flight", "1,8", "--sales", "60", "--warm-up", "5", "--json", "--dir", dir, "--svg"];
    let output = bench(&[&args[..], &[svg.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["price"], &report["rate"]), (&"1".into(), &Value::Null));
    let levels = report["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 2);
    check_level(&levels[0], 1, 60);
    check_level(&levels[1], 8, 60);

    let drawn = fs::read_to_string(&svg).unwrap();
    let document = roxmltree::Document::parse(&drawn).unwrap();
    let named = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
    let curves = named("path").filter(|node| {
        node.attribute("class").is_some_and(|class| class.starts_with("curve"))
            && node.attribute("d").unwrap().contains('L')
    });
    assert_eq!(curves.count(), 2);
    let texts: Vec<_> = named("text").filter_map(|node| node.text()).collect();
    for part in ["1 in flight: ", "8 in flight: ", "50 %", "90 %"] {
        assert!(texts.iter().any(|text| text.starts_with(part)), "{part} in {texts:?}");
    }
    assert!(texts.iter().any(|text| text.ends_with(" ms")) && drawn.contains("prefers-color-scheme:dark"));
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "the store has gone, the picture is there");
}

#[test]
fn a_rate_is_kept_and_the_table_tells_it() {
    let output = bench(&["--in-flight", "16", "--sales", "50", "--rate", "250", "--warm-up", "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("250 sales begun a second"), "{told}");
    let line: Vec<_> = told.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(line[..2], ["16", "50"], "{told}");
    // The last of fifty is due after 196 ms, however fast the others were.
    let throughput: f64 = line[2].parse().unwrap();
    assert!(throughput > 0.0 && throughput <= 255.2, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_that_runs_is_paid_for_every_sale() {
    let world = World::new().await;
    let bench = world.bench(&["--in-flight", "1,4", "--sales", "20", "--warm-up", "2"]);
    let config = world.folder.path().join("seller.toml");
    let (url, market_maker) = (world.url(), world.key("market").address());
    let text = format!(
        r#"
[seller]
key_file = "seller.key"
market_maker = "{market_maker}"
[market]
url = "{url}"
realm = "realm1"
[store]
path = "seller.db"
[[api]]
id = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
prefix = "io.example"
price = "0.5"
count = 1000
"#
    );
    fs::write(&config, text).unwrap();
    let mut run = command(&["run", "--config"]);
    let _seller = Running(run.arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let (code, report) = bench.end();
    assert_eq!(code, Some(0), "{report}");
    check_level(&report["levels"][0], 1, 20);
    check_level(&report["levels"][1], 4, 20);
    assert_eq!(report["price"], "0.5");
    // One that runs already hears of the next load generator, and has a channel with it as well.
    let (code, report) = world.bench(&["--in-flight", "2", "--sales", "10", "--warm-up", "0"]).end();
    assert_eq!(code, Some(0), "{report}");
    check_level(&report["levels"][0], 2, 10);

    let told = command(&["channels", "--json", "--config"]).arg(&config).output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let channels = told["channels"].as_array().unwrap().iter();
    let mut earned: Vec<_> = channels.map(|it| (it["sales"].as_u64(), it["earned"].as_str())).collect();
    earned.sort();
    assert_eq!(earned, [(Some(10), Some("5")), (Some(44), Some("22"))], "{told}");
}

/// What a seller that does not sell answers.
#[derive(Clone, Copy)]
enum Answers {
    With(&'static str),
    /// With a receipt that somebody else has signed.
    Forged,
}

/// Offers a key, and answers so many sales that way.
async fn offer(world: &World, answers: Answers, sales: usize) {
    let key = world.key("seller");
    let provider_id = ProviderId::from_public_key(&key.public_key());
    let (session, mut incoming) = connect(ClientOptions::new(world.url(), "realm1")).await.unwrap();
    session.register(&uri::sell(&provider_id), RegisterOptions::default()).await.unwrap();
    let offer = KeyOffer {
        key_id: KeyId::new([7; 16]),
        api_id: ApiId::new([8; 16]),
        uri: UriPrefix::new("io.example").unwrap(),
        valid_from_ns: 1,
        price: Amount::from_xbr(1),
        categories: BTreeMap::new(),
        expires_ns: None,
        copies: None,
    };
    let domain = MarketDomain {
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([0; 20]),
        market_id: MarketId::new([9; 16]),
    };
    let unsigned = UnsignedOffer { offer, delegate: key.address(), provider_id };
    let placed = unsigned.sign(&domain, &key).unwrap();
    let call = Call::new(uri::PLACE_OFFER).args(placed.to_args()).kwargs(placed.to_kwargs());
    session.call(call).await.unwrap();
    for _ in 0..sales {
        let Some(IncomingEvent::Invocation(call)) = incoming.next().await else { panic!("no sale") };
        match answers {
            Answers::With(uri) => call.responder.error(uri, Vec::new(), Vec::new()),
            Answers::Forged => {
                let asked = SellRequest::parse(&call.args, &call.kwargs).unwrap();
                call.responder.yield_result(vec![forged(&asked, key.address()).to_value()], Vec::new());
            }
        }
    }
    session.leave().await;
}

fn forged(asked: &SellRequest, delegate: Address) -> SellReceipt {
    SellReceipt {
        key_id: asked.key_id,
        delegate,
        buyer_key: asked.buyer_key,
        sealed_key: vec![0; 80],
        channel_seq: asked.channel_seq,
        amount: asked.amount,
        balance: asked.balance,
        signature: Signature::new([7; 65]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_that_fail_are_counted_by_their_error_and_end_it_with_1() {
    for (answers, error) in [
        (Answers::With("xbr.error.key_retired"), "xbr.error.key_retired"),
        (Answers::Forged, "bad receipt: it is not signed by the seller"),
    ] {
        let world = World::new().await;
        let bench = world.bench(&["--in-flight", "3", "--sales", "10", "--warm-up", "0"]);
        offer(&world, answers, 10).await;
        let (code, report) = bench.end();
        assert_eq!(code, Some(1), "{report}");
        let level = &report["levels"][0];
        assert_eq!(level["errors"], serde_json::json!({ error: 10 }), "{report}");
        assert_eq!(level["sales"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_buy_from_is_a_failed_start_and_says_what_to_do() {
    let world = World::new().await;
    let key_file = world.key_file("market");
    let url = world.url();
    let running = |realm| {
        let args = ["--url", &url, "--realm", realm, "--patience", "50ms", "--key-file"];
        bench(&[&args[..], &[key_file.to_str().unwrap()]].concat())
    };
    let output = running("realm1");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let market_maker = world.key("market").address();
    let advice = format!("set seller.market_maker of the seller to {market_maker}");
    assert!(said(&output).contains(&advice), "{}", said(&output));
    let output = running("another");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("check market.url, market.realm"), "{}", said(&output));
}

#[test]
fn the_help_teaches_and_nonsense_is_refused_with_the_name_of_the_option() {
    let help = said(&bench(&["--help"]));
    for word in ["Examples:", "coordinated omission", "--rate", "Exit codes:"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for (args, advice) in [
        (&["--in-flight", "0"][..], "option --in-flight: bench.in_flight: must be from 1 to 1024, got 0"),
        (&["--sales", "many"], "option --sales: bench.sales: must be an integer"),
        (&["--duration", "0s"], "option --duration: bench.duration: must be longer than nothing"),
        (&["--key-file", "k"], "bench.key_file: is for a seller that runs"),
        (&["--url", "ws://127.0.0.1:1/"], "market.realm: missing"),
        (&["--config", "nowhere.toml"], "cannot read the configuration nowhere.toml"),
    ] {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said(&output).contains(advice), "{advice} in {}", said(&output));
    }
}
