//! From a sale that can go out to the buyer's receipt.

use std::time::Duration;

use actix::prelude::*;
use xbr_compute::on_worker;
use xbr_core::payload::SEALED_KEY_LEN;
use xbr_core::wire::{ByChannel, ChannelType, SellReceipt, SellRequest, uri};
use xbr_core::{ChannelId, ChannelSeq, Signature};

use super::Maker;
use crate::maker::account::Account;
use crate::maker::messages::CallSell;
use crate::maker::outcome::{ProviderError, Verdict, judge};
use crate::maker::purchase::{Purchase, PurchaseId};
use crate::maker::reject::{BuyReject, MakerReject};
use crate::maker::signing::{sign, signer_of};

/// What the reference says when a seller's answer is none that it knows.
const TRANSACTION_FAILED: &str = "xbr.error.transaction_failed";

/// A receipt that holds.
struct Delivered {
    sealed_key: Vec<u8>,
    seller_signature: Signature,
    /// The market maker's signature over the buyer's state.
    signature: Signature,
}

impl Maker {
    /// Lets the sales go out over a paying channel whose turn it is.
    pub(super) fn pump(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        let Some(lane) = self.lanes.get_mut(&channel_id) else { return };
        for seq in lane.due() {
            self.call(channel_id, seq, ctx);
        }
    }

    fn call(&self, channel_id: ChannelId, seq: ChannelSeq, ctx: &mut Context<Self>) {
        let id = self.book.sales(channel_id).find(|(at, _)| *at == seq).map(|(_, id)| id);
        let purchase = id.and_then(|id| self.book.purchase(id));
        let Some((purchase, sale)) = purchase.and_then(|purchase| Some((purchase, purchase.sale?))) else {
            return;
        };
        let Some(signature) = self.signatures.get(&purchase.id) else { return };
        let (id, request) = (purchase.id, purchase.request(self.book.market(), &sale, *signature));
        // Sent before anything is awaited: sales leave in the order of their states.
        let answer = self.realm.sell.send(CallSell {
            provider_id: purchase.provider_id.clone(),
            request: request.clone(),
            timeout: self.options.sell_timeout,
        });
        self.after(ctx, answer, move |maker, answer, ctx| {
            match answer.unwrap_or(Err(ProviderError::NotJoined)) {
                Ok(receipt) => maker.check(id, request, receipt, ctx),
                Err(error) => maker.not_delivered(id, &error, ctx),
            }
        });
    }

    /// Checks a receipt, and signs the buyer's meanwhile.
    fn check(&self, id: PurchaseId, request: SellRequest, receipt: SellReceipt, ctx: &mut Context<Self>) {
        let Some(purchase) = self.book.purchase(id).cloned() else { return };
        let (market, signer) = (*self.book.market(), self.options.signer.clone());
        let checking = on_worker(move || {
            check_receipt(&purchase, &request, &receipt)?;
            let sold = market.state(request.channel_id, request.state(), false);
            if signer_of(&sold, &receipt.signature) != Some(purchase.seller) {
                return Err(ProviderError::Invalid { problem: "it is not signed by the seller" });
            }
            let bought = market.state(purchase.payment_channel, purchase.payment, false);
            let signature = sign(&*signer, &bought);
            let signature = signature.ok_or(ProviderError::Unanswered { reason: "no signature".into() })?;
            let SellReceipt { sealed_key, signature: seller_signature, .. } = receipt;
            Ok(Delivered { sealed_key, seller_signature, signature })
        });
        self.after(ctx, checking, move |maker, checked, ctx| match checked {
            Some(Ok(delivered)) => maker.delivered(id, delivered, ctx),
            Some(Err(error)) => maker.not_delivered(id, &error, ctx),
            None => maker.not_delivered(id, &ProviderError::Unanswered { reason: "a failure".into() }, ctx),
        });
    }

    fn delivered(&mut self, id: PurchaseId, delivered: Delivered, ctx: &mut Context<Self>) {
        let Delivered { sealed_key, seller_signature, signature } = delivered;
        let now_ns = self.options.clock.now_ns();
        let Some(entry) = self.book.settle(id, sealed_key, seller_signature, signature, now_ns) else {
            return;
        };
        let receipt = entry.purchases.first().and_then(Purchase::receipt);
        let sale = self.book.purchase(id).and_then(|purchase| purchase.sale);
        let emptied: Vec<_> = entry.accounts.iter().filter(|account| is_empty(account)).cloned().collect();
        self.end_sale(id, sale);
        self.sold += 1;
        self.commit(entry, ctx, move |maker, _| {
            if let Some(receipt) = receipt {
                maker.answer_buyers(id, &Ok(receipt.to_value()));
            }
            for account in emptied {
                maker.publish_empty(&account);
            }
        });
        self.go_on(sale.map(|sale| sale.channel_id), ctx);
    }

