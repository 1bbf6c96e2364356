//! The ledger actor alone: order, durability, replay, and what happens when the store fails or contradictions come.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

#[path = "channel_ledger/groups.rs"]
mod groups;
mod support;

use std::sync::Arc;

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::join_all;
use support::{
    API, CHANNEL, StoppedClock, buyer, close, guarded, guarded_close, sale, sale_on, seller_key, state,
    terms_of,
};
use tokio::sync::oneshot;
use tracing::Span;
use xbr_actors::ledger::{
    Attach, CommitClose, CommitSale, LedgerOptions, Load, Observe, PreparedClose, PreparedSale,
};
use xbr_actors::{Alarm, ChannelLedger, ChannelStatus, Observers};
use xbr_core::channel::{Channel, ChannelState, Reconcile, Reconciliation};
use xbr_core::reject::{ArgumentError, CloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_core::{Amount, ChannelId, ChannelSeq, DataKey, Eip712, KeyId, Signer};
use xbr_store::{Fault, JournalEntry, MemoryStore, Operation, Store, Write};

const KEY: KeyId = KeyId::new([0x5e; 16]);
const PRICE: u64 = 35;

type SaleAnswer = Result<SellReceipt, SaleReject>;

fn options(store: &MemoryStore, reconcile: Reconcile) -> LedgerOptions {
    LedgerOptions {
        store: Arc::new(store.clone()),
        clock: Arc::new(StoppedClock),
        delegate: seller_key().address(),
        reconcile,
        low_balance: Amount::from_xbr(100),
        observers: Observers::default(),
        workers: 1,
    }
}

fn ledger_with(store: &MemoryStore, reconcile: Reconcile) -> Addr<ChannelLedger> {
    ChannelLedger::new(options(store, reconcile)).start()
}

/// A ledger that knows the channel, at seq 1 with 1000 XBR.
async fn ledger(store: &MemoryStore) -> Addr<ChannelLedger> {
    let ledger = ledger_with(store, Reconcile::Surplus);
    ledger.send(Load).await.unwrap().unwrap();
    attach(&ledger, state(1, 1000)).await;
    ledger
}

async fn attach(ledger: &Addr<ChannelLedger>, theirs: ChannelState) -> Reconciliation {
    ledger.send(Attach { terms: terms_of(CHANNEL), theirs, compare: true }).await.unwrap().unwrap()
}

/// What the workers would make of a request.
fn prepared(request: &SellRequest) -> PreparedSale {
    let message = terms_of(request.channel_id).state(request.channel_seq, request.balance, false);
    let signer = message.recover(&request.signature);
    PreparedSale {
        api_id: Some(API),
        price: Amount::from_xbr(PRICE),
        signed: signer.is_ok_and(|signer| signer == request.market_maker),
        sealed_key: DataKey::from_bytes([7; 32]).seal_to(&buyer().1).unwrap().to_vec(),
        signature: message.sign(&*seller_key()).unwrap(),
        span: Span::none(),
    }
}

fn commit(ledger: &Addr<ChannelLedger>, request: &SellRequest) -> impl Future<Output = SaleAnswer> + use<> {
    let preparing = std::future::ready(Ok(prepared(request))).boxed();
    let answer = ledger.send(CommitSale { request: request.clone(), preparing });
    let channel_id = request.channel_id;
    async move { guarded(channel_id, answer.await.unwrap().map(|sold| sold.receipt)) }
}

fn commit_close(
    ledger: &Addr<ChannelLedger>,
    request: &CloseRequest,
) -> impl Future<Output = Result<CloseReceipt, CloseReject>> + use<> {
    let message = terms_of(CHANNEL).state(request.channel_seq, request.balance, request.is_final);
    let prepared = PreparedClose {
        signed: message.recover(&request.signature).is_ok_and(|signer| signer == request.market_maker),
        signature: message.sign(&*seller_key()).unwrap(),
    };
    let preparing = std::future::ready(Ok(prepared)).boxed();
    let answer = ledger.send(CommitClose { request: request.clone(), preparing });
    async move { guarded_close(answer.await.unwrap()) }
}

/// A sale that is prepared when the gate opens.
fn commit_gated(
    ledger: &Addr<ChannelLedger>,
    request: &SellRequest,
) -> (oneshot::Sender<()>, impl Future<Output = SaleAnswer> + use<>) {
    let (gate, opened) = oneshot::channel();
    let prepared = prepared(request);
    let preparing = async { opened.await.map(|()| prepared).map_err(|_| SaleReject::NoSuchKey) }.boxed();
    let answer = ledger.send(CommitSale { request: request.clone(), preparing });
    let channel_id = request.channel_id;
    (gate, async move { guarded(channel_id, answer.await.unwrap().map(|sold| sold.receipt)) })
}

/// What was written about channels, in order.
fn written(store: &MemoryStore) -> Vec<String> {
    let told = |entry: JournalEntry| match entry.operation {
        Operation::Write(Write::CommitSale(record)) => Some(format!("sale {}", record.state.seq.value())),
        Operation::Write(Write::CommitClose(record)) => Some(format!("close {}", record.state.seq.value())),
        Operation::Write(Write::NoteComparison { .. }) => Some("alarm".to_owned()),
        _ => None,
    };
    store.journal().into_iter().filter_map(told).collect()
}

/// The n-th sale of a channel that began at seq 1 with 1000 XBR.
fn nth(n: u32) -> SellRequest {
    sale(KEY, state(1 + n, 1000 - u64::from(n) * PRICE), PRICE)
}

async fn status(ledger: &Addr<ChannelLedger>) -> ChannelStatus {
    ledger.send(Observe).await.unwrap().remove(0)
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn unavailable<T>(answer: &Result<T, SaleReject>) -> bool {
    matches!(answer, Err(SaleReject::Unavailable { .. }))
}

#[actix_rt::test]
async fn sales_are_judged_in_order_of_arrival_however_long_their_preparation_takes() {
    let ledger = ledger(&MemoryStore::new()).await;
    let requests: Vec<_> = (1..=3).map(nth).collect();
    let (gates, answers): (Vec<_>, Vec<_>) =
        requests.iter().map(|request| commit_gated(&ledger, request)).unzip();
    settle().await;
    for gate in gates.into_iter().rev() {
        gate.send(()).unwrap();
        settle().await;
    }
    for (answer, request) in join_all(answers).await.into_iter().zip(&requests) {
        assert_eq!(answer.unwrap().channel_seq, request.channel_seq);
    }
    assert_eq!(status(&ledger).await.channel.sales, 3);
}

#[actix_rt::test]
async fn a_sale_whose_preparation_fails_holds_nobody_up_and_changes_nothing() {
    let ledger = ledger(&MemoryStore::new()).await;
    let (gate, opened) = oneshot::channel::<()>();
    let preparing =
        async { opened.await.map_err(|_| SaleReject::NoSuchKey).and(Err(SaleReject::KeyRetired)) };
    let first = ledger.send(CommitSale { request: nth(1), preparing: preparing.boxed() });
    let second = commit(&ledger, &nth(1));
    gate.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Err(SaleReject::KeyRetired));
    assert!(second.await.is_ok());
    assert_eq!(status(&ledger).await.channel.sales, 1);
}

#[actix_rt::test]
async fn nothing_is_answered_before_it_is_durable() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    store.hold();
    let mut answer = std::pin::pin!(commit(&ledger, &nth(1)));
    settle().await;
    assert!(futures_util::poll!(&mut answer).is_pending());
    assert_eq!(status(&ledger).await.in_flight, Amount::from_xbr(PRICE));
    store.release();
    assert!(answer.await.is_ok());
    settle().await;
    assert_eq!(status(&ledger).await.in_flight, Amount::ZERO);
    assert!(store.sale(CHANNEL, ChannelSeq::new(2)).await.unwrap().is_some());
}

