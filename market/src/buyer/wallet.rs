//! The payment channel as the buyer keeps it: `judge` looks and decides, `apply` changes. Both are pure; the
//! caller makes a payment durable before it is sent, and a settlement before the key is used.
//!
//! A channel's balance is what **remains** with the buyer, so for the buyer higher is better. The rules:
//!
//! 1. the state of a payment is the one after the last that both sides agree on: `seq + 1`, and the balance
//!    less the price, which is at most what the buyer is ready to give for the key;
//! 2. there is one payment at a time; it is sent again as it is until it is settled;
//! 3. a receipt counts only with the market maker's signature over its state, in which `seq` has risen, and
//!    the balance has fallen by exactly the price; when the payment was sent more than once, a market maker
//!    that charges each time is followed, within what the buyer is ready to give for the key;
//! 4. without a receipt the market maker's own figures decide: what was not taken is given up, what was taken
//!    is claimed by sending the payment again, and written off at last when the market maker refuses to
//!    answer for it;
//! 5. figures that are behind what both sides agreed on, or took more than was signed, are not followed:
//!    nothing is signed until they agree.

use thiserror::Error;
use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::eip712::ChannelClose;
use xbr_core::wire::{BuyReceipt, BuyRequest};
use xbr_core::{Amount, BuyerKey, ChannelId, ChannelSeq, KeyId, Signature};

/// A payment channel, seen by the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// What does not change; its delegate is the buyer.
    pub terms: ChannelTerms,
    /// Where it stood when this buyer first saw it: the market maker's word, taken on trust once.
    pub adopted: ChannelState,
    /// Where both sides agree that it stands.
    pub state: ChannelState,
    /// What was paid for keys.
    pub spent: Amount,
    /// What went without a key: written off, or charged more than once.
    pub lost: Amount,
    /// What the market maker gave back: `adopted.balance + regained = state.balance + spent + lost`.
    pub regained: Amount,
    /// Number of keys bought.
    pub purchases: u64,
    /// The payment that is not settled, if there is one.
    pub pending: Option<Payment>,
}

/// A payment that was signed: what is stored before it is sent, and sent again after a lost answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The channel.
    pub channel_id: ChannelId,
    /// The key that it is for.
    pub key_id: KeyId,
    /// Where the channel stands before it.
    pub before: ChannelState,
    /// The state that was signed.
    pub state: ChannelState,
    /// The price.
    pub amount: Amount,
    /// The buyer's signature over the state.
    pub signature: Signature,
}

impl Payment {
    /// The arguments of `buy_key`: the same each time.
    pub fn request(&self, terms: &ChannelTerms, buyer_key: BuyerKey) -> BuyRequest {
        BuyRequest {
            delegate: terms.delegate,
            buyer_key,
            key_id: self.key_id,
            channel_id: self.channel_id,
            channel_seq: self.state.seq,
            amount: self.amount,
            balance: self.state.balance,
            signature: self.signature,
        }
    }
}

/// How a payment ended, or how the channel moved without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Where the channel stood before it.
    pub before: ChannelState,
    /// Where it stands now.
    pub state: ChannelState,
    /// What came of it.
    pub end: End,
}

/// What came of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The key was delivered.
    Bought {
        /// The market maker's signature over the state.
        signature: Signature,
    },
    /// The market maker took nothing for it, or gave it back.
    GivenUp,
    /// The market maker took it, but the key did not come.
    WrittenOff,
    /// There was none: the market maker's figures had moved by themselves, not against the buyer.
    Moved,
}

/// Why a key cannot be paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PaymentReject {
    /// It costs more than the buyer is ready to give.
    #[error("the price of {price} XBR is above the {limit} XBR that may be given for the key")]
    PriceAboveMax {
        /// The price.
        price: Amount,
        /// What may be given for it: the maximum, less what was written off for this key before.
        limit: Amount,
    },
    /// The channel has not enough left.
    #[error("the price of {price} XBR is above the {remaining} XBR that remain in the payment channel")]
    InsufficientBalance {
        /// The price.
        price: Amount,
        /// What remains.
        remaining: Amount,
    },
    /// The channel has come to its last sequence number.
    #[error("the payment channel has no sequence number left")]
    NoSeqLeft,
}

