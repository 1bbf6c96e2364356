//! The [`Maker`] actor: it alone changes the books. A call is *parsed* by the session, its signer recovered
//! on a worker thread; then it is judged in the order of its arrival, stored, and answered once it is
//! durable.
//!
//! A purchase is reserved in both channels, stored, and only then does the seller see a signature. What the
//! seller answers is checked on a worker thread, booked and stored before the buyer hears of it. What is not
//! certain is repeated until it is, also after a restart.
//!
//! Everything survives a restart, in the store: channels, offers, purchases in flight. When the store fails,
//! the books are read back from it before anything else is judged, as after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::*;
use backon::ExponentialBackoff;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use xbr_compute::on_worker;
use xbr_core::wire::{Block, MarketConfig, MarketMakerStatus, MarketStatus};
use xbr_core::{Address, ChannelId, ProviderId, Signature, Value};

use super::book::Book;
use super::lane::Lane;
use super::messages::{Asked, Publish, RealmPort};
use super::options::{MakerOptions, OfferPolicy};
use super::procedures::Request;
use super::purchase::PurchaseId;
use super::reject::{BuyReject, MakerReject};
use super::signing::signer_of;

mod books;
mod buying;
mod closing;
mod lifecycle;
mod selling;
mod status;

pub use lifecycle::{Start, StartError, Stop};
pub use status::{ChannelReport, MakerState, MakerStatus, Observe, OpenOne};

/// How many messages may wait for the market maker.
const MAILBOX: usize = 8192;
/// How often the block number rises that a market without a chain tells.
const BLOCK_NS: u64 = 1_000_000_000;

/// The answer to a call.
type Answer = Result<Value, MakerReject>;
type Reply = oneshot::Sender<Answer>;

/// The actor; see the module.
pub struct Maker {
    options: Arc<MakerOptions>,
    realm: RealmPort,
    state: watch::Sender<MakerState>,
    connected: bool,
    book: Book,
    /// The calls of `sell` over each paying channel.
    lanes: HashMap<ChannelId, Lane>,
    /// The market maker's signature for the sale of each purchase in flight.
    signatures: HashMap<PurchaseId, Signature>,
    /// The buyers that wait for each purchase in flight.
    waiting: HashMap<PurchaseId, Vec<Reply>>,
    /// The paying channels that are being closed, each with its seller.
    closing: HashMap<ChannelId, ProviderId>,
    /// Where calls queue up whose signer is being recovered.
    intake: Option<mpsc::UnboundedSender<BoxFuture<'static, Judge>>>,
    /// Commits that the store has not answered.
    commits: usize,
    /// The store failed: the books are read back when the others are answered.
    stale: bool,
    /// Whether the books were read from the store.
    loaded: bool,
    /// What was begun upon earlier books is void: each reading of them begins a new epoch.
    epoch: u64,
    /// What an earlier start began is void: each start and each end of a stop begins a new run.
    run: u64,
    /// The session that was joined, or is being joined, is lost.
    session_lost: bool,
    backoff: ExponentialBackoff,
    sold: u64,
    refused: u64,
    start_waiters: Vec<oneshot::Sender<Result<(), StartError>>>,
    stop_waiters: Vec<oneshot::Sender<()>>,
}

/// A call whose signer is recovered: it is to be judged now.
#[derive(Message)]
#[rtype(result = "()")]
struct Judge {
    asked: Asked,
    signer: Option<Address>,
    reply: Reply,
}

/// A step of the market maker's.
type Step = Box<dyn FnOnce(&mut Maker, &mut Context<Maker>) + Send>;

/// What is to be done when something else has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Then(Step);

impl Maker {
    /// A market maker that is not started, and reaches its realm through `realm`.
    pub fn new(options: MakerOptions, realm: RealmPort) -> Self {
        Self {
            book: Book::new(options.market(), options.limits()),
            backoff: lifecycle::backoff(options.rejoin_delay),
            options: Arc::new(options),
            realm,
            state: watch::Sender::default(),
            connected: false,
            lanes: HashMap::new(),
            signatures: HashMap::new(),
            waiting: HashMap::new(),
            closing: HashMap::new(),
            intake: None,
            commits: 0,
            stale: false,
            loaded: false,
            epoch: 0,
            run: 0,
            session_lost: false,
            sold: 0,
            refused: 0,
            start_waiters: Vec::new(),
            stop_waiters: Vec::new(),
        }
    }

