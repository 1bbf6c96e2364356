//! The ledger actor against chance: seeded sequences of sales, closes, repeats and contradictions, preparations that end
//! in any order, a store that fails, holds back and loses, and ledgers that are replaced. Whatever happens, the rules of
//! the channel hold.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::join_all;
use support::chance::Chance;
use support::guard::Guard;
use support::{CHANNEL, StoppedClock, buyer, seller_key, state, terms_of};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Span;
use xbr_actors::ledger::{
    Attach, CommitClose, CommitSale, LedgerOptions, Load, Observe, PreparedClose, PreparedSale,
};
use xbr_actors::{ChannelLedger, Observers};
use xbr_core::channel::{ChannelState, CloseRecord, Reconcile, SaleRecord};
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_core::{Address, Amount, ChannelId, ChannelSeq, KeyId, Signature, Signer};
use xbr_store::{Fault, MemoryStore, Operation, Store, Write};

const SEEDS: u64 = 150;
const STEPS: u32 = 120;
const CHANNELS: [ChannelId; 2] = [CHANNEL, ChannelId::new([0xc2; 16])];
const PRICE: u64 = 10;
const SIGNED: Signature = Signature::new([1; 65]);
const FORGED: Signature = Signature::new([2; 65]);

type SaleOutcome = (SellRequest, Result<SellReceipt, SaleReject>);
type CloseOutcome = (CloseRequest, Result<CloseReceipt, CloseReject>);

/// A market maker that never contradicts itself, those who do, and a ledger in between.
struct World {
    seed: u64,
    chance: Chance,
    store: MemoryStore,
    ledger: Addr<ChannelLedger>,
    /// Where each channel stands by the market maker's books.
    books: BTreeMap<ChannelId, ChannelState>,
    sent: Vec<SellRequest>,
    closes: Vec<CloseRequest>,
    /// Opening one ends a preparation.
    gates: Vec<oneshot::Sender<()>>,
    sales: Vec<JoinHandle<SaleOutcome>>,
    closings: Vec<JoinHandle<CloseOutcome>>,
    /// Makes every preparation tell from every other, as random sealing does.
    preparations: u64,
}

async fn spawn_ledger(store: &MemoryStore) -> Addr<ChannelLedger> {
    let ledger = ChannelLedger::new(LedgerOptions {
        store: Arc::new(store.clone()),
        clock: Arc::new(StoppedClock),
        delegate: seller_key().address(),
        reconcile: Reconcile::Surplus,
        low_balance: Amount::ZERO,
        observers: Observers::default(),
        workers: 1,
    })
    .start();
    ledger.send(Load).await.unwrap().unwrap();
    ledger
}

async fn settle(turns: u64) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

impl World {
    async fn new(seed: u64) -> Self {
        let store = MemoryStore::new();
        let ledger = spawn_ledger(&store).await;
        let theirs = state(1, 1_000_000);
        for channel_id in CHANNELS {
            let attach = Attach { terms: terms_of(channel_id), theirs, compare: true };
            ledger.send(attach).await.unwrap().unwrap();
        }
        Self {
            seed,
            chance: Chance(seed),
            store,
            ledger,
            books: CHANNELS.map(|channel_id| (channel_id, theirs)).into(),
            sent: Vec::new(),
            closes: Vec::new(),
            gates: Vec::new(),
            sales: Vec::new(),
            closings: Vec::new(),
            preparations: 0,
        }
    }

    fn channel(&mut self) -> ChannelId {
        *self.chance.pick(&CHANNELS).unwrap()
    }

    /// The next honest sale of a channel: now and then with a gap, or with more paid than is said.
    fn honest(&mut self) -> SellRequest {
        let channel_id = self.channel();
        let before = self.books[&channel_id];
        let gap = if self.chance.below(5) == 0 { 2 } else { 1 };
        let amount = PRICE + self.chance.below(3);
        let extra = if self.chance.below(5) == 0 { 7 } else { 0 };
        let balance = before.balance.checked_sub(Amount::from_xbr(amount + extra)).unwrap();
        let seq = ChannelSeq::new(before.seq.value() + gap);
        self.books.insert(channel_id, ChannelState { seq, balance });
        SellRequest {
            market_maker: terms_of(channel_id).market_maker,
            buyer_key: buyer().1,
            key_id: KeyId::new([5; 16]),
            channel_id,
            channel_seq: seq,
            amount: Amount::from_xbr(amount),
            balance,
            signature: SIGNED,
        }
    }

    /// A request that was sent before, spoilt.
    fn spoilt(&mut self) -> Option<SellRequest> {
        let mut request = self.chance.pick(&self.sent)?.clone();
        match self.chance.below(4) {
            0 => request.key_id = KeyId::new([6; 16]),
            1 => request.balance = Amount::from_xbr(2_000_000),
            2 => request.amount = Amount::ZERO,
            _ => request.signature = FORGED,
        }
        Some(request)
    }

    /// A gate that this opens sooner or later, so that preparations end in any order.
    fn gate(&mut self) -> oneshot::Receiver<()> {
        let (gate, opened) = oneshot::channel();
        self.gates.push(gate);
        opened
    }

