//! The [`Seller`] actor: the supervisor of one seller. It owns the children (a [`KeySeries`] per API, the
//! [`ChannelLedger`], the market maker's session), starts and stops them in order, passes sales on to the ledger, and
//! replaces a child that died.
//!
//! Nothing of it survives a restart but the ledger and the archive in the store; the APIs come from the
//! configuration or the embedder.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use backon::ExponentialBackoff;
use lru::LruCache;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use xbr_core::channel::ChannelTerms;
use xbr_core::wire::MarketDomain;
use xbr_core::{ApiId, ChannelId, KeyId};
use xbr_store::KeyRecord;

use crate::backoff;
use crate::channel_ledger::{ChannelLedger, LedgerOptions};
use crate::directory::Directory;
use crate::in_flight::InFlight;
use crate::key_series::{KeySeries, OfferPort, SeriesOptions};
use crate::keyring::Keyring;
use crate::messages::{MarketError, MarketPort, Publish, SessionLost, ask};
use crate::observer::Event;
use crate::options::{ApiOptions, SellerOptions};
use crate::start::StartError;
use crate::watch::{Child, ChildDied, DeathWatch};

mod apis;
mod lifecycle;
mod messages;
mod sales;
mod watching;

pub use messages::{
    AddApi, Balance, BalanceError, ChannelReport, Observe, OnRotate, PauseApi, RemoveApi, ResumeApi,
    RotateApi, SellerState, SellerStatus, SetLimits, SetPrice, Start, Stop,
};

/// How many data keys are kept at hand for sales; the others are read from the archive.
const KEYS_AT_HAND: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// How long after a child's death its successor is made: one that dies at once must not keep the arbiter busy.
const MOURNING: Duration = Duration::from_millis(100);
/// How many messages may wait for the seller.
const MAILBOX: usize = 4096;

/// Makes the actor of the market maker's session: once at the start, and again when it died.
pub type MarketFactory = Box<dyn FnMut(Option<MarketWatch>) -> MarketPort>;

/// To be kept by the actor that a [`MarketFactory`] makes, as a field: its drop tells the seller that it died.
#[derive(Debug)]
pub struct MarketWatch(#[expect(dead_code, reason = "its drop is what matters")] DeathWatch);

/// The actor; see the module.
pub struct Seller {
    options: Arc<SellerOptions>,
    make_market: MarketFactory,
    /// `None` only before the actor has started.
    children: Option<Children>,
    apis: BTreeMap<ApiId, Api>,
    /// Numbers the series.
    incarnations: u64,
    directory: Directory,
    state: watch::Sender<SellerState>,
    /// Whether a market maker may be asked for anything, and who it is.
    domain: Option<MarketDomain>,
    terms: BTreeMap<ChannelId, Arc<ChannelTerms>>,
    /// The last sale of each channel that is on the way to its first use: the next one waits for it, since the earlier
    /// one tells where the channel began.
    first_uses: HashMap<ChannelId, oneshot::Receiver<()>>,
    keys_at_hand: LruCache<KeyId, KeyRecord>,
    serving: bool,
    in_flight: InFlight,
    start_waiters: Vec<oneshot::Sender<Result<(), StartError>>>,
    stop_waiters: Vec<oneshot::Sender<()>>,
    /// What was begun in an earlier epoch is void: each stop begins a new one.
    epoch: u64,
    session_lost: bool,
    /// The start, or the coming back, that is under way: a stop ends it.
    attempt: Option<SpawnHandle>,
    backoff: ExponentialBackoff,
    /// When the seller started, or came back, for the last time.
    started_at: Instant,
    /// Whether what is live is about to be offered again.
    reoffer_armed: bool,
    /// Channel polls of an earlier generation are void.
    poll_generation: u64,
    /// Whether it was said that no channel is open.
    is_told_dry: bool,
}

struct Children {
    ledger: Addr<ChannelLedger>,
    market: MarketPort,
}

struct Api {
    options: SeriesOptions,
    keyring: Arc<Keyring>,
    series: Addr<KeySeries>,
    /// The number of this series: the death of an earlier one is no news.
    incarnation: u64,
    on_rotate: Vec<Recipient<crate::key_series::KeyRotated>>,
}

/// Delays before coming back.
fn backoff(options: &SellerOptions) -> ExponentialBackoff {
    backoff::growing(Duration::from_millis(200), options.signer.address().as_bytes())
}

impl Seller {
    /// A seller that is not started. `make_market` makes the actor through which the market maker is reached.
    pub fn new(options: SellerOptions, make_market: MarketFactory) -> Self {
        Self {
            backoff: backoff(&options),
            options: Arc::new(options),
            make_market,
            children: None,
            apis: BTreeMap::new(),
            incarnations: 0,
            directory: Directory::default(),
            state: watch::Sender::new(SellerState::None),
            domain: None,
            terms: BTreeMap::new(),
            first_uses: HashMap::new(),
            keys_at_hand: LruCache::new(KEYS_AT_HAND),
            serving: false,
            in_flight: InFlight::default(),
            start_waiters: Vec::new(),
            stop_waiters: Vec::new(),
            epoch: 0,
            session_lost: false,
            attempt: None,
            started_at: Instant::now(),
            reoffer_armed: false,
            poll_generation: 0,
            is_told_dry: false,
        }
    }

    pub(crate) fn directory(&self) -> Directory {
        self.directory.clone()
    }

    pub(crate) fn state(&self) -> watch::Receiver<SellerState> {
        self.state.subscribe()
    }

    fn current_state(&self) -> SellerState {
        *self.state.borrow()
    }

    fn set_state(&self, state: SellerState) {
        let before = self.state.send_replace(state);
        if before != state {
            tracing::debug!(?before, now = ?state, "seller state");
            self.options.observers.tell(|| Event::State(state));
        }
    }

    fn make_ledger(&self, ctx: &Context<Self>) -> Addr<ChannelLedger> {
        let options = LedgerOptions {
            store: self.options.store.clone(),
            clock: self.options.clock.clone(),
            delegate: self.options.signer.address(),
            reconcile: self.options.reconcile,
            low_balance: self.options.low_balance,
            observers: self.options.observers.clone(),
            workers: xbr_compute::workers(),
        };
        ChannelLedger::watched(options, DeathWatch::new(Child::Ledger, ctx.address().recipient())).start()
    }

    /// A series, and its number.
    fn make_series(
        &mut self,
        options: SeriesOptions,
        keyring: Arc<Keyring>,
        ctx: &Context<Self>,
    ) -> (Addr<KeySeries>, u64) {
        self.incarnations += 1;
        let child = Child::Series(options.terms.api_id, self.incarnations);
        let watch = DeathWatch::new(child, ctx.address().recipient());
        (KeySeries::new(options, keyring, self.offer_port(), Some(watch)).start(), self.incarnations)
    }

    /// Whether a child is one that should be alive. The series of a removed API dies as it should, also when the API
    /// was added again meanwhile.
    fn is_missed(&self, child: Child) -> bool {
        match child {
            Child::Series(api_id, incarnation) => {
                self.apis.get(&api_id).is_some_and(|api| api.incarnation == incarnation)
            }
            Child::Ledger | Child::Market => true,
        }
    }

    /// Where offers are placed now, if a market maker serves.
    fn offer_port(&self) -> Option<OfferPort> {
        let children = self.children.as_ref().filter(|_| self.serving)?;
        let (place, revoke) = (children.market.place_offer.clone(), children.market.revoke_offer.clone());
        Some(OfferPort { place, revoke })
    }

    fn make_market(&mut self, ctx: &Context<Self>) -> MarketPort {
        (self.make_market)(Some(MarketWatch(DeathWatch::new(Child::Market, ctx.address().recipient()))))
    }
}

impl Actor for Seller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let ledger = self.make_ledger(ctx);
        let market = self.make_market(ctx);
        self.children = Some(Children { ledger, market });
    }
}

