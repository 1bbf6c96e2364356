//! How a market maker starts, stops, and comes back after its session was lost.

use std::time::Duration;

use actix::prelude::*;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;
use xbr_core::wire::{MarketMakerStatus, OnStatus, uri};
use xbr_store::StoreError;

use super::{Maker, MakerState};
use crate::maker::messages::{Join, JoinError, Leave, SessionLost};

/// The longest time between two tries of anything.
const MAX_DELAY: Duration = Duration::from_secs(30);
/// How often a stop looks whether the purchases in flight have ended.
const LOOK: Duration = Duration::from_millis(20);

/// What is said to buyers whose purchase a stop leaves in flight.
const STOPPED: &str = "the market maker has stopped";

/// Read the books, open the configured channels, join the realm and register.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StartError>")]
pub struct Start;

/// Sell nothing more, finish what is in flight, and leave.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// For how long to wait for the purchases in flight; the next start takes up the others.
    pub grace: Duration,
}

/// Why a start failed. The market maker is stopped then, and can be started again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The realm cannot be joined, or the procedures not be registered.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// It was stopped meanwhile.
    #[error("stopped before the start was through")]
    Interrupted,
    /// The market maker has gone.
    #[error("the market maker has gone")]
    Gone,
}

pub(super) fn backoff(first: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(MAX_DELAY.max(first))
        .with_jitter()
        .without_max_times()
        .build()
}

impl Handler<Start> for Maker {
    type Result = ResponseFuture<Result<(), StartError>>;

    fn handle(&mut self, _: Start, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let state = *self.state.borrow();
        match state {
            MakerState::Running => return Box::pin(std::future::ready(Ok(()))),
            MakerState::Stopping => return Box::pin(std::future::ready(Err(StartError::Interrupted))),
            MakerState::Starting => self.start_waiters.push(reply),
            MakerState::None | MakerState::Stopped => {
                self.start_waiters.push(reply);
                self.state.send_replace(MakerState::Starting);
                self.run += 1;
                let snapshot = self.options.store.load(*self.book.market());
                self.in_this_run(ctx, snapshot, |maker, snapshot, ctx| match snapshot {
                    Ok(snapshot) => {
                        maker.restore(snapshot, ctx);
                        maker.open_configured(ctx);
                    }
                    Err(error) => maker.not_started(error.into(), ctx),
                });
            }
        }
        Box::pin(async move { answer.await.unwrap_or(Err(StartError::Gone)) })
    }
}

impl Handler<Stop> for Maker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Stop, ctx: &mut Self::Context) -> Self::Result {
        let state = *self.state.borrow();
        if matches!(state, MakerState::None | MakerState::Stopped) {
            return Box::pin(std::future::ready(()));
        }
        let (reply, answer) = oneshot::channel();
        self.stop_waiters.push(reply);
        if state != MakerState::Stopping {
            self.state.send_replace(MakerState::Stopping);
            self.answer_start(&Err(StartError::Interrupted));
            self.publish_status(MarketMakerStatus::Stopping);
            self.stop_when_idle(Instant::now() + message.grace, ctx);
        }
        Box::pin(async move {
            // A market maker that has gone is stopped.
            let _ = answer.await;
        })
    }
}

impl Handler<SessionLost> for Maker {
    type Result = ();

    fn handle(&mut self, message: SessionLost, ctx: &mut Self::Context) {
        (self.connected, self.session_lost) = (false, true);
        if *self.state.borrow() == MakerState::Running {
            tracing::warn!(reason = %message.reason, "the session was lost, joining again");
            self.rejoin(ctx);
        }
    }
}

impl Maker {
    fn open_configured(&mut self, ctx: &mut Context<Self>) {
        let grants = self.options.grants();
        let mut opened = Vec::new();
        for (channel_id, grant) in grants {
            let (reply, answer) = oneshot::channel();
            self.grant(channel_id, &grant, ctx, reply);
            opened.push((channel_id, answer));
        }
        let opening = async move {
            for (channel_id, answer) in opened {
                // One that was opened with another amount stays as it is.
                if let Ok(Err(reject)) = answer.await {
                    tracing::warn!(channel = %channel_id, "a configured channel is not opened: {reject}");
                }
            }
        };
        let deadline = Instant::now() + self.options.join_patience;
        self.backoff = backoff(self.options.rejoin_delay);
        self.in_this_run(ctx, opening, move |maker, (), ctx| maker.join(Some(deadline), ctx));
    }