    fn sell(&mut self, request: SellRequest) {
        self.preparations += 1;
        let prepared = PreparedSale {
            api_id: None,
            price: Amount::from_xbr(PRICE),
            signed: request.signature == SIGNED,
            sealed_key: self.preparations.to_be_bytes().repeat(10),
            signature: SIGNED,
            span: Span::none(),
        };
        let opened = self.gate();
        let lost = SaleReject::Unavailable { reason: "on purpose" };
        let failed = self.chance.below(20) == 0;
        let preparing = async move {
            match opened.await {
                Ok(()) if !failed => Ok(prepared),
                _ => Err(lost),
            }
        };
        let answer = self.ledger.send(CommitSale { request: request.clone(), preparing: preparing.boxed() });
        let store = self.store.clone();
        self.sales.push(actix_rt::spawn(async move {
            let gone = Err(SaleReject::Unavailable { reason: "the ledger was replaced" });
            let answer = answer.await.unwrap_or(gone).map(|sold| sold.receipt);
            if let Ok(receipt) = &answer {
                // It is durable by the time it is answered, and the answer is what is stored.
                let stored = store.sale(request.channel_id, request.channel_seq).await.unwrap();
                let stored = SellReceipt::of(&stored.unwrap(), seller_key().address());
                assert_eq!(stored.to_value(), receipt.to_value());
            }
            (request, answer)
        }));
    }

    fn close(&mut self, request: CloseRequest) {
        let prepared = PreparedClose { signed: request.signature == SIGNED, signature: SIGNED };
        let opened = self.gate();
        let preparing = opened.map(|_| Ok::<_, CloseReject>(prepared)).boxed();
        let answer = self.ledger.send(CommitClose { request: request.clone(), preparing });
        self.closings.push(actix_rt::spawn(async move {
            let gone = Err(CloseReject::Unavailable { reason: "the ledger was replaced" });
            (request, answer.await.unwrap_or(gone))
        }));
    }

    fn close_request(&mut self) -> CloseRequest {
        let channel_id = self.channel();
        let ChannelState { seq, balance } = self.books[&channel_id];
        CloseRequest {
            market_maker: Address::new([0; 20]),
            channel_id,
            channel_seq: seq,
            balance,
            is_final: self.chance.below(4) == 0,
            signature: SIGNED,
        }
    }

    fn fault(&mut self) {
        let faults = [Fault::Refused, Fault::UnknownButWritten, Fault::UnknownAndLost];
        let fault = *self.chance.pick(&faults).unwrap();
        self.store.fail_when(fault, |write| matches!(write, Write::CommitSale(_) | Write::CommitClose(_)));
    }

