//! The crash contract's visible part: the same tests for each store.

use std::num::NonZeroU64;

use xbr_core::channel::{Channel, Reconciliation};
use xbr_core::{Amount, ApiId, ChannelSeq};
use xbr_store::{KeyFilter, KeyLookup, KeyRecord, MemoryStore, Outcome, Store, StoreError};

use crate::support::{
    DEPOSIT, channel, channel_id, close, close_evidence, key, key_id, nth_sale, open, own_close, sale,
    sell_evidence, shown, state, units,
};

macro_rules! for_each_store {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::MemoryStore::new()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let store = super::open(&dir.path().join("seller.db"));
                super::$name(&store).await;
                store.close().await.unwrap();
            })*
        }
    };
}

for_each_store!(
    a_channel_comes_back_as_it_was,
    attaching_again_changes_nothing,
    a_sale_and_the_state_after_it_come_together,
    a_sale_on_another_state_leaves_nothing,
    a_failed_sale_fails_the_pipeline_behind_it,
    writes_take_effect_in_call_order_unpolled,
    a_final_close_ends_a_channel,
    a_close_that_is_not_final_may_come_again,
    an_own_close_ends_a_channel_and_only_the_same_end_is_signed_again,
    a_comparison_counts_until_the_channel_moves_on,
    contradictory_records_are_refused,
    evidence_keeps_its_order,
    keys_come_back_as_they_were,
    a_key_is_offered_once,
    a_retired_key_is_erased_but_remembered,
    keys_are_listed_oldest_first_by_what_is_asked,
    flush_waits_for_what_was_called,
);

fn is_refused(result: Result<(), StoreError>) -> bool {
    matches!(&result, Err(error @ StoreError::Refused { .. }) if error.outcome() == Outcome::NotWritten)
}

async fn only_channel(store: &dyn Store) -> Channel {
    let channels = store.channels().await.unwrap();
    assert_eq!(channels.len(), 1);
    channels[0].clone()
}

async fn a_channel_comes_back_as_it_was(store: &dyn Store) {
    let mut sold = channel(2);
    sold.apply_sale(&nth_sale(2, 1));
    let mut closed = channel(1);
    closed.apply_close(&close(1, closed.state, state(9, 7), true));
    for channel in [&sold, &closed] {
        store.attach_channel(channel.clone()).await.unwrap();
    }
    assert_eq!(store.channels().await.unwrap(), [closed, sold]);
}

async fn attaching_again_changes_nothing(store: &dyn Store) {
    store.attach_channel(channel(1)).await.unwrap();
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    let before = only_channel(store).await;
    store.attach_channel(channel(1)).await.unwrap();
    assert_eq!(only_channel(store).await, before);
}

async fn a_sale_and_the_state_after_it_come_together(store: &dyn Store) {
    let mut expected = channel(1);
    store.attach_channel(channel(1)).await.unwrap();
    for i in 1..=3 {
        let record = nth_sale(1, i);
        store.commit_sale(record.clone()).await.unwrap();
        expected.apply_sale(&record);
        assert_eq!(only_channel(store).await, expected);
        assert_eq!(store.sale(channel_id(1), record.state.seq).await.unwrap(), Some(record));
    }
    assert_eq!(expected.sales, 3);
    assert_eq!(store.sale(channel_id(1), ChannelSeq::new(1)).await.unwrap(), None);
    assert_eq!(store.sale(channel_id(2), ChannelSeq::new(2)).await.unwrap(), None);
}

async fn a_sale_on_another_state_leaves_nothing(store: &dyn Store) {
    assert_eq!(store.commit_sale(nth_sale(1, 1)).await, Err(StoreError::Conflict), "no such channel");
    store.attach_channel(channel(1)).await.unwrap();
    let elsewhere = [state(2, DEPOSIT), state(1, DEPOSIT - 1), state(0, DEPOSIT + 1)];
    for before in elsewhere {
        let record = sale(1, before, state(5, 100));
        assert_eq!(store.commit_sale(record).await, Err(StoreError::Conflict), "{before:?}");
        let record = close(1, before, state(5, 100), true);
        assert_eq!(store.commit_close(record).await, Err(StoreError::Conflict), "{before:?}");
    }
    assert_eq!(only_channel(store).await, channel(1));
    assert_eq!(store.sale(channel_id(1), ChannelSeq::new(5)).await.unwrap(), None);
}

async fn a_failed_sale_fails_the_pipeline_behind_it(store: &dyn Store) {
    store.attach_channel(channel(1)).await.unwrap();
    let mut broken = nth_sale(1, 2);
    broken.surplus = units(0);
    let first = store.commit_sale(nth_sale(1, 1));
    let second = store.commit_sale(broken);
    let third = store.commit_sale(nth_sale(1, 3));
    assert_eq!(first.await, Ok(()));
    assert!(is_refused(second.await));
    assert_eq!(third.await, Err(StoreError::Conflict));
    assert_eq!(only_channel(store).await.state, nth_sale(1, 1).state);
}

