//! The paying channel as a state machine: `decide` looks and judges, `apply` changes. Both are pure; the caller makes
//! a decision durable before it applies it and answers.
//!
//! A channel's balance is what **remains** with the market maker, so for the seller lower is better. The rules:
//!
//! 1. a state counts only with the market maker's signature over exactly that state;
//! 2. `seq` strictly rises and `balance` never does; a gap in `seq` and a balance below what is expected favour the
//!    seller and are taken, the surplus being booked ([`Reconcile::Strict`] refuses them, as the reference does);
//! 3. the amount is at least the price of the key;
//! 4. an identical repeat gets the stored receipt, the same `seq` with anything else is refused;
//! 5. after a final close is signed nothing more is sold, and an identical close is signed identically;
//! 6. a ledger that comes from a backup may have forgotten what it signed: nothing is sold before it is known to be
//!    the newest.

mod own_close;

pub use own_close::{OwnClose, OwnCloseDecision};

use crate::amount::Amount;
use crate::eip712::ChannelClose;
use crate::ids::{Address, ApiId, BuyerKey, ChannelId, ChannelSeq, KeyId, MarketId, Signature};
use crate::reject::{CloseReject, SaleReject};

/// How a state that deviates in the seller's favour is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reconcile {
    /// Gaps in `seq` and a lower balance are taken, the surplus is booked.
    #[default]
    Surplus,
    /// Exactly `seq + 1` and `balance - amount`, as in the reference.
    Strict,
}

/// What does not change in a channel's life, and enters every signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTerms {
    /// The channel.
    pub channel_id: ChannelId,
    /// The market that it belongs to.
    pub market_id: MarketId,
    /// Who pays, and signs.
    pub market_maker: Address,
    /// Who is paid, and countersigns: this seller.
    pub delegate: Address,
    /// What was put into it at its opening.
    pub amount: Amount,
    /// The chain that its states are signed for.
    pub chain_id: Amount,
    /// The contract that its states are signed for.
    pub verifying_contract: Address,
    /// The block that its off-chain states are signed for (`closeAt`).
    pub close_at: Amount,
}

impl ChannelTerms {
    /// The message that both sides sign for a state.
    pub fn state(&self, seq: ChannelSeq, balance: Amount, is_final: bool) -> ChannelClose {
        ChannelClose {
            chain_id: self.chain_id,
            verifying_contract: self.verifying_contract,
            close_at: self.close_at,
            market_id: self.market_id,
            channel_id: self.channel_id,
            channel_seq: seq,
            balance,
            is_final,
        }
    }
}

/// A position of a channel: its sequence number, and what remains at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelState {
    /// The sequence number.
    pub seq: ChannelSeq,
    /// What remains with the market maker.
    pub balance: Amount,
}

/// A paying channel as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// What does not change.
    pub terms: ChannelTerms,
    /// Where it stood when this ledger first saw it: the market maker's word, taken on trust once.
    pub adopted: ChannelState,
    /// The last state that both sides have signed, or the adopted one.
    pub state: ChannelState,
    /// Sum of the amounts of the sales countersigned here.
    pub earned: Amount,
    /// What signed states gave beyond those amounts: `adopted.balance = state.balance + earned + surplus`.
    pub surplus: Amount,
    /// Number of sales countersigned here.
    pub sales: u64,
    /// The final close that the market maker asked for, once it is signed.
    pub closed: Option<CloseRecord>,
    /// The final close that was signed to be sent to the market maker, the last one.
    pub own_close: Option<OwnClose>,
    /// How the market maker's figures related to this state when they were compared; a state that it signs later says
    /// that they agree.
    pub reconciliation: Reconciliation,
    /// Whether this state comes from a backup, and nothing has shown yet that it is the last one: nothing is sold.
    pub restored: bool,
}

/// A sale that the market maker proposes: the channel's state after it, and what is bought. The signature was
/// recovered beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleClaim {
    /// The key.
    pub key_id: KeyId,
    /// To whom it is sealed.
    pub buyer_key: BuyerKey,
    /// The state after the sale.
    pub state: ChannelState,
    /// What is paid.
    pub amount: Amount,
    /// Whether the market maker signed exactly this state.
    pub signed: bool,
}

/// A sale that was decided: what is stored, and what is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleRecord {
    /// The channel.
    pub channel_id: ChannelId,
    /// The key.
    pub key_id: KeyId,
    /// To whom it is sealed.
    pub buyer_key: BuyerKey,
    /// The state before the sale: it is stored only if the channel still stands there.
    pub before: ChannelState,
    /// The state after the sale.
    pub state: ChannelState,
    /// What is paid.
    pub amount: Amount,
    /// What the signed state gives beyond that.
    pub surplus: Amount,
    /// The data key, sealed to the buyer: 80 bytes.
    pub sealed_key: Vec<u8>,
    /// The market maker's signature over the state.
    pub market_maker_signature: Signature,
    /// The seller's signature over the same state.
    pub signature: Signature,
    /// When it was decided, Unix time in ns; 0 for one from before times were kept.
    pub sold_ns: u64,
    /// The API that the key is of; `None` for one from before this was kept whose key is not known.
    pub api_id: Option<ApiId>,
}