    /// Where the market maker stands, and how it changes.
    pub fn state(&self) -> watch::Receiver<MakerState> {
        self.state.subscribe()
    }

    /// Goes on with what comes of a future.
    fn whenever<T: Send + 'static>(
        ctx: &Context<Self>,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + Send + 'static,
    ) {
        let maker = ctx.address();
        actix_rt::spawn(async move {
            let outcome = future.await;
            let then = move |maker: &mut Self, ctx: &mut Context<Self>| then(maker, outcome, ctx);
            // A market maker that has gone does nothing more.
            let _ = maker.send(Then(Box::new(then))).await;
        });
    }

    /// Goes on with what comes of a future, unless the books were read again meanwhile.
    fn after<T: Send + 'static>(
        &self,
        ctx: &Context<Self>,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + Send + 'static,
    ) {
        let epoch = self.epoch;
        Self::whenever(ctx, future, move |maker, outcome, ctx| {
            if maker.epoch == epoch {
                then(maker, outcome, ctx);
            }
        });
    }

    /// Goes on with what comes of a future, unless the market maker was stopped or started anew meanwhile.
    fn in_this_run<T: Send + 'static>(
        &self,
        ctx: &Context<Self>,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + Send + 'static,
    ) {
        let run = self.run;
        Self::whenever(ctx, future, move |maker, outcome, ctx| {
            if maker.run == run {
                then(maker, outcome, ctx);
            }
        });
    }

    /// Recovers the signer of a call on a worker thread; calls are judged in the order of this.
    fn take_in(&self, asked: Asked) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let (request, market) = (asked.request.clone(), *self.book.market());
        let recovering = on_worker(move || match &request {
            Request::Buy(buy) => signer_of(&market.state(buy.channel_id, buy.state(), false), &buy.signature),
            Request::Place(offer) => signer_of(&offer.unsigned.message(&market.domain), &offer.signature),
            Request::Close(close) => signer_of(&close.message(market.domain.market_id), &close.signature),
            Request::Open(open) => signer_of(&open.message(), &open.signature),
            _ => None,
        });
        let judge = async move { Judge { asked, signer: recovering.await.flatten(), reply } };
        if let Some(intake) = &self.intake {
            // The other end goes with the actor.
            let _ = intake.send(Box::pin(judge));
        }
        answer
    }

    /// What can be told at once.
    fn tell(&self, request: &Request) -> Answer {
        let (book, now_ns) = (&self.book, self.options.clock.now_ns());
        Ok(match request {
            Request::Config(_) => self.config(now_ns).to_value(),
            Request::Status(_) => self.market_status(now_ns).to_value(),
            Request::ActiveChannel(kind, by) => {
                let channel = book.active_channel(*kind, by.delegate);
                channel.map_or(Value::Null, |channel| channel.to_value())
            }
            Request::Channels(request) => book.channels_by_delegate(request).to_value(),
            Request::Channel(kind, by) => book.channel(*kind, by.channel_id)?.to_value(),
            Request::Balance(kind, by) => book.balance(*kind, by.channel_id)?.to_value(),
            Request::Offer(by) => book.offer_by_id(by.offer_id)?.info().to_value(),
            Request::Quote(by) => book.quote(by.key_id, now_ns)?.to_value(),
            other => return Err(other.unavailable("it is judged elsewhere")),
        })
    }

    /// There is no chain: no contracts, no coin, no licence agreement of a network, and the chain is 0.
    fn config(&self, now_ns: u64) -> MarketConfig {
        let market = self.book.market();
        let chain_id = market.domain.chain_id.units().parse().unwrap_or(u64::MAX);
        MarketConfig {
            verifying_chain_id: chain_id,
            verifying_contract: market.domain.verifying_contract,
            market_maker: market.market_maker,
            market_id: market.domain.market_id,
            owner: Some(market.market_maker),
            coin: None,
            contracts: Default::default(),
            eula: None,
            now_ns: Some(now_ns),
            chain: Some(0),
        }
    }

    /// The block number is the Unix time in seconds: it rises, and says what is recent.
    fn market_status(&self, now_ns: u64) -> MarketStatus {
        let block = Block { number: now_ns / BLOCK_NS, hash: None, gas_limit: None };
        let status = match *self.state.borrow() {
            MakerState::None | MakerState::Starting => MarketMakerStatus::None,
            MakerState::Running => MarketMakerStatus::Running,
            MakerState::Stopping => MarketMakerStatus::Stopping,
            MakerState::Stopped => MarketMakerStatus::Stopped,
        };
        MarketStatus { now_ns, chain: 0, block, status }
    }

    /// Publishes an event, if there is a session.
    fn publish(&self, topic: impl Into<String>, args: Vec<Value>) {
        let published = self.realm.publish.send(Publish { topic: topic.into(), args });
        actix_rt::spawn(async move {
            // Nobody is promised an event.
            let _ = published.await;
        });
    }

    fn is_ready(&self) -> bool {
        self.loaded
            && !self.stale
            && matches!(*self.state.borrow(), MakerState::Starting | MakerState::Running)
    }
}