async fn writes_take_effect_in_call_order_unpolled(store: &dyn Store) {
    drop(store.attach_channel(channel(1)));
    for i in 1..=200 {
        drop(store.commit_sale(nth_sale(1, i)));
    }
    let seq = nth_sale(1, 200).state.seq;
    // A look-up that was called after the write sees it, and so does a list.
    let found = store.sale(channel_id(1), seq);
    let channels = store.channels();
    assert_eq!(found.await.unwrap(), Some(nth_sale(1, 200)));
    assert_eq!(channels.await.unwrap()[0].sales, 200);
}

async fn a_final_close_ends_a_channel(store: &dyn Store) {
    store.attach_channel(channel(1)).await.unwrap();
    let start = state(1, DEPOSIT);
    let record = close(1, start, start, true);
    store.commit_close(record.clone()).await.unwrap();
    // The state is the same as before, so only the close tells that it is over.
    assert_eq!(store.commit_sale(nth_sale(1, 1)).await, Err(StoreError::Conflict));
    assert_eq!(store.commit_close(record.clone()).await, Err(StoreError::Conflict));
    let channel = only_channel(store).await;
    assert_eq!((channel.state, channel.closed), (start, Some(record)));
}

async fn a_close_that_is_not_final_may_come_again(store: &dyn Store) {
    store.attach_channel(channel(1)).await.unwrap();
    let ahead = state(4, DEPOSIT - 30);
    store.commit_close(close(1, state(1, DEPOSIT), ahead, false)).await.unwrap();
    store.commit_close(close(1, ahead, ahead, false)).await.unwrap();
    let channel = only_channel(store).await;
    assert_eq!((channel.state, channel.surplus, channel.closed), (ahead, units(30), None));
    store.commit_sale(sale(1, ahead, state(5, DEPOSIT - 40))).await.unwrap();
    store.commit_close(close(1, state(5, DEPOSIT - 40), state(5, DEPOSIT - 40), true)).await.unwrap();
}

async fn an_own_close_ends_a_channel_and_only_the_same_end_is_signed_again(store: &dyn Store) {
    let start = state(1, DEPOSIT);
    let (first, later) = (own_close(1, start, 7), own_close(1, start, 9));
    assert_eq!(store.commit_own_close(first).await, Err(StoreError::Conflict), "no such channel");
    store.attach_channel(channel(1)).await.unwrap();
    let elsewhere = own_close(1, state(2, DEPOSIT), 7);
    assert_eq!(store.commit_own_close(elsewhere).await, Err(StoreError::Conflict));
    store.commit_own_close(first).await.unwrap();
    assert_eq!(store.commit_sale(nth_sale(1, 1)).await, Err(StoreError::Conflict));
    assert_eq!(store.commit_close(close(1, start, start, false)).await, Err(StoreError::Conflict));
    assert_eq!(store.commit_close(close(1, start, state(2, 5), true)).await, Err(StoreError::Conflict));
    assert_eq!(only_channel(store).await.own_close, Some(first));
    store.commit_own_close(later).await.unwrap();
    let asked_for = close(1, start, start, true);
    store.commit_close(asked_for.clone()).await.unwrap();
    store.commit_own_close(first).await.unwrap();
    let channel = only_channel(store).await;
    assert_eq!((channel.own_close, channel.closed), (Some(first), Some(asked_for)));
}

async fn a_comparison_counts_until_the_channel_moves_on(store: &dyn Store) {
    let (start, theirs) = (state(1, DEPOSIT), state(0, DEPOSIT + 1));
    assert_eq!(store.note_comparison(channel_id(1), start, theirs).await, Err(StoreError::Conflict));
    store.attach_channel(channel(1)).await.unwrap();
    assert_eq!(store.note_comparison(channel_id(1), theirs, theirs).await, Err(StoreError::Conflict));
    store.note_comparison(channel_id(1), start, theirs).await.unwrap();
    let behind = Reconciliation::Behind { ours: start, theirs };
    assert_eq!(only_channel(store).await.reconciliation, behind);
    store.note_comparison(channel_id(1), start, state(3, DEPOSIT - 8)).await.unwrap();
    let ahead = Reconciliation::Ahead { gap: 2, unconfirmed: units(8) };
    assert_eq!(only_channel(store).await.reconciliation, ahead);
    store.commit_sale(nth_sale(1, 1)).await.unwrap();
    assert_eq!(only_channel(store).await.reconciliation, Reconciliation::Equal);
}

async fn contradictory_records_are_refused(store: &dyn Store) {
    let mut unsound = channel(1);
    unsound.earned = units(1);
    assert!(is_refused(store.attach_channel(unsound).await));
    let mut overflowing = channel(1);
    (overflowing.earned, overflowing.adopted.balance) = (Amount::MAX, Amount::MAX);
    assert!(is_refused(store.attach_channel(overflowing).await));
    let mut busy = channel(1);
    busy.sales = u64::MAX;
    assert!(is_refused(store.attach_channel(busy).await));
    assert!(store.channels().await.unwrap().is_empty());

    store.attach_channel(channel(1)).await.unwrap();
    let start = state(1, DEPOSIT);
    let mut short = nth_sale(1, 1);
    short.sealed_key.pop();
    let mut free = nth_sale(1, 1);
    free.amount = units(0);
    for record in [short, free, sale(1, start, state(1, DEPOSIT - 2))] {
        assert!(is_refused(store.commit_sale(record).await));
    }
    assert!(is_refused(store.commit_close(close(1, start, state(0, DEPOSIT), true)).await));
    assert_eq!(only_channel(store).await, channel(1));

    let mut late = key(1);
    late.expires_ns = Some(u64::MAX);
    assert!(is_refused(store.insert_key(late).await));
    assert!(matches!(store.key(key_id(1)).await, Ok(KeyLookup::Unknown)));
}

