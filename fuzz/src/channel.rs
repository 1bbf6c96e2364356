//! The rules of a paying channel against any sequence of actions: each byte of the input is one. What judges
//! and changes is the real state machine, and what stores is the real store in memory; in between they are
//! driven as the ledger drives them: judged in the order of arrival, committed in order, read back after a
//! failure. After each action the numbered rules of the channel are checked, which are named where they are.

use std::collections::{BTreeMap, VecDeque};

use xbr_core::channel::{
    Channel, ChannelState, CloseDecision, CloseRecord, Reconcile, Reconciliation, SaleDecision, SaleRecord,
};
use xbr_core::reject::SaleReject;
use xbr_core::wire::{CloseRequest, SellRequest};
use xbr_core::{Address, Amount, BuyerKey, ChannelSeq, KeyId, Signature};
use xbr_store::{Tables, Write};

use crate::guard::Guard;
use crate::rules::{CHANNEL, DEPOSIT, PRICE, check_sale, higher, pick, same, signature, terms};

/// What the market maker's signature looks like; anything else is forged. Real signatures have tests of their
/// own.
const SIGNED: Signature = Signature::new([1; 65]);
const FORGED: Signature = Signature::new([2; 65]);

/// Runs the actions of an input; gives how many there were.
///
/// # Panics
/// When a rule is broken.
pub fn run(input: &[u8]) -> usize {
    let Some((first, actions)) = input.split_first() else { return 0 };
    let mut world = World::new(if first.is_multiple_of(4) { Reconcile::Strict } else { Reconcile::Surplus });
    for action in actions {
        world.act(action % 32, u32::from(action / 32));
        world.check();
    }
    world.finish();
    actions.len()
}

/// A request that waits for its turn.
struct Slot {
    request: Request,
    prepared: bool,
}

#[derive(Clone)]
enum Request {
    Sale(SellRequest),
    Close(CloseRequest),
}

/// A market maker, honest and otherwise, a ledger, and a disk.
struct World {
    reconcile: Reconcile,
    /// Where the channel stands by the books of an honest market maker.
    books: ChannelState,
    sales: Vec<SellRequest>,
    closes: Vec<CloseRequest>,
    /// The ledger: as the last decision left the channel.
    channel: Option<Channel>,
    queue: VecDeque<Slot>,
    /// Decided, and not yet executed by the store.
    commits: VecDeque<Write>,
    /// A commit has failed: nothing is decided before the channel is read back.
    failed: bool,
    disk: Tables,
    guard: Guard,
    /// The receipts that were given.
    receipts: BTreeMap<ChannelSeq, SaleRecord>,
    last_on_disk: Option<Channel>,
    preparations: u32,
}

impl World {
    fn new(reconcile: Reconcile) -> Self {
        let mut world = Self {
            reconcile,
            books: ChannelState { seq: ChannelSeq::new(1), balance: Amount::from_units(DEPOSIT) },
            sales: Vec::new(),
            closes: Vec::new(),
            channel: None,
            queue: VecDeque::new(),
            commits: VecDeque::new(),
            failed: false,
            disk: Tables::default(),
            guard: Guard::default(),
            receipts: BTreeMap::new(),
            last_on_disk: None,
            preparations: 0,
        };
        world.attach(world.books);
        world
    }

