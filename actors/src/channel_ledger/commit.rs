//! The ordered step: judge a request upon the channel, advance the channel, store, answer. A failed commit is
//! followed by reading the channel back.

use actix::prelude::*;
use xbr_core::channel::{
    Channel, ChannelState, CloseDecision, CloseRecord, OwnClose, OwnCloseDecision, SaleClaim, SaleDecision,
    SaleRecord,
};
use xbr_core::reject::{CloseReject, OwnCloseReject, Reject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_core::{Amount, ChannelId};
use xbr_store::kill_point::Step;
use xbr_store::{Evidence, EvidenceRequest, Outcome, StoreError};

use super::queue::{CloseReply, Ready, SaleReply};
use super::{ChannelLedger, CommitOwnClose, Condition, report_low};
use crate::sale::{PreparedClose, PreparedSale};

/// What is said when a sale or close is not durable.
const NOT_DURABLE: &str = "it could not be made durable";

/// A market maker that contradicts itself without end shall not fill the disk.
const MAX_EVIDENCE: u32 = 1000;

/// What becomes of a request that was judged.
enum Judged<R, A> {
    /// The channel has advanced by it: store it, then answer.
    Store(R),
    /// There is nothing to store: answer.
    Answer(A),
}

/// A commit is answered by the store.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Committed {
    channel_id: ChannelId,
    amount: Amount,
    /// Whether it is certainly durable. If not, what was decided upon it does not hold.
    durable: bool,
}

/// A channel was read back from the store.
#[derive(Message)]
#[rtype(result = "()")]
struct ReadBack {
    channel_id: ChannelId,
    channels: Result<Vec<Channel>, StoreError>,
}

impl ChannelLedger {
    /// Judges the request that was at the head of a channel's queue.
    pub(super) fn decide(&mut self, channel_id: ChannelId, ready: Ready, ledger: &Addr<Self>) {
        match ready {
            Ready::Sale { request, prepared, prior, reply } => {
                match self.decide_sale(&request, prepared, prior.as_deref()) {
                    Judged::Store(record) => self.commit_sale(channel_id, record, reply, ledger),
                    // Whoever asked may have gone.
                    Judged::Answer(answer) => drop(reply.send(answer)),
                }
            }
            Ready::Close { request, prepared, reply } => match self.decide_close(&request, &prepared) {
                Judged::Store(record) => self.commit_close(channel_id, record, reply, ledger),
                Judged::Answer(answer) => drop(reply.send(answer)),
            },
        }
    }

    /// A new sale's record, by which the channel has advanced; or the answer, where there is nothing to store.
    fn decide_sale(
        &mut self,
        request: &SellRequest,
        prepared: PreparedSale,
        prior: Option<&SaleRecord>,
    ) -> Judged<SaleRecord, Result<SellReceipt, SaleReject>> {
        let account = self.channels.get_mut(&request.channel_id);
        let Some(channel) = account.and_then(|account| account.channel.as_mut()) else {
            return Judged::Answer(Err(SaleReject::UnexpectedChannel));
        };
        let claim = request.claim(prepared.signed);
        match channel.decide_sale(&claim, prepared.price, prior, self.options.reconcile) {
            Ok(SaleDecision::Commit { surplus }) => {
                let record = SaleRecord {
                    channel_id: request.channel_id,
                    key_id: request.key_id,
                    buyer_key: request.buyer_key,
                    before: channel.state,
                    state: claim.state,
                    amount: request.amount,
                    surplus,
                    sealed_key: prepared.sealed_key,
                    market_maker_signature: request.signature,
                    signature: prepared.signature,
                    sold_ns: self.options.clock.now_ns(),
                    api_id: prepared.api_id,
                };
                channel.apply_sale(&record);
                // Once, when it falls below.
                let low_balance = self.options.low_balance;
                if record.before.balance >= low_balance && record.state.balance < low_balance {
                    report_low(record.channel_id, record.state.balance);
                }
                Step::Applied.pass();
                Judged::Store(record)
            }
            // What was found in the store is durable.
            Ok(SaleDecision::Replay) => Judged::Answer(
                prior
                    .map(|prior| SellReceipt::of(prior, self.options.delegate))
                    .ok_or(SaleReject::Unavailable { reason: "the receipt is gone" }),
            ),
            Err(reject) => {
                let ours = channel.state;
                if channel.is_rolled_back_by(&claim, prior) {
                    channel.halt(claim.state);
                    self.note_rollback(request.channel_id, ours, claim.state);
                }
                if prepared.signed && contradicts(&reject, ours, &claim) {
                    self.keep(reject.clone().into(), EvidenceRequest::Sell(request.clone()));
                }
                Judged::Answer(Err(reject))
            }
        }
    }

