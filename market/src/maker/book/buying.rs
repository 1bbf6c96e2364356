//! From a request to buy to a reservation, and to a paying channel for it.

use xbr_core::channel::ChannelState;
use xbr_core::crypto::is_low_order;
use xbr_core::wire::{BuyRequest, ChannelType};
use xbr_core::{Address, Amount, ChannelId};

use super::{Book, Entry};
use crate::maker::account::Account;
use crate::maker::offer::Offer;
use crate::maker::purchase::{Purchase, PurchaseId, Sale, Stage};
use crate::maker::reject::BuyReject;

/// Whether a request may have been made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prior {
    /// It is new.
    New,
    /// It is in flight: the answer is that of this purchase.
    InFlight(PurchaseId),
    /// Its state is in the past: if a settled purchase has it, and is the same, the answer is its receipt.
    Past,
}

/// By which channel a seller can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// By this one, at its next state.
    Now(Sale),
    /// By one that is not free for now.
    Later,
    /// By none, as long as this one is not closed: it has not enough left.
    Exhausted(ChannelId),
    /// By none.
    Never,
}

impl Book {
    /// Judges whether a request is a repeat; `signed` says whether the delegate signed its state.
    ///
    /// # Errors
    /// [`BuyReject::InvalidBuyerKey`], [`BuyReject::NoSuchChannel`], [`BuyReject::UnexpectedDelegate`].
    pub fn repeat(&self, request: &BuyRequest, signed: bool) -> Result<Prior, BuyReject> {
        let account = self.payment_account(request)?;
        let in_flight = self.payments.get(&(request.channel_id, request.channel_seq));
        let same = in_flight
            .and_then(|id| self.purchases.get(id))
            .filter(|purchase| purchase.is_repeated_by(request, signed));
        Ok(match same {
            Some(purchase) => Prior::InFlight(purchase.id),
            None if request.channel_seq <= account.state.seq => Prior::Past,
            None => Prior::New,
        })
    }

    /// Judges a request that is no repeat, and reserves its price.
    ///
    /// # Errors
    /// The first [`BuyReject`] that applies, in the order of that type.
    pub fn reserve(&self, request: &BuyRequest, signed: bool, now_ns: u64) -> Result<Entry, BuyReject> {
        let account = self.payment_account(request)?;
        if !account.is_open() {
            return Err(BuyReject::ChannelNotOpen);
        }
        let offer = self.offers.get(&request.key_id).ok_or(BuyReject::NoOffer)?;
        if offer.is_expired(now_ns) {
            return Err(BuyReject::OfferExpired);
        }
        if offer.is_sold_out() {
            return Err(BuyReject::SoldOut);
        }
        check_payment(account, offer.price, request)?;
        if !signed {
            return Err(BuyReject::InvalidSignature);
        }
        if self.purchases.len() >= self.limits.purchases {
            return Err(BuyReject::Unavailable { reason: "too many purchases are in flight" });
        }
        let (sale, paying) = match self.choose(offer.seller, offer.price) {
            Choice::Now(sale) => (Some(sale), self.advanced(&sale)),
            Choice::Later | Choice::Exhausted(_) => (None, None),
            Choice::Never => return Err(BuyReject::InsufficientPayingBalance),
        };
        let purchase = self.purchase_of(request, offer, sale, now_ns);
        let state = request.state();
        let payment = Account { state, agreed: state, ..account.next() };
        Ok(Entry {
            accounts: std::iter::once(payment).chain(paying).collect(),
            offers: offer.copies.map(|_| offer.reserve_copy()).into_iter().collect(),
            purchases: vec![purchase],
            forgotten: Vec::new(),
        })
    }

    /// By which channel the seller of a purchase that waits can be paid.
    pub fn choice(&self, id: PurchaseId) -> Choice {
        let purchase = self.purchases.get(&id).filter(|purchase| purchase.sale.is_none());
        purchase.map_or(Choice::Later, |purchase| self.choose(purchase.seller, purchase.price))
    }

    /// Gives a purchase that waits the next state of a paying channel, which [`choice`](Self::choice) found.
    pub fn assign(&self, id: PurchaseId, sale: Sale) -> Option<Entry> {
        let purchase = self.purchases.get(&id)?;
        Some(Entry {
            accounts: vec![self.advanced(&sale)?],
            purchases: vec![Purchase { sale: Some(sale), ..purchase.clone() }],
            ..Entry::default()
        })
    }

    fn payment_account(&self, request: &BuyRequest) -> Result<&Account, BuyReject> {
        if is_low_order(&request.buyer_key) {
            return Err(BuyReject::InvalidBuyerKey);
        }
        let account = self.accounts.get(&request.channel_id);
        let account = account.filter(|account| account.kind == ChannelType::Payment);
        let account = account.ok_or(BuyReject::NoSuchChannel)?;
        if account.delegate == request.delegate { Ok(account) } else { Err(BuyReject::UnexpectedDelegate) }
    }

    /// The oldest channel that is open, has enough left and is free.
    fn choose(&self, seller: Address, price: Amount) -> Choice {
        let mut choice = Choice::Never;
        for account in self.channels_of(ChannelType::Paying, seller).filter(|account| account.is_open()) {
            let channel_id = account.channel_id;
            match account.after(price) {
                Some(state) if self.is_free(account) => return Choice::Now(Sale { channel_id, state }),
                Some(_) => choice = Choice::Later,
                // Whoever is closing one already needs to close no other.
                None if self.held.contains(&channel_id) => choice = Choice::Later,
                None if choice == Choice::Never => choice = Choice::Exhausted(channel_id),
                None => {}
            }
        }
        choice
    }

    fn is_free(&self, account: &Account) -> bool {
        let sales = self.sales.get(&account.channel_id).map_or(0, |sales| sales.len());
        !self.held.contains(&account.channel_id)
            && sales < self.limits.sales_per_channel
            && !self.has_dead_state(account)
    }

    fn advanced(&self, sale: &Sale) -> Option<Account> {
        let account = self.accounts.get(&sale.channel_id)?;
        Some(Account { state: sale.state, ..account.next() })
    }

    fn purchase_of(&self, request: &BuyRequest, offer: &Offer, sale: Option<Sale>, now_ns: u64) -> Purchase {
        Purchase {
            id: self.last_purchase + 1,
            key_id: request.key_id,
            buyer_key: request.buyer_key,
            buyer: request.delegate,
            price: offer.price,
            payment_channel: request.channel_id,
            payment: request.state(),
            payment_signature: request.signature,
            offer_id: offer.offer_id,
            seller: offer.seller,
            provider_id: offer.provider_id.clone(),
            reserved_ns: now_ns,
            sale,
            stage: Stage::Reserved,
        }
    }
}

/// Checks amount, seq and balance.
fn check_payment(account: &Account, price: Amount, request: &BuyRequest) -> Result<(), BuyReject> {
    let ChannelState { seq, balance: remaining } = account.state;
    let (expected, actual) = (price, request.amount);
    if actual < expected {
        return Err(BuyReject::InsufficientAmount { expected, actual });
    }
    if actual > expected {
        return Err(BuyReject::ExcessiveAmount { expected, actual });
    }
    let (expected, actual) = (u64::from(seq.value()) + 1, request.channel_seq);
    if u64::from(actual.value()) != expected {
        return Err(BuyReject::UnexpectedSeq { expected, actual });
    }
    let Some(expected) = remaining.checked_sub(price) else {
        return Err(BuyReject::InsufficientPaymentBalance { price, remaining });
    };
    let actual = request.balance;
    if actual == expected { Ok(()) } else { Err(BuyReject::UnexpectedBalance { expected, actual }) }
}
