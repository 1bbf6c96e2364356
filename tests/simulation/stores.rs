//! The stores of the parties: the real ones, in memory, each on a disk that fails when it is told to and is
//! out of reach of a party that has crashed.
//!
//! An operation is done when its method returns, although a thread does it: so nothing here depends on how
//! fast a thread is, and a runtime with paused time does not run ahead of it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::{ApiId, ChannelId, ChannelSeq, KeyId};
use xbr_market::buyer::BuyerStore;
use xbr_market::buyer::store::{BoughtKey, ReceiveKey, StoredKey};
use xbr_market::buyer::wallet::{Payment, Settlement, Wallet};
use xbr_market::maker::MakerStore;
use xbr_market::maker::account::Market;
use xbr_market::maker::book::Entry;
use xbr_market::maker::purchase::{Purchase, PurchaseId};
use xbr_market::maker::store::Snapshot;
use xbr_store::{Evidence, Fault, KeyFilter, KeyInfo, KeyLookup, KeyRecord, Store, StoreError, StoreFuture};

/// Cuts an incarnation of a party off from its store and from the network, as a crash does: what it still
/// does nobody sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is wrong with a disk: how its next write fails.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<AtomicU8>);

impl Disk {
    const FAULTS: [Fault; 3] = [Fault::Refused, Fault::UnknownButWritten, Fault::UnknownAndLost];

    pub(crate) fn fail_next(&self, fault: Fault) {
        let number = Self::FAULTS.iter().position(|known| *known == fault).unwrap();
        self.0.store(u8::try_from(number).unwrap() + 1, Ordering::Relaxed);
    }

    pub(crate) fn repair(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn next_fault(&self) -> Option<Fault> {
        let number = usize::from(self.0.swap(0, Ordering::Relaxed));
        number.checked_sub(1).map(|index| Self::FAULTS[index])
    }
}

/// A store as an incarnation of a party sees it.
#[derive(Clone)]
pub(crate) struct Mounted<S> {
    pub(crate) store: S,
    pub(crate) disk: Disk,
    pub(crate) cut: Cut,
}

impl<S> Mounted<S> {
    fn read<T: Send + 'static>(&self, operation: impl FnOnce(&S) -> StoreFuture<T>) -> StoreFuture<T> {
        let result = if self.cut.is_cut() { Err(StoreError::Closed) } else { now(operation(&self.store)) };
        Box::pin(std::future::ready(result))
    }

    fn write(&self, operation: impl FnOnce(&S) -> StoreFuture<()>) -> StoreFuture<()> {
        let unknown = || Err(StoreError::Unknown { reason: "on purpose".to_owned() });
        let result = match () {
            () if self.cut.is_cut() => Err(StoreError::Closed),
            () => match self.disk.next_fault() {
                None => now(operation(&self.store)),
                Some(Fault::Refused) => Err(StoreError::Refused { reason: "on purpose".to_owned() }),
                Some(Fault::UnknownAndLost) => unknown(),
                Some(Fault::UnknownButWritten) => now(operation(&self.store)).and_then(|()| unknown()),
            },
        };
        Box::pin(std::future::ready(result))
    }
}

impl<S> fmt::Debug for Mounted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mounted")
    }
}

/// Waits, on this thread, for what another thread does.
pub(crate) fn now<T>(operation: StoreFuture<T>) -> Result<T, StoreError> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    // It takes no part in the runtime's fairness, which would let it starve.
    let mut operation = pin!(tokio::task::unconstrained(operation));
    loop {
        match operation.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl<S: Store> Store for Mounted<S> {
    fn channels(&self) -> StoreFuture<Vec<Channel>> {
        self.read(|store| store.channels())
    }

    fn attach_channel(&self, channel: Channel) -> StoreFuture<()> {
        self.write(|store| store.attach_channel(channel))
    }

    fn commit_sale(&self, record: SaleRecord) -> StoreFuture<()> {
        self.write(|store| store.commit_sale(record))
    }

    fn commit_close(&self, record: CloseRecord) -> StoreFuture<()> {
        self.write(|store| store.commit_close(record))
    }

    fn commit_own_close(&self, close: OwnClose) -> StoreFuture<()> {
        self.write(|store| store.commit_own_close(close))
    }

    fn note_comparison(
        &self,
        channel_id: ChannelId,
        ours: ChannelState,
        theirs: ChannelState,
    ) -> StoreFuture<()> {
        self.write(|store| store.note_comparison(channel_id, ours, theirs))
    }

    fn sale(&self, channel_id: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<SaleRecord>> {
        self.read(|store| store.sale(channel_id, seq))
    }

    fn keep_evidence(&self, evidence: Evidence) -> StoreFuture<()> {
        self.write(|store| store.keep_evidence(evidence))
    }

    fn evidence(&self) -> StoreFuture<Vec<Evidence>> {
        self.read(|store| store.evidence())
    }

    fn insert_key(&self, record: KeyRecord) -> StoreFuture<()> {
        self.write(|store| store.insert_key(record))
    }

    fn mark_offered(&self, key_id: KeyId, offered_ns: u64) -> StoreFuture<()> {
        self.write(|store| store.mark_offered(key_id, offered_ns))
    }

    fn retire_key(&self, key_id: KeyId) -> StoreFuture<()> {
        self.write(|store| store.retire_key(key_id))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<KeyLookup> {
        self.read(|store| store.key(key_id))
    }

    fn keys(&self, api_id: ApiId, filter: KeyFilter, limit: usize) -> StoreFuture<Vec<KeyInfo>> {
        self.read(|store| store.keys(api_id, filter, limit))
    }

    fn flush(&self) -> StoreFuture<()> {
        self.read(|store| store.flush())
    }
}

impl<S: MakerStore> MakerStore for Mounted<S> {
    fn load(&self, market: Market) -> StoreFuture<Snapshot> {
        self.read(|store| store.load(market))
    }

    fn commit(&self, entry: Entry) -> StoreFuture<()> {
        self.write(|store| store.commit(entry))
    }

    fn purchase(&self, payment_channel: ChannelId, seq: ChannelSeq) -> StoreFuture<Option<Purchase>> {
        self.read(|store| store.purchase(payment_channel, seq))
    }

    fn purchases(&self, after: PurchaseId, limit: u32) -> StoreFuture<Vec<Purchase>> {
        self.read(|store| store.purchases(after, limit))
    }

    fn flush(&self) -> StoreFuture<()> {
        self.read(|store| store.flush())
    }
}

impl<S: BuyerStore> BuyerStore for Mounted<S> {
    fn receive_key(&self) -> StoreFuture<ReceiveKey> {
        self.read(|store| store.receive_key())
    }

    fn wallet(&self, channel_id: ChannelId) -> StoreFuture<Option<Wallet>> {
        self.read(|store| store.wallet(channel_id))
    }

    fn unsettled(&self) -> StoreFuture<Vec<Wallet>> {
        self.read(|store| store.unsettled())
    }

    fn attach(&self, wallet: Wallet) -> StoreFuture<()> {
        self.write(|store| store.attach(wallet))
    }

    fn begin(&self, payment: Payment) -> StoreFuture<()> {
        self.write(|store| store.begin(payment))
    }

    fn settle(
        &self,
        channel_id: ChannelId,
        settlement: Settlement,
        bought: Option<BoughtKey>,
    ) -> StoreFuture<()> {
        self.write(|store| store.settle(channel_id, settlement, bought))
    }

    fn key(&self, key_id: KeyId) -> StoreFuture<StoredKey> {
        self.read(|store| store.key(key_id))
    }
}
