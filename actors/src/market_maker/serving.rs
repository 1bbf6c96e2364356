//! Registering the provider's procedures, passing their calls on, and withdrawing.

use std::time::Duration;

use actix::prelude::*;
use backon::{BackoffBuilder, ExponentialBuilder};
use tracing::Span;
use xbr_core::Value;
use xbr_core::reject::Reject;
use xbr_core::wire::{CloseRequest, MarketMakerStatus, OnStatus, SellRequest, uri};
use xbr_store::kill_point::Step;
use xbr_wamp::error::uris;
use xbr_wamp::request::{RegistrationId, SubscriptionId};
use xbr_wamp::{Event, Invocation, Match, RegisterOptions, Session};

use super::{MarketMaker, market_error};
use crate::messages::{CloseChannel, MarketError, MarketMakerBack, Sell, Serve, Withdraw};
use crate::observer;
use crate::spans::{self, step};

/// How many invocations may be under way; what comes beyond is answered at once, to be repeated.
const MAX_IN_FLIGHT: usize = 2048;

#[derive(Debug)]
pub(super) struct Served {
    sell: (RegistrationId, Recipient<Sell>),
    close: (RegistrationId, Recipient<CloseChannel>),
    /// `None` when the router did not let us subscribe.
    status: Option<SubscriptionId>,
    back: Recipient<MarketMakerBack>,
}

impl MarketMaker {
    /// An event came: only that the market maker of this market runs is of interest.
    pub(super) fn told(&self, event: &Event) {
        let Some(served) = self.joined.as_ref().and_then(|joined| joined.served.as_ref()) else { return };
        if served.status != Some(event.subscription) {
            return;
        }
        let market = self.domain.map(|domain| domain.market_id);
        match OnStatus::parse(&event.args, &event.kwargs) {
            Ok(OnStatus { market_id, status: MarketMakerStatus::Running })
                if market_id.is_none() || market_id == market =>
            {
                // One that gets lost in a full mailbox is followed by others, or by failing calls.
                let _ = served.back.try_send(MarketMakerBack);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an event is out of form"),
        }
    }

    pub(super) fn invoked(&self, invocation: Invocation) {
        let Some(served) = self.joined.as_ref().and_then(|joined| joined.served.as_ref()) else {
            return refuse_early(invocation);
        };
        Step::Received.pass();
        if self.in_flight.count() >= MAX_IN_FLIGHT {
            self.observers.tell(|| observer::Event::TurnedAway { error: uris::UNAVAILABLE });
            return answer_error(
                invocation,
                uris::UNAVAILABLE,
                "too many requests at once; repeat the request",
            );
        }
        let (args, kwargs) = (&invocation.args, &invocation.kwargs);
        if invocation.registration == served.sell.0 {
            let span = spans::sale();
            let decoding = step!(&span, "decode");
            let parsed = SellRequest::parse(args, kwargs);
            drop(decoding);
            match parsed {
                Ok(request) => {
                    // Sent before anything is awaited: sales reach the ledger in the order of the wire.
                    let answer = served.sell.1.send(Sell { request, span: span.clone() });
                    self.answer(invocation, answer, span, |receipt| receipt.to_value());
                }
                Err(error) => self.turn_away(invocation, &Reject::Sale(error.into())),
            }
        } else if invocation.registration == served.close.0 {
            match CloseRequest::parse(args, kwargs) {
                Ok(request) => {
                    let answer = served.close.1.send(CloseChannel { request });
                    self.answer(invocation, answer, Span::none(), |receipt| receipt.to_value());
                }
                Err(error) => self.turn_away(invocation, &Reject::Close(error.into())),
            }
        } else {
            refuse_early(invocation);
        }
    }

    /// Answers an invocation when its recipient does. An interrupted one is answered as well: a committed sale is
    /// never undone.
    fn answer<T: 'static, R: Into<Reject> + 'static>(
        &self,
        invocation: Invocation,
        answer: impl Future<Output = Result<Result<T, R>, MailboxError>> + 'static,
        span: Span,
        encode: impl FnOnce(&T) -> Value + 'static,
    ) {
        let flight = self.in_flight.enter();
        actix_rt::spawn(async move {
            let answer = answer.await;
            let replying = step!(&span, "reply");
            match answer {
                Ok(Ok(receipt)) => {
                    invocation.responder.yield_result(vec![encode(&receipt)], Vec::new());
                    Step::Replied.pass();
                }
                Ok(Err(reject)) => refuse(invocation, &reject.into()),
                Err(_) => {
                    answer_error(invocation, uris::UNAVAILABLE, "the seller has gone; repeat the request")
                }
            }
            drop(replying);
            drop(flight);
        });
    }

    /// Answers a call that is not passed on.
    fn turn_away(&self, invocation: Invocation, reject: &Reject) {
        self.observers.tell(|| observer::Event::TurnedAway { error: reject.uri() });
        refuse(invocation, reject);
    }
}

fn refuse(invocation: Invocation, reject: &Reject) {
    tracing::warn!(error = reject.uri(), "refused: {reject}");
    answer_error(invocation, reject.uri(), &reject.to_string());
}

/// An invocation that comes between the router's registration and our knowing of it.
fn refuse_early(invocation: Invocation) {
    answer_error(invocation, uris::UNAVAILABLE, "the seller is not ready; repeat the request");
}

fn answer_error(invocation: Invocation, uri: &str, text: &str) {
    invocation.responder.error(uri, vec![Value::from(text)], Vec::new());
}

impl Handler<Serve> for MarketMaker {
    type Result = ResponseActFuture<Self, Result<(), MarketError>>;

