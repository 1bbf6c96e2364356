//! The [`ChannelLedger`] actor: one per seller. It alone changes a channel's sequence number and balance.
//!
//! Requests of a channel are judged in the order of their arrival, however long each one's preparation takes;
//! channels do not wait for each other. A decided sale advances the channel in memory at once, so that the next
//! request is judged upon it, and is answered when the store has made it durable; the store commits many sales with
//! one `fsync`. When a commit fails, everything that was decided upon it fails as well (the store compares and
//! swaps), and the channel is read back before anything else is decided.
//!
//! Everything survives a restart, in the store.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;
use xbr_core::channel::{
    Channel, ChannelState, ChannelTerms, OwnClose, OwnCloseDecision, Reconcile, Reconciliation,
};
use xbr_core::reject::{CloseReject, OwnCloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellRequest};
use xbr_core::{Address, Amount, ChannelId};
use xbr_store::{Clock, Store, StoreError};

use crate::observer::{Event, Observers};
use crate::sale::{PreparingClose, PreparingSale, Sold};
use crate::watch::DeathWatch;

mod commit;
mod group;
mod queue;

use group::Held;
use queue::{Outcome, Prepared, Slot, Work};

/// How many messages may wait for the ledger.
const MAILBOX: usize = 4096;

/// What a ledger is made of.
#[derive(Clone)]
pub struct LedgerOptions {
    /// Where channels and receipts are kept.
    pub store: Arc<dyn Store>,
    /// The time of day, for evidence.
    pub clock: Arc<dyn Clock>,
    /// The seller's address, for receipts.
    pub delegate: Address,
    /// How deviations in the seller's favour are treated.
    pub reconcile: Reconcile,
    /// Below which balance a channel is running low.
    pub low_balance: Amount,
    /// Who is told what happens.
    pub observers: Observers,
    /// How many sales are prepared at a time.
    pub workers: usize,
}

impl std::fmt::Debug for LedgerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerOptions").field("delegate", &self.delegate).finish_non_exhaustive()
    }
}

/// Read all channels from the store. Repeating it changes nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Arc<ChannelTerms>>, StoreError>")]
pub struct Load;

/// A channel as the market maker shows it: adopted when it is new, else compared with the ledger's.
#[derive(Debug, Message)]
#[rtype(result = "Result<Reconciliation, StoreError>")]
pub struct Attach {
    /// What does not change.
    pub terms: ChannelTerms,
    /// Where the market maker says that it stands.
    pub theirs: ChannelState,
    /// Whether to compare when the channel is known. The figures must then be newer than every sale that was decided,
    /// which holds as long as no sale can come in.
    pub compare: bool,
}

/// Judge a sale, make it durable, and answer with its receipt.
#[derive(Message)]
#[rtype(result = "Result<Sold, SaleReject>")]
pub struct CommitSale {
    /// The request.
    pub request: SellRequest,
    /// What needs no order, under way.
    pub preparing: PreparingSale,
}

/// Judge a close, make it durable, and answer with its receipt.
#[derive(Message)]
#[rtype(result = "Result<CloseReceipt, CloseReject>")]
pub struct CommitClose {
    /// The request.
    pub request: CloseRequest,
    /// What needs no order, under way.
    pub preparing: PreparingClose,
}

/// Judge a close from the seller's side and make it durable. The answer comes when it can be sent.
#[derive(Debug, Message)]
#[rtype(result = "Result<OwnCloseDecision, OwnCloseReject>")]
pub struct CommitOwnClose {
    /// The close, signed.
    pub close: OwnClose,
    /// Where the market maker says that the channel stands.
    pub theirs: ChannelState,
    /// Whether to judge only.
    pub dry_run: bool,
}

impl std::fmt::Debug for CommitSale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitSale").field("request", &self.request).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CommitClose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitClose").field("request", &self.request).finish_non_exhaustive()
    }
}

/// From now on a channel is running low below this balance.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetLowBalance(pub Amount);

/// What the ledger knows of all channels.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ChannelStatus>")]
pub struct Observe;

/// See [`Observe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelStatus {
    /// The channel as the last decision left it.
    pub channel: Channel,
    /// Amount of the sales that are decided, but not durable yet.
    pub in_flight: Amount,
    /// How many requests wait to be decided.
    pub queued: usize,
    /// Why nothing is sold on it, when its figures and the market maker's contradict each other.
    pub alarm: Option<Alarm>,
    /// How often the market maker has contradicted what it had signed, since the start.
    pub contradictions: u64,
    /// Whether it is open and less remains than the configured threshold.
    pub is_low: bool,
}

