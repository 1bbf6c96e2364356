//! The books against chance: purchases, refusals, lost calls and answers, and restarts in any order, with
//! sellers that take gaps and sellers that do not. Each byte is a step.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;
use xbr_core::channel::ChannelState;
use xbr_core::wire::ChannelType;
use xbr_core::{Amount, ChannelId, ChannelSeq, KeyId, Signature};
use xbr_market::maker::account::Account;
use xbr_market::maker::book::{Book, Choice, Entry};
use xbr_market::maker::lane::Lane;
use xbr_market::maker::offer::Offer;
use xbr_market::maker::outcome::{ProviderError, judge};
use xbr_market::maker::purchase::{Purchase, PurchaseId, Stage};
use xbr_market::maker::reject::BuyReject;

use super::support::*;

/// A seller's ledger of one channel.
struct Ledger {
    state: ChannelState,
    earned: Amount,
    surplus: Amount,
    receipts: HashMap<ChannelSeq, PurchaseId>,
}

/// What is stored, a market maker over it, and the seller.
struct World {
    accounts: BTreeMap<[u8; 16], Account>,
    offers: BTreeMap<[u8; 16], Offer>,
    purchases: BTreeMap<PurchaseId, Purchase>,
    book: Book,
    lanes: HashMap<ChannelId, Lane>,
    /// Answers on their way.
    answers: Vec<(PurchaseId, Result<(), ProviderError>)>,
    /// Takes exactly the next state, and answers no repeat, like the reference's.
    strict: bool,
    ledgers: HashMap<ChannelId, Ledger>,
    /// The purchases whose key the seller does not have.
    keyless: HashSet<PurchaseId>,
    /// Whether a new paying channel is opened when one is exhausted.
    reopen: bool,
}

fn refused(uri: &str) -> ProviderError {
    ProviderError::Refused { uri: uri.into(), text: String::new() }
}

impl World {
    fn new(strict: bool, reopen: bool) -> Self {
        let book = Book::new(market(), limits());
        let (accounts, offers, purchases) = Default::default();
        let (lanes, answers, ledgers, keyless) = Default::default();
        let mut world =
            Self { accounts, offers, purchases, book, lanes, answers, strict, ledgers, keyless, reopen };
        world.open(PAYMENT, ChannelType::Payment);
        world.open(PAYING, ChannelType::Paying);
        for key in 1..=3 {
            let mut request = offer(KeyId::new([key; 16]), u128::from(key) * 30);
            request.unsigned.offer.copies = (key == 2).then_some(5);
            let id = xbr_core::ids::OfferId::new([key; 16]);
            let entry = world.book.place(request, true, id, Default::default(), NOW).unwrap();
            world.commit(entry);
        }
        world
    }

    fn open(&mut self, channel_id: ChannelId, kind: ChannelType) {
        let (amount, delegate) = match kind {
            ChannelType::Payment => (DEPOSIT * 3, buyer_key()),
            ChannelType::Paying => (DEPOSIT / 2, seller_key()),
        };
        let parties = [xbr_core::Signer::address(&delegate); 3];
        if let Ok(Some(entry)) = self.book.open(channel_id, kind, parties, units(amount), NOW) {
            self.commit(entry);
            let (earned, surplus, receipts) = Default::default();
            let ledger = Ledger { state: state(1, amount), earned, surplus, receipts };
            self.ledgers.insert(channel_id, ledger);
        }
    }

    /// Stores an entry as a store does, with its compare and swap, and books it.
    fn commit(&mut self, entry: Entry) {
        for account in &entry.accounts {
            let before = self.accounts.insert(*account.channel_id.as_bytes(), account.clone());
            assert_eq!(before.map_or(0, |before| before.version) + 1, account.version);
            assert_eq!(account.problem(), None);
        }
        for offer in &entry.offers {
            self.offers.insert(*offer.key_id.as_bytes(), offer.clone());
        }
        for purchase in &entry.purchases {
            let before = self.purchases.insert(purchase.id, purchase.clone());
            assert!(before.is_none_or(|before| before.stage == Stage::Reserved), "an end is the end");
        }
        self.book.apply(entry);
    }

