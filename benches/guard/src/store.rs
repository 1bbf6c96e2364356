//! Committing sales to the stores. What the kernel does for it, the sync above all, does not count.

use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt as _;
use tempfile::TempDir;
use xbr_core::channel::{Channel, SaleRecord};
use xbr_store::{MasterKey, MemoryStore, SqliteStore, Store, StoreFuture};

use crate::Path;
use crate::sale::{channel, sale};

pub(crate) fn paths() -> Vec<Path> {
    let mut memory = Book::new(MemoryStore::new());
    vec![
        Path::new("commit, memory", 3000, move || {
            assert_eq!(memory.commit().now_or_never(), Some(Ok(())));
        }),
        group("commit, sqlite", 1, 200),
        group("commit 64, sqlite", 64, 20),
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

/// Sales that are committed together. The store's thread takes all that has come while it was busy: it is
/// held where it answers until the next ones have come, so that a group is the same each time.
fn group(name: &'static str, size: usize, rounds: u32) -> Path {
    let folder = TempDir::new().unwrap();
    let master_key = MasterKey::create(folder.path().join("master")).unwrap();
    let mut book = Book::new(SqliteStore::open(folder.path().join("seller.db"), master_key).unwrap());
    let gate = Arc::new(Gate(Barrier::new(2)));
    let waker = Waker::from(Arc::clone(&gate));
    let mut context = Context::from_waker(&waker);
    // One that is answered before it is asked for holds nobody.
    let mut first = book.commit();
    while first.poll_unpin(&mut context).is_ready() {
        first = book.commit();
    }
    gate.0.wait();
    Path::new(name, rounds, move || {
        let _alive = (&folder, &first);
        let mut commits: Vec<_> = (0..size).map(|_| book.commit()).collect();
        let mut context = Context::from_waker(&waker);
        assert!(commits.last_mut().unwrap().poll_unpin(&mut context).is_pending());
        // On with these, and until they are answered.
        gate.0.wait();
        gate.0.wait();
        assert!(commits.into_iter().all(|commit| commit.now_or_never() == Some(Ok(()))));
    })
}

/// Where the store's thread is held: once when it has come, and once until it may go on.
struct Gate(Barrier);

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.0.wait();
        self.0.wait();
    }
}
