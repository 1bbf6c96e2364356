//! What only shows from within: which jobs share a commit, which look-ups wait, and what becomes of a failed
//! commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use xbr_core::payload::DataKey;
use xbr_core::{Amount, ApiId, KeyId};

use super::gathering::Gathering;
use super::job::{Job, Reach, job};
use super::rows::database_error;
use super::vault::Vault;
use super::{SqliteStore, ask, connect, create, lock, schema, start};
use crate::operation::refused;
use crate::{KeyLookup, KeyRecord, MasterKey, Outcome, Store, StoreError, StoreFuture};

/// A store whose commits are counted, and fail as often as a test says.
struct Rig {
    store: SqliteStore,
    commits: Arc<AtomicU32>,
    failures: Arc<AtomicU32>,
    _dir: TempDir,
}

fn vault() -> Vault {
    Vault::new(MasterKey::from_bytes([7; 32]))
}

fn rig() -> Rig {
    patient_rig(Duration::ZERO)
}

/// A store that waits so long for more keys where many come.
fn patient_rig(patience: Duration) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let lock = lock(&path).unwrap();
    create(&path).unwrap();
    let mut connection = connect(&path).unwrap();
    schema::prepare(&mut connection, &vault()).unwrap();
    let (commits, failures) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counted, failing) = (Arc::clone(&commits), Arc::clone(&failures));
    let hook = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    };
    connection.commit_hook(Some(hook)).unwrap();
    let store = start(path, lock, connection, vault(), Box::new(|_| {}), Gathering::new(patience)).unwrap();
    Rig { store, commits, failures, _dir: dir }
}

impl Rig {
    /// Stops the writer until what is returned is dropped: what is called meanwhile shares the next
    /// transaction.
    fn block_writer(&self) -> mpsc::Sender<()> {
        Self::block(|job| self.store.queue(job))
    }

    /// The same of the thread that answers look-ups.
    fn block_reader(&self) -> mpsc::Sender<()> {
        Self::block(|job| ask(&self.store.reader, job))
    }

    /// Nothing is left of a key whose transaction was rolled back: the one that takes its place stays as it is.
    async fn assert_forgotten(&self, lost: KeyId) {
        let next = 100;
        assert_eq!(self.store.insert_key(key(next)).await, Ok(()));
        assert!(matches!(self.store.mark_offered(lost, 7).await, Err(StoreError::Refused { .. })));
        assert!(matches!(self.store.key(lost).await, Ok(KeyLookup::Unknown)));
        let found = self.store.key(key_id(next)).await;
        assert!(matches!(found, Ok(KeyLookup::Found(found)) if found.offered_ns.is_none()));
    }

    fn block(queue: impl FnOnce(Box<dyn Job>)) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (entered, blocked) = mpsc::channel();
        let (job, _) = job(None, Reach::Any, StoreError::Closed, move |_| {
            entered.send(()).map_err(|_| refused("the test has gone"))?;
            // Ends with an error when the test drops its side.
            let _released: Result<(), _> = released.recv();
            Ok(())
        });
        queue(job);
        blocked.recv().unwrap();
        release
    }
}

fn key_id(n: u8) -> KeyId {
    KeyId::new([n; 16])
}

fn key(n: u8) -> KeyRecord {
    KeyRecord {
        key_id: key_id(n),
        api_id: ApiId::new([1; 16]),
        key: DataKey::from_bytes([n; 32]),
        price: Amount::from_xbr(1),
        created_ns: 1,
        expires_ns: None,
        offered_ns: None,
    }
}