impl SaleRecord {
    /// Whether a claim is this very sale again.
    fn is_repeated_by(&self, claim: &SaleClaim) -> bool {
        (self.key_id, self.buyer_key, self.state, self.amount)
            == (claim.key_id, claim.buyer_key, claim.state, claim.amount)
    }
}

/// What the ledger does with a sale that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleDecision {
    /// It is new: seal, sign, store, apply, answer.
    Commit {
        /// What the signed state gives beyond the amount.
        surplus: Amount,
    },
    /// It was made before: answer with the stored receipt.
    Replay,
}

/// A close that the market maker proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseClaim {
    /// The state to close at.
    pub state: ChannelState,
    /// Whether it ends the channel at once.
    pub is_final: bool,
    /// Whether the market maker signed exactly this state.
    pub signed: bool,
}

/// A close that was decided: what is stored, and what is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseRecord {
    /// The channel.
    pub channel_id: ChannelId,
    /// The state before it: it is stored only if the channel still stands there.
    pub before: ChannelState,
    /// The state that the channel is closed at.
    pub state: ChannelState,
    /// What the signed state gives beyond what was paid for.
    pub surplus: Amount,
    /// Whether it ends the channel.
    pub is_final: bool,
    /// The market maker's signature over the state.
    pub market_maker_signature: Signature,
    /// The seller's signature over the same state.
    pub signature: Signature,
}

/// What the ledger does with a close that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseDecision {
    /// Sign, store, apply, answer.
    Commit {
        /// What the signed state gives beyond what was paid for.
        surplus: Amount,
    },
    /// It was signed before: answer with the stored receipt.
    Replay,
}

/// How the market maker's figures relate to the ledger's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciliation {
    /// They agree.
    Equal,
    /// The market maker is ahead: sales that failed or got lost. Held as unconfirmed until a signed state says so.
    Ahead {
        /// The sequence numbers in between.
        gap: u64,
        /// What the market maker has deducted beyond what both have signed.
        unconfirmed: Amount,
    },
    /// The market maker went back behind a state that it has signed: nothing is sold.
    Behind {
        /// Where the ledger stands.
        ours: ChannelState,
        /// Where the market maker says it stands.
        theirs: ChannelState,
    },
    /// The ledger comes from a backup, and the market maker has gone on since: sales are lost here. Nothing is sold.
    Outdated {
        /// Where the ledger stands.
        ours: ChannelState,
        /// Where the market maker says it stands.
        theirs: ChannelState,
    },
}

impl Channel {
    /// A channel that this ledger sees for the first time, at the market maker's figures.
    pub fn adopt(terms: ChannelTerms, state: ChannelState) -> Self {
        Self {
            terms,
            adopted: state,
            state,
            earned: Amount::ZERO,
            surplus: Amount::ZERO,
            sales: 0,
            closed: None,
            own_close: None,
            reconciliation: Reconciliation::Equal,
            restored: false,
        }
    }

    /// Judges a sale. `price` is what the key was offered for; `prior` is the sale that was made at the claim's
    /// sequence number, if there is one.
    ///
    /// # Errors
    /// The first [`SaleReject`] that applies, in the order of that type.
    pub fn decide_sale(
        &self,
        claim: &SaleClaim,
        price: Amount,
        prior: Option<&SaleRecord>,
        reconcile: Reconcile,
    ) -> Result<SaleDecision, SaleReject> {
        if claim.signed && prior.is_some_and(|prior| prior.is_repeated_by(claim)) {
            return Ok(SaleDecision::Replay);
        }
        if self.is_closed() {
            return Err(SaleReject::ChannelClosed);
        }
        if self.restored || matches!(self.reconciliation, Reconciliation::Behind { .. }) {
            return Err(SaleReject::ChannelHalted);
        }
        let next = u64::from(self.state.seq.value()) + 1;
        let actual = claim.state.seq;
        if !seq_follows(next, actual, reconcile) {
            let proven = SaleReject::UnexpectedSeq { expected: next, actual };
            return Err(if claim.signed { proven } else { SaleReject::UnprovenSeq });
        }
        let expected = self.state.balance.checked_sub(claim.amount);
        let surplus = expected.and_then(|expected| surplus(expected, claim.state.balance, reconcile));
        let Some(surplus) = surplus else {
            let expected = expected.unwrap_or(Amount::ZERO);
            let proven = SaleReject::UnexpectedBalance { expected, actual: claim.state.balance };
            return Err(if claim.signed { proven } else { SaleReject::UnprovenBalance });
        };
        if !claim.signed {
            return Err(SaleReject::InvalidSignature);
        }
        if claim.amount < price {
            return Err(SaleReject::InsufficientAmount { expected: price, actual: claim.amount });
        }
        Ok(SaleDecision::Commit { surplus })
    }

    /// Books a sale that was decided upon this very state and is durable.
    pub fn apply_sale(&mut self, record: &SaleRecord) {
        self.advance(record.state, record.surplus);
        self.earned = self.earned.checked_add(record.amount).unwrap_or(Amount::MAX);
        self.sales += 1;
    }

