//! How a purchase ends, and what becomes of the paying channel then.

use xbr_core::{Amount, ChannelId, ChannelSeq, Signature};

use super::{Book, Entry};
use crate::maker::account::Account;
use crate::maker::outcome::Verdict;
use crate::maker::purchase::{Purchase, PurchaseId, Sale, Settled, Stage};

impl Book {
    /// Books that the seller delivered, with a sealed key of 80 bytes and its signature over the sale's
    /// state; `signature` is the market maker's over the buyer's state. `None` when the purchase is not in
    /// flight.
    pub fn settle(
        &self,
        id: PurchaseId,
        sealed_key: Vec<u8>,
        seller_signature: Signature,
        signature: Signature,
        now_ns: u64,
    ) -> Option<Entry> {
        let purchase = self.purchases.get(&id)?;
        let sale = purchase.sale?;
        let before = self.accounts.get(&purchase.payment_channel)?;
        let payment = Account { settled: sum(before.settled, purchase.price), ..before.next() };
        let before = self.accounts.get(&sale.channel_id)?;
        let mut paying = Account { settled: sum(before.settled, purchase.price), ..before.next() };
        count(&mut paying, &sale);
        self.end_sale(&mut paying, sale.state.seq);
        let inflight = payment.inflight();
        let settled = Settled { sealed_key, seller_signature, signature, inflight, settled_ns: now_ns };
        Some(Entry {
            accounts: vec![payment, paying],
            purchases: vec![Purchase { stage: Stage::Settled(settled), ..purchase.clone() }],
            ..Entry::default()
        })
    }

    /// Books that the seller did not sell, and gives the buyer its money back. `counted` says that the
    /// seller counts the state all the same. `None` when the purchase is not in flight.
    ///
    /// The payment channel goes back to the state before the purchase if there is no later one: a buyer that
    /// sends one payment at a time signs that state anew for its next purchase. Otherwise only its balance
    /// rises.
    pub fn refuse(&self, id: PurchaseId, uri: &str, counted: bool, now_ns: u64) -> Option<Entry> {
        let purchase = self.purchases.get(&id)?;
        let mut payment = self.accounts.get(&purchase.payment_channel)?.next();
        payment.state.balance = sum(payment.state.balance, purchase.price);
        if payment.state.seq == purchase.payment.seq {
            payment.state.seq = ChannelSeq::new(payment.state.seq.value().saturating_sub(1));
        }
        payment.agreed = payment.state;
        let paying = purchase.sale.and_then(|sale| {
            let mut paying = self.accounts.get(&sale.channel_id)?.next();
            if counted {
                count(&mut paying, &sale);
            }
            self.end_sale(&mut paying, sale.state.seq);
            Some(paying)
        });
        let offer = self.offers.get(&purchase.key_id);
        let offer = offer.filter(|offer| offer.offer_id == purchase.offer_id && offer.copies.is_some());
        let stage = Stage::Refused { uri: uri.to_owned(), refused_ns: now_ns };
        Some(Entry {
            accounts: std::iter::once(payment).chain(paying).collect(),
            offers: offer.map(|offer| offer.give_back_copy()).into_iter().collect(),
            purchases: vec![Purchase { stage, ..purchase.clone() }],
            forgotten: Vec::new(),
        })
    }

    /// Takes a purchase off its paying channel, whose state for it is dead, to be given another one. `None`
    /// when it is not in flight there.
    pub fn requeue(&self, id: PurchaseId) -> Option<Entry> {
        let purchase = self.purchases.get(&id)?;
        let sale = purchase.sale?;
        let mut paying = self.accounts.get(&sale.channel_id)?.next();
        self.end_sale(&mut paying, sale.state.seq);
        Some(Entry {
            accounts: vec![paying],
            purchases: vec![Purchase { sale: None, ..purchase.clone() }],
            ..Entry::default()
        })
    }

    /// Books what became of a purchase that the seller did not deliver for; `uri` is the error that the
    /// buyer is told. `None` when that is not certain, or the purchase is not in flight.
    pub fn conclude(&self, id: PurchaseId, verdict: Verdict, uri: &str, now_ns: u64) -> Option<Entry> {
        match verdict {
            Verdict::NotSold => self.refuse(id, uri, false, now_ns),
            Verdict::Counted => self.refuse(id, uri, true, now_ns),
            Verdict::Requeue | Verdict::ChannelClosed => self.requeue(id),
            Verdict::Unknown | Verdict::NotSent => None,
        }
    }

    /// Whether there are states between those that count for the seller and this one, dead or in flight: a
    /// seller that takes no gaps may refuse this one for that reason alone.
    pub fn has_gap_below(&self, channel_id: ChannelId, seq: ChannelSeq) -> bool {
        let account = self.accounts.get(&channel_id);
        account.is_some_and(|account| seq.value().saturating_sub(account.agreed.seq.value()) > 1)
    }

    pub(super) fn has_dead_state(&self, account: &Account) -> bool {
        let tip = account.state.seq;
        let tip_is_dead = tip > account.agreed.seq && !self.is_in_flight(account.channel_id, tip);
        tip_is_dead || self.dead_states(account, tip) > 0
    }

    /// How many states between the one that counts for the seller and this one have no sale in flight.
    fn dead_states(&self, account: &Account, below: ChannelSeq) -> u32 {
        let between = below.value().saturating_sub(account.agreed.seq.value()).saturating_sub(1);
        let sales =
            self.sales(account.channel_id).filter(|(seq, _)| account.agreed.seq < *seq && *seq < below);
        between.saturating_sub(u32::try_from(sales.count()).unwrap_or(u32::MAX))
    }

    fn is_in_flight(&self, channel_id: ChannelId, seq: ChannelSeq) -> bool {
        self.sales.get(&channel_id).is_some_and(|sales| sales.contains_key(&seq))
    }

    /// When a sale was the last one in flight, the channel goes on from the state that counts for the
    /// seller. What that state gave beyond the prices of delivered keys is conceded.
    fn end_sale(&self, paying: &mut Account, seq: ChannelSeq) {
        if self.sales(paying.channel_id).any(|(other, _)| other != seq) {
            return;
        }
        paying.state = paying.agreed;
        let given = paying.amount.checked_sub(paying.agreed.balance).unwrap_or_default();
        paying.conceded = given.checked_sub(paying.settled).unwrap_or_default();
    }
}

/// A state counts for the seller, and with it all before it.
fn count(paying: &mut Account, sale: &Sale) {
    if sale.state.seq > paying.agreed.seq {
        paying.agreed = sale.state;
    }
}

/// No sum of a channel's can overflow: none is above what was put into it.
fn sum(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::MAX)
}
