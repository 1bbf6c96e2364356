//! The requests of a channel, in the order of their arrival, each with what is known of it so far.

use std::collections::VecDeque;

use actix::prelude::*;
use tokio::sync::oneshot;
use xbr_core::ChannelId;
use xbr_core::channel::SaleRecord;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellRequest};

use super::{Account, ChannelLedger, Condition};
use crate::sale::{PreparedClose, PreparedSale, Sold};

/// Where a sale's answer goes.
pub(super) type SaleReply = oneshot::Sender<Result<Sold, SaleReject>>;
/// Where a close's answer goes.
pub(super) type CloseReply = oneshot::Sender<Result<CloseReceipt, CloseReject>>;

/// A request that waits for its turn.
#[derive(Debug)]
pub(super) struct Slot {
    arrival: u64,
    pub(super) work: Work,
}

/// What is to be done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are sales")]
pub(super) enum Work {
    Sale {
        request: SellRequest,
        prepared: Option<PreparedSale>,
        /// What the store has at the request's sequence number, once it was looked up.
        prior: Option<Option<Box<SaleRecord>>>,
        reply: SaleReply,
    },
    Close {
        request: CloseRequest,
        prepared: Option<PreparedClose>,
        reply: CloseReply,
    },
}

impl Work {
    /// Answers that it cannot be done now.
    pub(super) fn refuse(self, reason: &'static str) {
        // Whoever asked may have gone.
        match self {
            Self::Sale { reply, .. } => drop(reply.send(Err(SaleReject::Unavailable { reason }))),
            Self::Close { reply, .. } => drop(reply.send(Err(CloseReject::Unavailable { reason }))),
        }
    }
}

/// A request that can be decided.
#[expect(clippy::large_enum_variant, reason = "nearly all are sales")]
pub(super) enum Ready {
    Sale { request: SellRequest, prepared: PreparedSale, prior: Option<Box<SaleRecord>>, reply: SaleReply },
    Close { request: CloseRequest, prepared: PreparedClose, reply: CloseReply },
}

/// The unordered part of a request is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Prepared {
    pub(super) channel_id: ChannelId,
    pub(super) arrival: u64,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Sale(Result<PreparedSale, SaleReject>),
    Close(Result<PreparedClose, CloseReject>),
}

/// What the store has at the sequence number of the sale at the head of a queue.
#[derive(Message)]
#[rtype(result = "()")]
struct Looked {
    channel_id: ChannelId,
    arrival: u64,
    /// `None` when the store failed.
    prior: Option<Option<Box<SaleRecord>>>,
}

impl Account {
    /// Puts a request at the end; gives the number to find it by.
    pub(super) fn enqueue(&mut self, work: Work) -> u64 {
        self.arrivals += 1;
        self.queue.push_back(Slot { arrival: self.arrivals, work });
        self.arrivals
    }

    fn position(&self, arrival: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&arrival, |slot| slot.arrival).ok()
    }

    /// The request at the head is a prepared, signed repeat of a sequence number: what is stored there decides.
    fn looks_back(&self) -> Option<&SellRequest> {
        let seq = self.channel.as_ref()?.state.seq;
        match &self.queue.front()?.work {
            Work::Sale { request, prepared: Some(prepared), prior: None, .. }
                if prepared.signed && request.channel_seq <= seq =>
            {
                Some(request)
            }
            _ => None,
        }
    }

    /// Refuses everything that waits.
    pub(super) fn refuse_all(&mut self, reason: &'static str) {
        for slot in std::mem::take(&mut self.queue) {
            slot.work.refuse(reason);
        }
    }
}

impl ChannelLedger {
    /// Takes requests of a channel from the head of its queue as long as they can be decided.
    pub(super) fn pump(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        self.decide_ready(channel_id, ctx);
        self.release_or_wait(channel_id, ctx);
    }

