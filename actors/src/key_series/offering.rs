//! Placing the offers of a series' keys: at once, again after a failure, and again for a new market maker.

use std::time::Duration;

use actix::fut;
use actix::prelude::*;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use xbr_core::offer::KeyOffer;

use super::{KeySeries, MAX_LEAD, OfferPort};
use crate::messages::{MarketError, PlaceOffer, ask};

/// Offers that could not be placed are kept for this many keys; the oldest is given up first.
const MAX_UNOFFERED: usize = 1000;
/// A key waits no longer for its offer before it may be used: a slow market maker must not stop the data.
const MAX_OFFER_TIME: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct LiveOffer {
    pub(super) offer: KeyOffer,
    pub(super) offered: bool,
}

pub(super) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Places an offer. One that takes too long counts as failed: it is placed again, and that it was taken meanwhile counts
/// as success.
pub(super) async fn place(market: &OfferPort, offer: KeyOffer) -> Result<(), MarketError> {
    let placing = ask(&market.place, PlaceOffer { offer });
    let late = MarketError::Unanswered {
        procedure: "place_offer".to_owned(),
        reason: "it takes too long".to_owned(),
    };
    tokio::time::timeout(MAX_OFFER_TIME, placing).await.unwrap_or(Err(late))
}

impl KeySeries {
    /// Keeps the offers of the current and the next key, and those that still have to be placed.
    pub(super) fn forget_settled_offers(&mut self) {
        let current = self.current;
        let newest = self.made;
        self.offers
            .retain(|made, live| !live.offered || Some(live.offer.key_id) == current || *made == newest);
        while self.offers.len() > MAX_UNOFFERED {
            if let Some((_, live)) = self.offers.pop_first() {
                tracing::error!(key_id = %live.offer.key_id, "offer given up, too many keys are not offered");
            }
        }
    }

    pub(super) fn note_offer(&mut self, made: u64, result: Result<(), MarketError>, ctx: &mut Context<Self>) {
        match result {
            Ok(()) => {
                self.backoff = backoff();
                if let Some(live) = self.offers.get_mut(&made) {
                    live.offered = true;
                    let noted =
                        self.options.store.mark_offered(live.offer.key_id, self.options.clock.now_ns());
                    ctx.spawn(noted.into_actor(self).map(|result, series, _| {
                        if let Err(error) = result {
                            series.report("cannot note that a key is offered", &error);
                        }
                    }));
                }
                self.forget_settled_offers();
            }
            // Without a market maker there is nobody to complain about, and attaching one offers all; one that came while
            // this was under way did not see this key.
            Err(MarketError::NotJoined) => self.arm_retry(ctx),
            Err(error) => {
                self.report("cannot offer a data key, trying again", &error);
                self.arm_retry(ctx);
            }
        }
    }

    pub(super) fn arm_retry(&mut self, ctx: &mut Context<Self>) {
        if self.retry_armed || self.market.is_none() {
            return;
        }
        self.retry_armed = true;
        let delay = self.backoff.next().unwrap_or(MAX_LEAD);
        ctx.run_later(delay, |series, ctx| {
            series.retry_armed = false;
            let attempt = series.offer_where(|live| !live.offered);
            ctx.spawn(attempt.map(|_, _, _| ()));
        });
    }

    /// Offers the keys that the condition picks; gives the number that the market maker has taken.
    pub(super) fn offer_where(
        &mut self,
        pick: impl Fn(&LiveOffer) -> bool,
    ) -> ResponseActFuture<Self, usize> {
        let Some(market) = self.market.clone() else { return Box::pin(fut::ready(0)) };
        let picked: Vec<_> = self
            .offers
            .iter()
            .filter(|(_, live)| pick(live))
            .map(|(made, live)| (*made, live.offer.clone()))
            .collect();
        let attempts = futures_util::future::join_all(picked.into_iter().map(|(made, offer)| {
            let market = market.clone();
            async move { (made, place(&market, offer).await) }
        }));
        Box::pin(attempts.into_actor(self).map(|results, series, ctx| {
            let taken = results.iter().filter(|(_, result)| result.is_ok()).count();
            for (made, result) in results {
                series.note_offer(made, result, ctx);
            }
            taken
        }))
    }
}