    fn not_delivered(&mut self, id: PurchaseId, error: &ProviderError, ctx: &mut Context<Self>) {
        let Some(sale) = self.book.purchase(id).and_then(|purchase| purchase.sale) else { return };
        let (channel_id, seq) = (sale.channel_id, sale.state.seq);
        let gap = self.book.has_gap_below(channel_id, seq);
        let Some(lane) = self.lanes.get_mut(&channel_id) else { return };
        let verdict = judge(error, lane.is_repeated(seq), gap);
        tracing::warn!(channel = %channel_id, %seq, ?verdict, "a seller did not deliver: {error}");
        let failures = match verdict {
            Verdict::Unknown => lane.doubt(seq),
            Verdict::NotSent => lane.not_sent(seq),
            _ => return self.conclude(id, verdict, error, ctx),
        };
        if lane.is_in_doubt() {
            self.book.hold(channel_id);
        }
        ctx.run_later(self.repeat_delay(failures), move |maker, ctx| maker.resume(channel_id, ctx));
    }

    /// Books what certainly became of a purchase.
    fn conclude(&mut self, id: PurchaseId, verdict: Verdict, error: &ProviderError, ctx: &mut Context<Self>) {
        let Some(purchase) = self.book.purchase(id).cloned() else { return };
        let reject = MakerReject::from(not_sold(error, verdict));
        let now_ns = self.options.clock.now_ns();
        let Some(entry) = self.book.conclude(id, verdict, reject.uri(), now_ns) else { return };
        self.end_sale(id, purchase.sale);
        let told = matches!(verdict, Verdict::NotSold | Verdict::Counted);
        self.refused += u64::from(told);
        self.commit(entry, ctx, move |maker, _| {
            if told {
                maker.answer_buyers(id, &Err(reject));
            }
        });
        let channel_id = purchase.sale.map(|sale| sale.channel_id);
        if let (Verdict::ChannelClosed, Some(channel_id)) = (verdict, channel_id) {
            self.begin_close(channel_id, id, ctx);
        }
        self.go_on(channel_id, ctx);
    }

    /// A sale over this channel has ended: others may begin.
    fn go_on(&mut self, channel_id: Option<ChannelId>, ctx: &mut Context<Self>) {
        if let Some(channel_id) = channel_id {
            self.close_if_due(channel_id, ctx);
        }
        self.assign(ctx);
        if let Some(channel_id) = channel_id {
            self.pump(channel_id, ctx);
        }
    }

    /// Goes on over a channel after a failure.
    fn resume(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        if let Some(lane) = self.lanes.get_mut(&channel_id) {
            lane.resume();
            self.pump(channel_id, ctx);
        }
    }

    /// Goes on over all channels: there is a session again.
    pub(super) fn resume_all(&mut self, ctx: &mut Context<Self>) {
        for channel_id in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.resume(channel_id, ctx);
        }
    }

    /// Twice as long after each failure in a row, with jitter.
    fn repeat_delay(&self, failures: u32) -> Duration {
        let mut delays = super::lifecycle::backoff(self.options.repeat_delay);
        let nth = usize::try_from(failures.saturating_sub(1).min(16)).unwrap_or_default();
        delays.nth(nth).unwrap_or(self.options.repeat_delay)
    }

    pub(super) fn publish_empty(&self, account: &Account) {
        let topic = match account.kind {
            ChannelType::Payment => uri::ON_PAYMENT_CHANNEL_EMPTY,
            ChannelType::Paying => uri::ON_PAYING_CHANNEL_EMPTY,
        };
        self.publish(topic, ByChannel { channel_id: account.channel_id }.to_args());
    }
}

fn is_empty(account: &Account) -> bool {
    account.state.balance.is_zero() && account.inflight().is_zero()
}

fn check_receipt(
    purchase: &Purchase,
    request: &SellRequest,
    receipt: &SellReceipt,
) -> Result<(), ProviderError> {
    let problem = match () {
        () if receipt.key_id != purchase.key_id => "it is for another key",
        () if receipt.buyer_key != purchase.buyer_key => "it is for another buyer",
        () if (receipt.channel_seq, receipt.balance) != (request.channel_seq, request.balance) => {
            "it is for another state"
        }
        () if receipt.sealed_key.len() != SEALED_KEY_LEN => "its sealed key is not 80 bytes",
        () => return Ok(()),
    };
    Err(ProviderError::Invalid { problem })
}

/// What the buyer is told: the seller's own error where it is one of the market's.
fn not_sold(error: &ProviderError, verdict: Verdict) -> BuyReject {
    match error {
        ProviderError::Refused { uri, text }
            if verdict == Verdict::NotSold && (uri.starts_with("xbr.") || uri.starts_with("crossbar.")) =>
        {
            BuyReject::NotSold { uri: uri.clone(), text: text.clone() }
        }
        other => BuyReject::NotSold { uri: TRANSACTION_FAILED.to_owned(), text: other.to_string() },
    }
}
