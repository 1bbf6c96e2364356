//! How a key series answers its messages.

use actix::fut;
use actix::prelude::*;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use xbr_compute::on_worker;
use xbr_store::KeyLookup;

use super::{
    Advance, AttachMarket, DetachMarket, Encrypt, EncryptBatch, Halt, KeySeries, Observe, Pause, Resume,
    RotateNow, SealKey, SealKeyError, SeriesStatus, SetPrice, Subscribe, Unpause,
};
use crate::messages::{RevokeOffer, ask};
use crate::wrapper::{WrapError, Wrapped};

impl Handler<Encrypt> for KeySeries {
    type Result = ResponseFuture<Result<Wrapped, WrapError>>;

    fn handle(&mut self, message: Encrypt, _: &mut Self::Context) -> Self::Result {
        let wrapper = Self::wrapper_of(&self.options, self.keyring.clone());
        Box::pin(async move { wrapper.wrap_value(&message.uri, &message.payload).await })
    }
}

impl Handler<EncryptBatch> for KeySeries {
    type Result = ResponseFuture<Result<Vec<Wrapped>, WrapError>>;

    fn handle(&mut self, message: EncryptBatch, _: &mut Self::Context) -> Self::Result {
        let wrapper = Self::wrapper_of(&self.options, self.keyring.clone());
        Box::pin(async move { wrapper.wrap_batch_values(&message.uri, &message.payloads).await })
    }
}

impl Handler<SealKey> for KeySeries {
    type Result = ResponseFuture<Result<Vec<u8>, SealKeyError>>;

    fn handle(&mut self, message: SealKey, _: &mut Self::Context) -> Self::Result {
        let found = self.options.store.key(message.key_id);
        let api_id = self.options.terms.api_id;
        Box::pin(async move {
            let record = match found.await? {
                KeyLookup::Found(record) if record.api_id == api_id => record,
                KeyLookup::Retired => return Err(SealKeyError::KeyRetired),
                KeyLookup::Found(_) | KeyLookup::Unknown => return Err(SealKeyError::NoSuchKey),
            };
            let sealed = on_worker(move || record.key.seal_to(&message.buyer_key)).await;
            Ok(sealed.ok_or(SealKeyError::Worker)??.to_vec())
        })
    }
}

impl Handler<RotateNow> for KeySeries {
    type Result = ResponseFuture<Result<xbr_core::KeyId, WrapError>>;

    fn handle(&mut self, _: RotateNow, ctx: &mut Self::Context) -> Self::Result {
        if self.keyring.is_stopped() {
            return Box::pin(async { Err(WrapError::Stopped) });
        }
        if self.keyring.is_paused() {
            let api_id = self.options.terms.api_id;
            return Box::pin(async move { Err(WrapError::Paused { api_id }) });
        }
        let (rotated, wait) = oneshot::channel();
        self.waiters.push(rotated);
        self.due = true;
        self.settle(ctx);
        if self.due {
            self.prepare(ctx);
        }
        Box::pin(async move { wait.await.unwrap_or(Err(WrapError::Stopped)) })
    }
}

impl Handler<Subscribe> for KeySeries {
    type Result = ();

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) {
        self.subscribers.push(message.0);
    }
}

impl Handler<Advance> for KeySeries {
    type Result = ();

    fn handle(&mut self, _: Advance, ctx: &mut Self::Context) {
        self.settle(ctx);
        // By the clock alone the next key is made when its time comes: an early one would outlive its offer.
        if self.current.is_none() || self.options.rotation.count.is_some() {
            self.prepare(ctx);
        }
    }
}

impl Handler<AttachMarket> for KeySeries {
    type Result = ResponseActFuture<Self, usize>;

    fn handle(&mut self, message: AttachMarket, ctx: &mut Self::Context) -> Self::Result {
        self.market = Some(message.0);
        // Those that an earlier life could not offer follow as soon as the store has found them.
        let recovering = self.recover();
        ctx.spawn(recovering.then(|found, series, _| {
            series.offer_where(move |live| found.contains(&live.offer.key_id)).map(|_, _, _| ())
        }));
        // A market maker that has just come may know none of the keys: all that are live are offered again.
        self.offer_where(|_| true)
    }
}