/// Something about a channel that an operator has to settle with the market's operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// The market maker went back behind a state that it has signed.
    RolledBack {
        /// Where the ledger stands.
        ours: ChannelState,
        /// Where the market maker says that the channel stands.
        theirs: ChannelState,
    },
    /// The store comes from a backup that is older than what the market maker shows.
    Outdated {
        /// Where the ledger stands.
        ours: ChannelState,
        /// Where the market maker says that the channel stands.
        theirs: ChannelState,
    },
}

/// The actor; see the module.
#[derive(Debug)]
pub struct ChannelLedger {
    options: LedgerOptions,
    channels: HashMap<ChannelId, Account>,
    /// How many contradictions were stored since the start.
    evidence_kept: u32,
    _death_watch: Option<DeathWatch>,
}

/// A channel, and the requests that wait for their turn.
#[derive(Debug, Default)]
struct Account {
    /// As the last decision left it; `None` for a channel that is not known.
    channel: Option<Channel>,
    /// In the order of arrival.
    queue: VecDeque<Slot>,
    /// Decided sales that wait for others to share a commit with.
    held: Vec<Held>,
    /// Whether a timer runs that ends their wait.
    is_timed: bool,
    /// How many sales were decided, for that timer.
    decided: u64,
    /// Commits that the store has not answered yet, those that are held among them.
    in_flight: usize,
    in_flight_amount: Amount,
    condition: Condition,
    contradictions: u64,
    /// Numbers the slots.
    arrivals: u64,
}

impl Account {
    fn status(&self, low_balance: Amount) -> Option<ChannelStatus> {
        let channel = self.channel.clone()?;
        let alarm = match channel.reconciliation {
            Reconciliation::Behind { ours, theirs } => Some(Alarm::RolledBack { ours, theirs }),
            Reconciliation::Outdated { ours, theirs } => Some(Alarm::Outdated { ours, theirs }),
            Reconciliation::Equal | Reconciliation::Ahead { .. } => None,
        };
        Some(ChannelStatus {
            is_low: !channel.is_closed() && channel.state.balance < low_balance,
            channel,
            in_flight: self.in_flight_amount,
            queued: self.queue.len(),
            alarm,
            contradictions: self.contradictions,
        })
    }
}

/// Whether an account can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Condition {
    #[default]
    Ready,
    /// The head of the queue waits for what is stored at its sequence number.
    Looking,
    /// A commit failed: the channel is read back when the others under way are answered.
    Failed,
    /// It is being read back.
    Reading,
}

impl ChannelLedger {
    /// A ledger over a store. It knows no channel before [`Load`].
    pub fn new(options: LedgerOptions) -> Self {
        Self { options, channels: HashMap::new(), evidence_kept: 0, _death_watch: None }
    }

    pub(crate) fn watched(options: LedgerOptions, death_watch: DeathWatch) -> Self {
        Self { _death_watch: Some(death_watch), ..Self::new(options) }
    }

    fn account(&mut self, channel_id: ChannelId) -> &mut Account {
        self.channels.entry(channel_id).or_default()
    }

    fn report_low(&self, channel_id: ChannelId, remaining: Amount) {
        tracing::warn!(
            channel = %channel_id, %remaining,
            "the channel is running low; ask the market's operator for another"
        );
        self.options.observers.tell(|| Event::Low { channel_id, remaining });
    }
}

impl Actor for ChannelLedger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Load> for ChannelLedger {
    type Result = ResponseActFuture<Self, Result<Vec<Arc<ChannelTerms>>, StoreError>>;

    fn handle(&mut self, _: Load, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.options.store.channels().into_actor(self).map(|result, ledger, _| {
            for channel in result? {
                let account = ledger.account(channel.terms.channel_id);
                // What is in memory is the newer.
                account.channel.get_or_insert(channel);
            }
            let known = ledger.channels.values().filter_map(|account| account.channel.as_ref());
            Ok(known.map(|channel| Arc::new(channel.terms.clone())).collect())
        }))
    }
}

impl Handler<Attach> for ChannelLedger {
    type Result = ResponseActFuture<Self, Result<Reconciliation, StoreError>>;