    fn restart(&mut self) {
        self.book = Book::new(market(), limits());
        let in_flight = self.purchases.values().filter(|purchase| purchase.stage == Stage::Reserved);
        let (accounts, offers) = (self.accounts.values(), self.offers.values());
        self.book.apply(Entry {
            accounts: accounts.cloned().collect(),
            offers: offers.cloned().collect(),
            purchases: in_flight.cloned().collect(),
            forgotten: Vec::new(),
        });
        self.book.continue_after(self.purchases.keys().last().copied().unwrap_or_default());
        (self.lanes, self.answers) = Default::default();
        for purchase in self.book.purchases() {
            if let Some(sale) = purchase.sale {
                let lane = self.lanes.entry(sale.channel_id).or_default();
                lane.restore(sale.state.seq);
                lane.ready(sale.state.seq);
            }
        }
        self.hold_doubtful();
    }

    fn hold_doubtful(&mut self) {
        for (channel_id, lane) in &self.lanes {
            match lane.is_in_doubt() {
                true => self.book.hold(*channel_id),
                false => self.book.release(*channel_id),
            }
        }
    }

    fn buy(&mut self, key: u8) {
        let request = buy(&self.book, KeyId::new([key % 3 + 1; 16]));
        let entry = match self.book.reserve(&request, true, NOW) {
            Ok(entry) => entry,
            Err(BuyReject::UnexpectedSeq { .. } | BuyReject::UnexpectedBalance { .. }) => {
                panic!("a request by the books was refused")
            }
            Err(_) => return,
        };
        let purchase = entry.purchases[0].clone();
        if key % 4 == 3 {
            self.keyless.insert(purchase.id);
        }
        self.commit(entry);
        self.prepare(&purchase);
    }

    fn prepare(&mut self, purchase: &Purchase) {
        if let Some(sale) = purchase.sale {
            let lane = self.lanes.entry(sale.channel_id).or_default();
            lane.prepare(sale.state.seq);
            lane.ready(sale.state.seq);
        }
    }

    /// Gives purchases that wait a channel, as far as there is one.
    fn assign(&mut self) {
        self.hold_doubtful();
        while let Some((_, id)) = self.book.waiting().first().copied() {
            match self.book.choice(id) {
                Choice::Now(sale) => {
                    let entry = self.book.assign(id, sale).unwrap();
                    let purchase = entry.purchases[0].clone();
                    self.commit(entry);
                    self.prepare(&purchase);
                }
                Choice::Later => return,
                Choice::Exhausted(channel_id) => {
                    let Some(entry) = self.book.close_exhausted(channel_id, SIGNATURE) else { return };
                    let closed = entry.accounts[0].state;
                    assert_eq!(self.ledgers[&channel_id].state, closed, "both sides close the same state");
                    self.commit(entry);
                    if self.reopen {
                        self.open(SECOND, ChannelType::Paying);
                    }
                }
                Choice::Never => {
                    let entry = self.book.refuse(id, "none", false, NOW).unwrap();
                    self.commit(entry);
                }
            }
        }
    }

    /// Lets calls out; each is lost, or answered with an answer that may be lost.
    fn call(&mut self, fate: u8) {
        for channel_id in self.lanes.keys().copied().collect::<Vec<_>>() {
            for seq in self.lanes.get_mut(&channel_id).unwrap().due() {
                let (_, id) = self.book.sales(channel_id).find(|(at, _)| *at == seq).unwrap();
                let lost = || ProviderError::Unanswered { reason: String::new() };
                let answer = match (fate ^ seq.value().to_le_bytes()[0]) % 8 {
                    0 => Err(lost()),
                    1 => self.sell(channel_id, id).and(Err(lost())),
                    2 => Err(ProviderError::NotJoined),
                    _ => self.sell(channel_id, id),
                };
                self.answers.push((id, answer));
            }
        }
    }

    /// The seller's part: its own rules, not the market maker's.
    fn sell(&mut self, channel_id: ChannelId, id: PurchaseId) -> Result<(), ProviderError> {
        let purchase = self.book.purchase(id).unwrap();
        let after = purchase.sale.unwrap().state;
        let ledger = self.ledgers.get_mut(&channel_id).unwrap();
        if !self.strict && ledger.receipts.get(&after.seq) == Some(&id) {
            return Ok(());
        }
        if self.keyless.contains(&id) {
            return Err(refused("crossbar.error.no_such_object"));
        }
        let next = ledger.state.seq.value() + 1;
        let expected = ledger.state.balance.checked_sub(purchase.price);
        let surplus = expected.and_then(|expected| expected.checked_sub(after.balance));
        let exact = after.seq.value() == next && surplus == Some(Amount::ZERO);
        let Some(surplus) = surplus.filter(|_| exact || !self.strict && after.seq.value() >= next) else {
            return Err(refused("xbr.error.unexpected_channel_seq"));
        };
        ledger.state = after;
        ledger.earned = ledger.earned.checked_add(purchase.price).unwrap();
        ledger.surplus = ledger.surplus.checked_add(surplus).unwrap();
        ledger.receipts.insert(after.seq, id);
        Ok(())
    }

