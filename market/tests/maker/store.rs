//! The store: everything survives, what does not follow is not stored, and a copy taken at any answer holds
//! all that was answered.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use xbr_core::wire::{BuyReceipt, ChannelType};
use xbr_core::{ChannelId, ChannelSeq, Signer as _};
use xbr_market::maker::account::Market;
use xbr_market::maker::book::{Book, Choice, Entry};
use xbr_market::maker::offer::Caller;
use xbr_market::maker::purchase::{Purchase, PurchaseId, Stage};
use xbr_market::maker::store::{MakerStore, MemoryMakerStore, SqliteMakerStore, StoreError};

use super::support::*;

/// Opens a store again that was dropped: it closes in the background.
async fn reopened(path: &Path) -> Result<SqliteMakerStore, StoreError> {
    loop {
        match SqliteMakerStore::open(path) {
            Err(StoreError::Open { reason, .. }) if reason.contains("open already") => {
                tokio::task::yield_now().await;
            }
            other => return other,
        }
    }
}

/// Judges, stores and books.
async fn put(store: &dyn MakerStore, book: &mut Book, entry: Entry) {
    store.commit(entry.clone()).await.unwrap();
    book.apply(entry);
}

/// The books of [`book`], stored.
async fn stored(store: &dyn MakerStore) -> Book {
    assert_eq!(store.load(market()).await.unwrap(), Default::default());
    let mut book = Book::new(market(), limits());
    for (id, kind, delegate) in [
        (PAYMENT, ChannelType::Payment, buyer_key().address()),
        (PAYING, ChannelType::Paying, seller_key().address()),
    ] {
        let entry = book.open(id, kind, [delegate; 3], units(DEPOSIT), NOW).unwrap().unwrap();
        put(store, &mut book, entry).await;
    }
    for (key, price) in [(KEY, PRICE), (OTHER, PRICE), (FREE, 0)] {
        let mut request = offer(key, price);
        request.unsigned.offer.copies = Some(u64::MAX);
        request.unsigned.offer.categories = [("a".into(), "b".into())].into();
        let id = xbr_core::ids::OfferId::new(*key.as_bytes());
        let caller = Caller { session: Some(9), authid: Some("seller".into()) };
        let entry = book.place(request, true, id, caller, NOW).unwrap();
        put(store, &mut book, entry).await;
    }
    book
}

/// What a store gives back is what the books hold.
async fn assert_same(store: &dyn MakerStore, book: &Book) {
    let snapshot = store.load(market()).await.unwrap();
    let mut read = Book::new(market(), limits());
    read.continue_after(snapshot.last_purchase);
    read.apply(snapshot.entry);
    assert_eq!(format!("{:?}", read.account(PAYMENT)), format!("{:?}", book.account(PAYMENT)));
    assert_eq!(format!("{:?}", read.account(PAYING)), format!("{:?}", book.account(PAYING)));
    for key in [KEY, OTHER, FREE] {
        assert_eq!(read.offer(key), book.offer(key));
    }
    assert!(read.purchases().eq(book.purchases()));
    assert_eq!(buy(&read, KEY), buy(book, KEY));
}

/// One of each kind, empty.
fn stores(folder: &Path) -> [Box<dyn MakerStore>; 2] {
    let file = SqliteMakerStore::open(folder.join("maker.db")).unwrap();
    [Box::new(MemoryMakerStore::new().unwrap()), Box::new(file)]
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maker.db");
    let store = SqliteMakerStore::open(&path).unwrap();
    let (book, ids, receipt) = traded(&store).await;
    drop(store);
    tells_what_was_traded(&reopened(&path).await.unwrap(), book, ids, receipt).await;
}

#[tokio::test]
async fn a_store_in_memory_tells_the_same() {
    let store = MemoryMakerStore::new().unwrap();
    let (book, ids, receipt) = traded(&store).await;
    tells_what_was_traded(&store.clone(), book, ids, receipt).await;
}

