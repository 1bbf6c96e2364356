//! Rows of a market maker's store, read strictly: what has the wrong type or length, or does not add up, is
//! damage.

use std::collections::BTreeMap;

use rusqlite::Row;
use xbr_core::cbor::{self, Limits};
use xbr_core::offer::UriPrefix;
use xbr_core::wire::{ChannelType, MarketDomain};
use xbr_core::{ProviderId, Value};
use xbr_store::StoreError;

use crate::maker::account::{Account, Closing, Market};
use crate::maker::offer::{Caller, Offer};
use crate::maker::purchase::{Purchase, Sale, Settled, Stage};
use crate::sqlite::{amount, corrupt, get, id, natural, state};

pub(super) fn market(row: &Row<'_>) -> Result<Market, StoreError> {
    Ok(Market {
        domain: MarketDomain {
            chain_id: amount(row, "chain_id")?,
            verifying_contract: id(row, "verifying_contract")?,
            market_id: id(row, "market_id")?,
        },
        market_maker: id(row, "market_maker")?,
        close_at: amount(row, "close_at")?,
    })
}

pub(super) fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    let closing = match get::<Option<[u8; 65]>>(row, "delegate_signature")? {
        Some(signature) => {
            Some(Closing { close_at: amount(row, "close_at")?, delegate_signature: signature.into() })
        }
        None => None,
    };
    let account = Account {
        channel_id: id(row, "channel_id")?,
        kind: match get::<i64>(row, "kind")? {
            1 => ChannelType::Payment,
            _ => ChannelType::Paying,
        },
        actor: id(row, "actor")?,
        delegate: id(row, "delegate")?,
        recipient: id(row, "recipient")?,
        amount: amount(row, "amount")?,
        opened_ns: natural(row, "opened_ns")?,
        version: natural(row, "version")?,
        state: state(row, "seq", "balance")?,
        agreed: state(row, "agreed_seq", "agreed_balance")?,
        settled: amount(row, "settled")?,
        conceded: amount(row, "conceded")?,
        closing,
    };
    match account.problem() {
        None => Ok(account),
        Some(problem) => Err(corrupt(format!("channel {}: {problem}", account.channel_id))),
    }
}

pub(super) fn offer(row: &Row<'_>) -> Result<Offer, StoreError> {
    // Stored bit for bit: a number beyond 2^63 is negative there.
    let number = |column| get::<Option<i64>>(row, column).map(|number| number.map(i64::cast_unsigned));
    Ok(Offer {
        key_id: id(row, "key_id")?,
        offer_id: id(row, "offer_id")?,
        api_id: id(row, "api_id")?,
        uri: UriPrefix::new(get::<String>(row, "uri")?).map_err(|_| corrupt("column uri is none"))?,
        seller: id(row, "seller")?,
        provider_id: provider(row)?,
        price: amount(row, "price")?,
        categories: categories(&get::<Vec<u8>>(row, "categories")?)?,
        placed_ns: natural(row, "placed_ns")?,
        valid_from_ns: get::<i64>(row, "valid_from_ns")?.cast_unsigned(),
        expires_ns: number("expires_ns")?,
        copies: number("copies")?,
        copies_left: number("copies_left")?,
        signature: id(row, "signature")?,
        placed_by: Caller { session: number("session")?, authid: get(row, "authid")? },
        revoked: get(row, "revoked")?,
    })
}

pub(super) fn purchase(row: &Row<'_>) -> Result<Purchase, StoreError> {
    Ok(Purchase {
        id: natural(row, "id")?,
        key_id: id(row, "key_id")?,
        buyer_key: id(row, "buyer_key")?,
        buyer: id(row, "buyer")?,
        price: amount(row, "price")?,
        payment_channel: id(row, "payment_channel")?,
        payment: state(row, "payment_seq", "payment_balance")?,
        payment_signature: id(row, "payment_signature")?,
        offer_id: id(row, "offer_id")?,
        seller: id(row, "seller")?,
        provider_id: provider(row)?,
        reserved_ns: natural(row, "reserved_ns")?,
        sale: match get::<Option<[u8; 16]>>(row, "sale_channel")? {
            Some(channel_id) => {
                Some(Sale { channel_id: channel_id.into(), state: state(row, "sale_seq", "sale_balance")? })
            }
            None => None,
        },
        stage: stage(row)?,
    })
}

fn stage(row: &Row<'_>) -> Result<Stage, StoreError> {
    match get::<String>(row, "stage")?.as_str() {
        "reserved" => Ok(Stage::Reserved),
        "settled" => Ok(Stage::Settled(Settled {
            sealed_key: get(row, "sealed_key")?,
            seller_signature: id(row, "seller_signature")?,
            signature: id(row, "signature")?,
            inflight: amount(row, "inflight")?,
            settled_ns: natural(row, "ended_ns")?,
        })),
        "refused" => Ok(Stage::Refused { uri: get(row, "refusal")?, refused_ns: natural(row, "ended_ns")? }),
        _ => Err(corrupt("column stage is none")),
    }
}

fn provider(row: &Row<'_>) -> Result<ProviderId, StoreError> {
    ProviderId::new(get::<String>(row, "provider_id")?).map_err(|_| corrupt("column provider_id is none"))
}

fn categories(bytes: &[u8]) -> Result<BTreeMap<String, String>, StoreError> {
    let value = cbor::decode(bytes, &Limits::default()).map_err(|error| corrupt(error.to_string()))?;
    let pairs = value.as_map().ok_or_else(|| corrupt("column categories is no map"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pairs = pairs.iter().map(|(name, value)| Some((text(name)?, text(value)?)));
    pairs.collect::<Option<_>>().ok_or_else(|| corrupt("column categories has more than texts"))
}