/// What is wrong with a receipt, in the order in which it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReceiptFault {
    /// Nothing was paid that it could be for.
    #[error("the receipt is for no payment")]
    NoPayment,
    /// A field is not that of the payment.
    #[error("the receipt has another {field} than the payment")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// Its state is not signed by the market maker.
    #[error("the receipt is not signed by the market maker")]
    Signature,
    /// The sequence number has not risen to that of the payment.
    #[error("the receipt has seq {actual}, which is below {expected}")]
    Seq {
        /// The payment's.
        expected: ChannelSeq,
        /// The receipt's.
        actual: ChannelSeq,
    },
    /// The balance has not fallen by the price.
    #[error("the receipt leaves {} units, expected {}", actual.units(), expected.units())]
    Balance {
        /// What is to remain.
        expected: Amount,
        /// What remains by the receipt.
        actual: Amount,
    },
    /// The sealed key does not open.
    #[error("the key of the receipt is not sealed to this buyer")]
    SealedKey,
}

/// Figures of the market maker's that cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Drift {
    /// Its sequence number is behind one that both sides agreed on.
    #[error("the market maker is at seq {actual}, behind {expected}: has it lost its data?")]
    Behind {
        /// The agreed one.
        expected: ChannelSeq,
        /// Its own.
        actual: ChannelSeq,
    },
    /// It took more than was signed.
    #[error("the market maker says that {} units remain, not {} at least", actual.units(), expected.units())]
    TookTooMuch {
        /// What must remain at least.
        expected: Amount,
        /// What remains by its figures.
        actual: Amount,
    },
}

/// What the market maker's figures say about the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are equal to ours. A payment that is pending has not arrived, or was refused at once.
    Equal,
    /// They are to be followed, which settles a pending payment: nothing was taken for it, or so much that it
    /// must not be sent again.
    Follow(Settlement),
    /// The pending payment was taken, and can be sent again to get the key for it.
    Taken,
    /// They cannot be followed.
    Halt(Drift),
}

impl Wallet {
    /// A channel that is seen for the first time.
    pub fn adopt(terms: ChannelTerms, state: ChannelState) -> Self {
        Self {
            terms,
            adopted: state,
            state,
            spent: Amount::ZERO,
            lost: Amount::ZERO,
            regained: Amount::ZERO,
            purchases: 0,
            pending: None,
        }
    }

    /// The state to sign in order to pay a price, of which at most `limit` may be given.
    ///
    /// # Errors
    /// [`PaymentReject`], in the order of its variants.
    pub fn propose(&self, price: Amount, limit: Amount) -> Result<ChannelState, PaymentReject> {
        if price > limit {
            return Err(PaymentReject::PriceAboveMax { price, limit });
        }
        let remaining = self.state.balance;
        let balance =
            remaining.checked_sub(price).ok_or(PaymentReject::InsufficientBalance { price, remaining })?;
        let seq = self.state.seq.value().checked_add(1).ok_or(PaymentReject::NoSeqLeft)?;
        Ok(ChannelState { seq: ChannelSeq::new(seq), balance })
    }

    /// The message that a signature of a state covers.
    pub fn message(&self, state: ChannelState) -> ChannelClose {
        self.terms.state(state.seq, state.balance, false)
    }

    /// Judges a receipt for the pending payment. `signed` says whether the market maker signed exactly its
    /// state, `repeated` whether the payment was sent more than once, `limit` what may be given for the key
    /// in all.
    ///
    /// # Errors
    /// [`ReceiptFault`], in the order of its variants.
    pub fn judge_receipt(
        &self,
        receipt: &BuyReceipt,
        buyer_key: BuyerKey,
        signed: bool,
        repeated: bool,
        limit: Amount,
    ) -> Result<Settlement, ReceiptFault> {
        let payment = self.pending.as_ref().ok_or(ReceiptFault::NoPayment)?;
        let wrong = |field| Err(ReceiptFault::Field { field });
        match () {
            () if receipt.key_id != payment.key_id => return wrong("key_id"),
            () if receipt.delegate != self.terms.delegate => return wrong("delegate"),
            () if receipt.buyer_key != buyer_key => return wrong("buyer_pubkey"),
            () if receipt.channel_id != payment.channel_id => return wrong("payment_channel"),
            () if receipt.amount != payment.amount => return wrong("amount"),
            () if receipt.amount_paid != payment.amount => return wrong("amount_paid"),
            () => {}
        }
        if !signed {
            return Err(ReceiptFault::Signature);
        }
        let state = receipt.state();
        if state.seq < payment.state.seq {
            return Err(ReceiptFault::Seq { expected: payment.state.seq, actual: state.seq });
        }
        let taken = self.state.balance.checked_sub(state.balance);
        let within = |taken: Amount| repeated && taken >= payment.amount && taken <= limit;
        if !taken.is_some_and(|taken| taken == payment.amount || within(taken)) {
            return Err(ReceiptFault::Balance { expected: payment.state.balance, actual: state.balance });
        }
        Ok(Settlement { before: self.state, state, end: End::Bought { signature: receipt.signature } })
    }