#[actix_rt::test]
async fn a_caller_that_goes_away_does_not_undo_a_sale() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    store.hold();
    let answer = commit(&ledger, &nth(1));
    settle().await;
    drop(answer);
    store.release();
    settle().await;
    assert_eq!(status(&ledger).await.channel.state, nth(1).state());
    assert!(commit(&ledger, &nth(1)).await.is_ok(), "the repeat gets the receipt");
    assert_eq!(status(&ledger).await.channel.sales, 1);
}

#[actix_rt::test]
async fn an_identical_repeat_gets_the_same_receipt_in_flight_later_and_after_a_restart() {
    let store = MemoryStore::new();
    let before = ledger(&store).await;
    store.hold();
    let (first, in_flight) = (commit(&before, &nth(1)), commit(&before, &nth(1)));
    settle().await;
    store.release();
    let (first, in_flight) = futures_util::join!(first, in_flight);
    let first = first.unwrap();
    // Sealing is random: equal sealed keys mean that it is the stored one.
    assert_eq!(in_flight.unwrap().to_value(), first.to_value());
    commit(&before, &nth(2)).await.unwrap();
    assert_eq!(commit(&before, &nth(1)).await.unwrap().to_value(), first.to_value());
    let restarted = ledger(&store).await;
    assert_eq!(commit(&restarted, &nth(1)).await.unwrap().to_value(), first.to_value());
    assert_eq!(status(&restarted).await.channel.sales, 2);
}