    fn act(&mut self, kind: u8, parameter: u32) {
        let back = parameter as usize;
        match kind {
            0..=3 => self.sell(1, 0, 0),
            4 => self.sell(1 + parameter, 0, 0),
            5 => self.sell(1, parameter.into(), 0),
            6 => self.sell(2, 3, 0),
            7 => self.sell(1, 0, parameter.into()),
            8 | 9 => self.again(back, |_| ()),
            10 => self.again(back, |request| request.key_id = KeyId::new([6; 16])),
            11 => self.again(back, |request| request.buyer_key = BuyerKey::new([7; 32])),
            12 => self.again(back, |request| request.balance = higher(request.balance)),
            13 => self.again(back, |request| request.amount = Amount::ZERO),
            14 => self.again(back, |request| request.signature = FORGED),
            15 => self.again(back, |request| {
                // A rollback: the next number, and what was paid taken back.
                request.channel_seq = ChannelSeq::new(request.channel_seq.value().saturating_add(parameter));
                request.balance = higher(request.balance);
            }),
            16 => self.close(self.books, false, SIGNED),
            17 if parameter == 0 => self.close(self.books, true, SIGNED),
            17 => self.close(self.books, parameter.is_multiple_of(2), FORGED),
            18 => {
                let state = ChannelState { balance: higher(self.books.balance), ..self.books };
                self.close(state, parameter.is_multiple_of(2), SIGNED);
            }
            19 => {
                let request = pick(&self.closes, back).cloned();
                self.queue.extend(
                    request.map(|request| Slot { request: Request::Close(request), prepared: false }),
                );
            }
            20 => self.attach(self.books),
            21 => {
                let seq = ChannelSeq::new(self.books.seq.value() + parameter);
                self.attach(ChannelState { seq, ..self.books });
            }
            22 => {
                let seq = ChannelSeq::new(self.books.seq.value().saturating_sub(parameter));
                self.attach(ChannelState { seq, balance: higher(self.books.balance) });
            }
            23 | 24 => self.commit(Fault::None),
            25 => self.commit(Fault::Refused),
            26 => self.commit(Fault::UnknownButWritten),
            27 => self.commit(Fault::UnknownAndLost),
            28 => self.crash(parameter),
            29 => self.prepare(back),
            _ => self.prepare_all(),
        }
        self.pump();
    }

    /// The next honest sale: with a gap, a surplus, or less than the price if it is to be.
    fn sell(&mut self, step: u32, surplus: u128, short: u128) {
        let amount = Amount::from_units(PRICE.saturating_sub(short));
        let paid = amount.checked_add(Amount::from_units(surplus)).unwrap();
        let Some(balance) = self.books.balance.checked_sub(paid) else { return };
        let seq = ChannelSeq::new(self.books.seq.value() + step);
        self.books = ChannelState { seq, balance };
        let request = SellRequest {
            market_maker: Address::new([3; 20]),
            buyer_key: BuyerKey::new([8; 32]),
            key_id: KeyId::new([5; 16]),
            channel_id: CHANNEL,
            channel_seq: seq,
            amount,
            balance,
            signature: SIGNED,
        };
        self.sales.push(request.clone());
        self.queue.push_back(Slot { request: Request::Sale(request), prepared: false });
    }

    /// A sale of before again, or spoilt.
    fn again(&mut self, back: usize, spoil: impl FnOnce(&mut SellRequest)) {
        let Some(mut request) = pick(&self.sales, back).cloned() else { return };
        spoil(&mut request);
        self.queue.push_back(Slot { request: Request::Sale(request), prepared: false });
    }

    fn close(&mut self, state: ChannelState, is_final: bool, signature: Signature) {
        let request = CloseRequest {
            market_maker: Address::new([3; 20]),
            channel_id: CHANNEL,
            channel_seq: state.seq,
            balance: state.balance,
            is_final,
            signature,
        };
        self.closes.push(request.clone());
        self.queue.push_back(Slot { request: Request::Close(request), prepared: false });
    }

    fn prepare(&mut self, position: usize) {
        if let Some(slot) = self.queue.get_mut(position) {
            slot.prepared = true;
        }
    }

    fn prepare_all(&mut self) {
        for slot in &mut self.queue {
            slot.prepared = true;
        }
    }

    /// As at a start: a channel that is known is compared, one that is not is adopted.
    fn attach(&mut self, theirs: ChannelState) {
        // No sale can come in then, and what was decided is done.
        while !self.commits.is_empty() {
            self.commit(Fault::None);
        }
        match &mut self.channel {
            Some(channel) => {
                let (ours, before) = (channel.state, channel.clone());
                let found = channel.reconcile(theirs);
                assert_eq!(
                    Channel { reconciliation: before.reconciliation, ..channel.clone() },
                    before,
                    "rule 6"
                );
                let behind = theirs.seq < ours.seq || theirs.balance > ours.balance;
                assert_eq!(
                    matches!(found, Reconciliation::Behind { .. }),
                    behind,
                    "rule 6: {ours:?} {theirs:?}"
                );
            }
            None => {
                let channel = Channel::adopt(terms(), theirs);
                assert_eq!(self.disk.apply(&Write::AttachChannel(Box::new(channel.clone()))), Ok(()));
                self.channel = Some(channel);
            }
        }
    }

    /// The process ends: what waits is gone, and the store has taken some of what was decided. Then it starts
    /// again.
    fn crash(&mut self, stored: u32) {
        for _ in 0..stored {
            if let Some(write) = self.commits.pop_front() {
                // What fails was decided upon what had failed.
                let _ = self.disk.apply(&write);
            }
        }
        self.commits.clear();
        self.queue.clear();
        self.failed = false;
        self.channel = self.disk.channels().pop();
    }

