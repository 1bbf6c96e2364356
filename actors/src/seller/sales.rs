//! Passing sales and closes on to the ledger: the cheap checks here, the computations on worker threads, the order
//! and the money in the ledger.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot::error::TryRecvError;
use tracing::Span;
use xbr_core::ChannelSeq;
use xbr_core::channel::{ChannelState, Reconciliation, SaleRecord};
use xbr_core::reject::{CloseReject, Reject, SaleReject};
use xbr_core::wire::{ChannelInfo, CloseReceipt, SellReceipt, SellRequest, uri};
use xbr_store::KeyLookup;
use xbr_store::kill_point::Step;

use super::*;
use crate::channel_ledger::{Attach, CommitClose, CommitSale};
use crate::messages::{CloseChannel, FetchBalance, FetchChannel, MarketError, Sell, ask};
use crate::observer::{SaleEvent, SaleOutcome};
use crate::sale::{self, PreparedSale, Sold};
use crate::spans::step;
use crate::start::{check_channel, terms_before, terms_of};

/// A key was read from the archive.
#[derive(Message)]
#[rtype(result = "()")]
struct KeyRead(KeyRecord);

/// A channel was attached at its first use.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ChannelAttached(pub(super) Arc<ChannelTerms>);

/// What the unordered part of a sale needs.
struct Preparation {
    request: SellRequest,
    options: Arc<SellerOptions>,
    key: Option<KeyRecord>,
    terms: Option<Arc<ChannelTerms>>,
    /// What the first use of a channel needs.
    first_use: Option<FirstUse>,
    span: Span,
    ledger: Addr<ChannelLedger>,
    seller: Addr<Seller>,
}

/// What a sale needs besides when its channel is not known yet.
struct FirstUse {
    turn: Turn,
    domain: MarketDomain,
    market: MarketPort,
}

/// A turn in the first use of a channel: after the one before, and done when it is dropped.
struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Preparation {
    /// What is rare is boxed: this is moved around with every sale.
    async fn run(mut self) -> Result<PreparedSale, SaleReject> {
        let checking = step!(&self.span, "check");
        let key = match &self.key {
            Some(key) => Ok(key.clone()),
            None => self.read_key().await,
        };
        let key = match (key, self.terms.clone()) {
            (Ok(key), _) => key,
            (Err(SaleReject::KeyRetired), Some(terms)) => return Box::pin(self.sold_before(terms)).await,
            (Err(reject), _) => return Err(reject),
        };
        let terms = match (&self.terms, self.first_use.take()) {
            (Some(terms), _) => terms.clone(),
            (None, Some(mut first_use)) => {
                if let Some(before) = first_use.turn.before.take() {
                    // However the one before ended: it is over.
                    let _ = before.await;
                }
                Box::pin(self.first_use(&first_use)).await?
            }
            (None, None) => return Err(SaleReject::UnexpectedChannel),
        };
        drop(checking);
        sale::prepare_sale(self.request, terms, key, self.options.signer.clone(), self.span).await
    }

    async fn read_key(&self) -> Result<KeyRecord, SaleReject> {
        match self.options.store.key(self.request.key_id).await {
            Ok(KeyLookup::Found(key)) => {
                // Only to have it at hand: it does not matter when the mailbox is full.
                let _ = self.seller.try_send(KeyRead(key.clone()));
                Ok(key)
            }
            Ok(KeyLookup::Retired) => Err(SaleReject::KeyRetired),
            Ok(KeyLookup::Unknown) => Err(SaleReject::NoSuchKey),
            Err(error) => {
                tracing::error!(key_id = %self.request.key_id, %error, "cannot read a data key");
                Err(SaleReject::Unavailable { reason: "the key archive failed" })
            }
        }
    }

    /// A sale that was made keeps its receipt when its key has left the archive: it is prepared from what is stored,
    /// and the ledger finds that it is a repeat.
    async fn sold_before(self, terms: Arc<ChannelTerms>) -> Result<PreparedSale, SaleReject> {
        let request = self.request;
        let found = self.options.store.sale(request.channel_id, request.channel_seq).await;
        let prior = found.map_err(|error| {
            tracing::error!(channel = %request.channel_id, %error, "cannot read a receipt");
            SaleReject::Unavailable { reason: "the store failed" }
        })?;
        let same = |prior: &SaleRecord| {
            (prior.key_id, prior.buyer_key, prior.state, prior.amount)
                == (request.key_id, request.buyer_key, request.state(), request.amount)
        };
        let prior = prior.filter(same).ok_or(SaleReject::KeyRetired)?;
        if !sale::is_signed(request, ChannelTerms::clone(&terms)).await {
            return Err(SaleReject::KeyRetired);
        }
        let SaleRecord { api_id, amount, sealed_key, signature, .. } = prior;
        Ok(PreparedSale { api_id, price: amount, signed: true, sealed_key, signature, span: self.span })
    }

    /// A channel that is first seen in a sale is fetched and checked before it counts. Only the market maker's
    /// signature makes us ask, so that nobody else can keep us busy.
    async fn first_use(&self, first_use: &FirstUse) -> Result<Arc<ChannelTerms>, SaleReject> {
        let FirstUse { domain, market, .. } = first_use;
        let request = &self.request;
        let channel_id = request.channel_id;
        let expected = terms_before(channel_id, &self.options, domain);
        if !sale::is_signed(request.clone(), expected).await {
            return Err(SaleReject::UnexpectedChannel);
        }
        let unavailable = |error: MarketError| match error {
            MarketError::Refused { uri, .. } if uri == uri::error::NO_SUCH_OBJECT => {
                SaleReject::UnexpectedChannel
            }
            error => {
                tracing::warn!(channel = %channel_id, %error, "cannot look at a new channel");
                SaleReject::Unavailable { reason: "the channel cannot be looked at" }
            }
        };
        let channel = ask(&market.fetch_channel, FetchChannel { channel_id }).await.map_err(unavailable)?;
        if let Err(problem) = check_channel(&channel, &self.options, domain) {
            tracing::warn!(channel = %channel_id, problem, "channel refused");
            return Err(SaleReject::UnexpectedChannel);
        }
        let balance = ask(&market.fetch_balance, FetchBalance { channel_id }).await.map_err(unavailable)?;
        let theirs = state_before(request, &channel, balance.state());
        let terms = terms_of(&channel, &self.options, domain);
        let attach = Attach { terms: terms.clone(), theirs, compare: false };
        match self.ledger.send(attach).await {
            Ok(Ok(_)) => {}
            failed => {
                tracing::error!(channel = %channel_id, ?failed, "cannot attach a new channel");
                return Err(SaleReject::Unavailable { reason: "the channel cannot be stored" });
            }
        }
        tracing::info!(
            channel = %channel_id, seq = theirs.seq.value(), remaining = %theirs.balance,
            "channel adopted at its first use"
        );
        self.options.observers.tell(|| Event::Reconciled {
            channel_id,
            is_new: true,
            reconciliation: Reconciliation::Equal,
        });
        let terms = Arc::new(terms);
        // Only to have it at hand: the next sale would find it again.
        let _ = self.seller.try_send(ChannelAttached(terms.clone()));
        Ok(terms)
    }
}