    fn commit_sale(
        &mut self,
        channel_id: ChannelId,
        record: SaleRecord,
        reply: SaleReply,
        ledger: &Addr<Self>,
    ) {
        self.commit_begins(channel_id, record.amount);
        let stored = self.options.store.commit_sale(record.clone());
        let (store, delegate, ledger) = (self.options.store.clone(), self.options.delegate, ledger.clone());
        actix_rt::spawn(async move {
            let durable = match stored.await {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(channel = %channel_id, %error, "cannot store a sale");
                    error.outcome() == Outcome::Unknown
                        && matches!(store.sale(channel_id, record.state.seq).await, Ok(Some(it)) if it == record)
                }
            };
            // Whoever asked may have gone; so may the ledger, whose successor reads the store.
            if durable {
                Step::Fsynced.pass();
                report_sale(&record);
                let _ = reply.send(Ok(SellReceipt::of(&record, delegate)));
            } else {
                let _ = reply.send(Err(SaleReject::Unavailable { reason: NOT_DURABLE }));
            }
            let _ = ledger.send(Committed { channel_id, amount: record.amount, durable }).await;
        });
    }

    /// A close's record, by which the channel has advanced; or the answer, where there is nothing to store.
    fn decide_close(
        &mut self,
        request: &CloseRequest,
        prepared: &PreparedClose,
    ) -> Judged<CloseRecord, Result<CloseReceipt, CloseReject>> {
        let account = self.channels.get_mut(&request.channel_id);
        let Some(account) = account else { return Judged::Answer(Err(CloseReject::UnexpectedChannel)) };
        let Some(channel) = account.channel.as_mut() else {
            return Judged::Answer(Err(CloseReject::UnexpectedChannel));
        };
        let claim = request.claim(prepared.signed);
        match (channel.decide_close(&claim, self.options.reconcile), &channel.closed) {
            (Ok(CloseDecision::Commit { surplus }), _) => {
                let record = CloseRecord {
                    channel_id: request.channel_id,
                    before: channel.state,
                    state: claim.state,
                    surplus,
                    is_final: request.is_final,
                    market_maker_signature: request.signature,
                    signature: prepared.signature,
                };
                channel.apply_close(&record);
                Step::Applied.pass();
                Judged::Store(record)
            }
            (Ok(CloseDecision::Replay), Some(closed)) if account.in_flight == 0 => {
                Judged::Answer(Ok(CloseReceipt::of(closed, self.options.delegate)))
            }
            // The close that is repeated is not durable yet.
            (Ok(CloseDecision::Replay), _) => {
                Judged::Answer(Err(CloseReject::Unavailable { reason: "it is being stored" }))
            }
            (Err(reject), _) => {
                if prepared.signed && close_contradicts(&reject) {
                    self.keep(reject.clone().into(), EvidenceRequest::Close(request.clone()));
                }
                Judged::Answer(Err(reject))
            }
        }
    }

    fn commit_close(
        &mut self,
        channel_id: ChannelId,
        record: CloseRecord,
        reply: CloseReply,
        ledger: &Addr<Self>,
    ) {
        self.commit_begins(channel_id, Amount::ZERO);
        let stored = self.options.store.commit_close(record.clone());
        let (delegate, ledger) = (self.options.delegate, ledger.clone());
        actix_rt::spawn(async move {
            // A close whose outcome is unknown is not answered: the channel is read back, and an identical request is
            // signed identically.
            let stored = stored.await;
            let durable = stored.is_ok();
            // Whoever asked may have gone; so may the ledger, whose successor reads the store.
            let _ = match stored {
                Ok(()) => {
                    Step::Fsynced.pass();
                    report_close(&record);
                    reply.send(Ok(CloseReceipt::of(&record, delegate)))
                }
                Err(error) => {
                    tracing::error!(channel = %channel_id, %error, "cannot store a close");
                    reply.send(Err(CloseReject::Unavailable { reason: NOT_DURABLE }))
                }
            };
            let _ = ledger.send(Committed { channel_id, amount: Amount::ZERO, durable }).await;
        });
    }

    /// Judges a close from the seller's side. Whatever is under way has to be finished first, since it may move the
    /// channel on.
    pub(super) fn decide_own_close(
        &self,
        message: &CommitOwnClose,
    ) -> Result<OwnCloseDecision, OwnCloseReject> {
        let account = self.channels.get(&message.close.channel_id).ok_or(OwnCloseReject::UnknownChannel)?;
        let channel = account.channel.as_ref().ok_or(OwnCloseReject::UnknownChannel)?;
        if account.in_flight > 0 || !account.queue.is_empty() || account.condition != Condition::Ready {
            return Err(OwnCloseReject::Busy);
        }
        channel.decide_own_close(&message.close, message.theirs)
    }

    pub(super) fn commit_own_close(
        &mut self,
        close: OwnClose,
        ledger: Addr<Self>,
    ) -> ResponseFuture<Result<OwnCloseDecision, OwnCloseReject>> {
        let channel_id = close.channel_id;
        if let Some(channel) = &mut self.account(channel_id).channel {
            channel.apply_own_close(&close);
        }
        self.commit_begins(channel_id, Amount::ZERO);
        let stored = self.options.store.commit_own_close(close);
        Box::pin(async move {
            let stored = stored.await;
            let durable = stored.is_ok();
            // A ledger that has gone has a successor, which reads the store.
            let _ = ledger.send(Committed { channel_id, amount: Amount::ZERO, durable }).await;
            stored.map(|()| OwnCloseDecision::Commit).map_err(|error| {
                tracing::error!(channel = %channel_id, %error, "cannot store a close");
                OwnCloseReject::Unavailable { reason: NOT_DURABLE }
            })
        })
    }

    /// An alarm that outlives a restart. The answer does not wait for it: the channel is halted already.
    fn note_rollback(&self, channel_id: ChannelId, ours: ChannelState, theirs: ChannelState) {
        tracing::error!(
            channel = %channel_id, our_seq = ours.seq.value(), our_remaining = %ours.balance,
            seq = theirs.seq.value(), remaining = %theirs.balance,
            "the market maker signed a state behind one that it had signed; nothing is sold on this channel"
        );
        let noted = self.options.store.note_comparison(channel_id, ours, theirs);
        actix_rt::spawn(async move {
            if let Err(error) = noted.await {
                tracing::error!(channel = %channel_id, %error, "cannot note the alarm");
            }
        });
    }

    fn commit_begins(&mut self, channel_id: ChannelId, amount: Amount) {
        let account = self.account(channel_id);
        account.in_flight += 1;
        account.in_flight_amount = account.in_flight_amount.checked_add(amount).unwrap_or(Amount::MAX);
    }

    /// Reads a channel back after a failed commit. Nothing is decided before.
    pub(super) fn read_back(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        self.account(channel_id).condition = Condition::Reading;
        let read = self.options.store.channels();
        let ledger = ctx.address();
        actix_rt::spawn(async move {
            // A ledger that has gone has a successor, which reads the store itself.
            let _ = ledger.send(ReadBack { channel_id, channels: read.await }).await;
        });
    }

    /// Keeps a signed contradiction. The answer does not wait for it: it proves something, but changes nothing.
    fn keep(&mut self, reject: Reject, request: EvidenceRequest) {
        let received_ns = self.options.clock.now_ns();
        let channel_id = match &request {
            EvidenceRequest::Sell(request) => request.channel_id,
            EvidenceRequest::Close(request) => request.channel_id,
        };
        self.account(channel_id).contradictions += 1;
        tracing::error!(error = reject.uri(), "the market maker contradicts what it has signed: {reject}");
        self.evidence_kept += 1;
        if self.evidence_kept > MAX_EVIDENCE {
            tracing::error!("no more evidence is kept before a restart");
            return;
        }
        let kept =
            self.options.store.keep_evidence(Evidence { received_ns, reject: reject.to_string(), request });
        actix_rt::spawn(async move {
            if let Err(error) = kept.await {
                tracing::error!(%error, "cannot keep evidence");
            }
        });
    }
}