#[actix_rt::test]
async fn the_same_seq_with_anything_else_is_refused_and_kept_as_evidence() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    commit(&ledger, &nth(1)).await.unwrap();
    let contradictions = [
        sale(KeyId::new([9; 16]), state(2, 965), PRICE),
        sale(KEY, state(2, 964), PRICE),
        sale(KEY, state(2, 965), PRICE + 1),
    ];
    for contradiction in &contradictions {
        let answer = commit(&ledger, contradiction).await;
        assert!(matches!(answer, Err(SaleReject::UnexpectedSeq { expected: 3, .. })), "{answer:?}");
    }
    settle().await;
    assert_eq!(store.evidence().await.unwrap().len(), contradictions.len());
    let mut forged = nth(1);
    forged.signature = sale(KEY, state(7, 7), 1).signature;
    assert!(commit(&ledger, &forged).await.is_err(), "a repeat must be signed as well");
    settle().await;
    assert_eq!(
        store.evidence().await.unwrap().len(),
        contradictions.len(),
        "what is not signed proves nothing"
    );
}

#[actix_rt::test]
async fn gaps_and_surplus_are_taken_a_higher_balance_is_refused_with_evidence() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    commit(&ledger, &sale(KEY, state(5, 900), PRICE)).await.unwrap();
    let channel = status(&ledger).await.channel;
    assert_eq!((channel.earned, channel.surplus), (Amount::from_xbr(35), Amount::from_xbr(65)));
    let higher = commit(&ledger, &sale(KEY, state(6, 866), PRICE)).await;
    assert!(matches!(higher, Err(SaleReject::UnexpectedBalance { .. })), "{higher:?}");
    settle().await;
    assert_eq!(store.evidence().await.unwrap().len(), 1);
    assert_eq!(status(&ledger).await.channel, channel, "a refused sale changes nothing");
}

#[actix_rt::test]
async fn strict_reconciling_takes_what_the_reference_takes() {
    let store = MemoryStore::new();
    let ledger = ledger_with(&store, Reconcile::Strict);
    attach(&ledger, state(1, 1000)).await;
    assert!(matches!(
        commit(&ledger, &sale(KEY, state(3, 965), PRICE)).await,
        Err(SaleReject::UnexpectedSeq { expected: 2, .. })
    ));
    assert!(matches!(
        commit(&ledger, &sale(KEY, state(2, 900), PRICE)).await,
        Err(SaleReject::UnexpectedBalance { .. })
    ));
    assert!(commit(&ledger, &nth(1)).await.is_ok());
}

