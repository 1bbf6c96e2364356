//! A channel as the market maker keeps it. Pure; a changed account is stored before anybody hears of it.
//!
//! A channel's balance is what **remains** with the payer. Of what was put into it,
//! `amount = remaining + inflight + settled + conceded` at every moment: what is in flight is reserved for
//! purchases whose end is not known.

use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::eip712::{ChannelClose, ChannelOpen};
use xbr_core::wire::{
    ChannelBalance, ChannelClosing, ChannelInfo, ChannelStatus, ChannelType, MarketDomain, OpenChannel,
};
use xbr_core::{Address, Amount, ChannelId, ChannelSeq, Signature};

/// Where a fresh channel stands.
const FIRST_SEQ: ChannelSeq = ChannelSeq::new(1);

/// What all channels of a market maker have in common, and every signature is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Market {
    /// The chain, the contract and the market.
    pub domain: MarketDomain,
    /// The market maker's address.
    pub market_maker: Address,
    /// The block that off-chain states are signed for (`closeAt`).
    pub close_at: Amount,
}

impl Market {
    /// The message that both sides of a channel sign for a state.
    pub fn state(&self, channel_id: ChannelId, state: ChannelState, is_final: bool) -> ChannelClose {
        ChannelClose {
            chain_id: self.domain.chain_id,
            verifying_contract: self.domain.verifying_contract,
            close_at: self.close_at,
            market_id: self.domain.market_id,
            channel_id,
            channel_seq: state.seq,
            balance: state.balance,
            is_final,
        }
    }

    /// The message that the market maker signs to have a channel opened from elsewhere.
    pub fn opening(&self, request: &OpenChannel) -> ChannelOpen {
        ChannelOpen {
            chain_id: self.domain.chain_id,
            verifying_contract: self.domain.verifying_contract,
            market_id: self.domain.market_id,
            marketmaker: self.market_maker,
            ..request.message()
        }
    }
}

/// A payment channel, by which a buyer pays the market maker, or a paying channel, by which the market maker
/// pays a seller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The channel.
    pub channel_id: ChannelId,
    /// Who pays whom.
    pub kind: ChannelType,
    /// The member of the market whose channel it is.
    pub actor: Address,
    /// The delegate that signs its states besides the market maker.
    pub delegate: Address,
    /// Who gets what it paid.
    pub recipient: Address,
    /// What was put into it.
    pub amount: Amount,
    /// When it was opened, Unix time in ns.
    pub opened_ns: u64,
    /// How many times it was changed: the store takes the next version only, each once.
    pub version: u64,
    /// Where it stands, purchases in flight included.
    pub state: ChannelState,
    /// Of a paying channel, the last state that counts for the seller: countersigned by it, or counted in
    /// spite of a lost answer. A payment channel's is its state.
    pub agreed: ChannelState,
    /// Sum of the prices of the purchases that were settled over it.
    pub settled: Amount,
    /// Of a paying channel, what the states that count for the seller gave beyond the prices of the keys
    /// that it delivered.
    pub conceded: Amount,
    /// How it was closed.
    pub closing: Option<Closing>,
}

/// The end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The block that the delegate signed the state for.
    pub close_at: Amount,
    /// The delegate's signature over the final state.
    pub delegate_signature: Signature,
}

impl Account {
    /// A channel that is opened now.
    pub fn open(
        channel_id: ChannelId,
        kind: ChannelType,
        [actor, delegate, recipient]: [Address; 3],
        amount: Amount,
        now_ns: u64,
    ) -> Self {
        let state = ChannelState { seq: FIRST_SEQ, balance: amount };
        Self {
            channel_id,
            kind,
            actor,
            delegate,
            recipient,
            amount,
            opened_ns: now_ns,
            version: 1,
            state,
            agreed: state,
            settled: Amount::ZERO,
            conceded: Amount::ZERO,
            closing: None,
        }
    }

    /// What is reserved for purchases whose end is not known.
    pub fn inflight(&self) -> Amount {
        [self.state.balance, self.settled, self.conceded]
            .into_iter()
            .try_fold(self.amount, Amount::checked_sub)
            .unwrap_or_default()
    }

    /// What is wrong with its figures, if anything is.
    pub fn problem(&self) -> Option<&'static str> {
        let known = [self.state.balance, self.settled, self.conceded]
            .into_iter()
            .try_fold(Amount::ZERO, Amount::checked_add);
        match known {
            None => Some("its figures do not fit"),
            Some(known) if known > self.amount => Some("more is accounted for than was put into it"),
            Some(_) if self.kind == ChannelType::Payment && !self.conceded.is_zero() => {
                Some("a payment channel concedes nothing")
            }
            Some(_) if self.closing.is_some() && !self.inflight().is_zero() => {
                Some("it is closed with purchases in flight")
            }
            Some(_) => None,
        }
    }

    /// Whether purchases can be made over it.
    pub fn is_open(&self) -> bool {
        self.closing.is_none()
    }

    /// Whether it is open and something remains in it.
    pub fn is_active(&self) -> bool {
        self.is_open() && !self.state.balance.is_zero()
    }

    /// Where it stands after a price was taken; `None` when it has not enough, or no number left.
    pub fn after(&self, price: Amount) -> Option<ChannelState> {
        let seq = self.state.seq.value().checked_add(1)?;
        Some(ChannelState { seq: ChannelSeq::new(seq), balance: self.state.balance.checked_sub(price)? })
    }

    /// The same account, one version on.
    pub(super) fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The channel as `get_payment_channel` and `get_paying_channel` tell it.
    pub fn info(&self, market: &Market) -> ChannelInfo {
        ChannelInfo {
            channel_id: self.channel_id,
            market_id: market.domain.market_id,
            channel_type: self.kind,
            market_maker: market.market_maker,
            delegate: self.delegate,
            amount: self.amount,
            state: self.status(),
            actor: Some(self.actor),
            recipient: Some(self.recipient),
            timestamp_ns: Some(self.opened_ns),
            timeout: Some(0),
            close_seq: self.closing.map(|_| self.state.seq.value().into()),
            close_is_final: self.closing.map(|_| true),
        }
    }

    /// What `get_payment_channel_balance` and `get_paying_channel_balance` tell.
    pub fn balance(&self) -> ChannelBalance {
        ChannelBalance { remaining: self.state.balance, inflight: self.inflight(), seq: self.state.seq }
    }

    /// Its end as `close_channel` answers it. There is no chain that it would have to be sent to: it is
    /// closed at once, and no transaction tells of it.
    pub fn closing(&self, market: &Market) -> ChannelClosing {
        ChannelClosing {
            transaction: None,
            market_id: market.domain.market_id,
            channel_id: self.channel_id,
            state: self.status(),
            balance: self.state.balance,
            seq: self.state.seq,
            is_final: true,
        }
    }

    /// What enters the signatures of its states.
    pub fn terms(&self, market: &Market) -> ChannelTerms {
        ChannelTerms {
            channel_id: self.channel_id,
            market_id: market.domain.market_id,
            market_maker: market.market_maker,
            delegate: self.delegate,
            amount: self.amount,
            chain_id: market.domain.chain_id,
            verifying_contract: market.domain.verifying_contract,
            close_at: market.close_at,
        }
    }

    fn status(&self) -> ChannelStatus {
        if self.is_open() { ChannelStatus::Open } else { ChannelStatus::Closed }
    }
}
