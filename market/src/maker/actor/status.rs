//! What the market maker looks like, and channels that its operator opens.

use actix::prelude::*;
use tokio::sync::oneshot;
use xbr_core::wire::{ChannelInfo, ChannelType};
use xbr_core::{Address, Amount, ChannelId, ChannelSeq};

use super::Maker;
use crate::maker::account::Account;
use crate::maker::options::ChannelGrant;
use crate::maker::reject::{NOT_DURABLE, OpenReject};

/// Where a market maker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MakerState {
    /// Never started.
    #[default]
    None,
    /// Reading its books, and joining.
    Starting,
    /// Trading. A lost session is joined again by itself.
    Running,
    /// Finishing the purchases in flight.
    Stopping,
    /// Stopped; it can be started again.
    Stopped,
}

/// What the market maker looks like now.
#[derive(Debug, Message)]
#[rtype(result = "MakerStatus")]
pub struct Observe;

/// Open a channel with a new id.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<ChannelInfo, OpenReject>")]
pub struct OpenOne(pub ChannelGrant);

/// What a market maker looks like at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakerStatus {
    /// Where it stands.
    pub state: MakerState,
    /// Whether there is a session.
    pub connected: bool,
    /// Its channels, in the order of their opening.
    pub channels: Vec<ChannelReport>,
    /// How many offers can be bought from.
    pub offers: usize,
    /// How many purchases are in flight.
    pub pending: usize,
    /// How many keys were delivered since it was made.
    pub sold: u64,
    /// How many purchases were refused after their reservation since it was made.
    pub refused: u64,
}

/// A channel at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelReport {
    /// The channel.
    pub channel_id: ChannelId,
    /// Who pays whom.
    pub kind: ChannelType,
    /// The delegate.
    pub delegate: Address,
    /// Whether it is open.
    pub is_open: bool,
    /// What was put into it.
    pub amount: Amount,
    /// What remains with the payer.
    pub remaining: Amount,
    /// What is reserved for purchases in flight.
    pub inflight: Amount,
    /// The prices of the keys that were delivered over it.
    pub settled: Amount,
    /// What the seller holds signatures for without having delivered.
    pub conceded: Amount,
    /// The sequence number.
    pub seq: ChannelSeq,
}

impl Handler<Observe> for Maker {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let report = |account: &Account| ChannelReport {
            channel_id: account.channel_id,
            kind: account.kind,
            delegate: account.delegate,
            is_open: account.is_open(),
            amount: account.amount,
            remaining: account.state.balance,
            inflight: account.inflight(),
            settled: account.settled,
            conceded: account.conceded,
            seq: account.state.seq,
        };
        MessageResult(MakerStatus {
            state: *self.state.borrow(),
            connected: self.connected,
            channels: self.book.accounts().map(report).collect(),
            offers: self.book.live_offers(self.options.clock.now_ns()),
            pending: self.book.purchases().count(),
            sold: self.sold,
            refused: self.refused,
        })
    }
}

impl Handler<OpenOne> for Maker {
    type Result = ResponseFuture<Result<ChannelInfo, OpenReject>>;

    fn handle(&mut self, OpenOne(grant): OpenOne, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        self.grant(ChannelId::random(), &grant, ctx, reply);
        let lost = OpenReject::Unavailable { reason: NOT_DURABLE };
        Box::pin(async move { answer.await.unwrap_or(Err(lost)) })
    }
}

impl Maker {
    /// Opens a channel, if there is none of this id. One on other terms stays as it is.
    pub(super) fn grant(
        &mut self,
        channel_id: ChannelId,
        grant: &ChannelGrant,
        ctx: &mut Context<Self>,
        reply: oneshot::Sender<Result<ChannelInfo, OpenReject>>,
    ) {
        let ChannelGrant { kind, delegate, amount } = *grant;
        let judged = match self.loaded && !self.stale {
            true => self.book.open(channel_id, kind, [delegate; 3], amount, self.options.clock.now_ns()),
            false => Err(OpenReject::Unavailable { reason: "the market maker is not started" }),
        };
        match judged {
            Ok(entry) => self.commit(entry.unwrap_or_default(), ctx, move |maker, ctx| {
                let info = maker.book.account(channel_id).map(|account| account.info(maker.book.market()));
                // Whoever asked may have gone; so below.
                let _ = reply.send(info.ok_or(OpenReject::Unavailable { reason: NOT_DURABLE }));
                // A purchase may have waited for it.
                maker.assign(ctx);
            }),
            Err(reject) => drop(reply.send(Err(reject))),
        }
    }
}