/// Whether a signed request that is refused so proves that the market maker contradicts itself.
fn contradicts(reject: &SaleReject, ours: ChannelState, claim: &SaleClaim) -> bool {
    match reject {
        SaleReject::UnexpectedSeq { .. } | SaleReject::UnexpectedBalance { .. } => true,
        SaleReject::ChannelHalted | SaleReject::ChannelClosed => {
            let before = claim.state.balance.checked_add(claim.amount);
            claim.state.seq <= ours.seq || before.is_none_or(|before| before > ours.balance)
        }
        _ => false,
    }
}

/// The same for a close: one behind what was signed is the worst of contradictions.
fn close_contradicts(reject: &CloseReject) -> bool {
    matches!(reject, CloseReject::UnexpectedSeq { .. } | CloseReject::UnexpectedBalance { .. })
}

fn report_sale(record: &SaleRecord) {
    tracing::info!(
        channel = %record.channel_id,
        key_id = %record.key_id,
        seq = record.state.seq.value(),
        amount = %record.amount,
        surplus = %record.surplus,
        balance = %record.state.balance,
        "sold"
    );
}

fn report_close(record: &CloseRecord) {
    tracing::info!(
        channel = %record.channel_id,
        seq = record.state.seq.value(),
        balance = %record.state.balance,
        is_final = record.is_final,
        "close signed"
    );
}

