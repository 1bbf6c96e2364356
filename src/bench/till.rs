//! What the market maker and the buyers do for a sale: states are signed before a measurement and receipts
//! checked after it, so that neither is in what is measured. Pure, but for the processors that it keeps busy.

use std::sync::Arc;

use rayon::prelude::*;
use xbr_core::channel::ChannelState;
use xbr_core::crypto::{Entropy, SignError, UserspaceEntropy, sealed_box_open, sealed_box_public_key};
use xbr_core::wire::{SellReceipt, SellRequest};
use xbr_core::{Address, BuyerKey, ChannelSeq, DelegateKey, Eip712};
use xbr_market::maker::account::Market;
use zeroize::Zeroizing;

use super::maker::Offered;

/// Who signs, and for whom keys are bought.
#[derive(Clone)]
pub(super) struct Till {
    market: Market,
    signer: Arc<DelegateKey>,
    buyer: Arc<Zeroizing<[u8; 32]>>,
    buyer_key: BuyerKey,
}

/// Why no sales can be signed ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// There is not enough in the channel.
    Empty,
    /// The signer says no.
    Signer(SignError),
}

impl Till {
    /// A buyer that nobody knows, at the market maker's own till.
    pub(super) fn new(market: Market, signer: Arc<DelegateKey>) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        UserspaceEntropy.fill(secret.as_mut());
        let buyer_key = sealed_box_public_key(&secret);
        Self { market, signer, buyer: Arc::new(secret), buyer_key }
    }

    /// So many sales of a key, one after the other from a state of its channel on, signed.
    pub(super) fn sign(
        &self,
        offered: &Offered,
        from: ChannelState,
        count: usize,
    ) -> Result<Vec<SellRequest>, Unsigned> {
        let price = offered.offer.price;
        let next = |state: &ChannelState| {
            let seq = ChannelSeq::new(state.seq.value().checked_add(1)?);
            Some(ChannelState { seq, balance: state.balance.checked_sub(price)? })
        };
        let states: Vec<_> = std::iter::successors(Some(from), next).skip(1).take(count).collect();
        if states.len() < count {
            return Err(Unsigned::Empty);
        }
        let sign = |state: &ChannelState| {
            let message = self.market.state(offered.channel_id, *state, false);
            Ok(SellRequest {
                market_maker: self.market.market_maker,
                buyer_key: self.buyer_key,
                key_id: offered.offer.key_id,
                channel_id: offered.channel_id,
                channel_seq: state.seq,
                amount: price,
                balance: state.balance,
                signature: message.sign(&*self.signer).map_err(Unsigned::Signer)?,
            })
        };
        states.par_iter().map(sign).collect()
    }

    /// What is wrong with each receipt, if anything is: it must be of the very sale, countersigned by the
    /// seller, and bring the data key, which is the same for all.
    pub(super) fn check(
        &self,
        delegate: Address,
        receipts: &[(SellRequest, SellReceipt)],
    ) -> Vec<Option<&'static str>> {
        let opened: Vec<_> =
            receipts.par_iter().map(|(asked, got)| self.open(delegate, asked, got)).collect();
        let key = opened.iter().find_map(|key| key.as_ref().ok());
        let same = |got| if key == Some(got) { None } else { Some("it brings another data key") };
        opened.iter().map(|opened| opened.as_ref().map_or_else(|problem| Some(*problem), same)).collect()
    }

    fn open(
        &self,
        delegate: Address,
        asked: &SellRequest,
        got: &SellReceipt,
    ) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        if (got.key_id, got.buyer_key) != (asked.key_id, asked.buyer_key) {
            return Err("it is for another key or buyer");
        }
        if (got.channel_seq, got.amount, got.balance) != (asked.channel_seq, asked.amount, asked.balance) {
            return Err("it is for another state");
        }
        let state = self.market.state(asked.channel_id, asked.state(), false);
        if state.recover(&got.signature) != Ok(delegate) {
            return Err("it is not signed by the seller");
        }
        let opened = sealed_box_open(&self.buyer, &got.sealed_key).map(Zeroizing::new);
        opened.ok().filter(|key| key.len() == 32).ok_or("its data key does not open")
    }
}

impl std::fmt::Debug for Till {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Till").field("market_maker", &self.market.market_maker).finish_non_exhaustive()
    }
}
