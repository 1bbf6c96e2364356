//! Which sales share a commit, and what they wait for.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::*;
use crate::support::pause_time;

type BoxedAnswer = LocalBoxFuture<'static, SaleAnswer>;

/// Sales number 1 to `count`, whose gates are closed.
fn gated(ledger: &Addr<ChannelLedger>, count: u32) -> (Vec<Option<oneshot::Sender<()>>>, Vec<BoxedAnswer>) {
    (1..=count)
        .map(|n| {
            let (gate, answer) = commit_gated(ledger, &nth(n));
            (Some(gate), answer.boxed_local())
        })
        .unzip()
}

/// Opens these gates, counted from 0, one after the other.
async fn open(gates: &mut [Option<oneshot::Sender<()>>], numbers: std::ops::Range<usize>) {
    for gate in &mut gates[numbers] {
        gate.take().unwrap().send(()).unwrap();
        settle().await;
    }
}

#[actix_rt::test]
async fn a_part_of_the_sales_under_way_is_stored_together_while_the_others_are_prepared() {
    pause_time();
    // With so many workers, how many are stored each time when six are under way.
    for (workers, groups) in [(1, &[3, 2, 1][..]), (2, &[2, 2, 1, 1]), (6, &[1, 1, 1, 1, 1, 1])] {
        let store = MemoryStore::new();
        let ledger =
            ChannelLedger::new(LedgerOptions { workers, ..options(&store, Reconcile::Surplus) }).start();
        attach(&ledger, state(1, 1000)).await;
        let began = tokio::time::Instant::now();
        let (mut gates, answers) = gated(&ledger, 6);
        let mut stored = 0;
        for group in groups {
            open(&mut gates, stored..stored + group - 1).await;
            assert_eq!(written(&store).len(), stored, "{workers}: too many are being prepared");
            stored += group;
            open(&mut gates, stored - 1..stored).await;
            assert_eq!(written(&store).len(), stored, "{workers}");
        }
        assert!(join_all(answers).await.into_iter().all(|answer| answer.is_ok()));
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing was waited for");
    }
}

#[actix_rt::test]
async fn a_group_is_stored_when_the_store_has_answered_the_one_before_it() {
    pause_time();
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    store.hold();
    let (mut gates, mut answers) = gated(&ledger, 4);
    open(&mut gates, 0..3).await;
    store.release();
    assert_eq!(written(&store), ["sale 2", "sale 3"], "the third waits for them");
    settle().await;
    assert_eq!(written(&store), ["sale 2", "sale 3", "sale 4"]);
    drop(gates);
    assert!(answers.pop().unwrap().await.is_err(), "it was never prepared");
    assert!(join_all(answers).await.into_iter().all(|answer| answer.is_ok()));
}

#[actix_rt::test]
async fn a_group_waits_for_more_as_long_as_more_comes_and_not_for_long() {
    pause_time();
    let ms = Duration::from_millis;
    // How long after the one before each sale is decided, and when the group is stored.
    let half = Duration::from_micros(1500);
    for (sales, pause, stored) in [(1, ms(1), ms(2)), (3, half, ms(6)), (20, ms(1), ms(10))] {
        let store = MemoryStore::new();
        let ledger = ledger(&store).await;
        // So many that those that are decided are never half of them.
        let (mut gates, _answers) = gated(&ledger, 28);
        let began = tokio::time::Instant::now();
        let mut opened = 0;
        while written(&store).is_empty() {
            assert!(began.elapsed() < ms(20), "it was never stored");
            if opened < sales && began.elapsed() >= pause * u32::try_from(opened).unwrap() {
                open(&mut gates, opened..opened + 1).await;
                opened += 1;
            }
            tokio::time::advance(half / 3).await;
            settle().await;
        }
        let took = began.elapsed();
        // Each timer may come a millisecond late.
        assert!(took >= stored && took <= stored * 3 / 2, "{sales} sales: {took:?}");
    }
}

#[actix_rt::test]
async fn a_decided_sale_that_waits_is_stored_before_whatever_else_becomes_of_its_channel() {
    pause_time();
    let at_its_end = close(nth(1).state(), true);
    let behind_it = sale(KEY, state(3, 1000), PRICE);
    type Next<'a> = &'a dyn Fn(&Addr<ChannelLedger>) -> LocalBoxFuture<'static, ()>;
    let next: [(Next<'_>, &[&str]); 3] = [
        (
            &|ledger| commit_close(ledger, &at_its_end).map(|answer| assert!(answer.is_ok())).boxed_local(),
            &["sale 2", "close 2"],
        ),
        (&|ledger| commit(ledger, &nth(1)).map(|answer| assert!(answer.is_ok())).boxed_local(), &["sale 2"]),
        (
            &|ledger| commit(ledger, &behind_it).map(|answer| assert!(answer.is_err())).boxed_local(),
            &["sale 2", "alarm"],
        ),
    ];
    for (next, expected) in next {
        let store = MemoryStore::new();
        let ledger = ledger(&store).await;
        let began = tokio::time::Instant::now();
        let first = commit(&ledger, &nth(1));
        let next = next(&ledger);
        let (_gate, _waits) = commit_gated(&ledger, &nth(2));
        assert!(first.await.is_ok());
        next.await;
        settle().await;
        assert_eq!(written(&store), expected);
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing was waited for");
    }
}