    async fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => {
                let request = self.honest();
                self.sent.push(request.clone());
                self.sell(request);
            }
            45..60 => {
                if let Some(request) = self.chance.pick(&self.sent).cloned() {
                    self.sell(request);
                }
            }
            60..70 => {
                if let Some(request) = self.spoilt() {
                    self.sell(request);
                }
            }
            70..72 => {
                let request = self.close_request();
                self.closes.push(request.clone());
                self.close(request);
            }
            72..74 => {
                if let Some(request) = self.chance.pick(&self.closes).cloned() {
                    self.close(request);
                }
            }
            74..84 => self.fault(),
            84..90 => self.store.hold(),
            90..96 => self.store.release(),
            96..98 => self.store.lose_held(),
            _ => {
                // The old one lives on until its own requests are answered, as after a death its commits do.
                self.store.release();
                self.open_all();
                settle(100).await;
                self.ledger = spawn_ledger(&self.store).await;
            }
        }
        for _ in 0..self.chance.below(3) {
            let count = u64::try_from(self.gates.len()).unwrap();
            if count > 0 {
                let gate = self.gates.swap_remove(usize::try_from(self.chance.below(count)).unwrap());
                let _ = gate.send(());
            }
        }
        let turns = self.chance.below(12);
        settle(turns).await;
    }

    fn open_all(&mut self) {
        for gate in self.gates.drain(..) {
            let _ = gate.send(());
        }
    }

    /// Lets everything come to its end; every request is answered.
    async fn finish(&mut self) -> (Vec<SaleOutcome>, Vec<CloseOutcome>) {
        self.store.release();
        self.open_all();
        let all = async { (join_all(self.sales.drain(..)).await, join_all(self.closings.drain(..)).await) };
        let (sales, closings) = tokio::time::timeout(Duration::from_secs(20), all)
            .await
            .unwrap_or_else(|_| panic!("seed {}: a request was never answered", self.seed));
        settle(200).await;
        (sales.into_iter().map(Result::unwrap).collect(), closings.into_iter().map(Result::unwrap).collect())
    }

    /// Whatever was answered stays answered so, and what was said to be repeated can be: no fault lasts, and so nothing
    /// is unavailable for ever.
    async fn repeat_all(&mut self, sales: &[SaleOutcome]) {
        let seed = self.seed;
        let mut left: Vec<_> = sales.to_vec();
        for _ in 0..STEPS {
            for (request, _) in &left {
                self.sell(request.clone());
            }
            let (again, _) = self.finish().await;
            let mut unavailable = Vec::new();
            for ((request, before), (_, after)) in left.into_iter().zip(again) {
                if is_unavailable(&after) {
                    unavailable.push((request, before));
                } else if let Ok(receipt) = before {
                    let after = after.map(|after| after.to_value());
                    assert_eq!(after, Ok(receipt.to_value()), "seed {seed}: {request:?}");
                }
            }
            left = unavailable;
            if left.is_empty() {
                return;
            }
        }
        panic!("seed {seed}: unavailable for ever: {left:?}");
    }

    /// What the store took, in order, of one channel.
    fn history(&self, channel_id: ChannelId) -> Vec<Write> {
        let of_channel = |write: &Write| match write {
            Write::CommitSale(record) => record.channel_id == channel_id,
            Write::CommitClose(record) => record.channel_id == channel_id,
            _ => false,
        };
        let journal = self.store.journal().into_iter();
        journal
            .filter_map(|entry| match (entry.operation, entry.result) {
                (Operation::Write(write), Ok(())) if of_channel(&write) => Some(write),
                _ => None,
            })
            .collect()
    }

    async fn check_channels(&self) {
        let seed = self.seed;
        let known: Vec<_> = self
            .ledger
            .send(Observe)
            .await
            .unwrap()
            .into_iter()
            .map(|status| (status.channel, status.in_flight))
            .collect();
        for (mut stored, (channel, in_flight)) in self.store.channels().await.unwrap().into_iter().zip(known)
        {
            stored.reconciliation = channel.reconciliation;
            assert_eq!((&channel, in_flight), (&stored, Amount::ZERO), "seed {seed}: memory and disk differ");
            let parts = stored.state.balance.checked_add(stored.earned).unwrap();
            assert_eq!(parts.checked_add(stored.surplus), Some(stored.adopted.balance), "seed {seed}");
            self.check_history(&self.history(stored.terms.channel_id));
        }
    }

    /// Sequence numbers rise, balances fall, and a final close is the end.
    fn check_history(&self, history: &[Write]) {
        let seed = self.seed;
        let mut last: Option<ChannelState> = None;
        for (position, write) in history.iter().enumerate() {
            let state = match write {
                Write::CommitSale(SaleRecord { state, .. }) => {
                    assert!(last.is_none_or(|last| state.seq > last.seq), "seed {seed}: {history:?}");
                    state
                }
                Write::CommitClose(CloseRecord { state, is_final, .. }) => {
                    assert!(!is_final || position + 1 == history.len(), "seed {seed}: sold after the end");
                    state
                }
                other => panic!("{other:?}"),
            };
            assert!(last.is_none_or(|last| state.balance <= last.balance), "seed {seed}: {history:?}");
            last = Some(*state);
        }
    }
}

fn is_unavailable(answer: &Result<SellReceipt, SaleReject>) -> bool {
    matches!(answer, Err(SaleReject::Unavailable { .. }))
}

#[actix_rt::test]
async fn whatever_happens_the_rules_of_the_channel_hold() {
    let (mut sold, mut replayed, mut failed, mut refused) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        let (sales, closings) = world.finish().await;
        let mut answers: BTreeMap<_, SellReceipt> = BTreeMap::new();
        for (request, answer) in &sales {
            match answer {
                Ok(receipt) => {
                    assert_eq!(request.signature, SIGNED, "seed {seed}: sold without a signature");
                    let first = answers.entry((request.channel_id, request.channel_seq));
                    // Every preparation seals anew: equal receipts are the stored one.
                    let first = first.and_modify(|_| replayed += 1).or_insert_with(|| receipt.clone());
                    assert_eq!(first.to_value(), receipt.to_value(), "seed {seed}: sold twice");
                    sold += 1;
                }
                answer if is_unavailable(answer) => failed += 1,
                Err(_) => refused += 1,
            }
        }
        let mut guard = Guard::default();
        for ((channel_id, _), receipt) in &answers {
            let state = ChannelState { seq: receipt.channel_seq, balance: receipt.balance };
            guard.sale_signed(*channel_id, state, receipt.signature);
        }
        for (request, receipt) in closings.iter().filter_map(|(it, answer)| Some((it, answer.as_ref().ok()?)))
        {
            guard.close_signed(request.channel_id, request.state(), receipt.is_final, receipt.signature);
        }
        let finals = closings.iter().filter_map(|(_, answer)| answer.as_ref().ok()).filter(|it| it.is_final);
        for receipt in finals {
            let channels = world.store.channels().await.unwrap();
            assert!(channels.iter().any(|channel| {
                channel.closed.as_ref().is_some_and(|closed| closed.state.seq == receipt.seq)
            }));
        }
        world.repeat_all(&sales).await;
        world.check_channels().await;
    }
    let enough = sold > 1000 && replayed > 100 && failed > 100 && refused > 100;
    assert!(enough, "{sold} sold, {replayed} of them repeats, {failed} to be repeated, {refused} refused");
}