    fn answer(&mut self, nth: usize) {
        if self.answers.is_empty() {
            return;
        }
        let (id, answer) = self.answers.swap_remove(nth % self.answers.len());
        let sale = self.book.purchase(id).unwrap().sale.unwrap();
        let (channel_id, seq) = (sale.channel_id, sale.state.seq);
        let lane = self.lanes.get_mut(&channel_id).unwrap();
        let entry = match answer {
            Ok(()) => self.book.settle(id, vec![7; 80], SIGNATURE, SIGNATURE, NOW),
            Err(error) => {
                let gap = self.book.has_gap_below(channel_id, seq);
                let verdict = judge(&error, lane.is_repeated(seq), gap);
                let entry = self.book.conclude(id, verdict, "a uri", NOW);
                if entry.is_none() {
                    match error {
                        ProviderError::NotJoined => lane.not_sent(seq),
                        _ => lane.doubt(seq),
                    };
                }
                entry
            }
        };
        if let Some(entry) = entry {
            lane.end(seq);
            self.commit(entry);
        }
    }

    fn resume(&mut self) {
        self.lanes.values_mut().for_each(Lane::resume);
    }

    fn step(&mut self, byte: u8) {
        match byte % 8 {
            0..=2 => self.buy(byte / 8),
            3 => self.call(byte / 8),
            4 | 5 => self.answer(usize::from(byte / 8)),
            6 => self.resume(),
            _ if byte >= 0xf0 => self.restart(),
            _ => self.answer(0),
        }
        self.assign();
        self.check();
    }

    /// No more losses: everything comes to its end.
    fn finish(&mut self) {
        for _ in 0..1000 {
            if self.book.purchases().next().is_none() {
                return;
            }
            self.resume();
            for channel_id in self.lanes.keys().copied().collect::<Vec<_>>() {
                for seq in self.lanes.get_mut(&channel_id).unwrap().due() {
                    let (_, id) = self.book.sales(channel_id).find(|(at, _)| *at == seq).unwrap();
                    let answer = self.sell(channel_id, id);
                    self.answers.push((id, answer));
                }
            }
            while !self.answers.is_empty() {
                self.answer(0);
            }
            self.assign();
            self.check();
        }
        panic!("a purchase never ends");
    }

    fn sum(&self, kind: ChannelType, figure: impl Fn(&Account) -> Amount) -> Amount {
        let accounts = self.book.accounts().filter(|account| account.kind == kind).map(figure);
        accounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
    }

    /// What holds at every moment, in the books and in the store.
    fn check(&self) {
        for account in self.book.accounts() {
            assert_eq!(Some(account), self.accounts.get(account.channel_id.as_bytes()));
        }
        let settled = |account: &Account| account.settled;
        let spent = self.sum(ChannelType::Payment, settled);
        assert_eq!(spent, self.sum(ChannelType::Paying, settled));
        let prices = |stage: fn(&Stage) -> bool| {
            let purchases = self.purchases.values().filter(move |purchase| stage(&purchase.stage));
            purchases.fold(Amount::ZERO, |sum, purchase| sum.checked_add(purchase.price).unwrap())
        };
        assert_eq!(spent, prices(|stage| matches!(stage, Stage::Settled(_))));
        let reserved = prices(|stage| *stage == Stage::Reserved);
        assert_eq!(self.sum(ChannelType::Payment, Account::inflight), reserved);
        let mut states = HashSet::new();
        for purchase in
            self.purchases.values().filter(|purchase| !matches!(purchase.stage, Stage::Refused { .. }))
        {
            assert!(states.insert((purchase.payment_channel, purchase.payment.seq)));
        }
    }

