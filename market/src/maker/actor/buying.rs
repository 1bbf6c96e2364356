//! From a call of `buy_key` to a sale that can go out to the seller.

use actix::prelude::*;
use xbr_compute::on_worker;
use xbr_core::wire::BuyRequest;

use super::{Maker, Reply};
use crate::maker::book::{Choice, Entry, Prior};
use crate::maker::purchase::{Purchase, PurchaseId, Sale};
use crate::maker::reject::{BuyReject, MakerReject};
use crate::maker::signing::sign;

/// What is said when the market maker's own key does not sign.
const NOT_SIGNED: &str = "the market maker cannot sign";

impl Maker {
    /// Judges a call: a repeat gets the answer of before.
    pub(super) fn buy(&mut self, request: BuyRequest, signed: bool, reply: Reply, ctx: &mut Context<Self>) {
        match self.book.repeat(&request, signed) {
            Ok(Prior::New) => self.reserve(&request, signed, reply, ctx),
            Ok(Prior::InFlight(id)) => self.wait(id, reply),
            Ok(Prior::Past) => self.look_back(request, signed, reply, ctx),
            // Whoever asked may have gone; so below.
            Err(reject) => drop(reply.send(Err(reject.into()))),
        }
    }

    /// What is stored at the state of a call decides whether it is a repeat.
    fn look_back(&self, request: BuyRequest, signed: bool, reply: Reply, ctx: &mut Context<Self>) {
        let found = self.options.store.purchase(request.channel_id, request.channel_seq);
        self.after(ctx, found, move |maker, found, ctx| match found {
            Ok(Some(purchase)) if purchase.is_repeated_by(&request, signed) => match purchase.receipt() {
                Some(receipt) => drop(reply.send(Ok(receipt.to_value()))),
                None => maker.wait(purchase.id, reply),
            },
            Ok(_) => maker.reserve(&request, signed, reply, ctx),
            Err(error) => {
                tracing::error!(%error, "cannot read a receipt");
                drop(reply.send(Err(BuyReject::Unavailable { reason: "the store failed" }.into())));
            }
        });
    }

    /// Answers when a purchase in flight has ended. Whoever waited and has gone makes place.
    fn wait(&mut self, id: PurchaseId, reply: Reply) {
        let waiters = self.waiting.entry(id).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(reply);
    }

    fn reserve(&mut self, request: &BuyRequest, signed: bool, reply: Reply, ctx: &mut Context<Self>) {
        let entry = match self.book.reserve(request, signed, self.options.clock.now_ns()) {
            Ok(entry) => entry,
            Err(reject) => return drop(reply.send(Err(reject.into()))),
        };
        let Some(purchase) = entry.purchases.first().cloned() else { return };
        self.waiting.insert(purchase.id, vec![reply]);
        match purchase.sale {
            Some(sale) => self.begin_sale(entry, &purchase, sale, ctx),
            None => {
                self.commit(entry, ctx, |_, _| ());
                self.assign(ctx);
            }
        }
    }

    /// Stores a sale, and signs it meanwhile. The signature leaves once both are done.
    fn begin_sale(&mut self, entry: Entry, purchase: &Purchase, sale: Sale, ctx: &mut Context<Self>) {
        self.lanes.entry(sale.channel_id).or_default().prepare(sale.state.seq);
        let (durable, is_durable) = tokio::sync::oneshot::channel();
        // When it does not become durable, the books are read back, and this sale is void.
        self.commit(entry, ctx, move |_, _| {
            let _ = durable.send(());
        });
        self.sign(purchase, &sale, async move { drop(is_durable.await) }, ctx);
    }

    /// Signs the state of a sale, which can go out when `stored` is done.
    pub(super) fn sign(
        &self,
        purchase: &Purchase,
        sale: &Sale,
        stored: impl Future<Output = ()> + 'static,
        ctx: &mut Context<Self>,
    ) {
        let (id, Sale { channel_id, state }) = (purchase.id, *sale);
        let message = self.book.market().state(channel_id, state, false);
        let signer = self.options.signer.clone();
        let signing = on_worker(move || sign(&*signer, &message));
        let both = async move {
            let signature = signing.await.flatten();
            stored.await;
            signature
        };
        self.after(ctx, both, move |maker, signature, ctx| match signature {
            Some(signature) => {
                maker.signatures.insert(id, signature);
                if let Some(lane) = maker.lanes.get_mut(&channel_id) {
                    lane.ready(state.seq);
                }
                maker.pump(channel_id, ctx);
            }
            None => maker.cannot_sign(id, ctx),
        });
    }