    fn handle(&mut self, message: Attach, ctx: &mut Self::Context) -> Self::Result {
        let Attach { terms, theirs, compare } = message;
        self.release(terms.channel_id, &ctx.address());
        if theirs.balance < self.options.low_balance {
            self.report_low(terms.channel_id, theirs.balance);
        }
        if let Some(channel) = &mut self.account(terms.channel_id).channel {
            if channel.terms != terms {
                tracing::warn!(channel = %terms.channel_id, "the market maker shows other terms than it did");
            }
            let (ours, before, restored) = (channel.state, channel.reconciliation, channel.restored);
            let reconciliation = if compare { channel.reconcile(theirs) } else { before };
            if (reconciliation, channel.restored) == (before, restored) {
                return Box::pin(actix::fut::ready(Ok(before)));
            }
            let noted = self.options.store.note_comparison(terms.channel_id, ours, theirs);
            return Box::pin(noted.into_actor(self).map(move |result, _, _| result.map(|()| reconciliation)));
        }
        let channel_id = terms.channel_id;
        let channel = Channel::adopt(terms, theirs);
        let stored = self.options.store.attach_channel(channel.clone());
        Box::pin(stored.into_actor(self).map(move |result, ledger, ctx| {
            result?;
            ledger.account(channel_id).channel.get_or_insert(channel);
            ledger.pump(channel_id, ctx);
            Ok(Reconciliation::Equal)
        }))
    }
}

impl Handler<CommitSale> for ChannelLedger {
    type Result = ResponseFuture<Result<Sold, SaleReject>>;

    fn handle(&mut self, message: CommitSale, ctx: &mut Self::Context) -> Self::Result {
        let CommitSale { request, preparing } = message;
        let (reply, answer) = oneshot::channel();
        let channel_id = request.channel_id;
        let work = Work::Sale { request, prepared: None, prior: None, reply };
        let arrival = self.account(channel_id).enqueue(work);
        let ledger = ctx.address();
        actix_rt::spawn(async move {
            let prepared = Prepared { channel_id, arrival, outcome: Outcome::Sale(preparing.await) };
            // A ledger that has gone has dropped the reply: the caller knows.
            let _ = ledger.send(prepared).await;
        });
        Box::pin(async move {
            answer.await.unwrap_or(Err(SaleReject::Unavailable { reason: "the ledger failed" }))
        })
    }
}

impl Handler<CommitClose> for ChannelLedger {
    type Result = ResponseFuture<Result<CloseReceipt, CloseReject>>;

    fn handle(&mut self, message: CommitClose, ctx: &mut Self::Context) -> Self::Result {
        let CommitClose { request, preparing } = message;
        let (reply, answer) = oneshot::channel();
        let channel_id = request.channel_id;
        let arrival = self.account(channel_id).enqueue(Work::Close { request, prepared: None, reply });
        let ledger = ctx.address();
        actix_rt::spawn(async move {
            let prepared = Prepared { channel_id, arrival, outcome: Outcome::Close(preparing.await) };
            // A ledger that has gone has dropped the reply: the caller knows.
            let _ = ledger.send(prepared).await;
        });
        Box::pin(async move {
            answer.await.unwrap_or(Err(CloseReject::Unavailable { reason: "the ledger failed" }))
        })
    }
}

impl Handler<CommitOwnClose> for ChannelLedger {
    type Result = ResponseFuture<Result<OwnCloseDecision, OwnCloseReject>>;

    fn handle(&mut self, message: CommitOwnClose, ctx: &mut Self::Context) -> Self::Result {
        match self.decide_own_close(&message) {
            Ok(OwnCloseDecision::Commit) if !message.dry_run => {
                self.commit_own_close(message.close, ctx.address())
            }
            judged => Box::pin(async move { judged }),
        }
    }
}

impl Handler<SetLowBalance> for ChannelLedger {
    type Result = ();

    fn handle(&mut self, message: SetLowBalance, _: &mut Self::Context) {
        self.options.low_balance = message.0;
    }
}

impl Handler<Observe> for ChannelLedger {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let low_balance = self.options.low_balance;
        let mut all: Vec<_> =
            self.channels.values().filter_map(|account| account.status(low_balance)).collect();
        all.sort_by_key(|status| status.channel.terms.channel_id);
        MessageResult(all)
    }
}