    /// What holds when nothing is in flight: both sides of each channel stand at one state, and every coin
    /// is somewhere.
    fn check_end(&self) {
        let mut delivered = 0;
        for account in self.book.accounts() {
            assert!(account.inflight().is_zero());
            if account.kind == ChannelType::Paying {
                let ledger = &self.ledgers[&account.channel_id];
                assert_eq!((account.state, account.agreed), (ledger.state, ledger.state));
                let received = ledger.earned.checked_add(ledger.surplus);
                assert_eq!(received, account.settled.checked_add(account.conceded));
                delivered += ledger.receipts.len();
            }
        }
        let is_settled = |purchase: &&Purchase| matches!(purchase.stage, Stage::Settled(_));
        let settled: Vec<_> = self.purchases.values().filter(is_settled).collect();
        for purchase in &settled {
            let ledger = &self.ledgers[&purchase.sale.unwrap().channel_id];
            assert_eq!(ledger.receipts.get(&purchase.sale.unwrap().state.seq), Some(&purchase.id));
        }
        // A seller that answers no repeat keeps the money for an answer that got lost.
        assert!(settled.len() == delivered || self.strict && settled.len() < delivered);
        for offer in self.offers.values().filter(|offer| offer.copies.is_some()) {
            let sold = settled.iter().filter(|purchase| purchase.key_id == offer.key_id).count();
            assert_eq!(offer.copies_left, Some(5 - u64::try_from(sold).unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_coin_is_made_or_lost_whatever_happens(
        steps in prop::collection::vec(any::<u8>(), 0..200),
        strict: bool,
        reopen: bool,
    ) {
        let mut world = World::new(strict, reopen);
        for byte in steps {
            world.step(byte);
        }
        world.finish();
        world.check_end();
    }
}

/// A purchase whose reservation is booked.
fn reserved(book: &mut Book, key_id: KeyId) -> PurchaseId {
    let entry = book.reserve(&buy(book, key_id), true, NOW).unwrap();
    let id = entry.purchases[0].id;
    book.apply(entry);
    id
}

fn settle(book: &mut Book, id: PurchaseId) {
    let entry = book.settle(id, vec![7; 80], SIGNATURE, Signature::new([0xbb; 65]), NOW).unwrap();
    book.apply(entry);
}

#[test]
fn a_receipt_tells_the_state_of_its_own_purchase() {
    let mut book = book();
    let (first, second) = (reserved(&mut book, KEY), reserved(&mut book, OTHER));
    let entry = book.settle(first, vec![7; 80], SIGNATURE, Signature::new([0xbb; 65]), NOW).unwrap();
    let receipt = entry.purchases[0].receipt().unwrap();
    assert_eq!(receipt.state(), state(2, DEPOSIT - PRICE));
    assert_eq!((receipt.amount_paid, receipt.inflight), (units(PRICE), units(PRICE)));
    book.apply(entry);
    settle(&mut book, second);
    assert!(book.account(PAYMENT).unwrap().inflight().is_zero());
    assert_eq!(book.account(PAYING).unwrap().agreed, state(3, DEPOSIT - 2 * PRICE));
}

#[test]
fn a_refused_purchase_gives_the_money_back_and_the_next_one_signs_the_same_state() {
    let mut book = book();
    let request = buy(&book, KEY);
    let id = reserved(&mut book, KEY);
    let entry = book.refuse(id, "xbr.error.key_retired", false, NOW).unwrap();
    book.apply(entry);
    assert_eq!(book.account(PAYMENT).unwrap().state, state(1, DEPOSIT));
    assert_eq!(book.account(PAYING).unwrap().state, state(1, DEPOSIT));
    assert_eq!(buy(&book, OTHER).channel_seq, request.channel_seq);
    reserved(&mut book, OTHER);
}

#[test]
fn a_refused_state_below_an_accepted_one_is_conceded() {
    let mut book = book();
    let (first, second) = (reserved(&mut book, KEY), reserved(&mut book, OTHER));
    let entry = book.refuse(first, "xbr.error.key_retired", false, NOW).unwrap();
    book.apply(entry);
    assert!(matches!(book.choice(second), Choice::Later));
    settle(&mut book, second);
    let paying = book.account(PAYING).unwrap();
    assert_eq!(paying.state, state(3, DEPOSIT - 2 * PRICE));
    assert_eq!((paying.settled, paying.conceded), (units(PRICE), units(PRICE)));
    assert_eq!(book.account(PAYMENT).unwrap().state, state(3, DEPOSIT - PRICE));
}

#[test]
fn free_keys_are_bought_with_nothing() {
    let mut book = book();
    let id = reserved(&mut book, FREE);
    settle(&mut book, id);
    assert_eq!(book.account(PAYMENT).unwrap().state, state(2, DEPOSIT));
    assert_eq!(book.quote(FREE, NOW).unwrap().price, Amount::ZERO);
}
