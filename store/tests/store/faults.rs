//! The store in memory fails and waits as a test tells it.

use std::time::Duration;

use xbr_store::{Fault, KeyLookup, MemoryStore, Operation, Outcome, Read, Store, StoreError, Write};

use crate::support::{channel, channel_id, key, key_id, nth_sale};

async fn is_there(store: &MemoryStore, n: u8) -> bool {
    matches!(store.key(key_id(n)).await, Ok(KeyLookup::Found(_)))
}

#[tokio::test]
async fn each_fault_answers_and_writes_as_its_name_says() {
    let store = MemoryStore::new();
    for (n, fault, outcome, written) in [
        (1, Fault::Refused, Outcome::NotWritten, false),
        (2, Fault::UnknownButWritten, Outcome::Unknown, true),
        (3, Fault::UnknownAndLost, Outcome::Unknown, false),
    ] {
        store.fail_next(fault);
        assert_eq!(store.insert_key(key(n)).await.unwrap_err().outcome(), outcome, "{fault:?}");
        assert_eq!(is_there(&store, n).await, written, "{fault:?}");
    }
    assert_eq!(store.insert_key(key(4)).await, Ok(()), "each fault strikes once");
}

#[tokio::test]
async fn faults_strike_the_nth_write_or_the_first_of_a_kind() {
    let store = MemoryStore::new();
    store.fail_nth(3, Fault::Refused);
    store.fail_when(
        Fault::UnknownAndLost,
        |write| matches!(write, Write::CommitSale(sale) if sale.sales_tag() == 3),
    );
    store.attach_channel(channel(1)).await.unwrap();
    store.insert_key(key(1)).await.unwrap();
    assert!(matches!(store.insert_key(key(2)).await, Err(StoreError::Refused { .. })));
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    let lost = store.commit_sale(nth_sale(1, 2));
    let behind = store.commit_sale(nth_sale(1, 3));
    assert_eq!(lost.await.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(behind.await, Err(StoreError::Conflict));
}

trait Tag {
    fn sales_tag(&self) -> u32;
}

impl Tag for xbr_core::channel::SaleRecord {
    fn sales_tag(&self) -> u32 {
        self.state.seq.value()
    }
}

#[tokio::test]
async fn what_is_held_is_not_answered_until_released() {
    let store = MemoryStore::new();
    store.attach_channel(channel(1)).await.unwrap();
    store.insert_key(key(1)).await.unwrap();
    store.hold();
    let selling = tokio::spawn(store.commit_sale(nth_sale(1, 1)));
    store.until_held(1).await;
    assert!(is_there(&store, 1).await, "a look-up of something else goes on");
    let concerned = tokio::spawn(store.sale(channel_id(1), nth_sale(1, 1).state.seq));
    let all = tokio::spawn(store.channels());
    tokio::task::yield_now().await;
    assert!(!selling.is_finished() && !concerned.is_finished() && !all.is_finished());
    assert_eq!(store.held().len(), 3);
    store.release();
    assert_eq!(selling.await.unwrap(), Ok(()));
    assert_eq!(concerned.await.unwrap(), Ok(Some(nth_sale(1, 1))));
    assert_eq!(all.await.unwrap().unwrap()[0].sales, 1);
}

#[tokio::test]
async fn what_is_lost_was_never_written() {
    let store = MemoryStore::new();
    store.hold();
    let write = store.insert_key(key(1));
    let read = store.key(key_id(1));
    store.lose_held();
    assert_eq!(write.await.unwrap_err().outcome(), Outcome::Unknown);
    assert!(matches!(read.await, Err(StoreError::Closed)));
    assert!(!is_there(&store, 1).await);
}

#[tokio::test]
async fn the_journal_tells_what_was_asked_and_answered() {
    let store = MemoryStore::new();
    store.insert_key(key(1)).await.unwrap();
    store.clone().insert_key(key(1)).await.unwrap_err();
    store.flush().await.unwrap();
    let journal = store.journal();
    assert_eq!(journal.len(), 3);
    assert!(
        matches!(journal[0].operation, Operation::Write(Write::InsertKey(_))) && journal[0].result.is_ok()
    );
    assert!(matches!(journal[1].result, Err(StoreError::Refused { .. })));
    assert!(matches!(journal[2].operation, Operation::Read(Read::Flush)));
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_run_ahead_of_the_store() {
    let store = MemoryStore::new();
    for n in 0..16 {
        let timeout = tokio::time::timeout(Duration::from_nanos(1), store.insert_key(key(n)));
        assert_eq!(timeout.await, Ok(Ok(())));
    }
}
