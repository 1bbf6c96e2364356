//! The real program on a damaged store: it does not start, and says what is wrong and what to do.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use xbr_core::channel::{Channel, ChannelState, ChannelTerms, SaleRecord};
use xbr_core::{Address, Amount, BuyerKey, ChannelId, ChannelSeq, KeyId, MarketId, Signature};
use xbr_store::{MasterKey, SqliteStore, Store};

const CONFIG: &str = r#"
[seller]
key_file = "seller.key"
market_maker = "0x9a6ee47cdde089c8cea4c6b1aeee86eda770a3be"
[market]
url = "ws://127.0.0.1:1/ws"
realm = "realm1"
[store]
path = "seller.db"
"#;
const MASTER: [u8; 32] = [0x4d; 32];
const CHANNEL: ChannelId = ChannelId::new([0xc1; 16]);

fn at(sales: u32) -> ChannelState {
    let balance = Amount::from_xbr(u64::from(1000 - sales));
    ChannelState { seq: ChannelSeq::new(1 + sales), balance }
}

fn sale(number: u32) -> SaleRecord {
    SaleRecord {
        channel_id: CHANNEL,
        key_id: KeyId::new([5; 16]),
        buyer_key: BuyerKey::new([6; 32]),
        before: at(number - 1),
        state: at(number),
        amount: Amount::from_xbr(1),
        surplus: Amount::ZERO,
        sealed_key: vec![7; 80],
        market_maker_signature: Signature::new([8; 65]),
        signature: Signature::new([9; 65]),
        sold_ns: 0,
        api_id: None,
    }
}

/// A folder with a configuration and a store of some sales, the last ones in its write-ahead log.
async fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("seller.toml"), CONFIG).unwrap();
    assert!(program(folder.path(), &["keygen"]).1 == Some(0));
    let path = folder.path().join("made.db");
    let store = SqliteStore::open(&path, MasterKey::from_bytes(MASTER)).unwrap();
    let terms = ChannelTerms {
        channel_id: CHANNEL,
        market_id: MarketId::new([0x31; 16]),
        market_maker: Address::new([1; 20]),
        delegate: Address::new([2; 20]),
        amount: at(0).balance,
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([3; 20]),
        close_at: Amount::from_units(1),
    };
    store.attach_channel(Channel::adopt(terms, at(0))).await.unwrap();
    store.close().await.unwrap();
    let store = SqliteStore::open(&path, MasterKey::from_bytes(MASTER)).unwrap();
    for number in 1..=9 {
        store.commit_sale(sale(number)).await.unwrap();
    }
    // As a crash leaves it.
    for suffix in ["", "-wal"] {
        let name = format!("seller.db{suffix}");
        fs::copy(folder.path().join(format!("made.db{suffix}")), folder.path().join(name)).unwrap();
    }
    store.close().await.unwrap();
    folder
}

/// What the program says, and its exit code.
fn program(folder: &Path, args: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    let output = command.env("XBR_SELLER_MASTER_KEY", "4d".repeat(32)).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// Flips the lowest bit of the last byte of every place where these bytes are.
fn flip(file: &Path, bytes: &[u8]) {
    let mut content = fs::read(file).unwrap();
    let places: Vec<_> =
        (0..=content.len() - bytes.len()).filter(|place| content[*place..].starts_with(bytes)).collect();
    assert!(!places.is_empty(), "the bytes are not in {}", file.display());
    for place in places {
        content[place + bytes.len() - 1] ^= 1;
    }
    fs::write(file, content).unwrap();
}

#[tokio::test]
async fn a_damaged_store_is_a_failed_start_that_says_what_to_do() {
    type Damage = fn(&Path);
    let table: [(&str, Damage, &str); 6] = [
        ("a store that a crash left goes on to the router", |_| {}, "connection failed"),
        (
            "a bit of a balance",
            |folder| {
                let made = folder.join("made.db");
                flip(&made, &at(9).balance.to_be_bytes());
                fs::rename(made, folder.join("seller.db")).unwrap();
                fs::remove_file(folder.join("seller.db-wal")).unwrap();
            },
            "restore a backup",
        ),
        (
            "a bit in the middle of the log",
            |folder| flip(&folder.join("seller.db-wal"), &at(4).balance.to_be_bytes()),
            "the write-ahead log is damaged",
        ),
        (
            "the header of the log",
            |folder| {
                let log = folder.join("seller.db-wal");
                let mut content = fs::read(&log).unwrap();
                content[16] ^= 1;
                fs::write(log, content).unwrap();
            },
            "the header of the write-ahead log",
        ),
        (
            "a database that is cut off",
            |folder| {
                let content = fs::read(folder.join("made.db")).unwrap();
                fs::write(folder.join("seller.db"), &content[..content.len() - 5000]).unwrap();
                fs::remove_file(folder.join("seller.db-wal")).unwrap();
            },
            "restore a backup",
        ),
        (
            "a database that is gone, and its log is there",
            |folder| fs::remove_file(folder.join("seller.db")).unwrap(),
            "restore a backup",
        ),
    ];
    for (name, damage, told) in table {
        let folder = folder().await;
        damage(folder.path());
        let (said, code) = program(folder.path(), &["run", "--config", "seller.toml"]);
        assert_eq!(code, Some(3), "{name}: {said}");
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert!(last["message"].as_str().unwrap().contains(told), "{name}: {said}");
        assert!(!last["advice"].as_str().unwrap().is_empty(), "{name}: {said}");
    }
}
