//! How a buyer starts, stops, and comes back after its session was lost.

use super::*;
use crate::buyer::messages::{Leave, SessionLost};

/// The longest time between two tries to join again.
const MAX_REJOIN_DELAY: Duration = Duration::from_secs(30);
/// How many subscriptions there may be.
const MAX_SUBSCRIPTIONS: usize = 1024;

impl Handler<Start> for Buyer {
    type Result = ResponseFuture<Result<(), StartError>>;

    fn handle(&mut self, _: Start, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let state = *self.state.borrow();
        match state {
            BuyerState::Started => return Box::pin(std::future::ready(Ok(()))),
            BuyerState::Stopping => return Box::pin(std::future::ready(Err(StartError::Interrupted))),
            BuyerState::Starting => self.start_waiters.push(reply),
            BuyerState::None | BuyerState::Stopped => {
                self.start_waiters.push(reply);
                self.epoch += 1;
                self.state.send_replace(BuyerState::Starting);
                self.open_due = true;
                self.idle(ctx);
            }
        }
        Box::pin(async move { answer.await.unwrap_or(Err(StartError::Gone)) })
    }
}

impl Handler<Stop> for Buyer {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Stop, ctx: &mut Self::Context) -> Self::Result {
        let state = *self.state.borrow();
        if matches!(state, BuyerState::None | BuyerState::Stopped) {
            return Box::pin(std::future::ready(()));
        }
        let (reply, answer) = oneshot::channel();
        self.stop_waiters.push(reply);
        if state != BuyerState::Stopping {
            self.state.send_replace(BuyerState::Stopping);
            self.open_due = false;
            self.answer_start(&Err(StartError::Interrupted));
            while let Some(key_id) = self.purchases.next_key() {
                self.turn_away(key_id, &BuyError::NotRunning);
            }
            if self.task == Task::Buying {
                let epoch = self.epoch;
                ctx.run_later(message.grace, move |buyer, ctx| {
                    if buyer.epoch == epoch {
                        buyer.stopped(ctx);
                    }
                });
            } else {
                self.stopped(ctx);
            }
        }
        Box::pin(async move {
            // A buyer that has gone is stopped.
            let _ = answer.await;
        })
    }
}

impl Handler<SessionLost> for Buyer {
    type Result = ();

    fn handle(&mut self, message: SessionLost, ctx: &mut Self::Context) {
        if self.is_started() {
            tracing::warn!(reason = %message.reason, "the session was lost, joining again");
            self.till = None;
            self.open_due = true;
            self.idle(ctx);
        }
    }
}

impl Handler<Subscribe> for Buyer {
    type Result = ResponseFuture<Result<(), MarketError>>;

    /// What fails for want of a session is made good when there is one.
    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        self.subscriptions.retain(|subscription| !subscription.outlet.is_closed());
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let reason = format!("there are {MAX_SUBSCRIPTIONS} subscriptions already");
            let procedure = "subscribe".to_owned();
            return Box::pin(std::future::ready(Err(MarketError::Unsendable { procedure, reason })));
        }
        self.subscriptions.push(message.clone());
        if !self.is_started() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let subscribe = self.market.subscribe.clone();
        Box::pin(async move {
            match ask(&subscribe, message).await {
                Err(MarketError::NotJoined | MarketError::Unanswered { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}

impl Buyer {
    /// Nothing is under way: does what has waited for that.
    pub(super) fn idle(&mut self, ctx: &mut Context<Self>) {
        let state = *self.state.borrow();
        match state {
            BuyerState::Stopping => self.stopped(ctx),
            BuyerState::Starting | BuyerState::Started if self.open_due => {
                if self.task == Task::Nothing {
                    self.open(ctx);
                }
            }
            BuyerState::Started => self.pump(ctx),
            BuyerState::Starting | BuyerState::None | BuyerState::Stopped => {}
        }
    }

    fn open(&mut self, ctx: &mut Context<Self>) {
        (self.task, self.open_due) = (Task::Opening, false);
        let epoch = self.epoch;
        let opening =
            Till::open(self.options.clone(), self.market.clone(), ctx.address().recipient::<SessionLost>());
        ctx.spawn(opening.into_actor(self).map(move |result, buyer, ctx| {
            buyer.task = Task::Nothing;
            if epoch != buyer.epoch {
                return buyer.idle(ctx);
            }
            match result {
                Ok(till) => buyer.opened(till, ctx),
                Err(error) => buyer.not_opened(error, ctx),
            }
        }));
    }

    fn opened(&mut self, till: Till, ctx: &mut Context<Self>) {
        let wallet = till.wallet();
        tracing::info!(
            consumer = %self.options.consumer_id, channel = %wallet.terms.channel_id,
            remaining = %wallet.state.balance, seq = %wallet.state.seq, "buyer started"
        );
        self.settle_due = wallet.pending.is_some();
        self.wallet = Some(wallet.clone());
        if !self.open_due {
            self.till = Some(till);
        }
        self.rejoin_delay = self.options.rejoin_delay;
        self.state.send_replace(BuyerState::Started);
        self.subscribe_all(ctx);
        self.answer_start(&Ok(()));
        self.idle(ctx);
    }

    fn not_opened(&mut self, error: StartError, ctx: &mut Context<Self>) {
        if *self.state.borrow() == BuyerState::Starting {
            self.epoch += 1;
            self.leave(ctx);
            self.state.send_replace(BuyerState::Stopped);
            return self.answer_start(&Err(error));
        }
        tracing::warn!(%error, delay = ?self.rejoin_delay, "could not come back, trying again");
        while let Some(key_id) = self.purchases.next_key() {
            self.turn_away(key_id, &MarketError::NotJoined.into());
        }
        let (epoch, delay) = (self.epoch, self.rejoin_delay);
        self.rejoin_delay = delay.saturating_mul(2).min(MAX_REJOIN_DELAY);
        ctx.run_later(delay, move |buyer, ctx| {
            if buyer.epoch == epoch && buyer.is_started() {
                buyer.open_due = true;
                buyer.idle(ctx);
            }
        });
    }

    fn subscribe_all(&mut self, ctx: &mut Context<Self>) {
        self.subscriptions.retain(|subscription| !subscription.outlet.is_closed());
        for subscription in self.subscriptions.clone() {
            let subscribe = self.market.subscribe.clone();
            let asked = async move {
                let topic = subscription.topic.clone();
                if let Err(error) = ask(&subscribe, subscription).await {
                    tracing::error!(topic, %error, "could not subscribe");
                }
            };
            ctx.spawn(asked.into_actor(self));
        }
    }

    /// The end of a stop. What is still under way ends with the session; the next start settles it.
    fn stopped(&mut self, ctx: &mut Context<Self>) {
        self.epoch += 1;
        self.till = None;
        for waiter in self.purchases.abandon() {
            let _ = waiter.send(Err(BuyError::NotRunning));
        }
        let left = self.market.leave.send(Leave);
        let waiters = std::mem::take(&mut self.stop_waiters);
        let epoch = self.epoch;
        ctx.spawn(left.into_actor(self).map(move |_, buyer, _| {
            if buyer.epoch == epoch {
                buyer.state.send_replace(BuyerState::Stopped);
            }
            for waiter in waiters {
                let _ = waiter.send(());
            }
        }));
    }

    fn leave(&self, ctx: &mut Context<Self>) {
        let left = self.market.leave.send(Leave);
        ctx.spawn(left.into_actor(self).map(|_, _, _| ()));
    }

    fn answer_start(&mut self, result: &Result<(), StartError>) {
        for waiter in self.start_waiters.drain(..) {
            let _ = waiter.send(result.clone());
        }
    }
}
