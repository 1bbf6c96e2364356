//! `xbr.provider.<id>.close_channel`: the market maker asks for a state to close a paying channel at.

use super::{Args, Field, LenientAmount, Positional, field, single};
use crate::amount::Amount;
use crate::channel::{ChannelState, CloseClaim, CloseRecord};
use crate::ids::{Address, ChannelId, ChannelSeq, Signature};
use crate::reject::ArgumentError;
use crate::value::Value;

/// The arguments of a provider's `close_channel`: six positional ones, no keywords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseRequest {
    /// The market maker's address.
    pub market_maker: Address,
    /// The paying channel.
    pub channel_id: ChannelId,
    /// The sequence number to close at.
    pub channel_seq: ChannelSeq,
    /// What remains in the channel at it.
    pub balance: Amount,
    /// Whether the channel ends at once.
    pub is_final: bool,
    /// The market maker's signature over this state.
    pub signature: Signature,
}

impl CloseRequest {
    /// How many arguments there are.
    pub const ARITY: usize = 6;

    /// Parses the arguments of a call.
    ///
    /// # Errors
    /// [`ArgumentError`] for another arity, type or length.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let mut args = Positional::exactly(Self::ARITY, args, kwargs)?;
        Ok(Self {
            market_maker: args.take("market_maker_adr")?,
            channel_id: args.take("channel_oid")?,
            channel_seq: args.take("channel_seq")?,
            balance: args.take("channel_balance")?,
            is_final: args.take("channel_is_final")?,
            signature: args.take("signature")?,
        })
    }

    /// The arguments of a call.
    pub fn to_args(&self) -> Args {
        vec![
            self.market_maker.encode(),
            self.channel_id.encode(),
            self.channel_seq.encode(),
            self.balance.encode(),
            self.is_final.encode(),
            self.signature.encode(),
        ]
    }

    /// The state to close at.
    pub fn state(&self) -> ChannelState {
        ChannelState { seq: self.channel_seq, balance: self.balance }
    }

    /// What the ledger judges; `signed` says whether the market maker signed the state.
    pub fn claim(&self, signed: bool) -> CloseClaim {
        CloseClaim { state: self.state(), is_final: self.is_final, signed }
    }
}

/// The result of a provider's `close_channel`: one positional dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReceipt {
    /// The seller's address.
    pub delegate: Address,
    /// The sequence number that the channel is closed at.
    pub seq: ChannelSeq,
    /// What remains in the channel.
    pub balance: Amount,
    /// Whether the channel ends at once.
    pub is_final: bool,
    /// The seller's signature over this state.
    pub signature: Signature,
}

impl CloseReceipt {
    /// The receipt of a stored close by the seller at `delegate`.
    pub fn of(record: &CloseRecord, delegate: Address) -> Self {
        Self {
            delegate,
            seq: record.state.seq,
            balance: record.state.balance,
            is_final: record.is_final,
            signature: record.signature,
        }
    }

    /// Parses the result of a call; the balance may be an integer, as in [`SellReceipt`](super::SellReceipt).
    ///
    /// # Errors
    /// [`ArgumentError`] when a field is missing or has another type or length.
    pub fn parse(args: &[Value]) -> Result<Self, ArgumentError> {
        let dict = single(args)?;
        Ok(Self {
            delegate: field(dict, "delegate")?,
            seq: field(dict, "seq")?,
            balance: field::<LenientAmount>(dict, "balance")?.0,
            is_final: field(dict, "is_final")?,
            signature: field(dict, "signature")?,
        })
    }

    /// The dictionary on the wire.
    pub fn to_value(&self) -> Value {
        Value::from_iter([
            ("delegate", self.delegate.encode()),
            ("seq", self.seq.encode()),
            ("balance", self.balance.encode()),
            ("is_final", self.is_final.encode()),
            ("signature", self.signature.encode()),
        ])
    }
}
