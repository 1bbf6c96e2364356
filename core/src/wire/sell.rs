//! `xbr.provider.<id>.sell`: the market maker buys a key for a buyer.

use super::{Args, Field, LenientAmount, Positional, field, single};
use crate::amount::Amount;
use crate::channel::{ChannelState, SaleClaim, SaleRecord};
use crate::ids::{Address, BuyerKey, ChannelId, ChannelSeq, KeyId, Signature};
use crate::reject::ArgumentError;
use crate::value::Value;

/// The arguments of `sell`: eight positional ones, no keywords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SellRequest {
    /// The market maker's address.
    pub market_maker: Address,
    /// The buyer's Curve25519 key, to which the data key is to be sealed.
    pub buyer_key: BuyerKey,
    /// The data key to buy.
    pub key_id: KeyId,
    /// The paying channel.
    pub channel_id: ChannelId,
    /// Its sequence number after the sale.
    pub channel_seq: ChannelSeq,
    /// What is paid.
    pub amount: Amount,
    /// What remains in the channel after the sale.
    pub balance: Amount,
    /// The market maker's signature over the channel's state after the sale.
    pub signature: Signature,
}

impl SellRequest {
    /// How many arguments there are.
    pub const ARITY: usize = 8;

    /// Parses the arguments of a call.
    ///
    /// # Errors
    /// [`ArgumentError`] for another arity, type or length; amounts must be byte strings here.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let mut args = Positional::exactly(Self::ARITY, args, kwargs)?;
        Ok(Self {
            market_maker: args.take("market_maker_adr")?,
            buyer_key: args.take("buyer_pubkey")?,
            key_id: args.take("key_id")?,
            channel_id: args.take("channel_oid")?,
            channel_seq: args.take("channel_seq")?,
            amount: args.take("amount")?,
            balance: args.take("balance")?,
            signature: args.take("signature")?,
        })
    }

    /// The arguments of a call.
    pub fn to_args(&self) -> Args {
        vec![
            self.market_maker.encode(),
            self.buyer_key.encode(),
            self.key_id.encode(),
            self.channel_id.encode(),
            self.channel_seq.encode(),
            self.amount.encode(),
            self.balance.encode(),
            self.signature.encode(),
        ]
    }

    /// The channel's state after the sale.
    pub fn state(&self) -> ChannelState {
        ChannelState { seq: self.channel_seq, balance: self.balance }
    }

    /// What the ledger judges; `signed` says whether the market maker signed the state.
    pub fn claim(&self, signed: bool) -> SaleClaim {
        SaleClaim {
            key_id: self.key_id,
            buyer_key: self.buyer_key,
            state: self.state(),
            amount: self.amount,
            signed,
        }
    }
}

/// The result of `sell`: one positional dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SellReceipt {
    /// The data key.
    pub key_id: KeyId,
    /// The seller's address.
    pub delegate: Address,
    /// To whom the key is sealed.
    pub buyer_key: BuyerKey,
    /// The data key, sealed to the buyer: 80 bytes.
    pub sealed_key: Vec<u8>,
    /// The channel's sequence number after the sale.
    pub channel_seq: ChannelSeq,
    /// What was paid.
    pub amount: Amount,
    /// What remains in the channel.
    pub balance: Amount,
    /// The seller's signature over the channel's state after the sale.
    pub signature: Signature,
}

impl SellReceipt {
    /// The receipt of a stored sale by the seller at `delegate`.
    pub fn of(record: &SaleRecord, delegate: Address) -> Self {
        Self {
            key_id: record.key_id,
            delegate,
            buyer_key: record.buyer_key,
            sealed_key: record.sealed_key.clone(),
            channel_seq: record.state.seq,
            amount: record.amount,
            balance: record.state.balance,
            signature: record.signature,
        }
    }

    /// Parses the result of a call; amounts may be integers, which the reference seller sends.
    ///
    /// # Errors
    /// [`ArgumentError`] when a field is missing or has another type or length.
    pub fn parse(args: &[Value]) -> Result<Self, ArgumentError> {
        let dict = single(args)?;
        Ok(Self {
            key_id: field(dict, "key_id")?,
            delegate: field(dict, "delegate")?,
            buyer_key: field(dict, "buyer_pubkey")?,
            sealed_key: field(dict, "sealed_key")?,
            channel_seq: field(dict, "channel_seq")?,
            amount: field::<LenientAmount>(dict, "amount")?.0,
            balance: field::<LenientAmount>(dict, "balance")?.0,
            signature: field(dict, "signature")?,
        })
    }

    /// The dictionary on the wire. Amounts are byte strings: integers above 2^64 overflow MessagePack.
    pub fn to_value(&self) -> Value {
        Value::from_iter([
            ("key_id", self.key_id.encode()),
            ("delegate", self.delegate.encode()),
            ("buyer_pubkey", self.buyer_key.encode()),
            ("sealed_key", self.sealed_key.encode()),
            ("channel_seq", self.channel_seq.encode()),
            ("amount", self.amount.encode()),
            ("balance", self.balance.encode()),
            ("signature", self.signature.encode()),
        ])
    }
}
