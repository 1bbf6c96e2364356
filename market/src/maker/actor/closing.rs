//! Exhausted paying channels: the seller is asked for its signature over the final state, and the market
//! goes on with another channel, if there is one.

use actix::prelude::*;
use xbr_compute::on_worker;
use xbr_core::ChannelId;
use xbr_core::wire::{CloseReceipt, CloseRequest, OnChannelClosed, uri};

use super::Maker;
use crate::maker::account::Account;
use crate::maker::messages::CallClose;
use crate::maker::outcome::ProviderError;
use crate::maker::purchase::PurchaseId;
use crate::maker::reject::BuyReject;
use crate::maker::signing::{sign, signer_of};

impl Maker {
    /// Closes a channel once the sales in flight over it have ended. It is the one that a purchase needs
    /// closed, whose offer says how the seller is reached.
    pub(super) fn begin_close(&mut self, channel_id: ChannelId, id: PurchaseId, ctx: &mut Context<Self>) {
        let Some(purchase) = self.book.purchase(id) else { return };
        if self.closing.contains_key(&channel_id) {
            return;
        }
        self.closing.insert(channel_id, purchase.provider_id.clone());
        self.book.hold(channel_id);
        self.close_if_due(channel_id, ctx);
    }

    /// Asks the seller, if the channel is to be closed and nothing is in flight over it.
    pub(super) fn close_if_due(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        let Some(provider_id) = self.closing.get(&channel_id).cloned() else { return };
        if self.book.sales(channel_id).next().is_some() {
            return;
        }
        let Some(account) = self.book.account(channel_id).cloned() else { return };
        let (market, signer) = (*self.book.market(), self.options.signer.clone());
        let message = market.state(channel_id, account.state, true);
        let signing = on_worker(move || sign(&*signer, &message));
        let (close, timeout) = (self.realm.close.clone(), self.options.sell_timeout);
        let asking = async move {
            let unsigned = || ProviderError::Unsendable { reason: "it cannot be signed".into() };
            let signature = signing.await.flatten().ok_or_else(unsigned)?;
            let request = CloseRequest {
                market_maker: market.market_maker,
                channel_id,
                channel_seq: account.state.seq,
                balance: account.state.balance,
                is_final: true,
                signature,
            };
            let asked = close.send(CallClose { provider_id, request, timeout }).await;
            let receipt = asked.unwrap_or(Err(ProviderError::NotJoined))?;
            let checking =
                on_worker(move || signer_of(&message, &receipt.signature) == Some(account.delegate));
            match checking.await {
                Some(true) => Ok(receipt),
                _ => Err(ProviderError::Invalid { problem: "it is not signed by the seller" }),
            }
        };
        self.after(ctx, asking, move |maker, asked, ctx| maker.asked_to_close(channel_id, asked, ctx));
    }

    fn asked_to_close(
        &mut self,
        channel_id: ChannelId,
        asked: Result<CloseReceipt, ProviderError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(provider_id) = self.closing.remove(&channel_id) else { return };
        self.book.release(channel_id);
        let closed = match asked {
            Ok(receipt) => self.book.close_exhausted(channel_id, receipt.signature),
            Err(error) => {
                tracing::warn!(channel = %channel_id, "the seller does not close a paying channel: {error}");
                None
            }
        };
        match closed {
            Some(entry) => {
                self.commit(entry, ctx, move |maker, _| {
                    if let Some(account) = maker.book.account(channel_id) {
                        maker.publish_closing(account);
                        maker.publish_empty(account);
                        let closed = OnChannelClosed { channel_id, state: account.state, is_final: true };
                        maker.publish(uri::on_channel_closed(&provider_id), closed.to_args());
                    }
                });
            }
            None => self.turn_away(channel_id, ctx),
        }
        self.assign(ctx);
    }

    /// The purchases that wait for a seller whose channel cannot be closed get their money back: asking
    /// again and again would not end.
    fn turn_away(&mut self, channel_id: ChannelId, ctx: &mut Context<Self>) {
        let Some(&Account { delegate, .. }) = self.book.account(channel_id) else { return };
        while let Some(id) = self.book.first_waiting(delegate) {
            self.give_up(id, BuyReject::InsufficientPayingBalance, ctx);
        }
    }
}
