//! A seller of one's own, to measure a machine with: it, its store on disk, and a router that listens on the
//! loopback interface, each on threads of its own in this process. Nothing of it survives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use xbr_actors::{ApiError, ApiOptions, MarketOptions, Rotation, SellerHandle, SellerOptions, StartError};
use xbr_core::crypto::UserspaceEntropy;
use xbr_core::offer::{OfferTerms, TermsError, UriPrefix};
use xbr_core::{Address, Amount, ApiId, DelegateKey};
use xbr_market::router::{self, RealmOptions, Role, RouterHandle, RouterOptions};
use xbr_store::{MasterKey, MasterKeyError, SqliteStore, StoreError};
use xbr_wamp::ClientOptions;

/// The realm, and the role of everybody in it.
const REALM: &str = "bench";
/// How long the end may take.
const GRACE: Duration = Duration::from_secs(2);

/// Why there is no seller to measure.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// There is no folder, or no address to listen at.
    #[error("cannot make a folder, or listen on the loopback interface: {0}")]
    Io(#[from] std::io::Error),
    /// There is no router.
    #[error(transparent)]
    Router(#[from] router::SpawnError),
    /// The store has no master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no thread for the seller.
    #[error(transparent)]
    Thread(#[from] xbr_actors::SpawnError),
    /// Nothing can be sold.
    #[error("nothing can be sold: {0}")]
    Api(#[from] ApiError),
    /// The seller does not start.
    #[error("the seller does not start: {0}")]
    Start(#[from] StartError),
}

/// The router, and the seller once it sells.
#[derive(Debug)]
pub(super) struct Own {
    router: RouterHandle,
    /// How it is joined.
    pub(super) client: ClientOptions,
    seller: Option<(SellerHandle, SqliteStore)>,
    /// Removed with the store in it, and so last.
    folder: TempDir,
}

impl Own {
    /// Opens the router, at a port that is free, and makes a folder in that one.
    pub(super) async fn open(folder: Option<&Path>) -> Result<Self, OwnError> {
        let realm = RealmOptions::new(REALM).role(Role::unrestricted(REALM)).anonymous(REALM);
        let router = RouterHandle::spawn(RouterOptions::new([realm]))?;
        let address = router.listen(([127, 0, 0, 1], 0).into()).await?;
        let client = ClientOptions::new(format!("ws://{address}/"), REALM);
        let folder = folder.map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
        Ok(Self { router, client, seller: None, folder })
    }

    /// Sells a key, for a market maker that has joined.
    pub(super) async fn sell(&mut self, market_maker: Address) -> Result<(), OwnError> {
        let path = self.folder.path().join("seller.db");
        let master_key = MasterKey::create(self.folder.path().join("seller.db.master"))?;
        let opening = tokio::task::spawn_blocking(move || SqliteStore::open(path, master_key));
        let store = opening.await.map_err(|_| StoreError::Closed)??;
        let signer = Arc::new(DelegateKey::generate(&UserspaceEntropy).0);
        let options = SellerOptions::new(market_maker, signer, Arc::new(store.clone()));
        let seller = SellerHandle::spawn(options, MarketOptions::new(self.client.clone()))?;
        let (seller, _) = self.seller.insert((seller, store));
        seller.add_api(api().map_err(ApiError::from)?).await?;
        Ok(seller.start().await?)
    }

    /// Ends everything in order.
    pub(super) async fn close(self) {
        if let Some((seller, store)) = self.seller {
            seller.stop(GRACE).await;
            crate::service::close(&store, GRACE).await;
        }
        self.router.shutdown(GRACE).await;
    }
}

/// One key for the whole time.
fn api() -> Result<ApiOptions, TermsError> {
    let terms = OfferTerms {
        api_id: ApiId::random(),
        prefix: UriPrefix::new(REALM)?,
        price: Amount::from_xbr(1),
        categories: Default::default(),
        expires_after: None,
        copies: None,
    };
    Ok(ApiOptions { terms, rotation: Rotation { interval: None, count: Some(u64::MAX) } })
}