/// Where a channel stood before its first sale: the market maker's figures already include that sale, so that they
/// are taken back to the signed state before it.
fn state_before(request: &SellRequest, channel: &ChannelInfo, theirs: ChannelState) -> ChannelState {
    if theirs.seq < request.channel_seq {
        return theirs;
    }
    let before = request.balance.checked_add(request.amount).unwrap_or(channel.amount);
    let seq = ChannelSeq::new(request.channel_seq.value().saturating_sub(1));
    ChannelState { seq, balance: before.min(channel.amount) }
}

impl Seller {
    fn preparation(
        &mut self,
        request: &SellRequest,
        span: Span,
        seller: Addr<Self>,
    ) -> Result<Preparation, SaleReject> {
        let (Some(children), Some(domain), true) = (&self.children, self.domain, self.serving) else {
            return Err(SaleReject::Unavailable { reason: "the seller is not started" });
        };
        if request.market_maker != self.options.market_maker {
            return Err(SaleReject::UnexpectedMarketMaker);
        }
        let terms = self.terms.get(&request.channel_id).cloned();
        let ledger = children.ledger.clone();
        let market = terms.is_none().then(|| children.market.clone());
        let first_use = market.map(|market| {
            let turn = self.queue_for_first_use(request.channel_id);
            FirstUse { turn, domain, market }
        });
        Ok(Preparation {
            request: request.clone(),
            options: self.options.clone(),
            key: self.keys_at_hand.get(&request.key_id).cloned(),
            terms,
            first_use,
            span,
            ledger,
            seller,
        })
    }

    fn queue_for_first_use(&mut self, channel_id: ChannelId) -> Turn {
        // Those whose turn is over; what is left is under way, and bounded as such.
        self.first_uses.retain(|_, done| done.try_recv() == Err(TryRecvError::Empty));
        let (done, over) = oneshot::channel();
        Turn { before: self.first_uses.insert(channel_id, over), _done: done }
    }
}

impl Handler<Sell> for Seller {
    type Result = ResponseFuture<Result<SellReceipt, SaleReject>>;