    fn handle(&mut self, message: Serve, _: &mut Self::Context) -> Self::Result {
        let session = self.session();
        let options = RegisterOptions {
            invoke: self.options.invoke,
            force_reregister: self.options.force_reregister,
            ..RegisterOptions::default()
        };
        let patience = self.options.register_patience;
        let generation = self.generation;
        let provider = message.provider_id.clone();
        let registered = async move {
            let session = session?;
            let sell = register(&session, uri::sell(&provider), options, patience).await?;
            let close = register(&session, uri::close_channel(&provider), options, patience).await?;
            let status = session.subscribe(uri::ON_STATUS, Match::Exact).await;
            let status =
                status.inspect_err(|error| tracing::warn!(%error, "cannot hear of the market maker"));
            Ok((sell, close, status.ok()))
        };
        Box::pin(registered.into_actor(self).map(move |result, actor, _| {
            let (sell, close, status) = result?;
            match &mut actor.joined {
                Some(joined) if actor.generation == generation => {
                    joined.served = Some(Served {
                        sell: (sell, message.sell),
                        close: (close, message.close),
                        status,
                        back: message.back,
                    });
                    Ok(())
                }
                _ => Err(MarketError::NotJoined),
            }
        }))
    }
}

/// Registers a procedure. After a dropped connection the router may hold the old registration for a while.
async fn register(
    session: &Session,
    procedure: String,
    options: RegisterOptions,
    patience: Duration,
) -> Result<RegistrationId, MarketError> {
    let delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_total_delay(Some(patience))
        .without_max_times();
    for delay in delays.build() {
        match session.register(&procedure, options).await {
            Err(error) if error.uri() == Some(uris::PROCEDURE_ALREADY_EXISTS) => {
                tracing::info!(procedure, "the router still holds the registration, trying again");
                actix_rt::time::sleep(delay).await;
            }
            result => return result.map_err(|error| market_error(&procedure, &error)),
        }
    }
    session.register(&procedure, options).await.map_err(|error| market_error(&procedure, &error))
}

impl Handler<Withdraw> for MarketMaker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Withdraw, _: &mut Self::Context) -> Self::Result {
        let in_flight = self.in_flight.clone();
        let served =
            self.joined.as_mut().and_then(|joined| Some((joined.session.clone(), joined.served.take()?)));
        Box::pin(async move {
            in_flight.idle().await;
            let Some((session, served)) = served else { return };
            for registration in [served.sell.0, served.close.0] {
                if let Err(error) = session.unregister(registration).await {
                    tracing::warn!(%error, "cannot unregister");
                }
            }
        })
    }
}
