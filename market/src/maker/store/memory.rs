//! The market maker's store in memory, for tests and demos.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;

use tokio::runtime::Handle;
use xbr_core::ids::OfferId;
use xbr_core::payload::SEALED_KEY_LEN;
use xbr_core::{ChannelId, ChannelSeq, KeyId};
use xbr_store::{StoreError, StoreFuture};

use super::{MakerStore, Snapshot};
use crate::maker::account::{Account, Market};
use crate::maker::book::Entry;
use crate::maker::offer::Offer;
use crate::maker::purchase::{Purchase, PurchaseId, Stage};
use crate::memory::Owned;

/// The name of the thread that owns what is stored.
const THREAD: &str = "xbr-maker-store";

/// A store in memory, with the rules of one on disk. A cheap handle: clones are the same store.
#[derive(Clone)]
pub struct MemoryMakerStore {
    tables: Owned<Tables>,
}

impl MemoryMakerStore {
    /// An empty store.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no thread for it.
    pub fn new() -> Result<Self, StoreError> {
        Owned::start(THREAD).map(|tables| Self { tables })
    }

    /// An empty store in a task on a runtime, best that of the market maker: then no other thread has to wake for
    /// what it stores. It is closed when the runtime ends.
    pub fn on(runtime: &Handle) -> Self {
        Self { tables: Owned::on(runtime) }
    }
}

impl MakerStore for MemoryMakerStore {
    fn load(&self, market: Market) -> StoreFuture<Snapshot> {
        self.tables.run(move |tables| tables.load(market))
    }

    fn commit(&self, entry: Entry) -> StoreFuture<()> {
        self.tables.run(move |tables| {
            tables.check(&entry)?;
            tables.put(entry);
            Ok(())
        })
    }

    fn purchase(&self, payment_channel: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<Purchase>> {
        self.tables.run(move |tables| Ok(tables.paid_by(payment_channel, seq).cloned()))
    }

    fn purchases(&self, after: PurchaseId, limit: u32) -> StoreFuture<Vec<Purchase>> {
        self.tables.run(move |tables| {
            let later = tables.purchases.range((Bound::Excluded(after), Bound::Unbounded));
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Ok(later.map(|(_, purchase)| purchase.clone()).take(limit).collect())
        })
    }

    fn flush(&self) -> StoreFuture<()> {
        self.tables.run(|_| Ok(()))
    }
}

impl fmt::Debug for MemoryMakerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryMakerStore")
    }
}

/// What a store holds.
#[derive(Default)]
struct Tables {
    market: Option<Market>,
    accounts: HashMap<ChannelId, Account>,
    /// All channels in the order of their opening.
    order: Vec<ChannelId>,
    /// By the number of their placement, as `offer_keys` tells it.
    offers: BTreeMap<u64, Offer>,
    offer_keys: HashMap<KeyId, u64>,
    offer_ids: HashMap<OfferId, KeyId>,
    placed: u64,
    purchases: BTreeMap<PurchaseId, Purchase>,
    /// Which purchase a state of a payment channel pays for, the refused ones left out.
    paid: HashMap<(ChannelId, ChannelSeq), PurchaseId>,
    /// Which settled purchase a state of a paying channel pays for.
    sold: HashMap<(ChannelId, ChannelSeq), PurchaseId>,
}

impl Tables {
    fn load(&mut self, market: Market) -> Result<Snapshot, StoreError> {
        if *self.market.get_or_insert(market) != market {
            let reason = "it has the books of another market or market maker".to_owned();
            return Err(StoreError::Refused { reason });
        }
        let reserved = self.purchases.values().filter(|purchase| purchase.stage == Stage::Reserved);
        Ok(Snapshot {
            entry: Entry {
                accounts: self.order.iter().filter_map(|id| self.accounts.get(id).cloned()).collect(),
                offers: self.offers.values().cloned().collect(),
                purchases: reserved.cloned().collect(),
                forgotten: Vec::new(),
            },
            last_purchase: self.purchases.last_key_value().map(|(id, _)| *id).unwrap_or_default(),
        })
    }