fn is_pending<T>(answer: &mut StoreFuture<T>) -> bool {
    matches!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

#[tokio::test]
async fn all_that_waits_shares_one_commit_and_a_refused_job_harms_no_other() {
    let rig = rig();
    let blocked = rig.block_writer();
    let answers: Vec<_> = (1..=64).map(|n| rig.store.insert_key(key(n))).collect();
    let twice = rig.store.insert_key(key(1));
    drop(blocked);
    for answer in answers {
        assert_eq!(answer.await, Ok(()));
    }
    assert!(matches!(twice.await, Err(StoreError::Refused { .. })));
    assert_eq!(rig.commits.load(Ordering::SeqCst), 2, "one of the blocking job, one of all the others");
}

#[tokio::test]
async fn where_many_keys_come_they_wait_for_more_until_something_comes_that_cannot_wait() {
    let rig = patient_rig(Duration::from_secs(3600));
    for n in 1..=10 {
        assert_eq!(rig.store.insert_key(key(n)).await, Ok(()), "one by one none waits");
    }
    let blocked = rig.block_writer();
    let many: Vec<_> = (11..=20).map(|n| rig.store.insert_key(key(n))).collect();
    drop(blocked);
    for answer in many {
        assert_eq!(answer.await, Ok(()));
    }
    let commits = rig.commits.load(Ordering::SeqCst);
    let mut gathered: Vec<_> = (21..=23).map(|n| rig.store.insert_key(key(n))).collect();
    gathered.push(rig.store.mark_offered(key_id(1), 1));
    // What waits for all writes cannot wait.
    assert_eq!(rig.store.flush().await, Ok(()));
    for answer in gathered {
        assert_eq!(answer.await, Ok(()));
    }
    assert_eq!(rig.commits.load(Ordering::SeqCst), commits + 1);
    // The last round had many.
    let last = rig.store.insert_key(key(24));
    rig.store.close().await.unwrap();
    assert_eq!(last.await, Ok(()), "closing does not wait");
}

#[tokio::test]
async fn a_look_up_waits_for_writes_of_its_row_only() {
    let rig = rig();
    for n in [1, 2] {
        rig.store.insert_key(key(n)).await.unwrap();
    }
    let blocked = rig.block_writer();
    let retired = rig.store.retire_key(key_id(1));
    let mut concerned = rig.store.key(key_id(1));
    assert!(
        matches!(rig.store.key(key_id(2)).await, Ok(KeyLookup::Found(_))),
        "while the writer stands still"
    );
    assert!(is_pending(&mut concerned));
    drop(blocked);
    assert!(matches!(concerned.await, Ok(KeyLookup::Retired)));
    assert_eq!(retired.await, Ok(()));
}

#[tokio::test]
async fn look_ups_that_come_together_share_a_transaction_which_sees_all_that_was_written_before() {
    let rig = rig();
    // Whether a look-up has a transaction to itself.
    let look = |is_damaged: bool| {
        let (job, answer) = job(None, Reach::Row, StoreError::Closed, move |database| {
            if is_damaged { Err(refused("damaged")) } else { Ok(database.is_idle()) }
        });
        ask(&rig.store.reader, job);
        answer
    };
    rig.store.insert_key(key(1)).await.unwrap();
    let blocked = rig.block_reader();
    let (before, damaged) = (look(false), look(true));
    rig.store.insert_key(key(2)).await.unwrap();
    let (written, after) = (rig.store.key(key_id(2)), look(false));
    drop(blocked);
    assert_eq!((before.await, after.await), (Ok(false), Ok(false)));
    assert!(damaged.await.is_err());
    assert!(matches!(written.await, Ok(KeyLookup::Found(_))));
    assert_eq!(look(false).await, Ok(true), "a lone one needs no other");
}

#[tokio::test]
async fn a_commit_that_fails_at_its_end_is_unknown_and_then_settled() {
    let rig = rig();
    rig.failures.store(1, Ordering::SeqCst);
    let error = rig.store.insert_key(key(1)).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(matches!(rig.store.key(key_id(1)).await, Ok(KeyLookup::Unknown)), "rolled back for good");
    assert!(!rig.store.pending.is_unsettled());
    assert_eq!(rig.store.insert_key(key(1)).await, Ok(()));
}

#[tokio::test]
async fn a_key_whose_commit_failed_assert_forgotten_and_the_one_in_its_place_stays_as_it_is() {
    let rig = rig();
    rig.failures.store(1, Ordering::SeqCst);
    assert!(rig.store.insert_key(key(1)).await.is_err());
    rig.assert_forgotten(key_id(1)).await;
}

#[tokio::test]
async fn keys_are_noted_as_offered_once_however_many_came_after_them() {
    let rig = rig();
    let numbered = |n: u16| KeyId::new([n.to_be_bytes(); 8].as_flattened().try_into().unwrap());
    let all = 0..1500;
    let stored: Vec<_> = all.clone().map(|n| KeyRecord { key_id: numbered(n), ..key(1) }).collect();
    for answer in stored.into_iter().map(|key| rig.store.insert_key(key)).collect::<Vec<_>>() {
        assert_eq!(answer.await, Ok(()));
    }
    for offered_ns in [7, 8] {
        let marked: Vec<_> = all.clone().map(|n| rig.store.mark_offered(numbered(n), offered_ns)).collect();
        for answer in marked {
            assert_eq!(answer.await, Ok(()));
        }
    }
    for n in all {
        let found = rig.store.key(numbered(n)).await;
        assert!(matches!(found, Ok(KeyLookup::Found(found)) if found.offered_ns == Some(7)), "{n}");
    }
}

#[tokio::test]
async fn nothing_is_written_or_read_before_a_failed_commit_is_settled() {
    let rig = rig();
    rig.store.insert_key(key(2)).await.unwrap();
    rig.failures.store(3, Ordering::SeqCst);
    assert_eq!(rig.store.insert_key(key(1)).await.unwrap_err().outcome(), Outcome::Unknown);
    assert!(matches!(rig.store.key(key_id(2)).await, Err(StoreError::Refused { .. })));
    assert_eq!(rig.store.insert_key(key(1)).await.unwrap_err().outcome(), Outcome::NotWritten);
    assert_eq!(rig.store.insert_key(key(1)).await, Ok(()));
    assert!(matches!(rig.store.key(key_id(2)).await, Ok(KeyLookup::Found(_))));
}

#[tokio::test]
async fn a_commit_that_never_began_is_refused_for_the_whole_round() {
    let rig = rig();
    let blocked = rig.block_writer();
    let bystander = rig.store.insert_key(key(1));
    // A foreign key that is checked at the commit, which then leaves the transaction open.
    let (job, orphan) = job(None, Reach::Any, StoreError::Closed, |database| {
        database.control("PRAGMA defer_foreign_keys = ON")?;
        database.control(
            "INSERT INTO channel_close
             VALUES (1, zeroblob(16), 1, zeroblob(32), 1, zeroblob(32), zeroblob(32), 0, zeroblob(65),
                 zeroblob(65), zeroblob(16))",
        )
    });
    rig.store.queue(job);
    drop(blocked);
    assert!(matches!(bystander.await, Err(StoreError::Refused { .. })));
    assert!(matches!(orphan.await, Err(StoreError::Refused { .. })));
    rig.assert_forgotten(key_id(1)).await;
    assert_eq!(rig.store.insert_key(key(1)).await, Ok(()));
}

#[tokio::test]
async fn a_transaction_that_the_database_gave_up_is_refused_for_the_whole_round() {
    let rig = rig();
    let blocked = rig.block_writer();
    let before = rig.store.insert_key(key(1));
    let (job, given_up) = job(None, Reach::Any, StoreError::Closed, |database| {
        database.control("ROLLBACK")?;
        Err::<(), _>(refused("disk full"))
    });
    rig.store.queue(job);
    let after = rig.store.insert_key(key(2));
    drop(blocked);
    for answer in [before, given_up, after] {
        assert!(matches!(answer.await, Err(StoreError::Refused { .. })));
    }
    rig.assert_forgotten(key_id(1)).await;
    assert_eq!(rig.store.insert_key(key(1)).await, Ok(()));
}

#[test]
fn migrations_are_applied_in_order_all_or_none() {
    let first = "CREATE TABLE store (id INTEGER PRIMARY KEY, verifier, verifier_hash)";
    let second = "ALTER TABLE store ADD COLUMN colour TEXT DEFAULT 'red'";
    let version = |connection: &Connection| -> u32 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database_error).unwrap()
    };
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection, 0, &[first], &vault()).unwrap();
    assert_eq!(version(&connection), 1);
    schema::migrate(&mut connection, 1, &[first, second, "nonsense"], &vault()).unwrap_err();
    assert_eq!(version(&connection), 1);
    schema::migrate(&mut connection, 1, &[first, second], &vault()).unwrap();
    assert_eq!(version(&connection), 2);
    let colour: String = connection.query_row("SELECT colour FROM store", [], |row| row.get(0)).unwrap();
    assert_eq!(colour, "red");
}