    /// The store executes the next commit, and the ledger hears of it.
    fn commit(&mut self, fault: Fault) {
        let Some(write) = self.commits.pop_front() else { return };
        let stored = match fault {
            Fault::None => self.disk.apply(&write).is_ok(),
            Fault::Refused | Fault::UnknownAndLost => false,
            // Found when it is looked for; a close is not, but read back.
            Fault::UnknownButWritten => {
                self.disk.apply(&write).is_ok() && matches!(write, Write::CommitSale(_))
            }
        };
        match write {
            Write::CommitSale(record) if stored => self.sold(record),
            Write::CommitClose(record) if stored => self.closed(&record),
            _ => self.failed = true,
        }
        self.read_back();
    }

    fn read_back(&mut self) {
        if self.failed && self.commits.is_empty() {
            let known = self.channel.as_ref().map_or(Reconciliation::Equal, |channel| channel.reconciliation);
            self.channel = self.disk.channels().pop();
            if let Some(channel) = &mut self.channel {
                channel.reconciliation = known;
            }
            self.failed = false;
        }
    }

    /// Judges from the head of the queue as long as that can be.
    fn pump(&mut self) {
        while !self.failed && self.queue.front().is_some_and(|slot| slot.prepared) {
            let Some(channel) = &self.channel else { return };
            let Some(Slot { request, .. }) = self.queue.front() else { return };
            match request.clone() {
                Request::Sale(request) => {
                    let seq = request.channel_seq;
                    let looks_back = request.signature == SIGNED && seq <= channel.state.seq;
                    let is_written =
                        |write: &Write| matches!(write, Write::CommitSale(it) if it.state.seq == seq);
                    // The look-up waits for the write of its row.
                    if looks_back && self.commits.iter().any(is_written) {
                        return;
                    }
                    self.queue.pop_front();
                    let prior = looks_back.then(|| self.disk.sale(CHANNEL, seq)).flatten();
                    self.judge_sale(&request, prior);
                }
                Request::Close(request) => {
                    self.queue.pop_front();
                    self.judge_close(&request);
                }
            }
        }
    }

    fn judge_sale(&mut self, request: &SellRequest, prior: Option<SaleRecord>) {
        let Some(channel) = &mut self.channel else { return };
        let claim = request.claim(request.signature == SIGNED);
        let before = channel.clone();
        match channel.decide_sale(&claim, Amount::from_units(PRICE), prior.as_ref(), self.reconcile) {
            Ok(SaleDecision::Replay) => {
                let prior = prior.expect("a repeat is of something");
                assert!(claim.signed, "rule 1");
                assert_eq!((prior.key_id, prior.buyer_key), (claim.key_id, claim.buyer_key), "rule 4");
                assert_eq!((prior.state, prior.amount), (claim.state, claim.amount), "rule 4");
                self.sold(prior);
            }
            Ok(SaleDecision::Commit { surplus }) => {
                check_sale(&before, &claim, surplus, self.reconcile);
                self.preparations += 1;
                let record = SaleRecord {
                    channel_id: CHANNEL,
                    key_id: request.key_id,
                    buyer_key: request.buyer_key,
                    before: before.state,
                    state: claim.state,
                    amount: claim.amount,
                    surplus,
                    // Every sealing is another.
                    sealed_key: self.preparations.to_be_bytes().repeat(20),
                    market_maker_signature: request.signature,
                    signature: signature(claim.state, false),
                    sold_ns: 0,
                    api_id: None,
                };
                channel.apply_sale(&record);
                self.commits.push_back(Write::CommitSale(record));
            }
            Err(reject) => {
                assert_eq!(*channel, before, "a refused sale changes nothing");
                let known = self.receipts.get(&request.channel_seq);
                let is_repeat = claim.signed && known.is_some_and(|known| same(known, &claim));
                assert!(!is_repeat, "rule 4: {reject}");
                let honest = matches!(reject, SaleReject::InvalidSignature);
                assert!(!honest || !claim.signed, "rule 1");
            }
        }
    }

