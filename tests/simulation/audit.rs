//! What leaves a party is looked at as it leaves: no signature contradicts an earlier one, and nothing is
//! answered that is not stored.
//!
//! Of a channel's states each side signs one for a sequence number, and a later one never leaves more. There
//! is one exception, which the protocol needs: of a state that the seller has refused nothing came, so that
//! the market maker signs its sequence number anew. (A buyer does the same with a payment that was refused;
//! what it signs is what the market maker compares its own figures with.)

use std::collections::BTreeMap;

use futures_util::FutureExt;
use xbr_core::channel::ChannelState;
use xbr_core::wire::{BuyReceipt, CloseReceipt, SellReceipt, SellRequest};
use xbr_core::{Amount, ChannelId, ChannelSeq};
use xbr_market::maker::outcome::ProviderError;
use xbr_store::{MemoryStore, Store};

/// A sale that the market maker asked a seller for.
#[derive(Debug)]
struct Asked {
    request: SellRequest,
    /// How often.
    times: u64,
    /// Whether the market maker was told that nothing was sold.
    refused: bool,
}

/// How often something happened that a simulation is there for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Sales that the market maker asked for more than once.
    pub(crate) repeated: u64,
    /// Sequence numbers that it signed anew after a refusal.
    pub(crate) reused: u64,
    /// Channels that a seller closed because they were exhausted.
    pub(crate) closed: u64,
}

/// Everything that was signed so far.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The seller's ledger.
    pub(crate) ledger: Option<MemoryStore>,
    pub(crate) problems: Vec<String>,
    pub(crate) tally: Tally,
    asked: BTreeMap<(ChannelId, ChannelSeq), Asked>,
    /// The last state of each channel that the market maker knows to be sold.
    agreed: BTreeMap<ChannelId, ChannelState>,
    sold: BTreeMap<(ChannelId, ChannelSeq), SellReceipt>,
    closes: BTreeMap<ChannelId, CloseReceipt>,
    bought: BTreeMap<(ChannelId, ChannelSeq), BuyReceipt>,
}

impl Audit {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(what());
        }
    }

    /// The market maker asks for a sale.
    pub(crate) fn asks(&mut self, request: &SellRequest) {
        let key = (request.channel_id, request.channel_seq);
        let agreed = self.agreed.get(&request.channel_id).copied();
        let asked = self.asked.entry(key).or_insert_with(|| {
            let request = request.clone();
            Asked { request, times: 0, refused: false }
        });
        asked.times += 1;
        self.tally.repeated += u64::from(asked.times == 2);
        if asked.request == *request {
            return;
        }
        let (before, was_refused) = (asked.request.clone(), asked.refused);
        *asked = Asked { request: request.clone(), times: 1, refused: false };
        self.tally.reused += 1;
        self.check(was_refused, || format!("signed {request:?} after {before:?}, which was not refused"));
        let follows =
            agreed.is_none_or(|agreed| request.channel_seq > agreed.seq && request.balance <= agreed.balance);
        self.check(follows, || format!("signed {request:?}, which is behind {agreed:?}"));
    }

    /// The market maker hears what came of it.
    pub(crate) fn learns(&mut self, request: &SellRequest, answer: &Result<SellReceipt, ProviderError>) {
        match answer {
            Ok(_) => {
                let agreed = self.agreed.entry(request.channel_id).or_insert_with(|| request.state());
                if request.channel_seq > agreed.seq {
                    *agreed = request.state();
                }
            }
            Err(ProviderError::Refused { .. }) => {
                let asked = self.asked.get_mut(&(request.channel_id, request.channel_seq));
                if let Some(asked) = asked.filter(|asked| asked.request == *request) {
                    asked.refused = true;
                }
            }
            Err(_) => {}
        }
    }

    /// The seller answers a sale.
    pub(crate) fn sells(&mut self, channel_id: ChannelId, receipt: &SellReceipt) {
        let key = (channel_id, receipt.channel_seq);
        let stored = self.ledger.as_ref().and_then(|ledger| {
            let found = ledger.sale(channel_id, receipt.channel_seq).now_or_never();
            let record = found.expect("a store in memory answers at once").unwrap()?;
            Some(SellReceipt::of(&record, receipt.delegate).to_value())
        });
        let answered = receipt.to_value();
        self.check(stored.as_ref() == Some(&answered), || format!("{answered:?} is stored as {stored:?}"));
        match self.sold.get(&key) {
            Some(before) => {
                let same = before.to_value() == answered;
                self.check(same, || format!("the seller contradicts itself: {answered:?}"));
            }
            None => {
                let (seq, balance) = (receipt.channel_seq, receipt.balance);
                // The first answer to an earlier sale may have been lost.
                let all = (channel_id, ChannelSeq::new(0))..=(channel_id, ChannelSeq::new(u32::MAX));
                let mut signed = self.sold.range(all).map(|(_, sold)| (sold.channel_seq, sold.balance));
                let against =
                    signed.find(|(other, left)| if *other < seq { *left < balance } else { *left > balance });
                self.check(against.is_none(), || {
                    format!("the seller signs ({seq}, {balance}) against {against:?}")
                });
                let open = !self.closes.contains_key(&channel_id);
                self.check(open, || format!("the seller sells over {channel_id}, which is closed"));
            }
        }
        self.sold.insert(key, receipt.clone());
    }

    /// The seller signs the end of a channel.
    pub(crate) fn closes(&mut self, channel_id: ChannelId, receipt: &CloseReceipt) {
        match self.closes.insert(channel_id, receipt.clone()) {
            Some(before) => {
                self.check(before == *receipt, || format!("the seller closes {channel_id} otherwise"));
            }
            None => self.tally.closed += 1,
        }
    }

    /// The market maker answers a purchase.
    pub(crate) fn delivers(&mut self, receipt: &BuyReceipt) {
        let paid = self.sold.values().any(|sold| {
            (sold.key_id, sold.buyer_key, sold.amount, &sold.sealed_key)
                == (receipt.key_id, receipt.buyer_key, receipt.amount, &receipt.sealed_key)
        });
        self.check(paid, || format!("delivered, but not sold: {receipt:?}"));
        let channel_id = receipt.channel_id;
        let all = (channel_id, ChannelSeq::new(0))..=(channel_id, ChannelSeq::new(u32::MAX));
        let last = self.bought.range(all).last().map(|(_, last)| (last.channel_seq, last.remaining));
        match self.bought.get(&(channel_id, receipt.channel_seq)) {
            Some(before) => {
                let same = before == receipt;
                self.check(same, || format!("the market maker contradicts itself: {receipt:?}"));
            }
            None => {
                let (seq, remaining) = (receipt.channel_seq, receipt.remaining);
                let rises = last.is_none_or(|last| seq > last.0 && remaining <= last.1);
                self.check(rises, || format!("the market maker signs ({seq}, {remaining}) after {last:?}"));
            }
        }
        self.bought.insert((channel_id, receipt.channel_seq), receipt.clone());
    }
}

/// A sum that fits.
pub(crate) fn sum(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    amounts.into_iter().fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
}
