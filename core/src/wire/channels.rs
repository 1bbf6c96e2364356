//! Payment and paying channels as the market maker tells about them, and their closing by a delegate.

use super::form::{Bound, dictionary, numbered, request};
use super::{Args, Field, single, wrong_type};
use crate::amount::Amount;
use crate::channel::ChannelState;
use crate::eip712::{ChannelClose, ChannelOpen};
use crate::ids::{Address, ChannelId, ChannelSeq, MarketId, Signature};
use crate::reject::ArgumentError;
use crate::value::Value;

request!(
    /// The argument of `get_active_paying_channel` and `get_active_payment_channel`.
    ByDelegate {
        /// The delegate.
        delegate: Address = "delegate_adr",
    }
);

request!(
    /// The argument of `get_paying_channel`, `get_payment_channel` and their balances, and of the event
    /// `on_paying_channel_empty`.
    ByChannel {
        /// The channel.
        channel_id: ChannelId = "channel_oid",
    }
);

/// The arguments of `get_channels_by_delegate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelsByDelegate {
    /// The delegate.
    pub delegate: Address,
    /// Of which type they are to be.
    pub channel_type: ChannelType,
    /// Whether only open channels with something remaining are wanted; true when it is not given.
    pub filter_open: bool,
}

impl ChannelsByDelegate {
    /// Parses the arguments of a call, each by position or by keyword.
    ///
    /// # Errors
    /// [`ArgumentError`] for arguments that are missing or too many, or have another type or length.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let bound = Bound::new(&["delegate_adr", "channel_type", "filter_open"], args, kwargs)?;
        Ok(Self {
            delegate: bound.required("delegate_adr")?,
            channel_type: bound.required("channel_type")?,
            filter_open: bound.optional("filter_open")?.unwrap_or(true),
        })
    }

    /// The positional arguments of a call.
    pub fn to_args(&self) -> Args {
        vec![self.delegate.encode(), self.channel_type.encode(), self.filter_open.encode()]
    }
}

/// The result of `get_channels_by_delegate`: one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelIds(pub Vec<ChannelId>);

