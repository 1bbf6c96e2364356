//! Keys leave the archive by the retention policy, a bounded number at a time. A key that is in use, or whose offer has
//! not expired, stays; one that was offered for ever is revoked first. The list is the store's: nothing of it is kept.

use std::time::Duration;

use actix::fut;
use actix::prelude::*;
use futures_util::future::join_all;
use xbr_store::{KeyFilter, KeyInfo};

use super::{KeySeries, KeysRetired, OfferPort, SetBounds};
use crate::messages::{RevokeOffer, ask};
use crate::options::Retention;

/// How long after the start old keys are looked for.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(10);
/// How often after that.
const PERIOD: Duration = Duration::from_secs(60);
/// How soon after a step that left some.
const MORE: Duration = Duration::from_secs(1);
/// How many keys leave in one step.
const MAX_STEP: usize = 256;

impl KeySeries {
    /// Looks for old keys after a while, and from then on.
    pub(super) fn arm_retention(&self, delay: Duration, ctx: &mut Context<Self>) {
        if !self.has_retention() {
            return;
        }
        ctx.run_later(delay, |series, ctx| {
            let step = series.retire_old().map(|more, series, ctx: &mut Context<Self>| {
                series.arm_retention(if more { MORE } else { PERIOD }, ctx);
            });
            ctx.spawn(step);
        });
    }

    fn has_retention(&self) -> bool {
        let retention = self.options.retention;
        retention.max_age.is_some() || retention.max_keys.is_some()
    }

    /// Keeps to another policy, from the next look on.
    fn retain(&mut self, retention: Retention, ctx: &mut Context<Self>) {
        let looked_before = self.has_retention();
        self.options.retention = retention;
        if !looked_before {
            self.arm_retention(FIRST_LOOK, ctx);
        }
    }

    /// One step; whether there may be more.
    fn retire_old(&self) -> ResponseActFuture<Self, bool> {
        let now_ns = self.options.clock.now_ns();
        let max_age = self.options.retention.max_age;
        let made_before_ns =
            max_age.map_or(0, |age| now_ns.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
        let filter = KeyFilter::Old { now_ns, made_before_ns, keep: self.options.retention.max_keys };
        let found = self.options.store.keys(self.options.terms.api_id, filter, MAX_STEP);
        Box::pin(found.into_actor(self).then(|result, series, _| match result {
            Ok(keys) => {
                let full = keys.len() == MAX_STEP;
                Box::pin(series.retire(keys).map(move |retired, _, _| full && retired > 0))
                    as ResponseActFuture<Self, bool>
            }
            Err(error) => {
                series.report("cannot look for old data keys", &error);
                Box::pin(fut::ready(false))
            }
        }))
    }

    /// Takes keys out of the archive; how many have left it.
    fn retire(&self, keys: Vec<KeyInfo>) -> ResponseActFuture<Self, usize> {
        let in_use = |key: &KeyInfo| {
            Some(key.key_id) == self.current || self.offers.iter().any(|live| live.offer.key_id == key.key_id)
        };
        // An offer for ever can only be revoked where there is a market maker: until then the key stays.
        let is_stuck = |key: &KeyInfo| self.market.is_none() && is_promised(key);
        let (store, market) = (self.options.store.clone(), self.market.clone());
        let leaving = keys.into_iter().filter(|key| !in_use(key) && !is_stuck(key)).map(|key| {
            let (store, market) = (store.clone(), market.clone());
            async move {
                if let Some(market) = market.filter(|_| is_promised(&key)) {
                    revoke(&market, &key).await;
                }
                store.retire_key(key.key_id).await.map(|()| key.key_id)
            }
        });
        let left = join_all(leaving.collect::<Vec<_>>());
        Box::pin(left.into_actor(self).map(|results, series, _| {
            let (left, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            if let Some(Err(error)) = failed.into_iter().next() {
                series.report("cannot retire a data key", &error);
            }
            let left: Vec<_> = left.into_iter().filter_map(Result::ok).collect();
            let count = left.len();
            series.retired += count as u64;
            if count > 0 {
                tracing::info!(api_id = %series.options.terms.api_id, keys = count, "data keys retired");
                series.tell_retired(KeysRetired(left));
            }
            count
        }))
    }

    /// Waits for room in the mailbox: a key that is retired must not be sold from what is at hand.
    fn tell_retired(&self, retired: KeysRetired) {
        if let Some(listener) = self.options.on_retired.clone() {
            actix_rt::spawn(async move {
                // A seller that has gone sells nothing.
                let _ = listener.send(retired).await;
            });
        }
    }
}

impl Handler<SetBounds> for KeySeries {
    type Result = ();

    fn handle(&mut self, message: SetBounds, ctx: &mut Self::Context) {
        self.options.offline_keys = message.offline_keys;
        self.retain(message.retention, ctx);
        if self.is_wanted {
            self.prepare(ctx);
        }
    }
}

/// Whether the market maker holds an offer of the key that never expires.
fn is_promised(key: &KeyInfo) -> bool {
    key.offered_ns.is_some() && key.expires_ns.is_none()
}

async fn revoke(market: &OfferPort, key: &KeyInfo) {
    let key_id = key.key_id;
    if let Err(error) = ask(&market.revoke, RevokeOffer { key_id }).await {
        // The reference goes on selling a revoked key as it is: the seller refuses it from now on.
        tracing::warn!(%key_id, %error, "cannot revoke the offer of a key that is retired");
    }
}