impl Actor for Maker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let (intake, mut queue) = mpsc::unbounded_channel::<BoxFuture<'static, Judge>>();
        self.intake = Some(intake);
        let maker = ctx.address().downgrade();
        actix_rt::spawn(async move {
            while let Some(judge) = queue.recv().await {
                let judge = judge.await;
                let Some(maker) = maker.upgrade() else { break };
                // Awaited one by one, which keeps the order.
                if maker.send(judge).await.is_err() {
                    break;
                }
            }
        });
        self.tend(ctx);
    }
}

impl Handler<Asked> for Maker {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, asked: Asked, _: &mut Self::Context) -> Self::Result {
        if !self.is_ready() {
            return Box::pin(std::future::ready(Err(asked
                .request
                .unavailable("the market maker is not running"))));
        }
        match &asked.request {
            Request::Buy(_) => {}
            Request::Place(_) | Request::Revoke(_) | Request::Close(_) | Request::Open(_) => {}
            told => return Box::pin(std::future::ready(self.tell(told))),
        }
        let is_purchase = matches!(asked.request, Request::Buy(_));
        let given_up = asked.request.unavailable(super::reject::NOT_DURABLE);
        let answer = self.take_in(asked);
        let patience = self.options.buy_patience;
        Box::pin(async move {
            let answer = async { answer.await.unwrap_or(Err(given_up)) };
            if !is_purchase {
                return answer.await;
            }
            let pending = || Err(BuyReject::Unavailable { reason: "the seller has not answered yet" }.into());
            tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| pending())
        })
    }
}

impl Handler<Judge> for Maker {
    type Result = ();

    fn handle(&mut self, judge: Judge, ctx: &mut Self::Context) {
        let Judge { asked: Asked { request, caller }, signer, reply } = judge;
        if !self.is_ready() {
            // Whoever asked may have gone; so below.
            return drop(reply.send(Err(request.unavailable("the market maker is not running"))));
        }
        match request {
            Request::Buy(request) => {
                let signed = signer == Some(request.delegate);
                self.buy(*request, signed, reply, ctx);
            }
            Request::Place(request) => {
                let signed =
                    self.options.offers == OfferPolicy::Any || signer == Some(request.unsigned.delegate);
                self.place(*request, signed, caller, reply, ctx);
            }
            Request::Revoke(by) => self.revoke(by.key_id, &caller, reply, ctx),
            Request::Close(request) => self.close(&request, signer, reply, ctx),
            Request::Open(request) => self.open(&request, signer, reply, ctx),
            told => drop(reply.send(self.tell(&told))),
        }
    }
}

impl Handler<Then> for Maker {
    type Result = ();

    fn handle(&mut self, then: Then, ctx: &mut Self::Context) {
        (then.0)(self, ctx);
    }
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").field("options", &self.options).finish_non_exhaustive()
    }
}