#[actix_rt::test]
async fn a_refused_write_fails_what_was_decided_upon_it_and_all_can_be_repeated() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    store.fail_when(Fault::Refused, |write| matches!(write, Write::CommitSale(_)));
    let answers = join_all((1..=3).map(|n| commit(&ledger, &nth(n)))).await;
    assert!(answers.iter().all(unavailable), "{answers:?}");
    settle().await;
    assert_eq!(status(&ledger).await.channel.state, state(1, 1000));
    let answers = join_all((1..=3).map(|n| commit(&ledger, &nth(n)))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(status(&ledger).await.channel.sales, 3);
}

#[actix_rt::test]
async fn an_unknown_outcome_is_looked_up_before_it_is_answered() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    store.fail_when(Fault::UnknownButWritten, |write| matches!(write, Write::CommitSale(_)));
    assert!(commit(&ledger, &nth(1)).await.is_ok(), "it was written");
    store.fail_when(Fault::UnknownAndLost, |write| matches!(write, Write::CommitSale(_)));
    let (lost, upon_it) = futures_util::join!(commit(&ledger, &nth(2)), commit(&ledger, &nth(3)));
    assert!(unavailable(&lost) && unavailable(&upon_it));
    settle().await;
    assert_eq!(status(&ledger).await.channel.state, nth(1).state());
    assert!(commit(&ledger, &nth(2)).await.is_ok());
}

#[actix_rt::test]
async fn a_final_close_ends_the_channel_and_is_answered_identically_ever_after() {
    let store = MemoryStore::new();
    let before = ledger(&store).await;
    let sold = commit(&before, &nth(1)).await.unwrap();
    let final_close = close(nth(1).state(), true);
    let receipt = commit_close(&before, &final_close).await.unwrap();
    assert_eq!(
        (receipt.seq, receipt.balance, receipt.is_final),
        (ChannelSeq::new(2), Amount::from_xbr(965), true)
    );
    let signer = terms_of(CHANNEL).state(receipt.seq, receipt.balance, true).recover(&receipt.signature);
    assert_eq!(signer, Ok(seller_key().address()));
    for ledger in [before, ledger(&store).await] {
        assert_eq!(commit(&ledger, &nth(2)).await, Err(SaleReject::ChannelClosed));
        assert_eq!(commit_close(&ledger, &final_close).await.unwrap(), receipt);
        let other = commit_close(&ledger, &close(state(3, 900), true)).await;
        assert_eq!(other, Err(CloseReject::ChannelClosed));
        assert_eq!(commit(&ledger, &nth(1)).await.unwrap(), sold, "a sale that was made keeps its receipt");
    }
}

#[actix_rt::test]
async fn closes_are_judged_in_order_with_sales() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    store.hold();
    let sold = commit(&ledger, &nth(1));
    let closed = close(nth(1).state(), true);
    let closed = commit_close(&ledger, &closed);
    let (sold, closed, ()) = futures_util::join!(sold, closed, async {
        settle().await;
        store.release();
    });
    assert!(sold.is_ok() && closed.is_ok(), "{sold:?} {closed:?}");
    assert!(matches!(
        commit_close(&ledger, &close(state(1, 1000), true)).await,
        Err(CloseReject::ChannelClosed)
    ));
}

#[actix_rt::test]
async fn a_close_that_is_not_durable_is_not_answered_and_can_be_repeated() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    for fault in [Fault::Refused, Fault::UnknownAndLost] {
        store.fail_when(fault, |write| matches!(write, Write::CommitClose(_)));
        let answer = commit_close(&ledger, &close(state(1, 1000), true)).await;
        assert!(matches!(answer, Err(CloseReject::Unavailable { .. })), "{answer:?}");
        settle().await;
        assert!(status(&ledger).await.channel.closed.is_none());
    }
    assert!(commit_close(&ledger, &close(state(1, 1000), true)).await.is_ok());
}