impl ChannelIds {
    /// Parses the result of a call.
    ///
    /// # Errors
    /// [`ArgumentError`] when it is not one list of channels.
    pub fn parse(args: &[Value]) -> Result<Self, ArgumentError> {
        let list = single(args)?;
        let channels = list.as_list().ok_or_else(|| wrong_type("result", "a list", list))?;
        channels
            .iter()
            .map(|channel| ChannelId::parse("channel_oid", channel))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The list on the wire.
    pub fn to_value(&self) -> Value {
        Value::List(self.0.iter().map(Field::encode).collect())
    }
}

dictionary!(
    /// A channel as it was opened, and whether it still is open. Its sequence number is not here: the market
    /// maker always sends 1, so that only the one of [`ChannelBalance`] counts.
    ChannelInfo {
        /// The channel.
        channel_id: ChannelId = Required "channel_oid",
        /// The market that it belongs to.
        market_id: MarketId = Required "market_oid",
        /// Who pays whom.
        channel_type: ChannelType = Required "channel_type",
        /// The market maker.
        market_maker: Address = Required "marketmaker",
        /// The delegate that signs its states besides the market maker.
        delegate: Address = Required "delegate",
        /// What was put into it.
        amount: Amount = Lenient "amount",
        /// Whether it is open.
        state: ChannelStatus = Required "state",
        /// The member of the market whose channel it is.
        actor: Option<Address> = Optional "actor",
        /// Who gets what it paid.
        recipient: Option<Address> = Optional "recipient",
        /// When it was opened, Unix time in ns.
        timestamp_ns: Option<u64> = Optional "timestamp",
        /// For how many blocks a close may be contested.
        timeout: Option<u64> = Optional "timeout",
        /// The sequence number that it is closed at.
        close_seq: Option<u64> = NonZero "close_channel_seq",
        /// Whether it is closed for good at that state.
        close_is_final: Option<bool> = Optional "close_is_final",
    }
);

/// Parses the result of `get_active_paying_channel` and `get_active_payment_channel`: `None` when no channel
/// is open with something remaining.
///
/// # Errors
/// [`ArgumentError`] when it is neither one dictionary of a channel nor null.
pub fn active_channel(args: &[Value]) -> Result<Option<ChannelInfo>, ArgumentError> {
    match args {
        [] | [Value::Null] => Ok(None),
        args => ChannelInfo::parse(args).map(Some),
    }
}

numbered!(
    /// Who pays whom by a channel.
    ChannelType, "1 (payment) or 2 (paying)", {
        /// A buyer pays the market maker.
        Payment = 1,
        /// The market maker pays a seller.
        Paying = 2,
    }
);

impl ChannelType {
    /// The number that stands for it on the wire and in what is signed.
    pub fn number(self) -> u8 {
        match self {
            Self::Payment => 1,
            Self::Paying => 2,
        }
    }
}

numbered!(
    /// Where a channel stands on its way from opening to closing. After a close on the chain the market
    /// maker still says [`Closing`](Self::Closing).
    ChannelStatus, "an integer from 1 to 4", {
        /// Sales are made on it.
        Open = 1,
        /// A close was sent to the chain.
        Closing = 2,
        /// It is closed.
        Closed = 3,
        /// Its opening failed.
        Failed = 4,
    }
);

dictionary!(
    /// The current state of a channel, which includes the sales that are in flight. A fresh channel stands
    /// at sequence number 1 with everything remaining.
    ChannelBalance {
        /// What remains with the payer.
        remaining: Amount = Lenient "remaining",
        /// How much of what was deducted belongs to sales that are not finished.
        inflight: Amount = Lenient "inflight",
        /// The sequence number.
        seq: ChannelSeq = Required "seq",
    }
);

impl ChannelBalance {
    /// The position of the channel.
    pub fn state(&self) -> ChannelState {
        ChannelState { seq: self.seq, balance: self.remaining }
    }
}

request!(
    /// The arguments of the market maker's `close_channel`, by which a delegate closes its channel on the
    /// chain. There is one try: the market maker sends it on unchecked and refuses another.
    MarketCloseRequest {
        /// The channel.
        channel_id: ChannelId = "channel_oid",
        /// The chain that the signature is verified on.
        chain_id: u64 = "verifying_chain_id",
        /// The block that the state is signed for: a recent one.
        block_number: u64 = "block_number",
        /// The contract that verifies the signature.
        verifying_contract: Address = "verifying_contract_adr",
        /// What remains with the payer.
        balance: Amount = "closing_balance",
        /// The sequence number of the state.
        seq: ChannelSeq = "closing_seq",
        /// Whether it ends the channel at once; only that succeeds.
        is_final: bool = "is_final",
        /// The delegate's signature over this state.
        signature: Signature = "delegate_signature",
    }
);

impl MarketCloseRequest {
    /// The message that [`signature`](Self::signature) covers, for a channel of the market.
    pub fn message(&self, market_id: MarketId) -> ChannelClose {
        ChannelClose {
            chain_id: Amount::from_units(self.chain_id.into()),
            verifying_contract: self.verifying_contract,
            close_at: Amount::from_units(self.block_number.into()),
            market_id,
            channel_id: self.channel_id,
            channel_seq: self.seq,
            balance: self.balance,
            is_final: self.is_final,
        }
    }
}

request!(
    /// The arguments of the market maker's `open_channel`: a channel that is to be opened, under a name that
    /// the caller gives it, so that a repeat opens no second one.
    OpenChannel {
        /// The member of the market whose channel it is.
        actor: Address = "member_adr",
        /// The market.
        market_id: MarketId = "market_oid",
        /// The channel.
        channel_id: ChannelId = "channel_oid",
        /// The chain that the signature is verified on.
        chain_id: u64 = "verifying_chain_id",
        /// The block that the opening is signed for.
        block_number: u64 = "current_block_number",
        /// The contract that verifies the signature.
        verifying_contract: Address = "verifying_contract_adr",
        /// Who pays whom.
        channel_type: ChannelType = "channel_type",
        /// The delegate that may sign its states.
        delegate: Address = "delegate",
        /// The market maker.
        market_maker: Address = "marketmaker",
        /// Who gets what it paid.
        recipient: Address = "recipient",
        /// What is put into it.
        amount: Amount = "amount",
        /// The signature over the opening.
        signature: Signature = "signature",
    }
);

impl OpenChannel {
    /// The message that [`signature`](Self::signature) covers.
    pub fn message(&self) -> ChannelOpen {
        ChannelOpen {
            chain_id: Amount::from_units(self.chain_id.into()),
            verifying_contract: self.verifying_contract,
            ctype: self.channel_type.number(),
            opened_at: Amount::from_units(self.block_number.into()),
            market_id: self.market_id,
            channel_id: self.channel_id,
            actor: self.actor,
            delegate: self.delegate,
            marketmaker: self.market_maker,
            recipient: self.recipient,
            amount: self.amount,
        }
    }
}

dictionary!(
    /// The result of the market maker's `close_channel`, and the event `on_paying_channel_closing`.
    ChannelClosing {
        /// The hash of the transaction that was sent to the chain, 32 bytes.
        transaction: Option<Vec<u8>> = Optional "transaction",
        /// The market.
        market_id: MarketId = Required "market_oid",
        /// The channel.
        channel_id: ChannelId = Required "channel_oid",
        /// Where it stands now.
        state: ChannelStatus = Required "state",
        /// What remains with the payer.
        balance: Amount = Lenient "balance",
        /// The sequence number that it is closed at.
        seq: ChannelSeq = Required "seq",
        /// Whether it ends at once.
        is_final: bool = Required "is_final",
    }
);
