//! A market as a service: the market maker, on a router of its own or on another one. It opens the books,
//! starts the market maker, lets clients in, waits to be told to stop, and ends everything in order. The
//! books are closed last.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::time::{Instant, timeout};
use xbr_core::crypto::SignError;
use xbr_core::wire::{ChannelType, MarketDomain};
use xbr_core::{Address, Amount};
use xbr_market::maker::{
    self, ChannelGrant, MakerHandle, MakerOptions, MakerState, MakerStore, SqliteMakerStore,
};
use xbr_market::router::{self, Identity, RouterHandle};
use xbr_store::StoreError;

use crate::config::{
    ChannelConfig, HostConfig, HostSecrets, MARKET_MAKER_ROLE, MakerConfig, Member, RealmConfig,
};

pub mod operator;

/// Why a market does not run.
#[derive(Debug, Error)]
pub enum HostError {
    /// The books cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator has no key.
    #[error("the key does not sign: {0}")]
    Key(#[from] SignError),
    /// There can be no router.
    #[error(transparent)]
    Router(#[from] router::SpawnError),
    /// The market maker has no thread to run on.
    #[error(transparent)]
    Spawn(#[from] maker::SpawnError),
    /// The market maker does not start.
    #[error(transparent)]
    Start(#[from] maker::StartError),
    /// Nobody can be let in.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The market maker ended by itself, which it never should.
    #[error("the market maker has gone")]
    Gone,
}

impl HostError {
    /// Whether the market failed to start, as opposed to fail later.
    pub fn is_failed_start(&self) -> bool {
        !matches!(self, Self::Gone)
    }

    /// What an operator can do about it, where the text of the error does not say so.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Store(_) => "check the disk and store.path",
            Self::Listen { .. } => "check router.listen, and whether another program listens there",
            Self::Gone => "the log above says which part failed; start again",
            _ => "correct what the error names, and start again",
        }
    }
}

/// Serves the market until `stop` resolves, and ends in order then. Nothing durable is lost whenever it ends.
///
/// # Errors
/// [`HostError`]; everything is ended all the same.
pub async fn run(
    config: HostConfig,
    secrets: HostSecrets,
    stop: impl Future<Output = ()>,
) -> Result<(), HostError> {
    let path = config.store.clone();
    let opening = tokio::task::spawn_blocking(move || SqliteMakerStore::open(path));
    let store = opening.await.map_err(|_| StoreError::Closed)??;
    let (router, dial) = match &config.realm {
        RealmConfig::Own(own) => {
            let operator_key = operator::login(&secrets.key)?;
            let router = RouterHandle::spawn(own.options(secrets.tickets, operator_key.public))?;
            let maker = MARKET_MAKER_ROLE.to_owned();
            let dial = router.dial(&own.realm, Identity { authid: maker.clone(), role: maker });
            (Some(router), dial)
        }
        RealmConfig::Other { market, .. } => (None, market.options(secrets.auth).into()),
    };
    let domain = config.maker.domain();
    let mut options = MakerOptions::new(Arc::new(secrets.key), domain, Arc::new(store.clone()), dial);
    config.maker.apply(&mut options);
    options.force_reregister = matches!(config.realm, RealmConfig::Other { force_reregister: true, .. });
    options.channels = config.channels.iter().map(ChannelConfig::grant).collect();
    let maker = MakerHandle::spawn(options)?;
    let result = tokio::select! {
        () = stop => Ok(()),
        result = serve(&config, router.as_ref(), &maker) => result,
    };

    let grace = config.maker.grace;
    let deadline = Instant::now() + grace;
    tracing::info!(?grace, "stopping");
    maker.stop(grace).await;
    if let Some(router) = router {
        router.shutdown(deadline.saturating_duration_since(Instant::now())).await;
    }
    if !matches!(timeout(grace, store.flush()).await, Ok(Ok(()))) {
        tracing::error!("the store does not close, leaving it as after a crash");
    }
    tracing::info!("stopped");
    result
}

/// Starts, and goes on for as long as the market maker lives.
async fn serve(
    config: &HostConfig,
    router: Option<&RouterHandle>,
    maker: &MakerHandle,
) -> Result<(), HostError> {
    maker.start().await?;
    if let (RealmConfig::Own(own), Some(router)) = (&config.realm, router) {
        for address in &own.listen {
            let listening = router.listen(*address).await;
            let at = listening.map_err(|error| HostError::Listen { address: *address, error })?;
            tracing::info!(url = format!("ws://{at}/"), realm = own.realm, "listening");
        }
    }
    let channels = maker.observe().await.map(|status| status.channels.len());
    tracing::info!(market_maker = %maker.address(), market = %config.maker.market_id, channels, "started");
    let mut state = maker.state();
    // A lost session is joined again; only the end of the market maker ends this.
    drop(state.wait_for(|state| *state == MakerState::Stopped).await);
    Err(HostError::Gone)
}

impl MakerConfig {
    /// What signatures are bound to.
    pub fn domain(&self) -> MarketDomain {
        MarketDomain {
            chain_id: Amount::from_units(self.chain_id.into()),
            verifying_contract: self.verifying_contract,
            market_id: self.market_id,
        }
    }

    /// Applies the section to the defaults of an embedder.
    pub fn apply(&self, options: &mut MakerOptions) {
        options.offers = self.offers;
        options.max_in_flight = self.max_in_flight;
        options.buy_patience = self.buy_patience;
        options.sell_timeout = self.sell_timeout;
    }
}

impl ChannelConfig {
    fn grant(&self) -> ChannelGrant {
        ChannelGrant {
            kind: self.member.channel_type(),
            delegate: self.member.address(),
            amount: self.amount,
        }
    }
}

impl Member {
    /// What kind of channels it has.
    pub fn channel_type(self) -> ChannelType {
        match self {
            Self::Buyer(_) => ChannelType::Payment,
            Self::Seller(_) => ChannelType::Paying,
        }
    }

    /// Its delegate.
    pub fn address(self) -> Address {
        match self {
            Self::Buyer(address) | Self::Seller(address) => address,
        }
    }
}
