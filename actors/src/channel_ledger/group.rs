//! Groups of decided sales: those that are decided while others of their channel are being prepared or stored go to the
//! store together, so that they share what a commit costs. A group goes when the store has answered the one before it,
//! and for each worker no more sales wait to be decided than there are in it: so one worker is at one half of the sales
//! under way while the store is at the other, two workers at two thirds. A sale that no other follows goes at once.

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;
use tracing::Span;
use xbr_core::reject::SaleReject;
use xbr_core::wire::SellReceipt;
use xbr_core::{Address, Amount, ChannelId};
use xbr_store::kill_point::Step;
use xbr_store::{Outcome, Store, StoreError, StoreFuture};

use super::commit::{Committed, Decided, NOT_DURABLE, report_sale};
use super::queue::SaleReply;
use super::{Account, ChannelLedger, Condition};
use crate::sale::Sold;
use crate::spans::step;

/// So many sales are enough: more would save little and make the first one wait.
const ENOUGH: usize = 32;
/// No group waits longer for a next sale, which may be waiting for the market maker.
const HOLD: Duration = Duration::from_millis(2);
/// Nor longer in all.
const MAX_HOLD: Duration = Duration::from_millis(10);

/// A sale by which the channel has advanced, on its way to the store.
#[derive(Debug)]
pub(super) struct Held {
    sale: Decided,
    reply: SaleReply,
    committing: Span,
}

impl Account {
    /// Whether the store shall have the group now, where so many sales are prepared at a time.
    fn is_group_complete(&self, workers: usize) -> bool {
        let (held, waiting) = (self.held.len(), self.queue.len());
        let is_last = waiting == 0 || self.condition != Condition::Ready;
        let is_store_free = self.in_flight == held;
        is_last || held >= ENOUGH || (is_store_free && held.saturating_mul(workers.max(1)) >= waiting)
    }
}

impl ChannelLedger {
    /// Takes a decided sale into its channel's group.
    pub(super) fn hold(&mut self, channel_id: ChannelId, sale: Decided, reply: SaleReply) {
        self.commit_begins(channel_id, sale.record.amount);
        let committing = step!(&sale.span, "commit");
        let account = self.account(channel_id);
        account.decided += 1;
        account.held.push(Held { sale, reply, committing });
    }

    /// Sends a channel's group to the store unless more is about to come.
    pub(super) fn release_or_wait(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        let workers = self.options.workers;
        let Some(account) = self.channels.get_mut(&channel_id) else { return };
        if account.held.is_empty() {
            return;
        }
        if account.is_group_complete(workers) {
            self.release(channel_id, &ctx.address());
        } else if !account.is_timed {
            account.is_timed = true;
            self.wait_for_more(channel_id, MAX_HOLD, ctx);
        }
    }

    /// Sends a channel's group to the store when nothing was decided for a while, or when it has waited long enough.
    fn wait_for_more(&self, channel_id: ChannelId, at_most: Duration, ctx: &mut Context<Self>) {
        let decided = self.channels.get(&channel_id).map_or(0, |account| account.decided);
        let then = at_most.saturating_sub(HOLD);
        ctx.run_later(HOLD, move |ledger, ctx| {
            let account = ledger.account(channel_id);
            if account.decided > decided && !then.is_zero() {
                return ledger.wait_for_more(channel_id, then, ctx);
            }
            account.is_timed = false;
            ledger.release(channel_id, &ctx.address());
        });
    }

    /// Sends a channel's group to the store: before anything else of the channel goes there or is read.
    pub(super) fn release(&mut self, channel_id: ChannelId, ledger: &Addr<Self>) {
        let Some(account) = self.channels.get_mut(&channel_id) else { return };
        let group = std::mem::take(&mut account.held);
        if group.is_empty() {
            return;
        }
        let (store, delegate, ledger) = (self.options.store.clone(), self.options.delegate, ledger.clone());
        // All are called before one is awaited, so that they share a transaction.
        let stored: Vec<_> = group.iter().map(|held| store.commit_sale(held.sale.record.clone())).collect();
        actix_rt::spawn(async move {
            let (count, mut amount, mut durable) = (group.len(), Amount::ZERO, true);
            for (held, stored) in group.into_iter().zip(all_of(stored).await) {
                amount = amount.checked_add(held.sale.record.amount).unwrap_or(Amount::MAX);
                durable &= held.settle(stored, &*store, delegate).await;
            }
            // A ledger that has gone has a successor, which reads the store.
            let _ = ledger.send(Committed { channel_id, count, amount, durable }).await;
        });
    }
}

/// The answers to all, in order. The last one is waited for first: it comes when the others are there, so that whoever
/// waits is woken once, and not again and again while they come.
async fn all_of(stored: Vec<StoreFuture<()>>) -> VecDeque<Result<(), StoreError>> {
    let mut answers = VecDeque::with_capacity(stored.len());
    for answer in stored.into_iter().rev() {
        answers.push_front(answer.await);
    }
    answers
}

impl Held {
    /// Answers the sale when it is certain what has become of it; whether it is durable.
    async fn settle(self, stored: Result<(), StoreError>, store: &dyn Store, delegate: Address) -> bool {
        let Self { sale: Decided { record, api_id, span: _ }, reply, committing } = self;
        let durable = match stored {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(channel = %record.channel_id, %error, "cannot store a sale");
                error.outcome() == Outcome::Unknown
                    && matches!(store.sale(record.channel_id, record.state.seq).await, Ok(Some(it)) if it == record)
            }
        };
        drop(committing);
        // Whoever asked may have gone; so may the ledger, whose successor reads the store.
        if durable {
            Step::Fsynced.pass();
            report_sale(&record);
            let receipt = SellReceipt::of(&record, delegate);
            let _ = reply.send(Ok(Sold { receipt, api_id, is_repeat: false }));
        } else {
            let _ = reply.send(Err(SaleReject::Unavailable { reason: NOT_DURABLE }));
        }
        durable
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_waits_for_a_group_is_woken_once_and_has_its_answers_in_order() {
        let (answers, stored): (Vec<_>, Vec<StoreFuture<()>>) = (0..32)
            .map(|_| {
                let (answer, answered) = oneshot::channel();
                let stored: StoreFuture<()> =
                    Box::pin(async { answered.await.unwrap_or(Err(StoreError::Closed)) });
                (answer, stored)
            })
            .unzip();
        let wakes = Arc::new(Counter::default());
        let waker = Waker::from(wakes.clone());
        let (mut all, mut context) = (Box::pin(all_of(stored)), Context::from_waker(&waker));
        assert!(all.as_mut().poll(&mut context).is_pending());
        for (number, answer) in answers.into_iter().enumerate() {
            let failed = number == 7;
            answer.send(if failed { Err(StoreError::Conflict) } else { Ok(()) }).unwrap();
        }
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        let Poll::Ready(all) = all.as_mut().poll(&mut context) else { panic!("it still waits") };
        let failed: Vec<_> = all.iter().map(Result::is_err).collect();
        assert_eq!(failed, (0..32).map(|number| number == 7).collect::<Vec<_>>());
    }
}