    fn judge_close(&mut self, request: &CloseRequest) {
        let Some(channel) = &mut self.channel else { return };
        let claim = request.claim(request.signature == SIGNED);
        let before = channel.clone();
        match channel.decide_close(&claim, self.reconcile) {
            Ok(CloseDecision::Commit { surplus }) => {
                assert!(claim.signed && before.closed.is_none(), "rules 1 and 7");
                assert!(
                    claim.state.seq >= before.state.seq && claim.state.balance <= before.state.balance,
                    "rule 2"
                );
                let record = CloseRecord {
                    channel_id: CHANNEL,
                    before: before.state,
                    state: claim.state,
                    surplus,
                    is_final: claim.is_final,
                    market_maker_signature: request.signature,
                    signature: signature(claim.state, claim.is_final),
                };
                channel.apply_close(&record);
                self.commits.push_back(Write::CommitClose(record));
            }
            Ok(CloseDecision::Replay) => {
                let closed = before.closed.expect("a repeat is of something");
                assert!(claim.signed && claim.is_final && closed.state == claim.state, "rule 7");
                // What is not durable yet is not answered.
                if self.commits.is_empty() {
                    self.closed(&closed);
                }
            }
            Err(_) => assert_eq!(*channel, before, "a refused close changes nothing"),
        }
    }

    /// A receipt leaves.
    fn sold(&mut self, record: SaleRecord) {
        assert_eq!(self.disk.sale(CHANNEL, record.state.seq).as_ref(), Some(&record), "rule 5: not durable");
        let first = self.receipts.entry(record.state.seq).or_insert_with(|| record.clone());
        assert_eq!(*first, record, "rule 4: another receipt");
        self.guard.sale_signed(CHANNEL, record.state, record.signature);
    }

    fn closed(&mut self, record: &CloseRecord) {
        if record.is_final {
            let closed = self.disk.channels().pop().and_then(|channel| channel.closed);
            assert_eq!(closed.as_ref(), Some(record), "rule 5: not durable");
        }
        self.guard.close_signed(CHANNEL, record.state, record.is_final, record.signature);
    }

    /// What holds after every action.
    fn check(&mut self) {
        let Some(stored) = self.disk.channels().pop() else { return };
        let whole = stored.state.balance.checked_add(stored.earned).unwrap().checked_add(stored.surplus);
        assert_eq!(whole, Some(stored.adopted.balance), "the figures do not add up");
        if let Some(last) = &self.last_on_disk {
            assert!(
                stored.state.seq >= last.state.seq && stored.state.balance <= last.state.balance,
                "rule 2"
            );
            assert!(stored.earned >= last.earned && stored.sales >= last.sales, "earnings fall");
            assert!(last.closed.is_none() || stored == *last, "rule 7: changed after the end");
        }
        if self.commits.is_empty()
            && !self.failed
            && let Some(channel) = &self.channel
        {
            let reconciliation = channel.reconciliation;
            assert_eq!(*channel, Channel { reconciliation, ..stored.clone() }, "memory and disk differ");
        }
        self.last_on_disk = Some(stored);
    }

    /// Everything that was answered is answered so again, and an honest channel that is open goes on.
    fn finish(&mut self) {
        self.prepare_all();
        self.settle();
        self.crash(0);
        let receipts: Vec<_> = self.receipts.keys().copied().collect();
        for seq in receipts {
            let record = self.receipts.get(&seq).cloned().unwrap();
            let request = SellRequest {
                market_maker: Address::new([3; 20]),
                buyer_key: record.buyer_key,
                key_id: record.key_id,
                channel_id: CHANNEL,
                channel_seq: seq,
                amount: record.amount,
                balance: record.state.balance,
                signature: SIGNED,
            };
            self.judge_sale(&request, self.disk.sale(CHANNEL, seq));
        }
        let channel = self.channel.clone().expect("attached at the beginning");
        if self.reconcile == Reconcile::Surplus && channel.closed.is_none() {
            self.attach(self.books);
            let is_behind =
                matches!(self.channel.as_ref().unwrap().reconciliation, Reconciliation::Behind { .. });
            self.sell(1, 0, 0);
            self.prepare_all();
            self.settle();
            let sold = self.receipts.contains_key(&self.books.seq);
            assert!(sold || is_behind, "rule 2: an honest market maker is stuck");
        }
        self.check();
    }

    fn settle(&mut self) {
        self.pump();
        while !self.commits.is_empty() {
            self.commit(Fault::None);
            self.pump();
        }
    }
}

#[derive(Clone, Copy)]
enum Fault {
    None,
    Refused,
    UnknownButWritten,
    UnknownAndLost,
}
