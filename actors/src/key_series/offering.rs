//! Placing the offers of a series' keys: at once, again after a failure, and again for a new market maker.

use std::collections::HashSet;
use std::time::Duration;

use actix::fut;
use actix::prelude::*;
use backon::ExponentialBackoff;
use xbr_core::offer::KeyOffer;
use xbr_core::{ApiId, KeyId};
use xbr_store::KeyFilter;

use super::{KeySeries, MAX_LEAD, OfferPort};
use crate::backoff;
use crate::messages::{MarketError, PlaceOffer, ask};
use crate::observer::Event;

/// So many keys that an earlier life could not offer are looked for at a time.
const MAX_RECOVERED: usize = 1000;
/// A key waits no longer for its offer before it may be used: a slow market maker must not stop the data.
const MAX_OFFER_TIME: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct LiveOffer {
    pub(super) offer: KeyOffer,
    pub(super) offered: bool,
}

/// Delays before an offer is placed again.
pub(super) fn backoff(api_id: ApiId) -> ExponentialBackoff {
    backoff::growing(Duration::from_millis(250), api_id.as_bytes())
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
        // One that comes back may have forgotten what it took, and events under these keys may come after that.
        if self.market.is_none() {
            return;
        }
        let kept = [self.current, self.newest];
        self.offers.retain(|live| !live.offered || kept.contains(&Some(live.offer.key_id)));
    }

    /// How many keys wait to be offered.
    pub(super) fn unoffered(&self) -> usize {
        self.offers.iter().filter(|live| !live.offered).count()
    }

    /// Whether as many keys wait as may. Those whose time has passed wait no longer: nobody could buy them.
    pub(super) fn has_too_many_unoffered(&mut self) -> bool {
        if self.unoffered() < self.options.offline_keys.get() {
            return false;
        }
        self.forget_expired_offers();
        let too_many = self.unoffered() >= self.options.offline_keys.get();
        if too_many {
            self.report("no further data key", &"too many wait to be offered; the current one serves on");
        }
        too_many
    }

    fn forget_expired_offers(&mut self) {
        let now_ns = self.options.clock.now_ns();
        self.offers.retain(|live| {
            let expired =
                !live.offered && live.offer.expires_ns.is_some_and(|expires_ns| expires_ns <= now_ns);
            if expired {
                tracing::error!(key_id = %live.offer.key_id, "offer given up, its time has passed");
            }
            !expired
        });
    }

    /// Finds the keys of this API that an earlier life made and could not offer, and gives those that are news.
    pub(super) fn recover(&self) -> ResponseActFuture<Self, HashSet<KeyId>> {
        let filter = KeyFilter::Unoffered { now_ns: self.options.clock.now_ns() };
        let found = self.options.store.keys(self.options.terms.api_id, filter, MAX_RECOVERED);
        Box::pin(found.into_actor(self).map(|result, series, _| match result {
            Ok(mut keys) => {
                let known: HashSet<_> = series.offers.iter().map(|live| live.offer.key_id).collect();
                keys.retain(|key| !known.contains(&key.key_id));
                for key in &keys {
                    // At the price that it was made for: a sale is judged by that one.
                    let offer = KeyOffer {
                        price: key.price,
                        expires_ns: key.expires_ns,
                        ..series.options.terms.offer(key.key_id, key.created_ns)
                    };
                    series.offers.push(LiveOffer { offer, offered: false });
                }
                keys.into_iter().map(|key| key.key_id).collect()
            }
            Err(error) => {
                series.report("cannot look for keys that are not offered", &error);
                HashSet::new()
            }
        }))
    }

    pub(super) fn note_offer(
        &mut self,
        key_id: KeyId,
        result: Result<(), MarketError>,
        ctx: &mut Context<Self>,
    ) {
        self.tell_offer(key_id, &result);
        match result {
            Ok(()) => {
                self.backoff = backoff(self.options.terms.api_id);
                if let Some(live) = self.offers.iter_mut().find(|live| live.offer.key_id == key_id) {
                    live.offered = true;
                    let noted = self.options.store.mark_offered(key_id, self.options.clock.now_ns());
                    ctx.spawn(noted.into_actor(self).map(|result, series, _| {
                        if let Err(error) = result {
                            series.report("cannot note that a key is offered", &error);
                        }
                    }));
                }
                self.forget_settled_offers();
                if self.is_wanted {
                    self.prepare(ctx);
                }
            }
            // Without a market maker there is nobody to complain about, and attaching one offers all; one that came while
            // this was under way did not see this key.
            Err(MarketError::NotJoined) => self.arm_retry(ctx),
            Err(error) => {
                self.failed_offers += 1;
                self.report("cannot offer a data key, trying again", &error);
                self.arm_retry(ctx);
            }
        }
    }

    /// That there is nobody to offer to is no news.
    fn tell_offer(&self, key_id: KeyId, result: &Result<(), MarketError>) {
        let Some(LiveOffer { offer, .. }) = self.offers.iter().find(|live| live.offer.key_id == key_id)
        else {
            return;
        };
        let error = match result {
            Err(MarketError::NotJoined) => return,
            result => result.as_ref().err(),
        };
        let (api_id, price) = (offer.api_id, offer.price);
        self.options.observers.tell(|| Event::Offer { api_id, key_id, price, error: error.cloned() });
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
        self.forget_expired_offers();
        let picked: Vec<_> =
            self.offers.iter().filter(|live| pick(live)).map(|live| live.offer.clone()).collect();
        let attempts = futures_util::future::join_all(picked.into_iter().map(|offer| {
            let (market, key_id) = (market.clone(), offer.key_id);
            async move { (key_id, place(&market, offer).await) }
        }));
        Box::pin(attempts.into_actor(self).map(|results, series, ctx| {
            let taken = results.iter().filter(|(_, result)| result.is_ok()).count();
            for (key_id, result) in results {
                series.note_offer(key_id, result, ctx);
            }
            taken
        }))
    }
}