#[actix_rt::test]
async fn an_unknown_channel_is_refused_and_leaves_no_trace() {
    let ledger = ledger(&MemoryStore::new()).await;
    let other = sale_on(ChannelId::new([0xff; 16]), KEY, state(2, 965), PRICE);
    assert_eq!(commit(&ledger, &other).await, Err(SaleReject::UnexpectedChannel));
    let mut close = close(state(1, 1000), true);
    close.channel_id = other.channel_id;
    assert_eq!(commit_close(&ledger, &close).await, Err(CloseReject::UnexpectedChannel));
    assert_eq!(ledger.send(Observe).await.unwrap().len(), 1);
}

#[actix_rt::test]
async fn a_market_maker_that_goes_back_halts_the_channel_until_it_agrees_again() {
    let store = MemoryStore::new();
    let ledger = ledger(&store).await;
    commit(&ledger, &nth(1)).await.unwrap();
    assert!(matches!(attach(&ledger, state(2, 1000)).await, Reconciliation::Behind { .. }));
    assert_eq!(commit(&ledger, &nth(2)).await, Err(SaleReject::ChannelHalted));
    let ahead = attach(&ledger, state(4, 895)).await;
    assert_eq!(ahead, Reconciliation::Ahead { gap: 2, unconfirmed: Amount::from_xbr(70) });
    assert_eq!(status(&ledger).await.channel.state, nth(1).state(), "what is not signed is not booked");
    assert!(commit(&ledger, &sale(KEY, state(5, 860), PRICE)).await.is_ok());
}

#[actix_rt::test]
async fn a_ledger_from_a_backup_sells_when_the_figures_agree_and_remembers_it() {
    let store = MemoryStore::new();
    let channel = Channel::adopt(terms_of(CHANNEL), state(1, 1000));
    store.attach_channel(Channel { restored: true, ..channel }).await.unwrap();
    let ledger = ledger_with(&store, Reconcile::Surplus);
    ledger.send(Load).await.unwrap().unwrap();
    assert_eq!(commit(&ledger, &nth(1)).await, Err(SaleReject::ChannelHalted));
    let (ours, theirs) = (state(1, 1000), state(3, 930));
    assert_eq!(attach(&ledger, theirs).await, Reconciliation::Outdated { ours, theirs });
    assert_eq!(status(&ledger).await.alarm, Some(Alarm::Outdated { ours, theirs }));
    let beyond = sale(KEY, state(4, 965), PRICE);
    assert_eq!(commit(&ledger, &beyond).await, Err(SaleReject::ChannelHalted), "more remains than was shown");
    assert_eq!(attach(&ledger, ours).await, Reconciliation::Equal);
    assert!(!store.channels().await.unwrap()[0].restored, "it outlives a restart");
    assert!(commit(&ledger, &nth(1)).await.is_ok());
}

#[actix_rt::test]
async fn what_the_preparation_finds_wrong_is_the_answer() {
    let ledger = ledger(&MemoryStore::new()).await;
    let arity = SaleReject::InvalidArgument(ArgumentError::Arity { expected: 8, actual: 7 });
    let preparing = std::future::ready(Err(arity.clone())).boxed();
    assert_eq!(ledger.send(CommitSale { request: nth(1), preparing }).await.unwrap(), Err(arity));
    let mut unsigned = nth(1);
    unsigned.signature = xbr_core::Signature::new([0; 65]);
    assert_eq!(commit(&ledger, &unsigned).await, Err(SaleReject::InvalidSignature));
    let cheap = commit(&ledger, &sale(KEY, state(2, 966), PRICE - 1)).await;
    assert!(matches!(cheap, Err(SaleReject::InsufficientAmount { .. })), "{cheap:?}");
}