    fn handle(&mut self, message: Sell, ctx: &mut Self::Context) -> Self::Result {
        let Sell { request, span } = message;
        let watch = SaleWatch { began: Instant::now(), options: self.options.clone(), span };
        let preparation = match self.preparation(&request, watch.span.clone(), ctx.address()) {
            Ok(preparation) => preparation,
            Err(reject) => return Box::pin(async move { watch.answered(&request, Err(reject)) }),
        };
        Step::Checked.pass();
        let ledger = preparation.ledger.clone();
        // Sent before anything is awaited, so that the ledger sees sales in the order of their arrival.
        let preparing = preparation.run().boxed();
        let answer = ledger.send(CommitSale { request: request.clone(), preparing });
        let flight = self.in_flight.enter();
        Box::pin(async move {
            let answer = answer.await;
            drop(flight);
            // A ledger that died may or may not have stored the sale: the same request finds out.
            let lost = Err(SaleReject::Unavailable { reason: "the ledger failed" });
            watch.answered(&request, answer.unwrap_or(lost))
        })
    }
}

/// Follows a request from its arrival to its answer, for those who watch.
struct SaleWatch {
    began: Instant,
    options: Arc<SellerOptions>,
    span: Span,
}

impl SaleWatch {
    /// Tells what became of the request, and gives what the market maker is answered.
    fn answered(
        self,
        request: &SellRequest,
        answer: Result<Sold, SaleReject>,
    ) -> Result<SellReceipt, SaleReject> {
        let api_id = answer.as_ref().ok().and_then(|sold| sold.api_id);
        let outcome = || match &answer {
            Ok(Sold { is_repeat: false, .. }) => SaleOutcome::Sold,
            Ok(Sold { is_repeat: true, .. }) => SaleOutcome::Repeated,
            Err(reject) => SaleOutcome::Refused(reject.clone()),
        };
        if !self.span.is_disabled() {
            self.span.record("api", api_id.map(tracing::field::display));
            self.span.record("channel", tracing::field::display(request.channel_id));
            self.span.record("seq", request.channel_seq.value());
            self.span.record("outcome", outcome().code());
        }
        self.options.observers.tell(|| {
            Event::Sale(SaleEvent {
                at_ns: self.options.clock.now_ns(),
                channel_id: request.channel_id,
                seq: request.channel_seq,
                key_id: request.key_id,
                api_id,
                buyer_key: request.buyer_key,
                amount: request.amount,
                outcome: outcome(),
                duration: self.began.elapsed(),
            })
        });
        answer.map(|sold| sold.receipt)
    }
}

impl Handler<CloseChannel> for Seller {
    type Result = ResponseFuture<Result<CloseReceipt, CloseReject>>;

    fn handle(&mut self, message: CloseChannel, _: &mut Self::Context) -> Self::Result {
        let request = message.request;
        let (channel_id, options) = (request.channel_id, self.options.clone());
        let answered = move |answer: Result<CloseReceipt, CloseReject>| {
            let error = || answer.as_ref().err().map(|reject| Reject::from(reject.clone()).uri());
            options.observers.tell(|| Event::Close { channel_id, error: error() });
            answer
        };
        let refuse = |reject: CloseReject| -> Self::Result {
            let answer = answered.clone()(Err(reject));
            Box::pin(async move { answer })
        };
        let (Some(children), true) = (&self.children, self.serving) else {
            return refuse(CloseReject::Unavailable { reason: "the seller is not started" });
        };
        if request.market_maker != self.options.market_maker {
            return refuse(CloseReject::UnexpectedDelegate);
        }
        let Some(terms) = self.terms.get(&request.channel_id).cloned() else {
            return refuse(CloseReject::UnexpectedChannel);
        };
        Step::Checked.pass();
        let preparing: BoxFuture<'static, _> =
            sale::prepare_close(request.clone(), terms, self.options.signer.clone()).boxed();
        let answer = children.ledger.send(CommitClose { request, preparing });
        let flight = self.in_flight.enter();
        Box::pin(async move {
            let answer = answer.await;
            drop(flight);
            let lost = Err(CloseReject::Unavailable { reason: "the ledger failed" });
            answered(answer.unwrap_or(lost))
        })
    }
}

impl Handler<KeyRead> for Seller {
    type Result = ();

    fn handle(&mut self, message: KeyRead, _: &mut Self::Context) {
        self.keys_at_hand.put(message.0.key_id, message.0);
    }
}

impl Handler<ChannelAttached> for Seller {
    type Result = ();

    fn handle(&mut self, message: ChannelAttached, _: &mut Self::Context) {
        self.terms.insert(message.0.channel_id, message.0);
    }
}
