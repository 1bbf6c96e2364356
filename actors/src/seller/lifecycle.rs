//! Starting, stopping, and coming back after the session was lost.

use futures_util::future::join_all;

use super::*;
use crate::channel_ledger::Load;
use crate::closing::{self, Close, CloseError, CloseReport};
use crate::key_series::{DetachMarket, Halt};
use crate::messages::{Join, Leave, Withdraw};
use crate::start::{self, Ready};

/// How long leaving the session may take when the grace period is used up.
const LEAVE: Duration = Duration::from_secs(1);

/// A session that lasts so long counts as one: the next loss is followed by a quick return.
const LASTING: Duration = Duration::from_secs(30);

type Step<T> = ResponseActFuture<Seller, Result<T, StartError>>;

impl Seller {
    /// Runs the whole start once. Whatever comes of it after a stop is void.
    fn attempt(&mut self, ctx: &mut Context<Self>) -> Step<()> {
        self.session_lost = false;
        let Some(children) = &self.children else { return Box::pin(fut::err(StartError::Gone)) };
        let lost = ctx.address().recipient();
        let reconciling =
            start::reconcile(self.options.clone(), children.market.clone(), children.ledger.clone(), lost);
        let epoch = self.epoch;
        Box::pin(reconciling.into_actor(self).then(move |result, seller, ctx| match result {
            _ if seller.epoch != epoch => Box::pin(fut::err(StartError::Interrupted)),
            Ok(ready) => seller.open(ready, ctx),
            Err(error) => Box::pin(fut::err(error)),
        }))
    }

    /// From here on sales can be judged.
    fn open(&mut self, ready: Ready, ctx: &mut Context<Self>) -> Step<()> {
        self.domain = Some(ready.domain);
        self.terms = ready.terms;
        self.serving = true;
        let Some(children) = &self.children else { return Box::pin(fut::err(StartError::Gone)) };
        let series = self.apis.values().map(|api| api.series.clone()).collect();
        let serving = start::serve(self.options.clone(), children.market.clone(), ctx.address(), series);
        let epoch = self.epoch;
        Box::pin(serving.into_actor(self).map(move |result, seller, _| match result {
            _ if seller.epoch != epoch => Err(StartError::Interrupted),
            Ok(()) if seller.session_lost => Err(StartError::SessionLost),
            result => result,
        }))
    }

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.started_at = Instant::now();
        self.set_state(SellerState::Started);
        self.answer_starters(&Ok(()));
        self.arm_channel_poll(ctx);
    }

    fn answer_starters(&mut self, result: &Result<(), StartError>) {
        for waiter in self.start_waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(result.clone());
        }
    }

    /// Nothing is sold and nothing offered until there is a session again.
    fn suspend(&mut self) {
        self.serving = false;
        for api in self.apis.values() {
            // A series that has died is replaced; a full mailbox holds offers that fail by themselves.
            let _ = api.series.try_send(DetachMarket);
        }
    }

    fn leave(&self) -> impl Future<Output = ()> + use<> {
        let leave = self.children.as_ref().map(|children| children.market.leave.clone());
        async move {
            if let Some(leave) = leave {
                // A session actor that has gone has dropped the connection.
                let _ = leave.send(Leave).await;
            }
        }
    }

    /// Comes back after the session was lost. During a start that one fails by itself.
    pub(super) fn restart_session(&mut self, reason: &str, ctx: &mut Context<Self>) {
        match self.current_state() {
            SellerState::Started => {
                tracing::warn!(reason, "session lost, coming back");
                self.options.observers.tell(|| Event::SessionLost { reason: reason.to_owned() });
                // One that is lost at once, as when two sellers take each other's procedures, comes back ever later.
                if self.started_at.elapsed() >= LASTING {
                    self.backoff = backoff(&self.options);
                }
                self.set_state(SellerState::Starting);
                self.suspend();
                self.come_back(ctx);
            }
            SellerState::Starting => self.session_lost = true,
            SellerState::None | SellerState::Stopping | SellerState::Stopped => {}
        }
    }

    fn come_back(&mut self, ctx: &mut Context<Self>) {
        let delay = self.backoff.next().unwrap_or(LEAVE);
        let epoch = self.epoch;
        ctx.run_later(delay, move |seller, ctx| {
            if seller.epoch != epoch {
                return;
            }
            let attempt = seller.attempt(ctx).map(move |result, seller: &mut Self, ctx| match result {
                _ if seller.epoch != epoch => {}
                Ok(()) => {
                    tracing::info!("back, and selling");
                    seller.started(ctx);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot come back yet");
                    seller.options.observers.tell(|| Event::NotBack { reason: error.to_string() });
                    seller.suspend();
                    actix_rt::spawn(seller.leave());
                    seller.come_back(ctx);
                }
            });
            seller.attempt = Some(ctx.spawn(attempt));
        });
    }
}

impl Handler<Start> for Seller {
    type Result = ResponseFuture<Result<(), StartError>>;

