//! Storing entries, reading the books, and offers and channels, which are judged, stored and answered.

use std::time::Duration;

use actix::prelude::*;
use xbr_core::ids::OfferId;
use xbr_core::wire::{ChannelType, MarketCloseRequest, OpenChannel, PlaceOffer, uri};
use xbr_core::{Address, KeyId};
use xbr_store::StoreError;

use super::{Maker, Reply};
use crate::maker::account::Account;
use crate::maker::book::{Book, Close, Entry};
use crate::maker::offer::Caller;
use crate::maker::reject::{MakerReject, NOT_DURABLE, OpenReject};
use crate::maker::store::Snapshot;

/// How often expired offers are looked for.
const TENDING: Duration = Duration::from_secs(1);
/// How long to wait before a store that failed is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

impl Maker {
    /// Books an entry, stores it, and goes on when it is durable. When it cannot be made so, nothing that
    /// was judged upon it holds.
    pub(super) fn commit(
        &mut self,
        entry: Entry,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &mut Context<Self>) + Send + 'static,
    ) {
        let stored = self.options.store.commit(entry.clone());
        self.book.apply(entry);
        self.commits += 1;
        let epoch = self.epoch;
        Self::whenever(ctx, stored, move |maker, stored, ctx| {
            maker.commits -= 1;
            match stored {
                Ok(()) if maker.epoch == epoch => then(maker, ctx),
                Ok(()) => {}
                Err(error) => maker.distrust(&error),
            }
            maker.read_back(ctx);
        });
    }

    /// The store failed: what is in memory may not be what is stored.
    fn distrust(&mut self, error: &StoreError) {
        tracing::error!(%error, "the store failed; the books are read back before anything else is judged");
        if !self.stale {
            self.stale = true;
            self.epoch += 1;
            self.turn_buyers_away(NOT_DURABLE);
        }
    }

    /// Reads the books back once no commit is under way.
    fn read_back(&mut self, ctx: &mut Context<Self>) {
        if !self.stale || self.commits > 0 {
            return;
        }
        let snapshot = self.options.store.load(*self.book.market());
        self.after(ctx, snapshot, |maker, snapshot, ctx| match snapshot {
            Ok(snapshot) => {
                maker.restore(snapshot, ctx);
                tracing::warn!("the books were read back, the market goes on");
            }
            Err(error) => {
                tracing::error!(%error, "the books cannot be read back, trying again");
                ctx.run_later(READ_AGAIN, Self::read_back);
            }
        });
    }

    /// Takes the books from the store. The sales in flight are repeated: nobody knows what became of them.
    pub(super) fn restore(&mut self, snapshot: Snapshot, ctx: &mut Context<Self>) {
        self.epoch += 1;
        self.stale = false;
        self.book = Book::new(*self.book.market(), self.options.limits());
        self.book.continue_after(snapshot.last_purchase);
        self.book.apply(snapshot.entry);
        self.loaded = true;
        self.lanes.clear();
        self.signatures.clear();
        self.closing.clear();
        let in_flight: Vec<_> = self.book.purchases().cloned().collect();
        for purchase in in_flight {
            if let Some(sale) = purchase.sale {
                self.lanes.entry(sale.channel_id).or_default().restore(sale.state.seq);
                self.sign(&purchase, &sale, std::future::ready(()), ctx);
            }
        }
        self.assign(ctx);
    }

    /// Forgets expired offers, again and again.
    pub(super) fn tend(&mut self, ctx: &mut Context<Self>) {
        if self.is_ready()
            && let Some(entry) = self.book.forget_expired(self.options.clock.now_ns())
        {
            self.commit(entry, ctx, |_, _| ());
        }
        ctx.run_later(TENDING, Self::tend);
    }

    pub(super) fn place(
        &mut self,
        request: PlaceOffer,
        signed: bool,
        caller: Caller,
        reply: Reply,
        ctx: &mut Context<Self>,
    ) {
        let key_id = request.unsigned.offer.key_id;
        let now_ns = self.options.clock.now_ns();
        match self.book.place(request, signed, OfferId::random(), caller, now_ns) {
            Ok(entry) => {
                self.commit(entry, ctx, move |maker, _| maker.tell_offer(key_id, uri::ON_OFFER_PLACED, reply))
            }
            // Whoever asked may have gone; so below.
            Err(reject) => drop(reply.send(Err(reject.into()))),
        }
    }

    pub(super) fn revoke(&mut self, key_id: KeyId, caller: &Caller, reply: Reply, ctx: &mut Context<Self>) {
        match self.book.revoke(key_id, caller, self.options.clock.now_ns()) {
            Ok(entry) => self.commit(entry.unwrap_or_default(), ctx, move |maker, _| {
                maker.tell_offer(key_id, uri::ON_OFFER_REVOKED, reply);
            }),
            Err(reject) => drop(reply.send(Err(reject.into()))),
        }
    }

    fn tell_offer(&self, key_id: KeyId, topic: &str, reply: Reply) {
        if let Some(offer) = self.book.offer(key_id) {
            let offer = offer.info().to_value();
            self.publish(topic, vec![offer.clone()]);
            let _ = reply.send(Ok(offer));
        }
    }

    /// Closes a channel for its delegate.
    pub(super) fn close(
        &mut self,
        request: &MarketCloseRequest,
        signer: Option<Address>,
        reply: Reply,
        ctx: &mut Context<Self>,
    ) {
        let channel_id = request.channel_id;
        let delegate = self.book.account(channel_id).map(|account| account.delegate);
        match self.book.close(request, signer.is_some() && signer == delegate) {
            Ok(Close::New(entry)) => self.commit(entry, ctx, move |maker, _| {
                if let Some(account) = maker.book.account(channel_id) {
                    let _ = reply.send(Ok(maker.publish_closing(account)));
                }
            }),
            Ok(Close::Repeat(closing)) => drop(reply.send(Ok(closing.to_value()))),
            Err(reject) => drop(reply.send(Err(reject.into()))),
        }
    }

    /// Tells everybody that a channel is closed, and gives what was told.
    pub(super) fn publish_closing(&self, account: &Account) -> xbr_core::Value {
        let closing = account.closing(self.book.market()).to_value();
        let topic = match account.kind {
            ChannelType::Payment => uri::ON_PAYMENT_CHANNEL_CLOSING,
            ChannelType::Paying => uri::ON_PAYING_CHANNEL_CLOSING,
        };
        self.publish(topic, vec![closing.clone()]);
        closing
    }

    /// Opens a channel for whoever has the market maker's own key.
    pub(super) fn open(
        &mut self,
        request: &OpenChannel,
        signer: Option<Address>,
        reply: Reply,
        ctx: &mut Context<Self>,
    ) {
        let market = self.book.market();
        let checked = match () {
            () if market.opening(request) != request.message() => Err(OpenReject::UnexpectedMarket),
            () if signer != Some(market.market_maker) => Err(OpenReject::InvalidSignature),
            () => Ok(()),
        };
        let parties = [request.actor, request.delegate, request.recipient];
        let (channel_id, now_ns) = (request.channel_id, self.options.clock.now_ns());
        let judged = checked
            .and_then(|()| self.book.open(channel_id, request.channel_type, parties, request.amount, now_ns));
        match judged {
            Ok(entry) => self.commit(entry.unwrap_or_default(), ctx, move |maker, ctx| {
                let info = maker.book.account(channel_id).map(|account| account.info(maker.book.market()));
                let gone = || MakerReject::from(OpenReject::Unavailable { reason: NOT_DURABLE });
                let _ = reply.send(info.map(|info| info.to_value()).ok_or_else(gone));
                // A purchase may have waited for it.
                maker.assign(ctx);
            }),
            Err(reject) => drop(reply.send(Err(reject.into()))),
        }
    }
}
