//! The buyer's store in memory, for tests and for buyers that need not remember.

use std::collections::HashMap;
use std::fmt;

use tokio::runtime::Handle;
use xbr_core::crypto::UserspaceEntropy;
use xbr_core::{Amount, ChannelId, DataKey, KeyId};
use xbr_store::{StoreError, StoreFuture};

use super::{BoughtKey, BuyerStore, ReceiveKey, StoredKey, check_figures};
use crate::buyer::wallet::{End, Payment, Settlement, Wallet};
use crate::memory::Owned;

/// The name of the thread that owns what is stored.
const THREAD: &str = "xbr-buyer-store";

/// A store in memory, with the rules of one on disk. A cheap handle: clones are the same store.
#[derive(Clone)]
pub struct MemoryBuyerStore {
    tables: Owned<Tables>,
}

impl MemoryBuyerStore {
    /// An empty store, on a thread of its own.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no thread for it.
    pub fn new() -> Result<Self, StoreError> {
        Owned::start(THREAD).map(|tables| Self { tables })
    }

    /// An empty store in a task on a runtime, best that of the buyer: then no other thread has to wake for what the
    /// buyer stores. It is closed when the runtime ends.
    pub fn on(runtime: &Handle) -> Self {
        Self { tables: Owned::on(runtime) }
    }

    /// An empty store on the thread, or in the task, of this one: that of another buyer.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { tables: self.tables.beside() }
    }
}

impl BuyerStore for MemoryBuyerStore {
    fn receive_key(&self) -> StoreFuture<ReceiveKey> {
        self.tables.run(|tables| Ok(tables.receive_key.clone()))
    }

    fn wallet(&self, channel_id: ChannelId) -> StoreFuture<Option<Wallet>> {
        self.tables.run(move |tables| tables.wallets.get(&channel_id).map(sound).transpose())
    }

    fn unsettled(&self) -> StoreFuture<Vec<Wallet>> {
        self.tables.run(|tables| tables.unsettled())
    }

    fn attach(&self, wallet: Wallet) -> StoreFuture<()> {
        self.tables.run(move |tables| {
            tables.wallets.entry(wallet.terms.channel_id).or_insert(wallet);
            Ok(())
        })
    }

    fn begin(&self, payment: Payment) -> StoreFuture<()> {
        self.tables.run(move |tables| tables.begin(payment))
    }

    fn settle(
        &self,
        channel_id: ChannelId,
        settlement: Settlement,
        bought: Option<BoughtKey>,
    ) -> StoreFuture<()> {
        self.tables.run(move |tables| tables.settle(channel_id, &settlement, bought))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<StoredKey> {
        self.tables.run(move |tables| {
            Ok(StoredKey {
                key: tables.keys.get(&key_id).cloned(),
                written_off: tables.written_off.get(&key_id).copied().unwrap_or_default(),
            })
        })
    }
}

impl fmt::Debug for MemoryBuyerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBuyerStore")
    }
}

/// What a store holds.
struct Tables {
    receive_key: ReceiveKey,
    wallets: HashMap<ChannelId, Wallet>,
    /// The channels with a pending payment, the one with the oldest first.
    pending: Vec<ChannelId>,
    written_off: HashMap<KeyId, Amount>,
    keys: HashMap<KeyId, DataKey>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            receive_key: ReceiveKey::generate(&UserspaceEntropy),
            wallets: HashMap::new(),
            pending: Vec::new(),
            written_off: HashMap::new(),
            keys: HashMap::new(),
        }
    }
}

impl Tables {
    fn unsettled(&self) -> Result<Vec<Wallet>, StoreError> {
        self.pending.iter().filter_map(|channel_id| self.wallets.get(channel_id)).map(sound).collect()
    }

    fn begin(&mut self, payment: Payment) -> Result<(), StoreError> {
        let wallet = self.wallets.get_mut(&payment.channel_id).ok_or(StoreError::Conflict)?;
        check_figures(wallet)?;
        if wallet.state != payment.before || wallet.pending.is_some() {
            return Err(StoreError::Conflict);
        }
        self.pending.push(payment.channel_id);
        wallet.begin(payment);
        Ok(())
    }

    fn settle(
        &mut self,
        channel_id: ChannelId,
        settlement: &Settlement,
        bought: Option<BoughtKey>,
    ) -> Result<(), StoreError> {
        let wallet = self.wallets.get_mut(&channel_id).ok_or(StoreError::Conflict)?;
        check_figures(wallet)?;
        let settles = settlement.end != End::Moved;
        if wallet.state != settlement.before || settles != wallet.pending.is_some() {
            return Err(StoreError::Conflict);
        }
        if let (End::WrittenOff, Some(payment)) = (settlement.end, &wallet.pending) {
            let taken = settlement.before.balance.checked_sub(settlement.state.balance);
            let taken = taken.ok_or(StoreError::Conflict)?;
            let sum = self.written_off.entry(payment.key_id).or_default();
            *sum = sum.checked_add(taken).ok_or(StoreError::Conflict)?;
        }
        wallet.apply(settlement);
        self.pending.retain(|pending| *pending != channel_id);
        self.keys.extend(bought.map(|bought| (bought.key_id, bought.key)));
        Ok(())
    }
}

fn sound(wallet: &Wallet) -> Result<Wallet, StoreError> {
    check_figures(wallet).map(|()| wallet.clone())
}
