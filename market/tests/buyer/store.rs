//! The store in a file: what survives, who may open it, and what a copy gives away.

use xbr_core::channel::ChannelState;
use xbr_core::{Amount, ChannelId, ChannelSeq, Signature};
use xbr_market::buyer::store::{BoughtKey, MasterKey, StoreError};
use xbr_market::buyer::wallet::{End, Payment, Settlement, Wallet};
use xbr_market::buyer::{BuyerStore, MemoryBuyerStore, SqliteBuyerStore};

use super::support::*;

const OTHER_CHANNEL: ChannelId = ChannelId::new([0xc9; 16]);

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes([byte; 32])
}

fn payment() -> Payment {
    Payment {
        channel_id: CHANNEL,
        key_id: KEY,
        before: state(1, 1000),
        state: state(2, 1000 - PRICE),
        amount: amount(PRICE),
        signature: Signature::new([0xe1; 65]),
    }
}

fn bought() -> (Settlement, BoughtKey) {
    let end = End::Bought { signature: Signature::new([0xe2; 65]) };
    let settlement = Settlement { before: state(1, 1000), state: state(2, 1000 - PRICE), end };
    (settlement, BoughtKey { key_id: KEY, key: data_key(KEY) })
}

/// Opens a store again that was dropped: it closes in the background.
async fn reopened(path: &std::path::Path, key: MasterKey) -> Result<SqliteBuyerStore, StoreError> {
    loop {
        match SqliteBuyerStore::open(path, key.clone()) {
            Err(StoreError::Open { reason, .. }) if reason.contains("open already") => {
                tokio::task::yield_now().await;
            }
            other => return other,
        }
    }
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("buyer.db");
    let store = SqliteBuyerStore::open(&path, master(1)).unwrap();
    let receive_key = store.receive_key().await.unwrap();
    store.attach(Wallet::adopt(terms(CHANNEL), state(1, 1000))).await.unwrap();
    store.begin(payment()).await.unwrap();
    drop(store);

    let store = reopened(&path, master(1)).await.unwrap();
    assert_eq!(store.receive_key().await.unwrap().expose_secret(), receive_key.expose_secret());
    let mut wallet = Wallet::adopt(terms(CHANNEL), state(1, 1000));
    wallet.begin(payment());
    assert_eq!(store.wallet(CHANNEL).await.unwrap(), Some(wallet.clone()));
    let (settlement, key) = bought();
    store.settle(CHANNEL, settlement, Some(key)).await.unwrap();
    wallet.apply(&settlement);
    drop(store);

    let store = reopened(&path, master(1)).await.unwrap();
    assert_eq!(store.wallet(CHANNEL).await.unwrap(), Some(wallet));
    assert_key(&store.key(KEY).await.unwrap().key.unwrap(), KEY);
    assert!(store.key(OTHER).await.unwrap().key.is_none());
    assert_eq!(store.key(KEY).await.unwrap().written_off, Amount::ZERO);
}

/// One of each kind, empty. The one in memory has a neighbour, which notices nothing.
fn stores(folder: &std::path::Path) -> [Box<dyn BuyerStore>; 3] {
    let memory = MemoryBuyerStore::new().unwrap();
    let file = SqliteBuyerStore::open(folder.join("buyer.db"), master(1)).unwrap();
    [Box::new(memory.beside()), Box::new(memory), Box::new(file)]
}

#[tokio::test]
async fn what_does_not_follow_is_a_conflict_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        refuses_what_does_not_follow(&*store).await;
    }
}