    /// Joins the realm; a first time until a deadline, after a loss for as long as it takes.
    fn join(&mut self, deadline: Option<Instant>, ctx: &mut Context<Self>) {
        let me = ctx.address();
        let joining = self.realm.join.send(Join { answers: me.clone().recipient(), lost: me.recipient() });
        (self.connected, self.session_lost) = (false, false);
        self.in_this_run(ctx, joining, move |maker, joined, ctx| {
            match joined.unwrap_or(Err(JoinError::GivenUp)) {
                Ok(()) if maker.session_lost => maker.not_joined(JoinError::GivenUp, deadline, ctx),
                Ok(()) => maker.joined(ctx),
                Err(error) => maker.not_joined(error, deadline, ctx),
            }
        });
    }

    fn joined(&mut self, ctx: &mut Context<Self>) {
        self.connected = true;
        if *self.state.borrow() == MakerState::Stopping {
            return self.resume_all(ctx);
        }
        self.backoff = backoff(self.options.rejoin_delay);
        self.state.send_replace(MakerState::Running);
        tracing::info!(market_maker = %self.book.market().market_maker, "the market is open");
        self.publish_status(MarketMakerStatus::Running);
        self.answer_start(&Ok(()));
        self.resume_all(ctx);
    }

    fn not_joined(&mut self, error: JoinError, deadline: Option<Instant>, ctx: &mut Context<Self>) {
        let state = *self.state.borrow();
        let permanent = matches!(error, JoinError::Join { permanent: true, .. });
        let patient = deadline.is_none_or(|deadline| Instant::now() < deadline) && !permanent;
        match state {
            MakerState::Running => self.rejoin(ctx),
            MakerState::Starting if patient => {
                tracing::info!(%error, "cannot join yet, trying again");
                let delay = self.next_delay();
                self.in_this_run(ctx, tokio::time::sleep(delay), move |maker, (), ctx| {
                    maker.join(deadline, ctx)
                });
            }
            MakerState::Starting => self.not_started(error.into(), ctx),
            MakerState::None | MakerState::Stopping | MakerState::Stopped => {}
        }
    }

    fn rejoin(&mut self, ctx: &mut Context<Self>) {
        let delay = self.next_delay();
        self.in_this_run(ctx, tokio::time::sleep(delay), |maker, (), ctx| maker.join(None, ctx));
    }

    fn next_delay(&mut self) -> Duration {
        self.backoff.next().unwrap_or(MAX_DELAY)
    }

    fn not_started(&mut self, error: StartError, ctx: &mut Context<Self>) {
        self.leave(ctx);
        (self.run, self.epoch) = (self.run + 1, self.epoch + 1);
        self.state.send_replace(MakerState::Stopped);
        self.answer_start(&Err(error));
    }

    fn stop_when_idle(&mut self, deadline: Instant, ctx: &mut Context<Self>) {
        let is_idle = self.book.purchases().next().is_none() && self.commits == 0;
        if is_idle || Instant::now() >= deadline {
            return self.stopped(ctx);
        }
        ctx.run_later(LOOK, move |maker, ctx| maker.stop_when_idle(deadline, ctx));
    }

    /// The end of a stop. What is still in flight is taken up by the next start.
    fn stopped(&mut self, ctx: &mut Context<Self>) {
        (self.run, self.epoch) = (self.run + 1, self.epoch + 1);
        self.connected = false;
        self.turn_buyers_away(STOPPED);
        self.publish_status(MarketMakerStatus::Stopped);
        let (stored, left) = (self.options.store.flush(), self.realm.leave.send(Leave));
        let leaving = async move {
            if let Err(error) = stored.await {
                tracing::error!(%error, "the store failed at the end");
            }
            // A session that has gone has left.
            let _ = left.await;
        };
        let waiters = std::mem::take(&mut self.stop_waiters);
        self.in_this_run(ctx, leaving, move |maker, (), _| {
            maker.state.send_replace(MakerState::Stopped);
            for waiter in waiters {
                let _ = waiter.send(());
            }
        });
    }

    fn leave(&self, ctx: &mut Context<Self>) {
        let left = self.realm.leave.send(Leave);
        Self::whenever(ctx, left, |_, _, _| ());
    }

    fn publish_status(&self, status: MarketMakerStatus) {
        let market_id = Some(self.book.market().domain.market_id);
        self.publish(uri::ON_STATUS, OnStatus { market_id, status }.to_args());
    }

    fn answer_start(&mut self, result: &Result<(), StartError>) {
        for waiter in self.start_waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(result.clone());
        }
    }
}