    fn handle(&mut self, _: Start, ctx: &mut Self::Context) -> Self::Result {
        let (done, wait) = oneshot::channel();
        match self.current_state() {
            SellerState::Started => return Box::pin(async { Ok(()) }),
            SellerState::Stopping => return Box::pin(async { Err(StartError::Interrupted) }),
            SellerState::Starting => self.start_waiters.push(done),
            SellerState::None | SellerState::Stopped => {
                self.set_state(SellerState::Starting);
                self.backoff = backoff(&self.options);
                self.start_waiters.push(done);
                let epoch = self.epoch;
                let attempt = self.attempt(ctx).then(move |result, seller: &mut Self, _| {
                    let failed = result.is_err() && seller.epoch == epoch;
                    if failed {
                        seller.suspend();
                    }
                    let left = failed.then(|| seller.leave());
                    let done = async move {
                        if let Some(left) = left {
                            left.await;
                        }
                        result
                    };
                    actix::fut::wrap_future::<_, Self>(done)
                });
                self.attempt =
                    Some(ctx.spawn(attempt.map(move |result, seller: &mut Self, ctx| match result {
                        // The stop has answered for it.
                        _ if seller.epoch != epoch => {}
                        Ok(()) => seller.started(ctx),
                        error => {
                            seller.set_state(SellerState::Stopped);
                            seller.answer_starters(&error);
                        }
                    })));
            }
        }
        Box::pin(async move { wait.await.unwrap_or(Err(StartError::Gone)) })
    }
}

impl Handler<Stop> for Seller {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Stop, ctx: &mut Self::Context) -> Self::Result {
        let (done, wait) = oneshot::channel();
        match self.current_state() {
            SellerState::Stopped => return Box::pin(async {}),
            SellerState::Stopping => self.stop_waiters.push(done),
            SellerState::None | SellerState::Starting | SellerState::Started => {
                self.set_state(SellerState::Stopping);
                self.stop_waiters.push(done);
                self.epoch += 1;
                if let Some(attempt) = self.attempt.take() {
                    ctx.cancel_future(attempt);
                }
                self.answer_starters(&Err(StartError::Interrupted));
                let stopping = self.wind_down(message.grace).into_actor(self);
                ctx.spawn(stopping.map(|(), seller, _| {
                    seller.set_state(SellerState::Stopped);
                    for waiter in seller.stop_waiters.drain(..) {
                        // Whoever asked may have gone.
                        let _ = waiter.send(());
                    }
                }));
            }
        }
        Box::pin(async move {
            // A seller that has gone is stopped.
            let _ = wait.await;
        })
    }
}

impl Handler<Close> for Seller {
    type Result = ResponseFuture<Result<CloseReport, CloseError>>;

    /// A seller that is not started joins for the purpose, and serves nothing meanwhile.
    fn handle(&mut self, message: Close, ctx: &mut Self::Context) -> Self::Result {
        let is_joined = match self.current_state() {
            SellerState::Started => true,
            SellerState::None | SellerState::Stopped => false,
            SellerState::Starting | SellerState::Stopping => {
                return Box::pin(async { Err(CloseError::NotNow) });
            }
        };
        let Some(children) = &self.children else { return Box::pin(async { Err(CloseError::Gone) }) };
        let (market, ledger) = (children.market.clone(), children.ledger.clone());
        let lost = ctx.address().recipient();
        let leave = self.leave();
        let closing = closing::close(self.options.clone(), market.clone(), ledger.clone(), message.0);
        let flight = self.in_flight.enter();
        Box::pin(async move {
            let result = async {
                if !is_joined {
                    ledger.send(Load).await.map_err(|_| CloseError::Gone)??;
                    ask(&market.join, Join { lost }).await?;
                }
                closing.await
            };
            let result = result.await;
            if !is_joined {
                leave.await;
            }
            drop(flight);
            result
        })
    }
}

impl Seller {
    /// No new sales; then those in flight, the offers, the registrations, the store and the session, in this order.
    fn wind_down(&mut self, grace: Duration) -> impl Future<Output = ()> + use<> {
        self.serving = false;
        let in_flight = self.in_flight.clone();
        let series: Vec<_> = self.apis.values().map(|api| api.series.clone()).collect();
        let withdraw = self.children.as_ref().map(|children| children.market.withdraw.clone());
        let store = self.options.store.clone();
        let leave = self.children.as_ref().map(|children| children.market.leave.clone());
        async move {
            let orderly = async {
                in_flight.idle().await;
                // Whoever has died has nothing left to stop.
                join_all(series.iter().map(|series| series.send(Halt))).await;
                if let Some(withdraw) = withdraw {
                    let _ = withdraw.send(Withdraw).await;
                }
                if let Err(error) = store.flush().await {
                    tracing::error!(%error, "cannot flush the store");
                }
            };
            if tokio::time::timeout(grace, orderly).await.is_err() {
                tracing::warn!(?grace, "the grace period is used up, leaving at once");
            }
            if let Some(leave) = leave {
                let _ = tokio::time::timeout(LEAVE, leave.send(Leave)).await;
            }
        }
    }
}
