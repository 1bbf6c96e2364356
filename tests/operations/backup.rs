//! Backups: made while the service runs, looked through, put back; one that is older than the market is noticed before
//! anything is signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::ROTATION;
use crate::programs::{Running, World, wait_for};

const BACKUP: [&str; 5] = ["backup", "--config", "seller.toml", "--out", "seller.backup"];
const RESTORE: [&str; 4] = ["restore", "--config", "seller.toml", "seller.backup"];

fn channels(world: &World) -> Value {
    let text = world.succeed(&["channels", "--config", "seller.toml", "--json"]);
    serde_json::from_str::<Value>(&text).unwrap()["channels"][0].clone()
}

#[test]
fn a_stale_backup_halts_its_channel_before_anything_is_signed() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    world.buy(&mut seller, 2);
    let told = world.succeed(&BACKUP);
    assert!(told.contains("seller.backup (mode 0600; looked through, and sound)"), "{told}");
    assert_eq!(fs::metadata(world.path("seller.backup")).unwrap().permissions().mode() & 0o777, 0o600);
    let (again, code) = world.run(&BACKUP);
    assert!(code == Some(1) && again.contains("exists already"), "{again}");
    let held = fs::read(world.path("seller.backup")).unwrap();
    let master = hex::decode(world.read("seller.db.master").trim()).unwrap();
    assert!(!held.windows(32).any(|window| window == master), "the master key is not in it");

    world.buy(&mut seller, 2);
    let (in_use, code) = world.run(&[&RESTORE[..], &["--force"]].concat());
    assert!(code == Some(1) && in_use.contains("open already"), "{in_use}");
    // The last receipt may still be on its way.
    let after =
        wait_for("four sales", || Some(channels(&world)).filter(|seen| seen["sales"].as_u64() >= Some(4)));
    seller.stop();

    let (there, code) = world.run(&RESTORE);
    assert!(code == Some(1) && there.contains("--force"), "{there}");
    let told = world.succeed(&[&RESTORE[..], &["--force"]].concat());
    assert!(told.contains("seller.db.old") && told.contains("sells nothing on that channel"), "{told}");
    let restored = channels(&world);
    assert!(
        restored["sales"].as_u64() < after["sales"].as_u64() && restored["restored"] == true,
        "{restored}"
    );

    // The service starts, says what is wrong, and sells nothing.
    let mut seller = world.seller();
    let alarm = seller.has_said("the store comes from a backup");
    assert!(alarm.contains("restore a newer backup"), "{alarm}");
    let mut buyer = Running::start(world.command(&["buy", "--config", "buyer.toml"]), "\"subscribed\"");
    wait_for("a refusal", || {
        seller.feed("{\"a\":1}\n");
        buyer.has_said_by_now("xbr.error.")
    });
    drop(buyer);
    let halted = channels(&world);
    assert_eq!(halted["alarm"]["kind"], "outdated", "{halted}");
    assert_eq!(
        (&halted["seq"], &halted["sales"]),
        (&restored["seq"], &restored["sales"]),
        "nothing was signed"
    );
    let text = world.succeed(&["channels", "--config", "seller.toml"]);
    assert!(text.contains("ALARM:        the store comes from a backup"), "{text}");
    seller.stop();

    // The way forward: what was in its place is newer.
    let newer = ["restore", "--config", "seller.toml", "seller.db.old", "--force"];
    let (kept, code) = world.run(&newer);
    assert!(code == Some(1) && kept.contains("move it away first"), "{kept}");
    fs::rename(world.path("seller.db.old"), world.path("newest.db")).unwrap();
    world.succeed(&["restore", "--config", "seller.toml", "newest.db", "--force", "--newest"]);
    let mut seller = world.seller();
    world.buy(&mut seller, 1);
    let sold = channels(&world);
    assert!(sold["restored"] == false && sold["alarm"].is_null(), "{sold}");
    seller.stop();
    market.stop();
}

#[test]
fn a_backup_that_is_damaged_or_anothers_is_not_put_back() {
    let (world, market) = World::selling(ROTATION);
    let mut seller = world.seller();
    world.buy(&mut seller, 1);
    world.succeed(&BACKUP);
    seller.stop();
    market.stop();
    let store = fs::read(world.path("seller.db")).unwrap();
    let backup = fs::read(world.path("seller.backup")).unwrap();
    let mut flipped = backup.clone();
    let place = flipped.windows(20).position(|window| window == address_bytes(&world)).unwrap();
    flipped[place] ^= 1;
    let table: [(&str, &[u8], &str); 4] = [
        ("a flipped bit", &flipped, "damaged"),
        ("cut off", &backup[..backup.len() - 1000], "damaged"),
        ("empty", &[], "is no backup"),
        ("something else", b"nonsense, and more of it, so that it is longer than a header of SQLite; 100 bytes are enough for that", ""),
    ];
    for (name, bytes, told) in table {
        fs::write(world.path("bad.backup"), bytes).unwrap();
        let (said, code) = world.run(&["restore", "--config", "seller.toml", "bad.backup", "--force"]);
        assert!(code == Some(1) && said.contains(told), "{name}: {said}");
        assert_eq!(fs::read(world.path("seller.db")).unwrap(), store, "{name}: the store is as it was");
    }
    fs::write(world.path("seller.db.master"), format!("{}\n", "4d".repeat(32))).unwrap();
    let (said, code) = world.run(&[&RESTORE[..], &["--force"]].concat());
    assert!(code == Some(1) && said.contains("the master key is not the one"), "{said}");
    let left: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

/// The market maker's address, as a channel of the store has it.
fn address_bytes(world: &World) -> Vec<u8> {
    hex::decode(world.address("maker").trim_start_matches("0x")).unwrap()
}
