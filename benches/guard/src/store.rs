//! Committing sales and keys to the stores. What the kernel does for it, the sync above all, does not count.

use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;
use xbr_core::channel::{Channel, SaleRecord};
use xbr_core::{Amount, ApiId, DataKey, KeyId};
use xbr_store::{KeyRecord, MasterKey, MemoryStore, SqliteStore, Store, StoreFuture};

use crate::sale::{channel, sale};
use crate::{Fixed, Path};

/// So many keys are stored together, while so many others are noted as offered.
const KEYS: u64 = 32;

pub(crate) fn paths() -> Vec<Path> {
    let mut memory = Book::new(MemoryStore::new());
    let sales = |store| {
        let mut book = Book::new(store);
        move || book.commit()
    };
    vec![
        Path::new("commit, memory", 3000, move || {
            assert_eq!(memory.commit().now_or_never(), Some(Ok(())));
        }),
        group("commit, sqlite", 1, 200, sales),
        group("commit 64, sqlite", 64, 20, sales),
        group("32 keys, sqlite", 64, 20, keys),
    ]
}

/// A channel and the store that it is kept in.
struct Book<S> {
    store: S,
    channel: Channel,
}

impl<S: Store> Book<S> {
    fn new(store: S) -> Self {
        let channel = channel();
        // A store that is behind schedule answers the next write after this one.
        drop(store.attach_channel(channel.clone()));
        Self { store, channel }
    }

    /// The next sale.
    fn commit(&mut self) -> StoreFuture<()> {
        let record: SaleRecord = sale(&self.channel);
        self.channel.apply_sale(&record);
        self.store.commit_sale(record)
    }
}

/// Keys of as many APIs, each stored with the others of its time and noted as offered with those of the next.
fn keys(store: SqliteStore) -> impl FnMut() -> StoreFuture<()> {
    let mut written = 0;
    move || {
        let (round, number) = (written / (2 * KEYS), written % (2 * KEYS));
        written += 1;
        let made = |round: u64, number: u64| KeyId::made_at((round * KEYS + number) * 1_000_000, &Fixed);
        match number.checked_sub(KEYS) {
            None => store.insert_key(KeyRecord {
                key_id: made(round, number),
                api_id: ApiId::new(u128::from(number).to_be_bytes()),
                key: DataKey::generate(&Fixed),
                price: Amount::from_xbr(1),
                created_ns: round,
                expires_ns: None,
                offered_ns: None,
            }),
            Some(number) => store.mark_offered(made(round.saturating_sub(1), number), round),
        }
    }
}

/// Writes that are committed together. The store's thread takes all that has come while it was busy: it is
/// held where it answers until the next ones have come, so that a group is the same each time.
fn group<W: FnMut() -> StoreFuture<()> + 'static>(
    name: &'static str,
    size: usize,
    rounds: u32,
    writes: impl Fn(SqliteStore) -> W,
) -> Path {
    let folder = TempDir::new().unwrap();
    let master_key = MasterKey::create(folder.path().join("master")).unwrap();
    let store = SqliteStore::open(folder.path().join("seller.db"), master_key).unwrap();
    wait_for_the_look_through(&store);
    let mut write = writes(store);
    let gate = Arc::new(Gate(Barrier::new(2)));
    let waker = Waker::from(Arc::clone(&gate));
    let mut context = Context::from_waker(&waker);
    // One that is answered before it is asked for holds nobody.
    let mut first = write();
    while first.poll_unpin(&mut context).is_ready() {
        first = write();
    }
    gate.0.wait();
    Path::new(name, rounds, move || {
        let _alive = (&folder, &first);
        let mut written: Vec<_> = (0..size).map(|_| write()).collect();
        let mut context = Context::from_waker(&waker);
        assert!(written.last_mut().unwrap().poll_unpin(&mut context).is_pending());
        // On with these, and until they are answered.
        gate.0.wait();
        gate.0.wait();
        assert!(written.into_iter().all(|written| written.now_or_never() == Some(Ok(()))));
    })
}

/// A thread of the store looks through it once, and would be counted with whatever runs meanwhile. That a key is unknown
/// is said after it.
fn wait_for_the_look_through(store: &SqliteStore) {
    let mut unknown = store.key(KeyId::new([0; 16]));
    while unknown.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Where the store's thread is held: once when it has come, and once until it may go on.
struct Gate(Barrier);

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.0.wait();
        self.0.wait();
    }
}