/// A purchase that was settled, one that waits again, one that was refused; and a revoked offer.
async fn traded(store: &dyn MakerStore) -> (Book, Vec<PurchaseId>, BuyReceipt) {
    let mut book = stored(store).await;
    let mut ids = Vec::new();
    for key in [KEY, OTHER, FREE] {
        let entry = book.reserve(&buy(&book, key), true, NOW).unwrap();
        ids.push(entry.purchases[0].id);
        put(store, &mut book, entry).await;
    }
    let settled = book.settle(ids[0], vec![7; 80], SIGNATURE, SIGNATURE, NOW + 1).unwrap();
    let receipt = settled.purchases[0].receipt().unwrap();
    put(store, &mut book, settled).await;
    let refused = book.refuse(ids[2], "xbr.error.key_retired", false, NOW + 2).unwrap();
    put(store, &mut book, refused).await;
    let requeued = book.requeue(ids[1]).unwrap();
    put(store, &mut book, requeued).await;
    let revoked = book.revoke(OTHER, &Caller { session: None, authid: Some("seller".into()) }, NOW).unwrap();
    put(store, &mut book, revoked.unwrap()).await;
    (book, ids, receipt)
}

async fn tells_what_was_traded(
    store: &dyn MakerStore,
    mut book: Book,
    ids: Vec<PurchaseId>,
    receipt: BuyReceipt,
) {
    assert_same(store, &book).await;
    let sold = store.purchase(PAYMENT, ChannelSeq::new(2)).await.unwrap().unwrap();
    assert_eq!(sold.receipt(), Some(receipt));
    assert_eq!(store.purchase(PAYMENT, ChannelSeq::new(4)).await.unwrap(), None, "a refused one");
    let accounts = store.purchases(0, 10).await.unwrap();
    assert_eq!(accounts.iter().map(|purchase| purchase.id).collect::<Vec<_>>(), ids);
    assert!(matches!(&accounts[2].stage, Stage::Refused { uri, .. } if uri == "xbr.error.key_retired"));
    assert_eq!(store.purchases(ids[0], 1).await.unwrap(), accounts[1..2]);
    let close = book.assign(
        ids[1],
        match book.choice(ids[1]) {
            Choice::Now(sale) => sale,
            other => panic!("{other:?}"),
        },
    );
    put(store, &mut book, close.unwrap()).await;
    assert_same(store, &book).await;
    let forgotten = Entry { forgotten: vec![FREE], ..Entry::default() };
    put(store, &mut book, forgotten).await;
    assert_same(store, &book).await;
}

#[tokio::test]
async fn what_does_not_follow_is_a_conflict_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        refuses_what_does_not_follow(&*store).await;
    }
}

async fn refuses_what_does_not_follow(store: &dyn MakerStore) {
    let mut book = stored(store).await;
    let first = book.reserve(&buy(&book, KEY), true, NOW).unwrap();
    let rival = book.reserve(&buy(&book, OTHER), true, NOW).unwrap();
    put(store, &mut book, first.clone()).await;
    assert_eq!(store.commit(rival).await, Err(StoreError::Conflict));
    assert_eq!(store.commit(first.clone()).await, Err(StoreError::Conflict));
    // What stands in one entry is stored together or not at all.
    let mut skewed = book.settle(first.purchases[0].id, vec![7; 80], SIGNATURE, SIGNATURE, NOW).unwrap();
    skewed.accounts[1].version += 1;
    assert_eq!(store.commit(skewed.clone()).await, Err(StoreError::Conflict));
    skewed.accounts[1].version -= 1;
    let mut greedy = skewed.clone();
    greedy.accounts[1].settled = units(DEPOSIT + 1);
    assert!(matches!(store.commit(greedy).await, Err(StoreError::Refused { .. })));
    assert_same(store, &book).await;
    put(store, &mut book, skewed.clone()).await;
    // An end is the end.
    let again = Entry { accounts: Vec::new(), ..skewed.clone() };
    assert_eq!(store.commit(again).await, Err(StoreError::Conflict));
    assert_same(store, &book).await;
    // A sale that is none, one for what has paid already, and one over a channel that nobody knows.
    let second = book.reserve(&buy(&book, OTHER), true, NOW).unwrap();
    put(store, &mut book, second.clone()).await;
    let settled = book.settle(second.purchases[0].id, vec![7; 80], SIGNATURE, SIGNATURE, NOW).unwrap();
    let changes: [fn(&mut Purchase, &Purchase); 5] = [
        |purchase, _| match &mut purchase.stage {
            Stage::Settled(settled) => settled.sealed_key.truncate(79),
            other => panic!("{other:?}"),
        },
        |purchase, _| purchase.sale = None,
        |purchase, first| purchase.sale = first.sale,
        |purchase, first| (purchase.id, purchase.payment) = (9, first.payment),
        |purchase, _| (purchase.id, purchase.payment_channel) = (9, ChannelId::new([0xee; 16])),
    ];
    for change in changes {
        let mut wrong = settled.clone();
        change(&mut wrong.purchases[0], &skewed.purchases[0]);
        let refused = store.commit(wrong.clone()).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?} {wrong:?}");
    }
    assert_same(store, &book).await;
    put(store, &mut book, settled).await;
}