    /// Whether an entry follows what is there; nothing is stored of one that does not.
    fn check(&self, entry: &Entry) -> Result<(), StoreError> {
        for account in &entry.accounts {
            if let Some(problem) = account.problem() {
                return Err(StoreError::Refused { reason: problem.to_owned() });
            }
            // A new channel is at version 1, and each later version replaces the one before it.
            let before = self.accounts.get(&account.channel_id).map_or(0, |before| before.version);
            if before.checked_add(1) != Some(account.version) {
                return Err(StoreError::Conflict);
            }
        }
        for offer in &entry.offers {
            if self.offer_ids.get(&offer.offer_id).is_some_and(|key_id| *key_id != offer.key_id) {
                return Err(refused("another key is offered by this offer"));
            }
        }
        entry.purchases.iter().try_for_each(|purchase| self.check_purchase(entry, purchase))
    }

    fn check_purchase(&self, entry: &Entry, purchase: &Purchase) -> Result<(), StoreError> {
        if self.purchases.get(&purchase.id).is_some_and(|before| before.stage != Stage::Reserved) {
            return Err(StoreError::Conflict);
        }
        let is_known = |channel_id| {
            self.accounts.contains_key(&channel_id)
                || entry.accounts.iter().any(|account| account.channel_id == channel_id)
        };
        let sale = purchase.sale.map(|sale| (sale.channel_id, sale.state.seq));
        let is_others = |id: Option<&PurchaseId>| id.is_some_and(|id| *id != purchase.id);
        match (&purchase.stage, sale) {
            _ if !is_known(purchase.payment_channel) => Err(refused("its payment channel is not known")),
            (_, Some((channel_id, _))) if !is_known(channel_id) => {
                Err(refused("its paying channel is not known"))
            }
            (Stage::Reserved | Stage::Settled(_), _) if is_others(self.paid.get(&payment(purchase))) => {
                Err(refused("a state of a payment channel pays for one purchase"))
            }
            (Stage::Settled(settled), _) if settled.sealed_key.len() != SEALED_KEY_LEN => {
                Err(refused("a sealed key is 80 bytes long"))
            }
            (Stage::Settled(_), None) => Err(refused("what was sold was sold over a channel")),
            (Stage::Settled(_), Some(sale)) if is_others(self.sold.get(&sale)) => {
                Err(refused("a state of a paying channel pays for one purchase"))
            }
            _ => Ok(()),
        }
    }

    fn put(&mut self, entry: Entry) {
        for account in entry.accounts {
            let channel_id = account.channel_id;
            if self.accounts.insert(channel_id, account).is_none() {
                self.order.push(channel_id);
            }
        }
        for offer in entry.offers {
            let number = *self.offer_keys.entry(offer.key_id).or_insert_with(|| {
                self.placed += 1;
                self.placed
            });
            self.offer_ids.insert(offer.offer_id, offer.key_id);
            self.offers.insert(number, offer);
        }
        for key_id in entry.forgotten {
            let number = self.offer_keys.remove(&key_id);
            if let Some(offer) = number.and_then(|number| self.offers.remove(&number)) {
                self.offer_ids.remove(&offer.offer_id);
            }
        }
        for purchase in entry.purchases {
            match purchase.stage {
                Stage::Refused { .. } => self.paid.remove(&payment(&purchase)),
                Stage::Reserved | Stage::Settled(_) => self.paid.insert(payment(&purchase), purchase.id),
            };
            if let (Stage::Settled(_), Some(sale)) = (&purchase.stage, purchase.sale) {
                self.sold.insert((sale.channel_id, sale.state.seq), purchase.id);
            }
            self.purchases.insert(purchase.id, purchase);
        }
    }

    fn paid_by(&self, payment_channel: ChannelId, seq: ChannelSeq) -> Option<&Purchase> {
        self.purchases.get(self.paid.get(&(payment_channel, seq))?)
    }
}

fn refused(reason: &str) -> StoreError {
    StoreError::Refused { reason: reason.to_owned() }
}

/// The state of a payment channel that pays for a purchase.
fn payment(purchase: &Purchase) -> (ChannelId, ChannelSeq) {
    (purchase.payment_channel, purchase.payment.seq)
}