impl Handler<DetachMarket> for KeySeries {
    type Result = ();

    fn handle(&mut self, _: DetachMarket, _: &mut Self::Context) {
        self.market = None;
    }
}

impl Handler<Halt> for KeySeries {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Halt, _: &mut Self::Context) -> Self::Result {
        self.keyring.stop();
        self.epoch += 1;
        self.generation += 1;
        self.preparing = false;
        for waiter in self.waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(Err(WrapError::Stopped));
        }
        let Some(market) = self.market.take() else { return Box::pin(fut::ready(())) };
        let offered = std::mem::take(&mut self.offers).into_iter().filter(|live| live.offered);
        let api_id = self.options.terms.api_id;
        let revoked = join_all(offered.map(|live| {
            let revoke = market.revoke.clone();
            async move { ask(&revoke, RevokeOffer { key_id: live.offer.key_id }).await }
        }));
        Box::pin(async move {
            for error in revoked.await.into_iter().filter_map(Result::err) {
                tracing::warn!(%api_id, %error, "cannot revoke an offer");
            }
        })
    }
}

impl Handler<Resume> for KeySeries {
    type Result = ();

    fn handle(&mut self, _: Resume, ctx: &mut Self::Context) {
        if !self.keyring.is_stopped() {
            return;
        }
        self.begin_anew(ctx);
    }
}

impl Handler<Pause> for KeySeries {
    type Result = ();

    fn handle(&mut self, _: Pause, _: &mut Self::Context) {
        self.keyring.set_paused(true);
        // What a pause holds up is not late.
        self.due_at = None;
        let api_id = self.options.terms.api_id;
        for waiter in self.waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(Err(WrapError::Paused { api_id }));
        }
    }
}

impl Handler<Unpause> for KeySeries {
    type Result = ();

    fn handle(&mut self, _: Unpause, ctx: &mut Self::Context) {
        if !self.keyring.is_paused() {
            return;
        }
        if self.due && !self.keyring.is_stopped() {
            // Before anybody can take a key whose time has passed.
            self.begin_anew(ctx);
        }
        self.keyring.set_paused(false);
        if self.current.is_none() || self.options.rotation.count.is_some() {
            self.prepare(ctx);
        }
        self.settle(ctx);
    }
}

impl Handler<SetPrice> for KeySeries {
    type Result = ();

    fn handle(&mut self, message: SetPrice, _: &mut Self::Context) {
        self.options.terms.price = message.0;
    }
}

impl Handler<Observe> for KeySeries {
    type Result = SeriesStatus;

    fn handle(&mut self, _: Observe, ctx: &mut Self::Context) -> SeriesStatus {
        self.settle(ctx);
        let (current, next) = (self.keyring.current(), self.keyring.next());
        let terms = &self.options.terms;
        SeriesStatus {
            api_id: terms.api_id,
            terms: terms.clone(),
            rotation: self.options.rotation,
            price: current.as_ref().map_or(terms.price, |key| key.price),
            next_price: next.as_ref().map_or(terms.price, |key| key.price),
            is_paused: self.keyring.is_paused(),
            key_id: current.as_ref().map(|key| key.key_id),
            created_ns: current.as_ref().map(|key| key.created_ns),
            rotates_ns: current.as_ref().and(self.rotates_ns),
            next_key_id: next.as_ref().map(|key| key.key_id),
            uses_left: current.and_then(|key| key.uses_left()),
            rotations: self.rotations,
            wrapped: self.keyring.used(),
            is_offered: self
                .offers
                .iter()
                .any(|live| live.offered && Some(live.offer.key_id) == self.current),
            unoffered: self.unoffered(),
            failed_offers: self.failed_offers,
            retired: self.retired,
            last_error: self.last_error.clone(),
        }
    }
}
