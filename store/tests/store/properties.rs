//! Whatever is asked in whatever order, the store in a file answers what the store in memory answers, over
//! restarts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xbr_core::channel::ChannelState;
use xbr_store::{MemoryStore, Store, StoreError, StoreFuture};

use crate::support::{
    DEPOSIT, channel, channel_id, close, close_evidence, contents, key, key_id, open, own_close, sale,
    sell_evidence, shown, state,
};

#[derive(Debug, Clone)]
enum Step {
    Attach(u8),
    Sale { n: u8, gap: u32, fall: u128, stale: bool, broken: bool },
    Close { n: u8, gap: u32, fall: u128, stale: bool, is_final: bool },
    OwnClose { n: u8, stale: bool, block: u64 },
    Compare { n: u8, seq: u32, fall: u128, stale: bool },
    Evidence(u8),
    InsertKey(u8),
    Offer(u8, u64),
    Retire(u8),
    LookUp(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..3u8;
    let key = 0..6u8;
    prop_oneof![
        3 => n.clone().prop_map(Step::Attach),
        8 => (n.clone(), 0..4u32, 0..50u128, prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(n, gap, fall, stale, broken)| Step::Sale { n, gap, fall, stale, broken }),
        2 => (n.clone(), 0..3u32, 0..50u128, prop::bool::weighted(0.1), prop::bool::weighted(0.3))
            .prop_map(|(n, gap, fall, stale, is_final)| Step::Close { n, gap, fall, stale, is_final }),
        1 => (n.clone(), prop::bool::weighted(0.1), 0..2u64)
            .prop_map(|(n, stale, block)| Step::OwnClose { n, stale, block }),
        2 => (n.clone(), 0..40u32, 0..200u128, prop::bool::weighted(0.1))
            .prop_map(|(n, seq, fall, stale)| Step::Compare { n, seq, fall, stale }),
        1 => n.prop_map(Step::Evidence),
        3 => key.clone().prop_map(Step::InsertKey),
        2 => (key.clone(), any::<u64>()).prop_map(|(key, at)| Step::Offer(key, at)),
        1 => key.clone().prop_map(Step::Retire),
        3 => key.prop_map(Step::LookUp),
        1 => Just(Step::Reopen),
    ]
}

/// Where the channels stand, so that most records fit.
struct Course(BTreeMap<u8, ChannelState>);

impl Course {
    fn around(&self, n: u8, gap: u32, fall: u128, stale: bool) -> (ChannelState, ChannelState) {
        let here = self.0.get(&n).copied().unwrap_or(state(1, DEPOSIT));
        let balance: u128 = here.balance.units().parse().unwrap();
        let after = state(here.seq.value() + gap, balance - fall);
        let before = if stale { state(here.seq.value() + 1, balance) } else { here };
        (before, after)
    }
}

type Call = Box<dyn Fn(&dyn Store) -> StoreFuture<()>>;

/// A write of a step, ready to be called on any store, and where it moves a channel; `None` for a step that
/// is none.
fn write(step: &Step, course: &Course) -> Option<(Call, Option<(u8, ChannelState)>)> {
    let mut moved = None;
    let call: Call = match step.clone() {
        Step::Attach(n) => Box::new(move |store| store.attach_channel(channel(n))),
        Step::Sale { n, gap, fall, stale, broken } => {
            let (before, after) = course.around(n, gap, fall, stale);
            moved = Some((n, after));
            let mut record = sale(n, before, after);
            if broken {
                record.sealed_key.clear();
            }
            Box::new(move |store| store.commit_sale(record.clone()))
        }
        Step::Close { n, gap, fall, stale, is_final } => {
            let (before, after) = course.around(n, gap, fall, stale);
            moved = Some((n, after));
            let record = close(n, before, after, is_final);
            Box::new(move |store| store.commit_close(record.clone()))
        }
        Step::OwnClose { n, stale, block } => {
            let (before, _) = course.around(n, 0, 0, stale);
            Box::new(move |store| store.commit_own_close(own_close(n, before, block)))
        }
        Step::Compare { n, seq, fall, stale } => {
            let (before, _) = course.around(n, 0, 0, stale);
            let theirs = state(seq, DEPOSIT - fall);
            Box::new(move |store| store.note_comparison(channel_id(n), before, theirs))
        }
        Step::Evidence(0) => Box::new(|store| store.keep_evidence(close_evidence(0, true))),
        Step::Evidence(n) => Box::new(move |store| store.keep_evidence(sell_evidence(n))),
        Step::InsertKey(n) => Box::new(move |store| store.insert_key(key(n))),
        Step::Offer(n, at) => Box::new(move |store| store.mark_offered(key_id(n), at)),
        Step::Retire(n) => Box::new(move |store| store.retire_key(key_id(n))),
        Step::LookUp(_) | Step::Reopen => return None,
    };
    Some((call, moved))
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let mut sqlite = open(&path);
    let memory = MemoryStore::new();
    let mut course = Course(BTreeMap::new());
    let mut writes: Vec<(Result<(), StoreError>, StoreFuture<()>)> = Vec::new();
    for step in steps {
        if let Some((call, moved)) = write(&step, &course) {
            let expected = call(&memory).await;
            if let (Ok(()), Some((n, after))) = (&expected, moved) {
                course.0.insert(n, after);
            }
            writes.push((expected, call(&sqlite)));
        } else if let Step::LookUp(n) = step {
            let seq = course.0.get(&n).map_or(state(1, 0).seq, |state| state.seq);
            // Called while writes are under way. Awaited at once: a look-up may see what is called after it.
            let found = sqlite.key(key_id(n)).await.unwrap();
            assert_eq!(shown(&found), shown(&memory.key(key_id(n)).await.unwrap()));
            assert_eq!(sqlite.sale(channel_id(n), seq).await, memory.sale(channel_id(n), seq).await);
        } else {
            sqlite.close().await.unwrap();
            assert_eq!(sqlite.flush().await, Err(StoreError::Closed));
            sqlite = open(&path);
        }
    }
    for (expected, actual) in writes {
        assert_eq!(actual.await, expected);
    }
    assert_eq!(contents(&sqlite).await, contents(&memory).await);
    sqlite.close().await.unwrap();
    assert_eq!(contents(&open(&path)).await, contents(&memory).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_the_same(steps in prop::collection::vec(step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
