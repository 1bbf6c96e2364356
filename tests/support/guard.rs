//! What a seller has signed, as whoever receives its receipts sees it. It fails the test when a signature covers
//! another state than the receipt says, contradicts an earlier one, or goes back behind it.

#![allow(dead_code, reason = "each test uses its own part")]

use std::collections::BTreeMap;

use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::wire::{CloseReceipt, SellReceipt};
use xbr_core::{Amount, ChannelId, ChannelSeq, Eip712, Signature};

/// Everything that was signed, by channel.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    channels: BTreeMap<ChannelId, Signed>,
}

#[derive(Debug, Default)]
struct Signed {
    /// The balance that a sale left at each sequence number, with the signature of that state.
    sales: BTreeMap<ChannelSeq, (Amount, Signature)>,
    /// The balance of each close, with the signature of that state.
    closes: BTreeMap<(ChannelSeq, bool), (Amount, Signature)>,
}

impl Guard {
    /// A receipt of a sale has left the seller.
    pub(crate) fn sold(&mut self, terms: &ChannelTerms, receipt: &SellReceipt) {
        let (seq, balance, signature) = (receipt.channel_seq, receipt.balance, receipt.signature);
        let signer = terms.state(seq, balance, false).recover(&signature);
        assert_eq!(signer, Ok(terms.delegate), "a receipt is signed for another state: {receipt:?}");
        let signed = self.channels.entry(terms.channel_id).or_default();
        let closed = signed.closes.keys().find(|(_, is_final)| *is_final);
        let first = !signed.sales.contains_key(&seq);
        assert!(!first || closed.is_none(), "sold after the final close: {receipt:?}");
        let earlier = *signed.sales.entry(seq).or_insert((balance, signature));
        assert_eq!(earlier, (balance, signature), "signed twice, and differently: {receipt:?}");
        signed.check(ChannelState { seq, balance });
    }

    /// A receipt of a close has left the seller.
    pub(crate) fn closed(&mut self, terms: &ChannelTerms, receipt: &CloseReceipt) {
        let CloseReceipt { seq, balance, is_final, signature, .. } = *receipt;
        let signer = terms.state(seq, balance, is_final).recover(&signature);
        assert_eq!(signer, Ok(terms.delegate), "a receipt is signed for another state: {receipt:?}");
        let signed = self.channels.entry(terms.channel_id).or_default();
        let earlier = *signed.closes.entry((seq, is_final)).or_insert((balance, signature));
        assert_eq!(earlier, (balance, signature), "signed twice, and differently: {receipt:?}");
        signed.check(ChannelState { seq, balance });
    }
}

impl Signed {
    /// More remains at no later state than at an earlier one, and equally much at the same.
    fn check(&self, state: ChannelState) {
        let sales = self.sales.iter().map(|(seq, (balance, _))| (*seq, *balance));
        let closes = self.closes.iter().map(|((seq, _), (balance, _))| (*seq, *balance));
        for (seq, balance) in sales.chain(closes) {
            let agrees = match seq.cmp(&state.seq) {
                std::cmp::Ordering::Less => balance >= state.balance,
                std::cmp::Ordering::Equal => balance == state.balance,
                std::cmp::Ordering::Greater => balance <= state.balance,
            };
            assert!(agrees, "{state:?} contradicts {balance} at {seq}, which is signed as well");
        }
        let last = self.closes.iter().filter(|((_, is_final), _)| *is_final).map(|((seq, _), _)| *seq);
        let ends: Vec<_> = last.collect();
        assert!(ends.len() <= 1, "two final closes are signed: {ends:?}");
    }
}
