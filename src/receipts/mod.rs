//! Receipts outside the store: a file with everything that the two sides of a channel have signed, which can be
//! checked with nothing but itself.
//!
//! A file is rows of one form, as CSV or as one JSON object a line. First the terms of a channel and where it stood
//! when the seller first saw it, then its sales and closes in the order of their states, each with both signatures;
//! then the next channel; and a last row that says that the file is whole.
//!
//! **What is proven.** Both sides have signed channel, market, chain, contract, `seq`, `balance` and whether it is
//! final (EIP-712). That amounts and surplus add up follows from the balances. Key, buyer, API and time are the
//! seller's own books: no signature of the protocol covers them. The `digest` of each row covers all of it and the
//! digest before it, so nothing is changed, left out or added by accident or by halves.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xbr_core::Amount;
use xbr_core::channel::{Channel, ChannelState, ChannelTerms, CloseRecord, SaleRecord};
use xbr_core::crypto::keccak256;

use crate::when;

mod export;
mod verify;

#[cfg(test)]
mod tests;

pub use export::{ExportError, Exported, Format, export};
pub use verify::{Finding, Parties, RowProblem, Verdict, VerifyError, verify};

/// What the first row's digest follows.
const BEGINNING: &str = "xbr-seller receipts 1";

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The terms of a channel; `seq` and `balance` are where it was adopted, `amount` what was put into it.
    Channel,
    /// A sale.
    Sale,
    /// A close that both sides have signed.
    Close,
    /// The end of the file; `amount` and `surplus` are the sums of all sales and closes.
    End,
}

/// A row. Amounts are exact decimal XBR, ids UUIDs, addresses, keys and signatures `0x` and hex digits. What a row of
/// its kind has not is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it, and the documentation of the operator lists them")]
pub struct Row {
    pub kind: Kind,
    pub channel: Option<String>,
    pub market: Option<String>,
    pub market_maker: Option<String>,
    pub seller: Option<String>,
    /// The number of the chain.
    pub chain_id: Option<String>,
    pub verifying_contract: Option<String>,
    /// The block that the states are signed for.
    pub close_at: Option<String>,
    pub before_seq: Option<u32>,
    pub before_balance: Option<String>,
    pub seq: Option<u32>,
    /// What remains with the market maker after it.
    pub balance: Option<String>,
    pub amount: Option<String>,
    /// What the signed state gave beyond the amount.
    pub surplus: Option<String>,
    pub is_final: Option<bool>,
    pub api: Option<String>,
    pub key: Option<String>,
    pub buyer_key: Option<String>,
    /// The data key, sealed to the buyer.
    pub sealed_key: Option<String>,
    /// RFC 3339, UTC.
    pub sold_at: Option<String>,
    pub market_maker_signature: Option<String>,
    pub seller_signature: Option<String>,
    /// 64 hex digits.
    pub digest: String,
}

/// A field of a row is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    /// It is empty.
    #[error("{field} is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// It is no such value.
    #[error("{field} is wrong: {reason}")]
    Value {
        /// Its name.
        field: &'static str,
        /// Why.
        reason: String,
    },
}

impl Row {
    fn empty(kind: Kind) -> Self {
        Self {
            kind,
            channel: None,
            market: None,
            market_maker: None,
            seller: None,
            chain_id: None,
            verifying_contract: None,
            close_at: None,
            before_seq: None,
            before_balance: None,
            seq: None,
            balance: None,
            amount: None,
            surplus: None,
            is_final: None,
            api: None,
            key: None,
            buyer_key: None,
            sealed_key: None,
            sold_at: None,
            market_maker_signature: None,
            seller_signature: None,
            digest: String::new(),
        }
    }

    pub(crate) fn of_channel(channel: &Channel) -> Self {
        let terms = &channel.terms;
        Self {
            channel: text(terms.channel_id),
            market: text(terms.market_id),
            market_maker: text(terms.market_maker),
            seller: text(terms.delegate),
            chain_id: Some(terms.chain_id.units()),
            verifying_contract: text(terms.verifying_contract),
            close_at: Some(terms.close_at.units()),
            seq: Some(channel.adopted.seq.value()),
            balance: text(channel.adopted.balance),
            amount: text(terms.amount),
            ..Self::empty(Kind::Channel)
        }
    }

    pub(crate) fn of_sale(record: &SaleRecord) -> Self {
        Self {
            channel: text(record.channel_id),
            before_seq: Some(record.before.seq.value()),
            before_balance: text(record.before.balance),
            seq: Some(record.state.seq.value()),
            balance: text(record.state.balance),
            amount: text(record.amount),
            surplus: text(record.surplus),
            is_final: Some(false),
            api: record.api_id.and_then(text),
            key: text(record.key_id),
            buyer_key: text(record.buyer_key),
            sealed_key: Some(format!("0x{}", hex::encode(&record.sealed_key))),
            sold_at: Some(record.sold_ns).filter(|ns| *ns > 0).map(when::rfc_3339),
            market_maker_signature: text(record.market_maker_signature),
            seller_signature: text(record.signature),
            ..Self::empty(Kind::Sale)
        }
    }