impl Handler<ChildDied> for Seller {
    type Result = ();

    fn handle(&mut self, message: ChildDied, ctx: &mut Self::Context) {
        if !self.is_missed(message.0) {
            return;
        }
        tracing::error!(child = ?message.0, "an actor died, making another");
        ctx.run_later(MOURNING, move |seller, ctx| seller.replace(message.0, ctx));
    }
}

impl Seller {
    /// A child that died mid-handler leaves an unknown outcome: its successor begins with what is durable.
    fn replace(&mut self, child: Child, ctx: &mut Context<Self>) {
        if !self.is_missed(child) {
            return;
        }
        match child {
            Child::Series(api_id, _) => self.replace_series(api_id, ctx),
            Child::Ledger => {
                let ledger = self.make_ledger(ctx);
                if let Some(children) = &mut self.children {
                    children.ledger = ledger;
                }
                self.restart_session("the ledger died", ctx);
            }
            Child::Market => {
                let market = self.make_market(ctx);
                if let Some(children) = &mut self.children {
                    children.market = market;
                }
                self.restart_session("the session actor died", ctx);
            }
        }
    }

    fn replace_series(&mut self, api_id: ApiId, ctx: &Context<Self>) {
        let Some(api) = self.apis.get(&api_id) else { return };
        let (options, keyring) = (api.options.clone(), api.keyring.clone());
        let (series, incarnation) = self.make_series(options, keyring, ctx);
        if let Some(api) = self.apis.get_mut(&api_id) {
            for subscriber in &api.on_rotate {
                // A fresh mailbox has room.
                let _ = series.try_send(crate::key_series::Subscribe(subscriber.clone()));
            }
            api.series = series;
            api.incarnation = incarnation;
        }
    }
}

impl Handler<Publish> for Seller {
    type Result = ResponseFuture<Result<(), MarketError>>;

    fn handle(&mut self, message: Publish, _: &mut Self::Context) -> Self::Result {
        let publish = self.children.as_ref().map(|children| children.market.publish.clone());
        Box::pin(async move {
            match publish {
                Some(publish) => ask(&publish, message).await,
                None => Err(MarketError::NotJoined),
            }
        })
    }
}

impl Handler<SessionLost> for Seller {
    type Result = ();

    fn handle(&mut self, message: SessionLost, ctx: &mut Self::Context) {
        self.restart_session(&message.reason, ctx);
    }
}

impl Drop for Seller {
    /// Nobody makes a key any more: whoever waits for one is told at once.
    fn drop(&mut self) {
        for api in self.apis.values() {
            api.keyring.stop();
        }
    }
}

impl std::fmt::Debug for Seller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seller").field("options", &self.options).finish_non_exhaustive()
    }
}
