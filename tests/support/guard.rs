//! What a seller has signed, as whoever receives its receipts sees it. It fails the test when a signature
//! covers another state than the receipt says, contradicts an earlier one, or goes back behind it.

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
    /// What remains at each sequence number that was signed.
    balances: BTreeMap<ChannelSeq, Amount>,
    /// The signature of each sale.
    sales: BTreeMap<ChannelSeq, Signature>,
    /// The signature of each close, by whether it is final.
    closes: BTreeMap<(ChannelSeq, bool), Signature>,
    /// Where the final close is.
    end: Option<ChannelSeq>,
}

impl Guard {
    /// A receipt of a sale has left the seller.
    pub(crate) fn sold(&mut self, terms: &ChannelTerms, receipt: &SellReceipt) {
        let state = ChannelState { seq: receipt.channel_seq, balance: receipt.balance };
        let signer = terms.state(state.seq, state.balance, false).recover(&receipt.signature);
        assert_eq!(signer, Ok(terms.delegate), "a receipt is signed for another state: {receipt:?}");
        self.sale_signed(terms.channel_id, state, receipt.signature);
    }

    /// A receipt of a close has left the seller.
    pub(crate) fn closed(&mut self, terms: &ChannelTerms, receipt: &CloseReceipt) {
        let state = ChannelState { seq: receipt.seq, balance: receipt.balance };
        let signer = terms.state(state.seq, state.balance, receipt.is_final).recover(&receipt.signature);
        assert_eq!(signer, Ok(terms.delegate), "a receipt is signed for another state: {receipt:?}");
        self.close_signed(terms.channel_id, state, receipt.is_final, receipt.signature);
    }

    /// The same for a signature whose signer needs no proof.
    pub(crate) fn sale_signed(&mut self, channel_id: ChannelId, state: ChannelState, signature: Signature) {
        let signed = self.channels.entry(channel_id).or_default();
        // A sale from before the end may get its receipt after it.
        assert!(signed.end.is_none_or(|end| state.seq <= end), "sold after the final close: {state:?}");
        let first = *signed.sales.entry(state.seq).or_insert(signature);
        assert_eq!(first, signature, "signed twice, and differently: {state:?}");
        signed.check(state);
    }

    /// The same for a close.
    pub(crate) fn close_signed(
        &mut self,
        channel_id: ChannelId,
        state: ChannelState,
        is_final: bool,
        signature: Signature,
    ) {
        let signed = self.channels.entry(channel_id).or_default();
        let first = *signed.closes.entry((state.seq, is_final)).or_insert(signature);
        assert_eq!(first, signature, "signed twice, and differently: {state:?}");
        if is_final {
            let end = *signed.end.get_or_insert(state.seq);
            assert_eq!(end, state.seq, "two final closes are signed: {state:?}");
        }
        signed.check(state);
    }
}

impl Signed {
    /// At one sequence number one balance is signed, and no more remains at a later one than at an earlier
    /// one.
    fn check(&mut self, state: ChannelState) {
        let ChannelState { seq, balance } = state;
        let same = *self.balances.entry(seq).or_insert(balance);
        assert_eq!(same, balance, "two states are signed at {seq}");
        let earlier = self.balances.range(..seq).next_back();
        assert!(
            earlier.is_none_or(|(_, more)| *more >= balance),
            "{state:?} takes back what {earlier:?} gave"
        );
        let after_it = seq.value().saturating_add(1);
        let later = self.balances.range(ChannelSeq::new(after_it)..).find(|(later, _)| **later > seq);
        assert!(later.is_none_or(|(_, less)| *less <= balance), "{later:?} takes back what {state:?} gave");
    }
}