    /// Nothing has gone out for a new sale, so that it can be given up; one that is in doubt stays until the
    /// market maker is started with a key that signs.
    fn cannot_sign(&mut self, id: PurchaseId, ctx: &mut Context<Self>) {
        let Some(sale) = self.book.purchase(id).and_then(|purchase| purchase.sale) else { return };
        let lane = self.lanes.get(&sale.channel_id);
        if !lane.is_some_and(|lane| lane.is_repeated(sale.state.seq)) {
            self.give_up(id, BuyReject::Unavailable { reason: NOT_SIGNED }, ctx);
        }
    }

    /// Gives the purchases that wait a paying channel, as far as there is one.
    pub(super) fn assign(&mut self, ctx: &mut Context<Self>) {
        self.hold_doubtful();
        for (seller, mut id) in self.book.waiting() {
            loop {
                match self.book.choice(id) {
                    Choice::Now(sale) => {
                        let Some(entry) = self.book.assign(id, sale) else { break };
                        let Some(purchase) = entry.purchases.first().cloned() else { break };
                        self.begin_sale(entry, &purchase, sale, ctx);
                    }
                    Choice::Later => break,
                    Choice::Exhausted(channel_id) => {
                        self.begin_close(channel_id, id, ctx);
                        break;
                    }
                    Choice::Never => self.give_up(id, BuyReject::InsufficientPayingBalance, ctx),
                }
                match self.book.first_waiting(seller) {
                    Some(next) => id = next,
                    None => break,
                }
            }
        }
    }

    /// No sale is begun over a channel with one in doubt, or that is being closed.
    fn hold_doubtful(&mut self) {
        for (channel_id, lane) in &self.lanes {
            if lane.is_in_doubt() || self.closing.contains_key(channel_id) {
                self.book.hold(*channel_id);
            } else {
                self.book.release(*channel_id);
            }
        }
    }

    /// Gives a purchase up that never went out to the seller; the buyer has its money back.
    pub(super) fn give_up(&mut self, id: PurchaseId, reject: BuyReject, ctx: &mut Context<Self>) {
        let reject = MakerReject::from(reject);
        self.refused += 1;
        let sale = self.book.purchase(id).and_then(|purchase| purchase.sale);
        let Some(entry) = self.book.refuse(id, reject.uri(), false, self.options.clock.now_ns()) else {
            return;
        };
        self.end_sale(id, sale);
        self.commit(entry, ctx, move |maker, _| maker.answer_buyers(id, &Err(reject)));
    }

    /// A purchase goes out over no channel any more.
    pub(super) fn end_sale(&mut self, id: PurchaseId, sale: Option<Sale>) {
        self.signatures.remove(&id);
        let Some(sale) = sale else { return };
        if let Some(lane) = self.lanes.get_mut(&sale.channel_id) {
            lane.end(sale.state.seq);
            if lane.is_empty() {
                self.lanes.remove(&sale.channel_id);
                if !self.closing.contains_key(&sale.channel_id) {
                    self.book.release(sale.channel_id);
                }
            }
        }
    }

    /// Answers everybody who waits for a purchase.
    pub(super) fn answer_buyers(&mut self, id: PurchaseId, answer: &super::Answer) {
        for waiter in self.waiting.remove(&id).unwrap_or_default() {
            let _ = waiter.send(answer.clone());
        }
    }

    /// Answers everybody who waits for a purchase that they should ask again.
    pub(super) fn turn_buyers_away(&mut self, reason: &'static str) {
        for (_, waiters) in self.waiting.drain() {
            for waiter in waiters {
                let _ = waiter.send(Err(BuyReject::Unavailable { reason }.into()));
            }
        }
    }
}
