//! The market of the demo: router, market maker, seller and buyers in this process, joined by links in
//! memory. They are what `market`, `run` and `buy` run, each command on a thread of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use xbr_actors::{
    ApiError, ApiOptions, MarketOptions, Observers, SellerHandle, SellerOptions, SellerStatus, StartError,
};
use xbr_core::wire::ChannelType;
use xbr_core::{Amount, Signer};
use xbr_market::buyer::messages::MarketPort;
use xbr_market::buyer::{self, BuyerHandle, BuyerOptions, BuyerStatus, MarketSession};
use xbr_market::maker::messages::RealmPort;
use xbr_market::maker::{self, ChannelGrant, MakerHandle, MakerOptions, MakerStatus, RealmSession};
use xbr_market::router::{self, Identity, RealmOptions, Role, RouterHandle, RouterOptions};
use xbr_wamp::Dial;

use super::accounts::Accounts;
use super::parties::Parties;
use crate::config::{DemoConfig, MARKET_MAKER_ROLE};

/// The realm of the demo.
const REALM: &str = "demo";
/// The role of buyers and sellers.
const MEMBER: &str = "member";
/// How long to wait before looking again whether everything is settled.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why there is no market.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// There is no router.
    #[error(transparent)]
    Router(#[from] router::SpawnError),
    /// There is no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The market maker does not start.
    #[error("the market maker does not start: {0}")]
    Maker(#[from] maker::StartError),
    /// There is no thread for the seller.
    #[error(transparent)]
    SellerThread(#[from] xbr_actors::SpawnError),
    /// An API cannot be sold.
    #[error("an API cannot be sold: {0}")]
    Api(#[from] ApiError),
    /// The seller does not start.
    #[error("the seller does not start: {0}")]
    Seller(#[from] StartError),
    /// A buyer does not start.
    #[error("a buyer does not start: {0}")]
    Buyer(#[from] buyer::StartError),
    /// Somebody ended by itself, which nobody should.
    #[error("{who} has gone; the log says why")]
    Gone {
        /// Who.
        who: &'static str,
    },
}

/// Everybody, running.
#[derive(Debug)]
pub struct Market {
    router: RouterHandle,
    maker: MakerHandle,
    /// Who sells.
    pub seller: SellerHandle,
    /// Who buy.
    pub buyers: Vec<BuyerHandle>,
}

/// What everybody looks like at a moment.
#[derive(Debug)]
pub struct Observed {
    /// The market maker.
    pub maker: MakerStatus,
    /// The seller.
    pub seller: SellerStatus,
    /// The buyers.
    pub buyers: Vec<BuyerStatus>,
}

impl Market {
    /// Opens the market: everybody has started when this resolves. The observers watch the seller.
    ///
    /// # Errors
    /// [`MarketError`].
    pub async fn open(
        config: &DemoConfig,
        parties: &Parties,
        apis: Vec<ApiOptions>,
        observers: Observers,
    ) -> Result<Self, MarketError> {
        let maker_role = Role::unrestricted(MARKET_MAKER_ROLE).disclosed();
        let realm = RealmOptions::new(REALM).role(maker_role).role(Role::unrestricted(MEMBER).disclosed());
        let options = RouterOptions::new([realm]);
        let router = parties.market_thread.run(|| RouterHandle::here(options)).await?;
        let router = router.map_err(router::SpawnError::from)?;

        let options = maker_options(config, parties, dial(&router, MARKET_MAKER_ROLE));
        let maker = parties.market_thread.run(|| new_maker(options)).await?;
        maker.start().await?;

        let market_maker = parties.maker.key.address();
        let store = Arc::new(parties.seller.store.clone());
        let mut options = SellerOptions::new(market_maker, parties.seller.key.clone(), store);
        options.observers = observers;
        let seller = SellerHandle::spawn(options, MarketOptions::new(dial(&router, MEMBER)))?;
        for api in apis {
            seller.add_api(api).await?;
        }
        seller.start().await?;

        let mut buyers = Vec::with_capacity(parties.buyers.len());
        for (party, thread) in parties.buyers() {
            let (signer, store) = (party.key.clone(), party.store.clone());
            let dial = dial(&router, MEMBER);
            let mut options = BuyerOptions::new(market_maker, signer, config.max_price, store, dial);
            // What fails on purpose may be tried again at once.
            options.retry_pause = Duration::ZERO;
            let buyer = thread.run(|| new_buyer(options)).await?;
            buyer.start().await?;
            buyers.push(buyer);
        }
        Ok(Self { router, maker, seller, buyers })
    }

    /// How a seller or buyer joins.
    pub fn dial(&self) -> Dial {
        dial(&self.router, MEMBER)
    }

    /// What everybody looks like now.
    ///
    /// # Errors
    /// [`MarketError::Gone`].
    pub async fn observe(&self) -> Result<Observed, MarketError> {
        let gone = |who| MarketError::Gone { who };
        let mut buyers = Vec::with_capacity(self.buyers.len());
        for buyer in &self.buyers {
            buyers.push(buyer.observe().await.ok_or(gone("a buyer"))?);
        }
        Ok(Observed {
            maker: self.maker.observe().await.ok_or(gone("the market maker"))?,
            seller: self.seller.observe().await.ok_or(gone("the seller"))?,
            buyers,
        })
    }

    /// Waits until nothing is in flight, then closes the market; gives everybody's books. What is still in
    /// flight after the grace period is in them.
    ///
    /// # Errors
    /// [`MarketError::Gone`].
    pub async fn close(self, grace: Duration) -> Result<Accounts, MarketError> {
        let deadline = Instant::now() + grace;
        let mut observed = self.observe().await?;
        while !self.is_settled(&observed).await && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
            observed = self.observe().await?;
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        for buyer in &self.buyers {
            buyer.stop(rest).await;
        }
        self.seller.stop(rest).await;
        self.maker.stop(rest).await;
        self.router.shutdown(rest).await;
        Ok(books(observed))
    }

    /// Whether nothing is in flight. A payment that a buyer has given up on is taken up again.
    async fn is_settled(&self, observed: &Observed) -> bool {
        let mut settled = observed.maker.pending == 0;
        for (buyer, status) in self.buyers.iter().zip(&observed.buyers) {
            let pending = status.wallet.as_ref().and_then(|wallet| wallet.pending.as_ref());
            if let Some(payment) = pending {
                settled = false;
                // Whether it brings the key or gives the money back is in the books then.
                let _ = timeout(LOOK_AGAIN, buyer.key(payment.key_id)).await;
            }
        }
        settled
    }
}

/// Stops a seller as an operator does who has no patience, and starts it again.
pub async fn restart(seller: &SellerHandle) {
    seller.stop(Duration::ZERO).await;
    while let Err(error) = seller.start().await {
        tracing::warn!(%error, "the seller does not start again yet");
        sleep(LOOK_AGAIN).await;
    }
}

fn dial(router: &RouterHandle, role: &str) -> Dial {
    router.dial(REALM, Identity { authid: role.to_owned(), role: role.to_owned() })
}

fn maker_options(config: &DemoConfig, parties: &Parties, dial: Dial) -> MakerOptions {
    let store = parties.maker.store.clone();
    let mut options = MakerOptions::new(parties.maker.key.clone(), parties.domain(), store, dial);
    let grant = |kind, key: &dyn Signer, amount| ChannelGrant { kind, delegate: key.address(), amount };
    let payment = |key: &dyn Signer| grant(ChannelType::Payment, key, config.deposit);
    options.channels = parties.buyers.iter().map(|party| payment(&*party.key)).collect();
    // The seller can earn no more than the buyers have.
    let all = options
        .channels
        .iter()
        .fold(Amount::ZERO, |sum, grant| sum.checked_add(grant.amount).unwrap_or(Amount::MAX));
    options.channels.push(grant(ChannelType::Paying, &*parties.seller.key, all));
    options.max_in_flight = options.max_in_flight.max(parties.buyers.len());
    options
}

/// Makes a market maker on this thread.
fn new_maker(options: MakerOptions) -> MakerHandle {
    let session = RealmSession::new(options.dial.clone(), options.force_reregister);
    MakerHandle::here(options, RealmPort::new(&actix::Actor::start(session)))
}

/// Makes a buyer on this thread.
fn new_buyer(options: BuyerOptions) -> BuyerHandle {
    let session = actix::Actor::start(MarketSession::new(options.dial.clone()));
    BuyerHandle::here(options, MarketPort::new(&session))
}

/// Everybody's books, as they were observed.
pub fn books(observed: Observed) -> Accounts {
    let (payment, paying) =
        observed.maker.channels.into_iter().partition(|channel| channel.kind == ChannelType::Payment);
    Accounts {
        payment,
        paying,
        buyers: observed.buyers.into_iter().filter_map(|status| status.wallet).collect(),
        seller: observed.seller.channels.into_iter().map(|status| status.channel).collect(),
    }
}