    /// Judges a close.
    ///
    /// # Errors
    /// The first [`CloseReject`] that applies, in the order of that type.
    pub fn decide_close(
        &self,
        claim: &CloseClaim,
        reconcile: Reconcile,
    ) -> Result<CloseDecision, CloseReject> {
        if self.is_closed() {
            let same = claim.signed && claim.is_final && claim.state == self.state;
            return match self.closed {
                _ if !same => Err(CloseReject::ChannelClosed),
                Some(_) => Ok(CloseDecision::Replay),
                // The end that the seller has signed by itself, asked for by the market maker as well.
                None => Ok(CloseDecision::Commit { surplus: Amount::ZERO }),
            };
        }
        let ours = self.state;
        let actual = claim.state.seq;
        let behind = actual < ours.seq;
        if behind || (reconcile == Reconcile::Strict && actual != ours.seq) {
            let proven = CloseReject::UnexpectedSeq { expected: ours.seq, actual };
            return Err(if claim.signed { proven } else { CloseReject::UnprovenSeq });
        }
        // At the same seq both have signed this balance; another one would contradict that signature.
        let reconcile = if actual == ours.seq { Reconcile::Strict } else { reconcile };
        // What a backup has forgotten may have been better than what it knows; what was shown is the least.
        let expected = match self.reconciliation {
            Reconciliation::Outdated { theirs, .. } => theirs.balance,
            _ => ours.balance,
        };
        let surplus = surplus(ours.balance, claim.state.balance, reconcile);
        let Some(surplus) = surplus.filter(|_| claim.state.balance <= expected) else {
            let proven = CloseReject::UnexpectedBalance { expected, actual: claim.state.balance };
            return Err(if claim.signed { proven } else { CloseReject::UnprovenBalance });
        };
        if !claim.signed {
            return Err(CloseReject::InvalidSignature);
        }
        Ok(CloseDecision::Commit { surplus })
    }

    /// Books a close that was decided upon this very state and is durable.
    pub fn apply_close(&mut self, record: &CloseRecord) {
        self.advance(record.state, record.surplus);
        if record.is_final {
            self.closed = Some(record.clone());
        }
    }

    /// Compares the market maker's figures with the ledger's and remembers the result: while it is
    /// [`Reconciliation::Behind`] or [`Reconciliation::Outdated`], nothing is sold. A ledger from a backup that agrees
    /// is the newest one.
    pub fn reconcile(&mut self, theirs: ChannelState) -> Reconciliation {
        self.reconciliation = self.compare(theirs);
        self.restored &= self.reconciliation != Reconciliation::Equal;
        self.reconciliation
    }

    /// Whether a signed sale shows that the market maker has gone back: more would remain, after all that it has
    /// signed, or at a sequence number that it has signed before. A state that it signed in between and that never got
    /// here is no such thing. `prior` is the sale that was made at the claim's sequence number.
    pub fn is_rolled_back_by(&self, claim: &SaleClaim, prior: Option<&SaleRecord>) -> bool {
        let theirs = claim.state;
        let known = prior.is_some_and(|prior| prior.state.balance < theirs.balance);
        claim.signed && theirs.balance > self.state.balance && (theirs.seq > self.state.seq || known)
    }

    /// Sells nothing more before the market maker's figures agree again, after a sale that
    /// [shows](Self::is_rolled_back_by) that they went back.
    pub fn halt(&mut self, theirs: ChannelState) {
        self.reconciliation = Reconciliation::Behind { ours: self.state, theirs };
    }

    fn compare(&self, theirs: ChannelState) -> Reconciliation {
        let ours = self.state;
        if theirs == ours {
            return Reconciliation::Equal;
        }
        match ours.balance.checked_sub(theirs.balance) {
            Some(_) if theirs.seq >= ours.seq && self.restored => Reconciliation::Outdated { ours, theirs },
            Some(unconfirmed) if theirs.seq >= ours.seq => {
                Reconciliation::Ahead { gap: u64::from(theirs.seq.value() - ours.seq.value()), unconfirmed }
            }
            _ => Reconciliation::Behind { ours, theirs },
        }
    }

    fn advance(&mut self, state: ChannelState, surplus: Amount) {
        if self.state != state {
            self.state = state;
            self.reconciliation = Reconciliation::Equal;
            // Both have signed it, after all that was signed before.
            self.restored = false;
        }
        self.surplus = self.surplus.checked_add(surplus).unwrap_or(Amount::MAX);
    }
}

fn seq_follows(next: u64, actual: ChannelSeq, reconcile: Reconcile) -> bool {
    let actual = u64::from(actual.value());
    match reconcile {
        Reconcile::Surplus => actual >= next,
        Reconcile::Strict => actual == next,
    }
}

/// What a balance gives beyond the expected one; `None` when it is not acceptable.
fn surplus(expected: Amount, actual: Amount, reconcile: Reconcile) -> Option<Amount> {
    let surplus = expected.checked_sub(actual)?;
    (reconcile == Reconcile::Surplus || surplus.is_zero()).then_some(surplus)
}