    pub(crate) fn of_close(record: &CloseRecord) -> Self {
        Self {
            channel: text(record.channel_id),
            before_seq: Some(record.before.seq.value()),
            before_balance: text(record.before.balance),
            seq: Some(record.state.seq.value()),
            balance: text(record.state.balance),
            surplus: text(record.surplus),
            is_final: Some(record.is_final),
            market_maker_signature: text(record.market_maker_signature),
            seller_signature: text(record.signature),
            ..Self::empty(Kind::Close)
        }
    }

    fn of_end(amount: Amount, surplus: Amount) -> Self {
        Self { amount: text(amount), surplus: text(surplus), ..Self::empty(Kind::End) }
    }

    /// The digest that the row has behind one with that digest.
    ///
    /// # Errors
    /// None that can happen: all of it is text and numbers.
    fn digest_behind(&self, before: &str) -> serde_json::Result<String> {
        let linked = Self { digest: before.to_owned(), ..self.clone() };
        Ok(hex::encode(keccak256(&serde_json::to_vec(&linked)?)))
    }

    fn terms(&self) -> Result<(ChannelTerms, ChannelState), FieldError> {
        let terms = ChannelTerms {
            channel_id: parsed("channel", &self.channel)?,
            market_id: parsed("market", &self.market)?,
            market_maker: parsed("market_maker", &self.market_maker)?,
            delegate: parsed("seller", &self.seller)?,
            amount: parsed("amount", &self.amount)?,
            chain_id: units("chain_id", &self.chain_id)?,
            verifying_contract: parsed("verifying_contract", &self.verifying_contract)?,
            close_at: units("close_at", &self.close_at)?,
        };
        Ok((terms, self.state()?))
    }

    fn state(&self) -> Result<ChannelState, FieldError> {
        Ok(ChannelState { seq: seq("seq", self.seq)?, balance: parsed("balance", &self.balance)? })
    }

    fn before(&self) -> Result<ChannelState, FieldError> {
        let balance = parsed("before_balance", &self.before_balance)?;
        Ok(ChannelState { seq: seq("before_seq", self.before_seq)?, balance })
    }

    fn sale(&self) -> Result<SaleRecord, FieldError> {
        if self.is_final != Some(false) {
            return Err(wrong("is_final", "no sale is final"));
        }
        let sealed_key = required("sealed_key", &self.sealed_key)?;
        let sealed_key = hex::decode(sealed_key.strip_prefix("0x").unwrap_or(sealed_key))
            .map_err(|error| wrong("sealed_key", error))?;
        let sold_at = self.sold_at.as_deref().map(when::parse_rfc_3339).transpose();
        Ok(SaleRecord {
            channel_id: parsed("channel", &self.channel)?,
            key_id: parsed("key", &self.key)?,
            buyer_key: parsed("buyer_key", &self.buyer_key)?,
            before: self.before()?,
            state: self.state()?,
            amount: parsed("amount", &self.amount)?,
            surplus: parsed("surplus", &self.surplus)?,
            sealed_key,
            market_maker_signature: parsed("market_maker_signature", &self.market_maker_signature)?,
            signature: parsed("seller_signature", &self.seller_signature)?,
            sold_ns: sold_at.map_err(|error| wrong("sold_at", error))?.unwrap_or(0),
            api_id: self.api.as_ref().map(|_| parsed("api", &self.api)).transpose()?,
        })
    }

    fn close(&self) -> Result<CloseRecord, FieldError> {
        Ok(CloseRecord {
            channel_id: parsed("channel", &self.channel)?,
            before: self.before()?,
            state: self.state()?,
            surplus: parsed("surplus", &self.surplus)?,
            is_final: self.is_final.ok_or(FieldError::Missing { field: "is_final" })?,
            market_maker_signature: parsed("market_maker_signature", &self.market_maker_signature)?,
            signature: parsed("seller_signature", &self.seller_signature)?,
        })
    }
}

fn text(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn wrong(field: &'static str, reason: impl ToString) -> FieldError {
    FieldError::Value { field, reason: reason.to_string() }
}

fn required<'a>(field: &'static str, value: &'a Option<String>) -> Result<&'a str, FieldError> {
    value.as_deref().ok_or(FieldError::Missing { field })
}

fn parsed<T: std::str::FromStr<Err: ToString>>(
    field: &'static str,
    value: &Option<String>,
) -> Result<T, FieldError> {
    required(field, value)?.parse().map_err(|error: T::Err| wrong(field, error))
}

fn units(field: &'static str, value: &Option<String>) -> Result<Amount, FieldError> {
    Amount::parse_units(required(field, value)?).map_err(|error| wrong(field, error))
}

fn seq(field: &'static str, value: Option<u32>) -> Result<xbr_core::ChannelSeq, FieldError> {
    value.map(xbr_core::ChannelSeq::new).ok_or(FieldError::Missing { field })
}
