//! The [`Buyer`] actor: it knows which keys are wanted and by whom, has them bought one after the other, and
//! keeps the session up. While a purchase is under way the [`Till`] is with it, so that no second one can
//! begin.
//!
//! Of it survive a restart: the payment channels, payments and keys, in the store. Subscriptions come from
//! the embedder.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use lru::LruCache;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use xbr_core::channel::ChannelState;
use xbr_core::wire::ChannelBalance;
use xbr_core::{Amount, ChannelId, DataKey, KeyId};
use xbr_store::StoreError;

use super::error::{BuyError, MarketError, StartError};
use super::messages::{FetchBalance, MarketPort, Subscribe, ask};
use super::options::BuyerOptions;
use super::purchases::{Purchases, Want};
use super::store::StoredKey;
use super::till::Till;
use super::wallet::Wallet;

mod lifecycle;

/// How many bought keys are kept at hand; the others are read from the store.
const KEYS_AT_HAND: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");
/// How many messages may wait for the buyer.
const MAILBOX: usize = 4096;

/// Where a buyer stands. The numbers are those of the reference's seller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuyerState {
    /// Never started.
    #[default]
    None = 0,
    /// Joining, and looking at the payment channel.
    Starting = 1,
    /// Buying. A lost session is joined again by itself.
    Started = 2,
    /// Finishing the purchase that is under way.
    Stopping = 3,
    /// Stopped; it can be started again.
    Stopped = 4,
}

/// Start buying.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StartError>")]
pub struct Start;

/// Buy nothing more, finish what is under way, and leave.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// For how long to wait for the purchase that is under way; it is settled at the next start otherwise.
    pub grace: Duration,
}

/// Give a key: from memory, from the store, or by buying it.
#[derive(Debug, Message)]
#[rtype(result = "Result<DataKey, BuyError>")]
pub struct Obtain {
    /// The key.
    pub key_id: KeyId,
}

/// What the payment channel has left, by both sides.
#[derive(Debug, Message)]
#[rtype(result = "Result<BalanceReport, BuyError>")]
pub struct Balance;

/// What the buyer looks like now.
#[derive(Debug, Message)]
#[rtype(result = "BuyerStatus")]
pub struct Observe;

/// The payment channel by the buyer's books and by the market maker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceReport {
    /// The channel.
    pub channel_id: ChannelId,
    /// What was put into it.
    pub amount: Amount,
    /// Where it stands by the buyer's books; a payment that is not settled does not count.
    pub local: ChannelState,
    /// What was paid for keys.
    pub spent: Amount,
    /// What went without a key.
    pub lost: Amount,
    /// Where it stands by the market maker's books, which count a payment that is under way.
    pub remote: Result<ChannelBalance, MarketError>,
}

/// What a buyer looks like at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuyerStatus {
    /// Where it stands.
    pub state: BuyerState,
    /// Whether there is a session, and the channel can be paid from.
    pub connected: bool,
    /// The payment channel; `None` before the first start.
    pub wallet: Option<Wallet>,
    /// How many wait for a key.
    pub waiting: usize,
}

/// What is under way: one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Nothing,
    Opening,
    Buying,
}

type Waiter = oneshot::Sender<Result<DataKey, BuyError>>;

/// The actor; see the module.
pub struct Buyer {
    options: Arc<BuyerOptions>,
    market: MarketPort,
    state: watch::Sender<BuyerState>,
    /// Nobody's, or with the purchase or the start that is under way.
    till: Option<Till>,
    task: Task,
    /// Where the channel stood when the till was last here.
    wallet: Option<Wallet>,
    purchases: Purchases<Waiter, BuyError>,
    keys: LruCache<KeyId, DataKey>,
    subscriptions: Vec<Subscribe>,
    /// A payment was left behind that is to be settled first.
    settle_due: bool,
    /// The session is to be joined as soon as nothing is under way.
    open_due: bool,
    rejoin_delay: Duration,
    /// What was begun in an earlier epoch is void: each start and each end of a stop begins a new one.
    epoch: u64,
    start_waiters: Vec<oneshot::Sender<Result<(), StartError>>>,
    stop_waiters: Vec<oneshot::Sender<()>>,
}

impl Buyer {
    /// A buyer that is not started, and reaches the market through `market`.
    pub fn new(options: BuyerOptions, market: MarketPort) -> Self {
        Self {
            purchases: Purchases::new(options.max_waiting, options.retry_pause),
            rejoin_delay: options.rejoin_delay,
            options: Arc::new(options),
            market,
            state: watch::Sender::default(),
            till: None,
            task: Task::Nothing,
            wallet: None,
            keys: LruCache::new(KEYS_AT_HAND),
            subscriptions: Vec::new(),
            settle_due: false,
            open_due: false,
            epoch: 0,
            start_waiters: Vec::new(),
            stop_waiters: Vec::new(),
        }
    }

    /// Where the buyer stands, and how it changes.
    pub fn state(&self) -> watch::Receiver<BuyerState> {
        self.state.subscribe()
    }

    fn is_started(&self) -> bool {
        *self.state.borrow() == BuyerState::Started
    }

