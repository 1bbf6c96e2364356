//! What an embedder holds: a [`MakerHandle`], usable from any thread and any tokio runtime. The actors run
//! on a thread of their own.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use xbr_core::wire::{ChannelInfo, ChannelType};
use xbr_core::{Address, Amount};

use super::actor::{Maker, MakerState, MakerStatus, Observe, OpenOne, Start, StartError, Stop};
use super::messages::RealmPort;
use super::options::{ChannelGrant, MakerOptions};
use super::purchase::{Purchase, PurchaseId};
use super::reject::OpenReject;
use super::session::RealmSession;
use super::store::{MakerStore, StoreError};

/// The market maker's thread could not be made.
#[derive(Debug, Error)]
#[error("cannot start the market maker's thread: {0}")]
pub struct SpawnError(#[from] std::io::Error);

/// One market maker. Clones are the same one; when the last is dropped, its actors go, and the connection
/// with them ([`stop`](Self::stop) first to do it in order).
#[derive(Debug, Clone)]
pub struct MakerHandle {
    maker: Addr<Maker>,
    state: watch::Receiver<MakerState>,
    address: Address,
    store: Arc<dyn MakerStore>,
    _thread: Option<Arc<Thread>>,
}

/// The actors' thread goes when this does.
#[derive(Debug)]
struct Thread {
    _end: oneshot::Sender<()>,
}

impl MakerHandle {
    /// Makes a market maker on a thread of its own. It is not started yet.
    ///
    /// # Errors
    /// [`SpawnError`] when there can be no thread.
    pub fn spawn(options: MakerOptions) -> Result<Self, SpawnError> {
        let (ready, made) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("xbr-maker".into()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                let session = RealmSession::new(options.dial.clone(), options.force_reregister).start();
                // Whoever spawned may have gone; then the thread ends at once.
                let _ = ready.send(Self::here(options, RealmPort::new(&session)));
                let _ = ended.await;
            });
        })?;
        let made = made.recv().map_err(|_| std::io::Error::other("the thread ended at once"))?;
        Ok(Self { _thread: Some(Arc::new(Thread { _end: end })), ..made })
    }

    /// Makes a market maker on the current arbiter, which reaches its realm through `realm`. It is not
    /// started yet.
    ///
    /// # Panics
    /// When there is no actix arbiter on this thread.
    pub fn here(options: MakerOptions, realm: RealmPort) -> Self {
        let (address, store) = (options.signer.address(), options.store.clone());
        let maker = Maker::new(options, realm);
        let state = maker.state();
        Self { maker: maker.start(), state, address, store, _thread: None }
    }

    /// Opens the market: reads the books, opens the configured channels, joins the realm, registers, and
    /// takes up the purchases that were in flight. A running market maker stays as it is; a failed start can
    /// be tried again.
    ///
    /// # Errors
    /// [`StartError`]; the market maker is stopped then.
    pub async fn start(&self) -> Result<(), StartError> {
        self.maker.send(Start).await.unwrap_or(Err(StartError::Gone))
    }

    /// Closes the market: takes nothing new, and leaves when the purchases in flight have ended, or the
    /// grace period has. The next start takes up what is still in flight then.
    pub async fn stop(&self, grace: Duration) {
        // A market maker that has gone is stopped.
        let _ = self.maker.send(Stop { grace }).await;
    }

    /// Opens a channel with a new id. It is durable when this returns.
    ///
    /// # Errors
    /// [`OpenReject::Unavailable`] before the first start, when there are too many channels, or when the
    /// store fails.
    pub async fn open_channel(
        &self,
        kind: ChannelType,
        delegate: Address,
        amount: Amount,
    ) -> Result<ChannelInfo, OpenReject> {
        let gone = OpenReject::Unavailable { reason: "the market maker has gone" };
        self.maker.send(OpenOne(ChannelGrant { kind, delegate, amount })).await.unwrap_or(Err(gone))
    }

    /// What the market maker looks like now; `None` when it has gone.
    pub async fn observe(&self) -> Option<MakerStatus> {
        self.maker.send(Observe).await.ok()
    }

    /// The accounts: the purchases after this one in the order of their reservation, so many at the most,
    /// with their receipts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purchases(&self, after: PurchaseId, limit: u32) -> Result<Vec<Purchase>, StoreError> {
        self.store.purchases(after, limit).await
    }

    /// Where the market maker stands, and how it changes.
    pub fn state(&self) -> watch::Receiver<MakerState> {
        self.state.clone()
    }

    /// The market maker's address.
    pub fn address(&self) -> Address {
        self.address
    }
}