    fn decide_ready(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        while let Some(account) = self.channels.get_mut(&channel_id) {
            match account.condition {
                Condition::Ready => {}
                Condition::Failed if account.in_flight == 0 => return self.read_back(channel_id, ctx),
                Condition::Failed | Condition::Looking | Condition::Reading => return,
            }
            if account.looks_back().is_some() {
                return self.look_back(channel_id, ctx);
            }
            let Some(ready) = take_ready(&mut account.queue) else {
                let idle = account.queue.is_empty() && account.channel.is_none();
                if idle {
                    self.channels.remove(&channel_id);
                }
                return;
            };
            self.decide(channel_id, ready, &ctx.address());
        }
    }

    fn look_back(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        // What is held is read with the rest.
        self.release(channel_id, &ctx.address());
        let Some(account) = self.channels.get_mut(&channel_id) else { return };
        let Some(request) = account.looks_back() else { return };
        let found = self.options.store.sale(channel_id, request.channel_seq);
        let arrival = account.queue.front().map_or(0, |slot| slot.arrival);
        account.condition = Condition::Looking;
        let ledger = ctx.address();
        actix_rt::spawn(async move {
            let prior = match found.await {
                Ok(prior) => Some(prior.map(Box::new)),
                Err(error) => {
                    tracing::error!(channel = %channel_id, %error, "cannot read a receipt");
                    None
                }
            };
            // A ledger that has gone has dropped the reply: the caller knows.
            let _ = ledger.send(Looked { channel_id, arrival, prior }).await;
        });
    }
}

/// Takes the request at the head if it is prepared.
fn take_ready(queue: &mut VecDeque<Slot>) -> Option<Ready> {
    let Slot { arrival, work } = queue.pop_front()?;
    match work {
        Work::Sale { request, prepared: Some(prepared), prior, reply } => {
            Some(Ready::Sale { request, prepared, prior: prior.flatten(), reply })
        }
        Work::Close { request, prepared: Some(prepared), reply } => {
            Some(Ready::Close { request, prepared, reply })
        }
        unprepared => {
            queue.push_front(Slot { arrival, work: unprepared });
            None
        }
    }
}

impl Handler<Prepared> for ChannelLedger {
    type Result = ();

    fn handle(&mut self, message: Prepared, ctx: &mut Self::Context) {
        let Prepared { channel_id, arrival, outcome } = message;
        let Some(account) = self.channels.get_mut(&channel_id) else { return };
        let Some(position) = account.position(arrival) else { return };
        let queue = &mut account.queue;
        match outcome {
            Outcome::Sale(Ok(done)) => {
                if let Some(Slot { work: Work::Sale { prepared, .. }, .. }) = queue.get_mut(position) {
                    *prepared = Some(done);
                }
            }
            Outcome::Close(Ok(done)) => {
                if let Some(Slot { work: Work::Close { prepared, .. }, .. }) = queue.get_mut(position) {
                    *prepared = Some(done);
                }
            }
            // What is refused already waits for nobody. Whoever asked may have gone.
            Outcome::Sale(Err(reject)) => {
                if let Some(Slot { work: Work::Sale { reply, .. }, .. }) = queue.remove(position) {
                    let _ = reply.send(Err(reject));
                }
            }
            Outcome::Close(Err(reject)) => {
                if let Some(Slot { work: Work::Close { reply, .. }, .. }) = queue.remove(position) {
                    let _ = reply.send(Err(reject));
                }
            }
        }
        self.pump(channel_id, ctx);
    }
}

impl Handler<Looked> for ChannelLedger {
    type Result = ();

    fn handle(&mut self, message: Looked, ctx: &mut Self::Context) {
        let Some(account) = self.channels.get_mut(&message.channel_id) else { return };
        // A commit that failed meanwhile has made it another condition, which stands.
        if account.condition == Condition::Looking {
            account.condition = Condition::Ready;
        }
        if let Some(position) = account.position(message.arrival) {
            match message.prior {
                Some(found) => {
                    if let Some(Slot { work: Work::Sale { prior, .. }, .. }) = account.queue.get_mut(position)
                    {
                        *prior = Some(found);
                    }
                }
                None => {
                    if let Some(slot) = account.queue.remove(position) {
                        slot.work.refuse("the store failed");
                    }
                }
            }
        }
        self.pump(message.channel_id, ctx);
    }
}