    fn looked_up(&mut self, key_id: KeyId, found: Result<StoredKey, StoreError>, ctx: &mut Context<Self>) {
        match found.map(|found| found.key) {
            Ok(Some(key)) => self.hand_out(key_id, &key),
            Ok(None) if self.is_started() => {
                self.purchases.enqueue(key_id);
                self.pump(ctx);
            }
            Ok(None) => self.turn_away(key_id, &BuyError::NotRunning),
            Err(error) => self.fail(key_id, &error.into()),
        }
    }

    /// Starts the next purchase, if none is under way.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.task != Task::Nothing {
            return;
        }
        let Some(mut till) = self.till.take() else {
            while let Some(key_id) = self.purchases.next_key() {
                self.turn_away(key_id, &MarketError::NotJoined.into());
            }
            return;
        };
        let wanted = if std::mem::take(&mut self.settle_due) {
            None
        } else {
            match self.purchases.next_key() {
                Some(key_id) => Some(key_id),
                None => {
                    self.till = Some(till);
                    return;
                }
            }
        };
        self.task = Task::Buying;
        let epoch = self.epoch;
        let purchase = async move {
            let outcome = match wanted {
                Some(key_id) => till.buy(key_id).await.map(Some),
                None => till.reconcile().await.map(|()| None),
            };
            (till, outcome)
        };
        ctx.spawn(purchase.into_actor(self).map(move |(till, outcome), buyer, ctx| {
            buyer.purchased(epoch, till, wanted, outcome, ctx);
        }));
    }

    fn purchased(
        &mut self,
        epoch: u64,
        till: Till,
        wanted: Option<KeyId>,
        outcome: Result<Option<DataKey>, BuyError>,
        ctx: &mut Context<Self>,
    ) {
        self.task = Task::Nothing;
        self.wallet = Some(till.wallet().clone());
        match (wanted, outcome) {
            (Some(key_id), Ok(Some(key))) => {
                tracing::debug!(%key_id, remaining = %till.wallet().state.balance, "bought a key");
                self.hand_out(key_id, &key);
            }
            (Some(key_id), Err(error)) => {
                tracing::warn!(%key_id, "could not buy a key: {error}");
                self.fail(key_id, &error);
            }
            (None, Err(error)) => tracing::warn!("an earlier payment is not settled yet: {error}"),
            (_, Ok(_)) => {}
        }
        if epoch == self.epoch && !self.open_due {
            self.till = Some(till);
        }
        self.idle(ctx);
    }

    fn hand_out(&mut self, key_id: KeyId, key: &DataKey) {
        self.keys.put(key_id, key.clone());
        for waiter in self.purchases.done(key_id) {
            // Whoever waited may have gone; so below.
            let _ = waiter.send(Ok(key.clone()));
        }
    }

    fn fail(&mut self, key_id: KeyId, error: &BuyError) {
        for waiter in self.purchases.failed(key_id, error.clone(), Instant::now().into_std()) {
            let _ = waiter.send(Err(error.clone()));
        }
    }

    /// Fails those who wait for a key that was not tried; the next one may ask at once.
    fn turn_away(&mut self, key_id: KeyId, error: &BuyError) {
        for waiter in self.purchases.done(key_id) {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

impl Actor for Buyer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Obtain> for Buyer {
    type Result = ResponseFuture<Result<DataKey, BuyError>>;

    fn handle(&mut self, message: Obtain, ctx: &mut Self::Context) -> Self::Result {
        let key_id = message.key_id;
        if let Some(key) = self.keys.get(&key_id) {
            return Box::pin(std::future::ready(Ok(key.clone())));
        }
        let (reply, answer) = oneshot::channel();
        match self.purchases.want(key_id, reply, Instant::now().into_std()) {
            Want::Joined => {}
            Want::LookUp => {
                let found = self.options.store.key(key_id).into_actor(self);
                ctx.spawn(found.map(move |found, buyer, ctx| buyer.looked_up(key_id, found, ctx)));
            }
            Want::Failed(reply, error) => drop(reply.send(Err(error))),
            Want::Full(reply) => {
                drop(reply.send(Err(BuyError::Busy { max: self.options.max_waiting })));
            }
        }
        // The waiter is dropped with the actor only.
        Box::pin(async move { answer.await.unwrap_or(Err(BuyError::Gone)) })
    }
}

impl Handler<Balance> for Buyer {
    type Result = ResponseFuture<Result<BalanceReport, BuyError>>;

    fn handle(&mut self, _: Balance, _: &mut Self::Context) -> Self::Result {
        let Some(wallet) = self.wallet.clone() else {
            return Box::pin(std::future::ready(Err(BuyError::NotRunning)));
        };
        let fetch = self.market.fetch_balance.clone();
        Box::pin(async move {
            let channel_id = wallet.terms.channel_id;
            Ok(BalanceReport {
                channel_id,
                amount: wallet.terms.amount,
                local: wallet.state,
                spent: wallet.spent,
                lost: wallet.lost,
                remote: ask(&fetch, FetchBalance { channel_id }).await,
            })
        })
    }
}

impl Handler<Observe> for Buyer {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(BuyerStatus {
            state: *self.state.borrow(),
            connected: self.is_started()
                && !self.open_due
                && (self.till.is_some() || self.task == Task::Buying),
            wallet: self.wallet.clone(),
            waiting: self.purchases.waiters(),
        })
    }
}

impl std::fmt::Debug for Buyer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buyer").field("options", &self.options).finish_non_exhaustive()
    }
}
