//! What an embedder holds: a [`BuyerHandle`], usable from any thread and any tokio runtime. The actors run on
//! a thread of their own; payloads are decrypted on the caller's.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use xbr_core::cbor::{self, Limits};
use xbr_core::payload::SERIALIZER;
use xbr_core::{Address, DataKey, KeyId, Value};
use xbr_wamp::Match;
use zeroize::Zeroizing;

use super::actor::{Balance, BalanceReport, Buyer, BuyerState, BuyerStatus, Observe, Obtain, Start, Stop};
use super::error::{BuyError, MarketError, StartError, UnwrapError};
use super::messages::{MarketPort, Outlet, Subscribe};
use super::options::BuyerOptions;
use super::session::MarketSession;
use super::stream::Decrypted;

/// The buyer's thread could not be made.
#[derive(Debug, Error)]
#[error("cannot start the buyer's thread: {0}")]
pub struct SpawnError(#[from] std::io::Error);

/// One buyer. Clones are the same buyer; when the last is dropped, its actors go, and the connection with
/// them ([`stop`](Self::stop) first to do it in order). A [`Decrypted`] holds one.
#[derive(Debug, Clone)]
pub struct BuyerHandle {
    buyer: Addr<Buyer>,
    state: watch::Receiver<BuyerState>,
    address: Address,
    event_capacity: usize,
    _thread: Option<Arc<Thread>>,
}

/// The actors' thread goes when this does.
#[derive(Debug)]
struct Thread {
    _end: oneshot::Sender<()>,
}

impl BuyerHandle {
    /// Makes a buyer on a thread of its own. It is not started yet.
    ///
    /// # Errors
    /// [`SpawnError`] when there can be no thread.
    pub fn spawn(options: BuyerOptions) -> Result<Self, SpawnError> {
        let (ready, made) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("xbr-buyer".into()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                let session = MarketSession::new(options.dial.clone()).start();
                // Whoever spawned may have gone; then the thread ends at once.
                let _ = ready.send(Self::here(options, MarketPort::new(&session)));
                let _ = ended.await;
            });
        })?;
        let made = made.recv().map_err(|_| std::io::Error::other("the thread ended at once"))?;
        Ok(Self { _thread: Some(Arc::new(Thread { _end: end })), ..made })
    }

    /// Makes a buyer on the current arbiter, which reaches the market through `market`. It is not started
    /// yet.
    ///
    /// # Panics
    /// When there is no actix arbiter on this thread.
    pub fn here(options: BuyerOptions, market: MarketPort) -> Self {
        let (address, event_capacity) = (options.signer.address(), options.event_capacity);
        let buyer = Buyer::new(options, market);
        let state = buyer.state();
        Self { buyer: buyer.start(), state, address, event_capacity, _thread: None }
    }

    /// Starts buying: joins the realm, looks at the payment channel and reconciles it with what was paid. A
    /// started buyer stays as it is; a failed start can be tried again.
    ///
    /// # Errors
    /// [`StartError`]; the buyer is stopped then.
    pub async fn start(&self) -> Result<(), StartError> {
        self.buyer.send(Start).await.unwrap_or(Err(StartError::Gone))
    }

    /// Stops buying and leaves; a purchase that is under way may finish within the grace period. Keys that
    /// were bought serve on.
    pub async fn stop(&self, grace: Duration) {
        // A buyer that has gone is stopped.
        let _ = self.buyer.send(Stop { grace }).await;
    }

    /// What the payment channel has left, by the buyer's and the market maker's books.
    ///
    /// # Errors
    /// [`BuyError::NotRunning`] before the first start, [`BuyError::Gone`].
    pub async fn balance(&self) -> Result<BalanceReport, BuyError> {
        self.buyer.send(Balance).await.unwrap_or(Err(BuyError::Gone))
    }

    /// What the buyer looks like now; `None` when it has gone.
    pub async fn observe(&self) -> Option<BuyerStatus> {
        self.buyer.send(Observe).await.ok()
    }

    /// Decrypts a payload, after buying its key if it is unknown.
    ///
    /// # Errors
    /// [`UnwrapError`]; all that wait for the same key get the same one.
    pub async fn unwrap(
        &self,
        key_id: KeyId,
        serializer: &str,
        ciphertext: &[u8],
    ) -> Result<Value, UnwrapError> {
        check_serializer(serializer)?;
        decrypt(&self.key(key_id).await?, ciphertext)
    }

    /// The key with this id: bought before, or now.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn key(&self, key_id: KeyId) -> Result<DataKey, BuyError> {
        self.buyer.send(Obtain { key_id }).await.unwrap_or(Err(BuyError::Gone))
    }

    /// Subscribes to a topic. Its events come decrypted and in order, and go on after a lost session; before
    /// a start they begin with it.
    ///
    /// # Errors
    /// [`MarketError`] when the router refuses, or there are too many subscriptions.
    pub async fn subscribe(&self, topic: &str, matching: Match) -> Result<Decrypted, MarketError> {
        self.subscribe_all([(topic, matching)]).await
    }

    /// [`subscribe`](Self::subscribe) to several topics, whose events come in one order. An event that
    /// several of them match comes as often.
    ///
    /// # Errors
    /// [`MarketError`]; it is subscribed to none of them then.
    pub async fn subscribe_all(
        &self,
        topics: impl IntoIterator<Item = (&str, Match)>,
    ) -> Result<Decrypted, MarketError> {
        let (outlet, inlet) = Outlet::new(self.event_capacity);
        for (topic, matching) in topics {
            let subscribe = Subscribe { topic: topic.to_owned(), matching, outlet: outlet.clone() };
            self.buyer.send(subscribe).await.unwrap_or(Err(MarketError::NotJoined))?;
        }
        Ok(Decrypted::new(self.clone(), inlet))
    }

    /// Where the buyer stands, and how it changes.
    pub fn state(&self) -> watch::Receiver<BuyerState> {
        self.state.clone()
    }

    /// The delegate's address.
    pub fn address(&self) -> Address {
        self.address
    }
}

pub(super) fn check_serializer(serializer: &str) -> Result<(), UnwrapError> {
    if serializer == SERIALIZER {
        return Ok(());
    }
    Err(UnwrapError::Serializer { actual: serializer.chars().take(100).collect() })
}

pub(super) fn decrypt(key: &DataKey, ciphertext: &[u8]) -> Result<Value, UnwrapError> {
    let plaintext = Zeroizing::new(key.decrypt(ciphertext)?);
    Ok(cbor::decode(&plaintext, &Limits::default())?)
}