async fn refuses_what_does_not_follow(store: &dyn BuyerStore) {
    assert_eq!(store.begin(payment()).await, Err(StoreError::Conflict));
    store.attach(Wallet::adopt(terms(CHANNEL), state(1, 1000))).await.unwrap();
    let (settlement, key) = bought();
    assert_eq!(store.settle(CHANNEL, settlement, Some(key.clone())).await, Err(StoreError::Conflict));
    assert!(store.key(KEY).await.unwrap().key.is_none());
    let elsewhere = Payment { before: state(1, 999), ..payment() };
    assert_eq!(store.begin(elsewhere).await, Err(StoreError::Conflict));
    store.begin(payment()).await.unwrap();
    assert_eq!(store.begin(payment()).await, Err(StoreError::Conflict));
    let moved = Settlement { end: End::Moved, ..settlement };
    assert_eq!(store.settle(CHANNEL, moved, None).await, Err(StoreError::Conflict));
    // A channel that is there stays as it is.
    store.attach(Wallet::adopt(terms(CHANNEL), state(7, 7))).await.unwrap();
    assert!(store.wallet(CHANNEL).await.unwrap().unwrap().pending.is_some());
    let written_off = Settlement { end: End::WrittenOff, ..settlement };
    store.settle(CHANNEL, written_off, None).await.unwrap();
    assert_eq!(store.key(KEY).await.unwrap().written_off, amount(PRICE));
    assert_eq!(store.key(OTHER).await.unwrap().written_off, Amount::ZERO);
    // Figures that do not add up are not gone on from.
    let (before, state) = (state(2, 1000 - PRICE), state(3, 1000 - PRICE));
    store.begin(Payment { before, state, ..payment() }).await.unwrap();
    assert!(matches!(store.wallet(CHANNEL).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.unsettled().await, Err(StoreError::Corrupt { .. })));
    let given_up = Settlement { before, state: before, end: End::GivenUp };
    assert!(matches!(store.settle(CHANNEL, given_up, None).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn every_kind_of_store_tells_what_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        tells_what_it_was_told(&*store).await;
    }
}

async fn tells_what_it_was_told(store: &dyn BuyerStore) {
    let receive_key = store.receive_key().await.unwrap();
    assert_eq!(store.receive_key().await.unwrap().public(), receive_key.public());
    let mut wallets = [CHANNEL, OTHER_CHANNEL].map(|channel| Wallet::adopt(terms(channel), state(1, 1000)));
    for wallet in wallets.iter_mut().rev() {
        store.attach(wallet.clone()).await.unwrap();
        let payment = Payment { channel_id: wallet.terms.channel_id, ..payment() };
        store.begin(payment.clone()).await.unwrap();
        wallet.begin(payment);
    }
    let [first, second] = &mut wallets;
    assert_eq!(store.unsettled().await.unwrap(), [second.clone(), first.clone()], "the oldest first");
    let (settlement, key) = bought();
    store.settle(OTHER_CHANNEL, settlement, Some(key)).await.unwrap();
    second.apply(&settlement);
    assert_eq!(store.wallet(OTHER_CHANNEL).await.unwrap().as_ref(), Some(&*second));
    assert_key(&store.key(KEY).await.unwrap().key.unwrap(), KEY);
    assert!(store.key(OTHER).await.unwrap().key.is_none());
    // What is written off for a key adds up; what is given up takes nothing.
    for (before, after, end) in [
        (state(1, 1000), state(2, 1000 - PRICE), End::WrittenOff),
        (state(2, 1000 - PRICE), state(2, 1000 - PRICE), End::GivenUp),
        (state(2, 1000 - PRICE), state(3, 1000 - 2 * PRICE), End::WrittenOff),
    ] {
        let settlement = Settlement { before, state: after, end };
        store.settle(CHANNEL, settlement, None).await.unwrap();
        first.apply(&settlement);
        assert_eq!(store.unsettled().await.unwrap(), []);
        let balance = after.balance.checked_sub(amount(PRICE)).unwrap();
        let paid = ChannelState { seq: ChannelSeq::new(after.seq.value() + 1), balance };
        let next = Payment { before: after, state: paid, ..payment() };
        store.begin(next.clone()).await.unwrap();
        first.begin(next);
    }
    assert_eq!(store.key(KEY).await.unwrap().written_off, amount(2 * PRICE));
    assert_eq!(store.wallet(CHANNEL).await.unwrap().as_ref(), Some(&*first));
}

#[tokio::test]
async fn the_file_is_private_locked_and_useless_without_the_master_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("buyer.db");
    let store = SqliteBuyerStore::open(&path, master(1)).unwrap();
    let second = SqliteBuyerStore::open(&path, master(1)).unwrap_err();
    assert!(matches!(second, StoreError::Open { .. }), "{second:?}");
    let secret = store.receive_key().await.unwrap();
    store.attach(Wallet::adopt(terms(CHANNEL), state(1, 1000))).await.unwrap();
    store.begin(payment()).await.unwrap();
    let (settlement, key) = bought();
    store.settle(CHANNEL, settlement, Some(key)).await.unwrap();
    drop(store);
    assert_eq!(reopened(&path, master(2)).await.unwrap_err(), StoreError::WrongMasterKey);
    // Held open: closing it would take its companions away while they are read.
    let _open = reopened(&path, master(1)).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        let bytes = std::fs::read(entry.path()).unwrap();
        for hidden in [secret.expose_secret(), data_key(KEY).expose_secret()] {
            assert!(!bytes.windows(32).any(|window| window == hidden), "{entry:?}");
        }
    }
}

#[tokio::test]
async fn a_foreign_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(SqliteBuyerStore::open(&path, master(1)), Err(StoreError::Open { .. })));
    std::fs::write(folder.path().join("text"), "not a database, but long enough to have a header".repeat(9))
        .unwrap();
    assert!(SqliteBuyerStore::open(folder.path().join("text"), master(1)).is_err());
}