    /// Compares the market maker's figures with ours.
    pub fn judge_balance(&self, remote: ChannelState, limit: Amount) -> Verdict {
        if remote.seq < self.state.seq {
            return Verdict::Halt(Drift::Behind { expected: self.state.seq, actual: remote.seq });
        }
        if remote == self.state {
            return Verdict::Equal;
        }
        let is_free = self.pending.as_ref().is_some_and(|payment| payment.amount.is_zero());
        if is_free && remote.seq > self.state.seq && remote.balance == self.state.balance {
            // The balance does not tell whether a free key was sold: it is claimed like one that was paid for.
            return Verdict::Taken;
        }
        let Some(taken) = self.state.balance.checked_sub(remote.balance).filter(|taken| !taken.is_zero())
        else {
            let end = if self.pending.is_some() { End::GivenUp } else { End::Moved };
            return Verdict::Follow(Settlement { before: self.state, state: remote, end });
        };
        let signed = self.pending.as_ref().map(|payment| payment.amount);
        let allowed = signed.map_or(Amount::ZERO, |amount| amount.max(limit));
        if let Some(amount) = signed
            && remote.seq > self.state.seq
            && taken <= allowed
        {
            // Who has charged a repeat would charge the next one as well.
            let next = taken.checked_add(amount).is_some_and(|next| next <= limit);
            return if taken <= amount || next {
                Verdict::Taken
            } else {
                Verdict::Follow(self.write_off(remote))
            };
        }
        let expected = self.state.balance.checked_sub(allowed).unwrap_or_default();
        Verdict::Halt(Drift::TookTooMuch { expected, actual: remote.balance })
    }

    /// How a pending payment ends that was refused without a trace in the market maker's figures.
    pub fn give_up(&self) -> Settlement {
        Settlement { before: self.state, state: self.state, end: End::GivenUp }
    }

    /// How a pending payment ends that was taken, and for which the key will not come.
    pub fn write_off(&self, remote: ChannelState) -> Settlement {
        Settlement { before: self.state, state: remote, end: End::WrittenOff }
    }

    /// Whether its figures add up, and a pending payment follows its state.
    pub fn is_sound(&self) -> bool {
        let income = self.adopted.balance.checked_add(self.regained);
        let outgo = self.state.balance.checked_add(self.spent).and_then(|sum| sum.checked_add(self.lost));
        let follows = self.pending.as_ref().is_none_or(|payment| {
            payment.before == self.state
                && self.state.balance.checked_sub(payment.amount) == Some(payment.state.balance)
        });
        income.is_some() && income == outgo && follows
    }

    /// Books a payment that was signed. It must be durable.
    pub fn begin(&mut self, payment: Payment) {
        self.pending = Some(payment);
    }

    /// Books a settlement. It must be durable.
    pub fn apply(&mut self, settlement: &Settlement) {
        let (before, after) = (self.state.balance, settlement.state.balance);
        let taken = before.checked_sub(after).unwrap_or_default();
        let given = after.checked_sub(before).unwrap_or_default();
        // No sum can overflow: none is above what was put into the channel and what came back.
        let add = |sum: &mut Amount, amount| *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
        match settlement.end {
            End::Bought { .. } => {
                let price = self.pending.as_ref().map_or(Amount::ZERO, |payment| payment.amount);
                add(&mut self.spent, price);
                add(&mut self.lost, taken.checked_sub(price).unwrap_or_default());
                self.purchases += 1;
            }
            End::WrittenOff => add(&mut self.lost, taken),
            End::GivenUp | End::Moved => add(&mut self.regained, given),
        }
        self.state = settlement.state;
        self.pending = None;
    }
}
