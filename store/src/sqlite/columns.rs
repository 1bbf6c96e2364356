//! Records as the columns of their tables, in the order of the tables: what is written, and what the code of
//! a row covers. [`rows`](super::rows) is the way back.

use std::borrow::Cow;

use rusqlite::types::Value;
use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::{Amount, ChannelId};

use crate::operation::refused;
use crate::{Evidence, EvidenceRequest, KeyRecord, StoreError};

/// Names and values of a row, without `id` and `mac`.
pub(super) type Columns = Vec<(Cow<'static, str>, Value)>;

macro_rules! columns {
    ($($name:literal: $value:expr,)*) => {
        vec![$((Cow::Borrowed($name), Value::from($value)),)*]
    };
}

pub(super) fn channel(channel: &Channel) -> Result<Columns, StoreError> {
    let terms = &channel.terms;
    Ok(columns! {
        "channel_id": bytes(terms.channel_id),
        "market_id": bytes(terms.market_id),
        "market_maker": bytes(terms.market_maker),
        "delegate": bytes(terms.delegate),
        "amount": amount(terms.amount),
        "chain_id": amount(terms.chain_id),
        "verifying_contract": bytes(terms.verifying_contract),
        "close_at": amount(terms.close_at),
        "adopted_seq": channel.adopted.seq.value(),
        "adopted_balance": amount(channel.adopted.balance),
        "seq": channel.state.seq.value(),
        "balance": amount(channel.state.balance),
        "earned": amount(channel.earned),
        "surplus": amount(channel.surplus),
        "sales": integer(channel.sales)?,
        "is_closed": channel.is_closed(),
        "is_restored": channel.restored,
    })
}

pub(super) fn sale(record: &SaleRecord) -> Result<Columns, StoreError> {
    Ok(columns! {
        "channel_id": bytes(record.channel_id),
        "seq": record.state.seq.value(),
        "balance": amount(record.state.balance),
        "before_seq": record.before.seq.value(),
        "before_balance": amount(record.before.balance),
        "key_id": bytes(record.key_id),
        "buyer_key": bytes(record.buyer_key),
        "amount": amount(record.amount),
        "surplus": amount(record.surplus),
        "sealed_key": record.sealed_key.clone(),
        "market_maker_signature": bytes(record.market_maker_signature),
        "signature": bytes(record.signature),
        "sold_ns": integer(record.sold_ns)?,
        "api_id": record.api_id.map(bytes),
    })
}

pub(super) fn close(record: &CloseRecord) -> Columns {
    columns! {
        "channel_id": bytes(record.channel_id),
        "seq": record.state.seq.value(),
        "balance": amount(record.state.balance),
        "before_seq": record.before.seq.value(),
        "before_balance": amount(record.before.balance),
        "surplus": amount(record.surplus),
        "is_final": record.is_final,
        "market_maker_signature": bytes(record.market_maker_signature),
        "signature": bytes(record.signature),
    }
}

pub(super) fn own_close(close: &OwnClose) -> Columns {
    columns! {
        "channel_id": bytes(close.channel_id),
        "seq": close.state.seq.value(),
        "balance": amount(close.state.balance),
        "close_at": amount(close.close_at),
        "signature": bytes(close.signature),
    }
}

pub(super) fn comparison(channel_id: ChannelId, ours: ChannelState, theirs: ChannelState) -> Columns {
    columns! {
        "channel_id": bytes(channel_id),
        "seq": ours.seq.value(),
        "balance": amount(ours.balance),
        "their_seq": theirs.seq.value(),
        "their_balance": amount(theirs.balance),
    }
}

/// A data key, sealed beforehand.
pub(super) fn key(record: &KeyRecord, sealed_key: Vec<u8>) -> Result<Columns, StoreError> {
    Ok(columns! {
        "key_id": bytes(record.key_id),
        "api_id": bytes(record.api_id),
        "sealed_key": sealed_key,
        "price": amount(record.price),
        "created_ns": integer(record.created_ns)?,
        "expires_ns": record.expires_ns.map(integer).transpose()?,
        "offered_ns": record.offered_ns.map(integer).transpose()?,
    })
}

/// A sale has the three columns that a close has not, and a close has `is_final`.
pub(super) fn evidence(evidence: &Evidence) -> Result<Columns, StoreError> {
    let (sell, close) = match &evidence.request {
        EvidenceRequest::Sell(request) => (Some(request), None),
        EvidenceRequest::Close(request) => (None, Some(request)),
    };
    let (kind, market_maker, channel_id, seq, balance, signature) = match &evidence.request {
        EvidenceRequest::Sell(it) => {
            ("sell", it.market_maker, it.channel_id, it.channel_seq, it.balance, it.signature)
        }
        EvidenceRequest::Close(it) => {
            ("close", it.market_maker, it.channel_id, it.channel_seq, it.balance, it.signature)
        }
    };
    Ok(columns! {
        "received_ns": integer(evidence.received_ns)?,
        "reject": evidence.reject.clone(),
        "kind": kind.to_owned(),
        "market_maker": bytes(market_maker),
        "channel_id": bytes(channel_id),
        "seq": seq.value(),
        "balance": amount(balance),
        "signature": bytes(signature),
        "buyer_key": sell.map(|request| bytes(request.buyer_key)),
        "key_id": sell.map(|request| bytes(request.key_id)),
        "amount": sell.map(|request| amount(request.amount)),
        "is_final": close.map(|request| request.is_final),
    })
}

/// A number as a column holds it.
pub(super) fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| refused("a number or time is above 2^63 - 1"))
}

fn bytes(id: impl AsRef<[u8]>) -> Vec<u8> {
    id.as_ref().to_vec()
}

fn amount(amount: Amount) -> Vec<u8> {
    amount.to_be_bytes().to_vec()
}