impl Handler<Committed> for ChannelLedger {
    type Result = ();

    fn handle(&mut self, message: Committed, ctx: &mut Self::Context) {
        let Some(account) = self.channels.get_mut(&message.channel_id) else { return };
        account.in_flight = account.in_flight.saturating_sub(1);
        account.in_flight_amount =
            account.in_flight_amount.checked_sub(message.amount).unwrap_or(Amount::ZERO);
        if !message.durable {
            account.condition = Condition::Failed;
        }
        self.pump(message.channel_id, ctx);
    }
}

impl Handler<ReadBack> for ChannelLedger {
    type Result = ();

    fn handle(&mut self, message: ReadBack, ctx: &mut Self::Context) {
        let Some(account) = self.channels.get_mut(&message.channel_id) else { return };
        match message.channels {
            Ok(channels) => {
                let reconciliation = account.channel.as_ref().map(|channel| channel.reconciliation);
                let found =
                    channels.into_iter().find(|channel| channel.terms.channel_id == message.channel_id);
                account.channel = found.map(|mut channel| {
                    channel.reconciliation = reconciliation.unwrap_or(channel.reconciliation);
                    channel
                });
                account.condition = Condition::Ready;
                self.pump(message.channel_id, ctx);
            }
            Err(error) => {
                tracing::error!(channel = %message.channel_id, %error, "cannot read a channel back");
                // The next request tries again; those that wait are told.
                account.condition = Condition::Failed;
                account.refuse_all("the store failed");
            }
        }
    }
}
