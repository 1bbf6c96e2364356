//! What an embedder holds: a [`SellerHandle`], usable from any thread and any tokio runtime. The actors run on a
//! thread of their own.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_core::{Address, Amount, ApiId, KeyId, ProviderId, Value};

use crate::closing::{Close, CloseError, CloseOptions, CloseReport};
use crate::directory::Directory;
use crate::key_series::KeyRotated;
use crate::market_maker::{MarketMaker, MarketOptions};
use crate::messages::{CloseChannel, MarketError, MarketPort, Publish, Sell};
use crate::options::{ApiError, ApiOptions, SellerLimits, SellerOptions};
use crate::seller::{
    AddApi, Balance, BalanceError, ChannelReport, MarketFactory, Observe, OnRotate, PauseApi, RemoveApi,
    ResumeApi, RotateApi, Seller, SellerState, SellerStatus, SetLimits, SetPrice, Start, Stop,
};
use crate::start::StartError;
use crate::wrapper::{WrapError, Wrapped, Wrapper};

/// The seller's thread could not be made.
#[derive(Debug, Error)]
#[error("cannot start the seller's thread: {0}")]
pub struct SpawnError(#[from] std::io::Error);

/// One seller. Clones are the same seller; when the last is dropped, its actors go, and the connection with them
/// ([`stop`](Self::stop) first to do it in order).
#[derive(Debug, Clone)]
pub struct SellerHandle {
    seller: Addr<Seller>,
    publish: Recipient<Publish>,
    directory: Directory,
    state: watch::Receiver<SellerState>,
    identity: Arc<Identity>,
    _thread: Arc<Thread>,
}

#[derive(Debug)]
struct Identity {
    address: Address,
    public_key: [u8; 64],
    provider_id: ProviderId,
}

/// The actors' thread goes when this does.
#[derive(Debug)]
struct Thread {
    _end: oneshot::Sender<()>,
}

impl SellerHandle {
    /// Makes a seller that is reached through a WAMP router, on a thread of its own. It is not started yet.
    ///
    /// # Errors
    /// [`SpawnError`] when there can be no thread.
    pub fn spawn(options: SellerOptions, market: MarketOptions) -> Result<Self, SpawnError> {
        let signer = options.signer.clone();
        let provider_id = options.provider_id.clone();
        let observers = options.observers.clone();
        Self::spawn_with(options, move || {
            Box::new(move |watch| {
                let (market, signer, provider_id) = (market.clone(), signer.clone(), provider_id.clone());
                let session = MarketMaker::new(market, signer, provider_id, watch);
                MarketPort::new(&session.observed_by(observers.clone()).start())
            })
        })
    }

    /// Makes a seller whose market maker is reached through whatever the factory makes. `make_factory` runs on the
    /// actors' thread.
    ///
    /// # Errors
    /// [`SpawnError`] when there can be no thread.
    pub fn spawn_with(
        options: SellerOptions,
        make_factory: impl FnOnce() -> MarketFactory + Send + 'static,
    ) -> Result<Self, SpawnError> {
        let identity = Arc::new(Identity {
            address: options.signer.address(),
            public_key: options.signer.public_key(),
            provider_id: options.provider_id.clone(),
        });
        let (ready, made) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("xbr-seller".into()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                let seller = Seller::new(options, make_factory());
                let (directory, state) = (seller.directory(), seller.state());
                let seller = seller.start();
                let publish = seller.clone().recipient();
                // Whoever spawned may have gone; then the thread ends at once.
                let _ = ready.send((seller, publish, directory, state));
                let _ = ended.await;
            });
        })?;
        let (seller, publish, directory, state) =
            made.recv().map_err(|_| std::io::Error::other("the thread ended at once"))?;
        Ok(Self { seller, publish, directory, state, identity, _thread: Arc::new(Thread { _end: end }) })
    }

    /// Starts selling: joins the realm, reconciles the channels, registers, offers keys. A started seller stays as it
    /// is; a failed start can be tried again.
    ///
    /// # Errors
    /// [`StartError`]; the seller is stopped then.
    pub async fn start(&self) -> Result<(), StartError> {
        self.seller.send(Start).await.unwrap_or(Err(StartError::Gone))
    }

    /// Stops selling, in order, within the grace period; from any state.
    pub async fn stop(&self, grace: Duration) {
        // A seller that has gone is stopped.
        let _ = self.seller.send(Stop { grace }).await;
    }

    /// Sells an API, before or after the start. Its first key is ready when this returns.
    ///
    /// # Errors
    /// [`ApiError`]; nothing was added, unless the first key did not become ready in time.
    pub async fn add_api(&self, options: ApiOptions) -> Result<(), ApiError> {
        self.seller.send(AddApi(options)).await.unwrap_or(Err(ApiError::Gone))
    }

    /// Sells an API no more; whether there was one. Keys that were offered stay sellable.
    pub async fn remove_api(&self, api_id: ApiId) -> bool {
        self.seller.send(RemoveApi(api_id)).await.unwrap_or(false)
    }

    /// Keeps to other limits from now on, until a restart.
    pub async fn set_limits(&self, limits: SellerLimits) {
        // A seller that has gone keeps to none.
        let _ = self.seller.send(SetLimits(limits)).await;
    }

    /// Moves to the next key of an API now, and waits until it is current. Gives its id.
    ///
    /// # Errors
    /// [`WrapError`]: there is no such API, it is paused or stopped, or no key became ready in time; then the rotation
    /// follows when one is.
    pub async fn rotate(&self, api_id: ApiId) -> Result<KeyId, WrapError> {
        self.seller.send(RotateApi(api_id)).await.unwrap_or(Err(WrapError::Stopped))
    }

    /// Refuses to encrypt for an API ([`WrapError::Paused`]), and makes and offers no new key, until
    /// [`resume`](Self::resume). What was offered stays sellable; a key that is being made is finished. Whether there is
    /// such an API. It does not survive a restart.
    pub async fn pause(&self, api_id: ApiId) -> bool {
        self.seller.send(PauseApi(api_id)).await.unwrap_or(false)
    }

    /// Ends the pause of an API; whether there is such an API. When the interval of the current key has passed
    /// meanwhile, a new one takes its place first.
    pub async fn resume(&self, api_id: ApiId) -> bool {
        self.seller.send(ResumeApi(api_id)).await.unwrap_or(false)
    }

    /// Sells the keys that an API makes from now on for another price; whether there is such an API. A key that is made
    /// keeps its price, the next one included, which is offered already ([`SeriesStatus`](crate::key_series::SeriesStatus)
    /// tells both). It does not survive a restart.
    pub async fn set_price(&self, api_id: ApiId, price: Amount) -> bool {
        self.seller.send(SetPrice { api_id, price }).await.unwrap_or(false)
    }

    /// Tells a subscriber of each rotation of an API's keys; whether there is such an API.
    pub async fn on_rotate(&self, api_id: ApiId, subscriber: Recipient<KeyRotated>) -> bool {
        self.seller.send(OnRotate { api_id, subscriber }).await.unwrap_or(false)
    }

    /// What encrypts the payloads of an API: keep it to save the look-up. It ends with the API.
    ///
    /// # Errors
    /// [`WrapError::UnknownApi`].
    pub fn wrapper(&self, api_id: ApiId) -> Result<Wrapper, WrapError> {
        self.directory.beside(api_id).get(&api_id).cloned().ok_or(WrapError::UnknownApi { api_id })
    }

    /// Encrypts a payload with the API's current key, on the caller's thread.
    ///
    /// # Errors
    /// [`WrapError`]; nothing was encrypted.
    pub async fn wrap<T: Serialize + ?Sized>(
        &self,
        api_id: ApiId,
        uri: &str,
        payload: &T,
    ) -> Result<Wrapped, WrapError> {
        // A look at the directory, not a share of it: callers on many threads would count their shares against each
        // other.
        let directory = self.directory.beside(api_id);
        directory.get(&api_id).ok_or(WrapError::UnknownApi { api_id })?.wrap(uri, payload).await
    }

    /// [`wrap`](Self::wrap) for a dynamic value.
    ///
    /// # Errors
    /// [`WrapError`]; nothing was encrypted.
    pub async fn wrap_value(&self, api_id: ApiId, uri: &str, payload: &Value) -> Result<Wrapped, WrapError> {
        self.wrapper(api_id)?.wrap_value(uri, payload).await
    }

    /// Encrypts many payloads, in order; the key may change in between.
    ///
    /// # Errors
    /// [`WrapError`]; what was encrypted before is lost.
    pub async fn wrap_batch<'a, T, I>(
        &self,
        api_id: ApiId,
        uri: &str,
        payloads: I,
    ) -> Result<Vec<Wrapped>, WrapError>
    where
        T: Serialize + ?Sized + 'a,
        I: IntoIterator<Item = &'a T>,
    {
        self.wrapper(api_id)?.wrap_batch(uri, payloads).await
    }

    /// Publishes an encrypted payload over the session, and waits for the router's acknowledgement.
    ///
    /// # Errors
    /// [`MarketError`], [`MarketError::NotJoined`] when there is no session.
    pub async fn publish(&self, topic: &str, wrapped: Wrapped) -> Result<(), MarketError> {
        let publish = Publish { topic: topic.to_owned(), args: wrapped.into_args() };
        self.publish.send(publish).await.unwrap_or(Err(MarketError::NotJoined))
    }

    /// The balance of every channel: amount, remaining, in flight, earned and seq, from the ledger's and the market
    /// maker's side.
    ///
    /// # Errors
    /// [`BalanceError`] when the seller has gone.
    pub async fn balance(&self) -> Result<Vec<ChannelReport>, BalanceError> {
        self.seller.send(Balance).await.unwrap_or(Err(BalanceError::Gone))
    }

    /// What the seller, its APIs and channels look like now; `None` when it has gone.
    pub async fn observe(&self) -> Option<SellerStatus> {
        self.seller.send(Observe).await.ok()
    }

    /// Sells a key, as the market maker does over WAMP.
    ///
    /// # Errors
    /// [`SaleReject`]; nothing was sold.
    pub async fn sell(&self, request: SellRequest) -> Result<SellReceipt, SaleReject> {
        let gone = Err(SaleReject::Unavailable { reason: "the seller has gone" });
        self.seller.send(Sell::from(request)).await.unwrap_or(gone)
    }

    /// Signs a state to close a channel at, as the market maker asks over WAMP.
    ///
    /// # Errors
    /// [`CloseReject`]; nothing was signed.
    pub async fn close_channel(&self, request: CloseRequest) -> Result<CloseReceipt, CloseReject> {
        let gone = Err(CloseReject::Unavailable { reason: "the seller has gone" });
        self.seller.send(CloseChannel { request }).await.unwrap_or(gone)
    }

    /// Closes a paying channel for good, on the chain, through the market maker. Nothing is sold on it from the moment
    /// the close is stored, which is before it is sent. A seller that is not started joins for the purpose.
    ///
    /// # Errors
    /// [`CloseError`]; up to [`CloseError::Unsigned`] nothing has changed, and after [`CloseError::NotTaken`] closing
    /// the same channel again sends the same close again.
    pub async fn close(&self, options: CloseOptions) -> Result<CloseReport, CloseError> {
        self.seller.send(Close(options)).await.unwrap_or(Err(CloseError::Gone))
    }

    /// Where the seller stands, and how it changes.
    pub fn state(&self) -> watch::Receiver<SellerState> {
        self.state.clone()
    }

    /// The delegate's address.
    pub fn address(&self) -> Address {
        self.identity.address
    }

    /// The delegate's uncompressed public key, 64 bytes without the 04 prefix.
    pub fn public_key(&self) -> &[u8; 64] {
        &self.identity.public_key
    }

    /// Under which name the provider's procedures are registered.
    pub fn provider_id(&self) -> &ProviderId {
        &self.identity.provider_id
    }
}
