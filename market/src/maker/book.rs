//! The books of the market maker: payment channels, paying channels, offers, and the purchases in flight.
//! Pure: what judges looks and gives an [`Entry`], [`apply`](Book::apply) changes. The caller stores the
//! entries in the order in which they were made, and tells nobody of one before it is stored.
//!
//! # A purchase
//!
//! It is judged ([`repeat`](Book::repeat), [`reserve`](Book::reserve)), which takes its price out of the
//! buyer's payment channel, and gets a paying channel of the seller's with the next state of it, at once or
//! when one is free ([`assign`](Book::assign)). The seller is asked; then it is settled
//! ([`settle`](Book::settle)), or refused ([`refuse`](Book::refuse)) and the buyer has its money back, or
//! gets another state ([`requeue`](Book::requeue)).
//!
//! # A paying channel with sales in flight
//!
//! Several sales are in flight at once, each at the next state. When the seller refuses one, its state is
//! *dead*: no further sale is begun until all that are in flight have ended. Then the channel goes on from
//! the last state that counts for the seller. Where that is beyond a dead one, the seller holds a signature
//! that gives it the refused price: that difference is *conceded*. The other sales that the seller refused
//! only because of the gap get new states.
//!
//! # What holds at every moment
//!
//! 1. Of each channel, `amount = remaining + inflight + settled + conceded`.
//! 2. What all payment channels have settled is what all paying channels have settled.
//! 3. A channel's balance only falls by a price that the buyer signed for, and rises only by a refusal.
//! 4. There is one purchase for each state of a channel that is not dead.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use xbr_core::ids::OfferId;
use xbr_core::wire::ChannelType;
use xbr_core::{Address, ChannelId, ChannelSeq, KeyId};

use super::account::{Account, Market};
use super::offer::Offer;
use super::purchase::{Purchase, PurchaseId, Stage};

mod buying;
mod channels;
mod offers;
mod queries;
mod selling;

pub use buying::{Choice, Prior};
pub use channels::Close;

/// How much there may be of each thing that others can swell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many channels there may be.
    pub channels: usize,
    /// How many offers are kept, the expired ones included.
    pub offers: usize,
    /// How many purchases may be in flight.
    pub purchases: usize,
    /// How many sales may be in flight over one paying channel.
    pub sales_per_channel: usize,
}

/// What is stored together or not at all: the new form of each thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Channels, each at its next version.
    pub accounts: Vec<Account>,
    /// Offers.
    pub offers: Vec<Offer>,
    /// Offers that are forgotten, by their keys.
    pub forgotten: Vec<KeyId>,
    /// Purchases.
    pub purchases: Vec<Purchase>,
}

/// The books; see the module.
#[derive(Debug, Clone)]
pub struct Book {
    market: Market,
    limits: Limits,
    accounts: HashMap<ChannelId, Account>,
    /// All channels in the order of their opening.
    order: Vec<ChannelId>,
    /// The channels of each delegate, in the order of their opening.
    channels: HashMap<(ChannelType, Address), Vec<ChannelId>>,
    offers: HashMap<KeyId, Offer>,
    offer_keys: HashMap<OfferId, KeyId>,
    expiries: BTreeSet<(u64, KeyId)>,
    /// Those in flight.
    purchases: BTreeMap<PurchaseId, Purchase>,
    payments: HashMap<(ChannelId, ChannelSeq), PurchaseId>,
    /// The sales in flight over each paying channel.
    sales: HashMap<ChannelId, BTreeMap<ChannelSeq, PurchaseId>>,
    /// The purchases that wait for a paying channel, by seller, in the order of their arrival.
    unassigned: HashMap<Address, BTreeSet<PurchaseId>>,
    /// Paying channels over which no sale is begun for now.
    held: HashSet<ChannelId>,
    last_purchase: PurchaseId,
}

impl Book {
    /// Empty books. What is stored is put into them with [`apply`](Self::apply).
    pub fn new(market: Market, limits: Limits) -> Self {
        Self {
            market,
            limits,
            accounts: HashMap::new(),
            order: Vec::new(),
            channels: HashMap::new(),
            offers: HashMap::new(),
            offer_keys: HashMap::new(),
            expiries: BTreeSet::new(),
            purchases: BTreeMap::new(),
            payments: HashMap::new(),
            sales: HashMap::new(),
            unassigned: HashMap::new(),
            held: HashSet::new(),
            last_purchase: 0,
        }
    }

    /// Books an entry that was judged upon these very books.
    pub fn apply(&mut self, entry: Entry) {
        for account in entry.accounts {
            self.apply_account(account);
        }
        for offer in entry.offers {
            self.apply_offer(offer);
        }
        for key_id in entry.forgotten {
            self.forget_offer(key_id);
        }
        for purchase in entry.purchases {
            self.apply_purchase(purchase);
        }
    }