#[tokio::test]
async fn a_conflict_harms_none_of_those_that_share_its_sync() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        a_conflict_harms_no_other(&*store).await;
    }
}

async fn a_conflict_harms_no_other(store: &dyn MakerStore) {
    let mut book = stored(store).await;
    let mut answers = Vec::new();
    for n in 0..50 {
        let entry = book.reserve(&buy(&book, FREE), true, NOW).unwrap();
        let id = entry.purchases[0].id;
        answers.push((true, store.commit(entry.clone())));
        if n % 3 == 0 {
            answers.push((false, store.commit(entry.clone())));
        }
        book.apply(entry);
        let Some(entry) = book.settle(id, vec![7; 80], SIGNATURE, SIGNATURE, NOW) else { continue };
        answers.push((true, store.commit(entry.clone())));
        book.apply(entry);
    }
    for (good, answer) in answers {
        assert_eq!(answer.await.is_ok(), good);
    }
    assert_same(store, &book).await;
}

#[tokio::test]
async fn a_copy_taken_at_any_answer_holds_all_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maker.db");
    let store = SqliteMakerStore::open(&path).unwrap();
    let mut book = stored(&store).await;
    for n in 0..10 {
        let entry = book.reserve(&buy(&book, KEY), true, NOW).unwrap();
        let id = entry.purchases[0].id;
        put(&store, &mut book, entry).await;
        if n % 2 == 0 {
            let entry = book.settle(id, vec![7; 80], SIGNATURE, SIGNATURE, NOW).unwrap();
            put(&store, &mut book, entry).await;
        } else {
            let entry = book.refuse(id, "xbr.error.key_retired", n == 3, NOW).unwrap();
            put(&store, &mut book, entry).await;
        }
        let copy = folder.path().join(format!("copy{n}.db"));
        fs::copy(&path, &copy).unwrap();
        fs::copy(folder.path().join("maker.db-wal"), folder.path().join(format!("copy{n}.db-wal"))).unwrap();
        let copy = SqliteMakerStore::open(&copy).unwrap();
        assert_same(&copy, &book).await;
    }
}

#[tokio::test]
async fn the_file_is_private_locked_and_of_one_market() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maker.db");
    let store = SqliteMakerStore::open(&path).unwrap();
    stored(&store).await;
    assert!(matches!(SqliteMakerStore::open(&path), Err(StoreError::Open { .. })));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let memory = MemoryMakerStore::new().unwrap();
    stored(&memory).await;
    let other = Market { close_at: units(2), ..market() };
    assert!(matches!(store.load(other).await, Err(StoreError::Refused { .. })));
    assert!(matches!(memory.load(other).await, Err(StoreError::Refused { .. })));
    let text = folder.path().join("text");
    fs::write(&text, "not a database, but long enough to have a header".repeat(9)).unwrap();
    assert!(SqliteMakerStore::open(&text).is_err());
}