async fn evidence_keeps_its_order(store: &dyn Store) {
    let all = [sell_evidence(2), close_evidence(1, true), sell_evidence(0), close_evidence(1, false)];
    for evidence in &all {
        store.keep_evidence(evidence.clone()).await.unwrap();
    }
    assert_eq!(store.evidence().await.unwrap(), all);
}

async fn keys_come_back_as_they_were(store: &dyn Store) {
    assert!(matches!(store.key(key_id(1)).await, Ok(KeyLookup::Unknown)));
    for n in [1, 2] {
        store.insert_key(key(n)).await.unwrap();
    }
    for n in [1, 2] {
        let found = store.key(key_id(n)).await.unwrap();
        assert_eq!(shown(&found), shown(&KeyLookup::Found(key(n))));
    }
    assert!(is_refused(store.insert_key(key(1)).await), "an id serves once");
}

async fn a_key_is_offered_once(store: &dyn Store) {
    assert!(is_refused(store.mark_offered(key_id(1), 5).await));
    store.insert_key(key(1)).await.unwrap();
    drop(store.mark_offered(key_id(1), 5));
    store.mark_offered(key_id(1), 9).await.unwrap();
    let KeyLookup::Found(record) = store.key(key_id(1)).await.unwrap() else { panic!("the key is there") };
    assert_eq!(record.offered_ns, Some(5));
    assert!(is_refused(store.mark_offered(key_id(1), u64::MAX).await));
}

async fn a_retired_key_is_erased_but_remembered(store: &dyn Store) {
    assert!(is_refused(store.retire_key(key_id(1)).await));
    store.insert_key(key(1)).await.unwrap();
    drop(store.retire_key(key_id(1)));
    assert!(matches!(store.key(key_id(1)).await, Ok(KeyLookup::Retired)), "the look-up was called later");
    store.retire_key(key_id(1)).await.unwrap();
    store.mark_offered(key_id(1), 5).await.unwrap();
    assert!(is_refused(store.insert_key(key(1)).await), "an id never comes back");
    assert!(matches!(store.key(key_id(1)).await, Ok(KeyLookup::Retired)));
}

async fn keys_are_listed_oldest_first_by_what_is_asked(store: &dyn Store) {
    let api_id = key(0).api_id;
    // Made one after the other from 10; the odd ones expire at 100, the others never.
    for n in 0..6u8 {
        let expires_ns = (!n.is_multiple_of(2)).then_some(100);
        let record = KeyRecord { created_ns: 10 + u64::from(n), expires_ns, ..key(n) };
        store.insert_key(record).await.unwrap();
    }
    store.insert_key(KeyRecord { api_id: ApiId::new([1; 16]), ..key(7) }).await.unwrap();
    store.mark_offered(key_id(0), 50).await.unwrap();
    store.retire_key(key_id(2)).await.unwrap();
    let keep = NonZeroU64::new;
    let unoffered = |now_ns| KeyFilter::Unoffered { now_ns };
    let old = |now_ns, made_before_ns, keep| KeyFilter::Old { now_ns, made_before_ns, keep };
    for (filter, limit, expected) in [
        (unoffered(99), 9, &[1, 3, 4, 5][..]),
        (unoffered(100), 9, &[4]),
        (unoffered(99), 2, &[1, 3]),
        (old(100, 15, None), 9, &[0, 1, 3, 4]),
        (old(99, 15, None), 9, &[0, 4]),
        (old(100, 0, keep(3)), 9, &[0, 1]),
        (old(100, 0, keep(5)), 9, &[]),
        (old(100, 0, keep(u64::MAX)), 9, &[]),
        (old(100, 12, keep(4)), 9, &[0, 1]),
        (old(100, 0, None), 9, &[]),
    ] {
        let keys = store.keys(api_id, filter, limit).await.unwrap();
        let ids: Vec<_> = keys.iter().map(|key| key.key_id).collect();
        let expected: Vec<_> = expected.iter().map(|n| key_id(*n)).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    let [first, ..] = &store.keys(api_id, old(100, 15, None), 1).await.unwrap()[..] else { panic!("no key") };
    assert_eq!((first.created_ns, first.offered_ns, first.price), (10, Some(50), key(0).price));
}

async fn flush_waits_for_what_was_called(store: &dyn Store) {
    let write = store.insert_key(key(1));
    store.flush().await.unwrap();
    assert_eq!(write.await, Ok(()));
    store.insert_key(key(2)).await.unwrap();
}