    /// The numbers of purchases go on after this one.
    pub fn continue_after(&mut self, last_purchase: PurchaseId) {
        self.last_purchase = self.last_purchase.max(last_purchase);
    }

    fn apply_account(&mut self, account: Account) {
        let (channel_id, owner) = (account.channel_id, (account.kind, account.delegate));
        if self.accounts.insert(channel_id, account).is_none() {
            self.order.push(channel_id);
            self.channels.entry(owner).or_default().push(channel_id);
        }
    }

    fn apply_offer(&mut self, offer: Offer) {
        self.forget_offer(offer.key_id);
        self.offer_keys.insert(offer.offer_id, offer.key_id);
        self.expiries.extend(offer.expires_ns.map(|expires| (expires, offer.key_id)));
        self.offers.insert(offer.key_id, offer);
    }

    fn forget_offer(&mut self, key_id: KeyId) {
        if let Some(before) = self.offers.remove(&key_id) {
            self.offer_keys.remove(&before.offer_id);
            if let Some(expires) = before.expires_ns {
                self.expiries.remove(&(expires, key_id));
            }
        }
    }

    fn apply_purchase(&mut self, purchase: Purchase) {
        let (id, payment) = (purchase.id, (purchase.payment_channel, purchase.payment.seq));
        self.last_purchase = self.last_purchase.max(id);
        if let Some(before) = self.purchases.remove(&id) {
            self.payments.remove(&payment);
            match before.sale {
                Some(sale) => {
                    if let Some(sales) = self.sales.get_mut(&sale.channel_id) {
                        sales.remove(&sale.state.seq);
                    }
                }
                None => self.dequeue(before.seller, id),
            }
        }
        if purchase.stage != Stage::Reserved {
            return;
        }
        self.payments.insert(payment, id);
        match purchase.sale {
            Some(sale) => drop(self.sales.entry(sale.channel_id).or_default().insert(sale.state.seq, id)),
            None => drop(self.unassigned.entry(purchase.seller).or_default().insert(id)),
        }
        self.purchases.insert(id, purchase);
    }

    fn dequeue(&mut self, seller: Address, id: PurchaseId) {
        if let Some(waiting) = self.unassigned.get_mut(&seller) {
            waiting.remove(&id);
            if waiting.is_empty() {
                self.unassigned.remove(&seller);
            }
        }
    }

    /// What all its channels have in common.
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// A channel.
    pub fn account(&self, channel_id: ChannelId) -> Option<&Account> {
        self.accounts.get(&channel_id)
    }

    /// All channels, in the order of their opening.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.order.iter().filter_map(|channel_id| self.accounts.get(channel_id))
    }

    /// The offer of a key.
    pub fn offer(&self, key_id: KeyId) -> Option<&Offer> {
        self.offers.get(&key_id)
    }

    /// A purchase in flight.
    pub fn purchase(&self, id: PurchaseId) -> Option<&Purchase> {
        self.purchases.get(&id)
    }

    /// The purchases in flight, in the order of their reservation.
    pub fn purchases(&self) -> impl Iterator<Item = &Purchase> {
        self.purchases.values()
    }

    /// The sales in flight over a paying channel, in the order of their states.
    pub fn sales(&self, channel_id: ChannelId) -> impl Iterator<Item = (ChannelSeq, PurchaseId)> {
        self.sales.get(&channel_id).into_iter().flatten().map(|(seq, id)| (*seq, *id))
    }

    /// The sellers of purchases that wait for a paying channel, each with the first of them.
    pub fn waiting(&self) -> Vec<(Address, PurchaseId)> {
        let first = |(seller, ids): (&Address, &BTreeSet<PurchaseId>)| Some((*seller, *ids.first()?));
        self.unassigned.iter().filter_map(first).collect()
    }

    /// The first purchase that waits for a paying channel of a seller.
    pub fn first_waiting(&self, seller: Address) -> Option<PurchaseId> {
        self.unassigned.get(&seller)?.first().copied()
    }

    /// Begins no sale over a paying channel for now.
    pub fn hold(&mut self, channel_id: ChannelId) {
        self.held.insert(channel_id);
    }

    /// Begins sales over it again.
    pub fn release(&mut self, channel_id: ChannelId) {
        self.held.remove(&channel_id);
    }

    /// The channels of a delegate, in the order of their opening.
    fn channels_of(&self, kind: ChannelType, delegate: Address) -> impl Iterator<Item = &Account> {
        let ids = self.channels.get(&(kind, delegate)).into_iter().flatten();
        ids.filter_map(|channel_id| self.accounts.get(channel_id))
    }
}
