//! Records to store, both stores behind one trait, and comparisons.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use xbr_core::channel::{Channel, ChannelState, ChannelTerms, CloseRecord, OwnClose, SaleRecord};
use xbr_core::payload::DataKey;
use xbr_core::wire::{CloseRequest, SellRequest};
use xbr_core::{Address, Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, KeyId, MarketId, Signature};
use xbr_store::{
    Evidence, EvidenceRequest, KeyFilter, KeyLookup, KeyRecord, MasterKey, SqliteStore, Store, StoreError,
};

pub(crate) const MASTER: [u8; 32] = [0x4d; 32];
/// What each channel of a test begins with, in units.
pub(crate) const DEPOSIT: u128 = 1_000_000;

pub(crate) fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, MasterKey::from_bytes(MASTER)).unwrap()
}

/// A file that belongs to a store.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

pub(crate) fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

pub(crate) fn state(seq: u32, balance: u128) -> ChannelState {
    ChannelState { seq: ChannelSeq::new(seq), balance: units(balance) }
}

pub(crate) fn channel_id(n: u8) -> ChannelId {
    ChannelId::new([n; 16])
}

pub(crate) fn key_id(n: u8) -> KeyId {
    KeyId::new([n; 16])
}

/// A fresh channel at seq 1 with the whole deposit.
pub(crate) fn channel(n: u8) -> Channel {
    let terms = ChannelTerms {
        channel_id: channel_id(n),
        market_id: MarketId::new([0xa1; 16]),
        market_maker: Address::new([0xa2; 20]),
        delegate: Address::new([0xa3; 20]),
        amount: Amount::MAX,
        chain_id: units(5777),
        verifying_contract: Address::new([0xa4; 20]),
        close_at: units(1),
    };
    Channel::adopt(terms, state(1, DEPOSIT))
}

/// A sale from one state to another; what the balance fell by is half amount, half surplus.
pub(crate) fn sale(n: u8, before: ChannelState, after: ChannelState) -> SaleRecord {
    let [before_units, after_units] =
        [before, after].map(|state| state.balance.units().parse::<u128>().unwrap());
    let fall = before_units - after_units;
    let tag = after.seq.value().to_le_bytes()[0];
    SaleRecord {
        channel_id: channel_id(n),
        key_id: key_id(tag),
        buyer_key: BuyerKey::new([0xb0; 32]),
        before,
        state: after,
        amount: units(fall / 2),
        surplus: units(fall - fall / 2),
        sealed_key: vec![tag; 80],
        market_maker_signature: Signature::new([0xc1; 65]),
        signature: Signature::new([0xc2; 65]),
        sold_ns: 1_700_000_000_000_000_000 + u64::from(after.seq.value()),
        api_id: Some(ApiId::new([0xe0; 16])),
    }
}

/// The `i`th of a row of sales on one channel, `i` from 1: seq i + 1, each one costs 10 units.
pub(crate) fn nth_sale(n: u8, i: u32) -> SaleRecord {
    let at = |i: u32| state(i + 1, DEPOSIT - u128::from(i) * 10);
    sale(n, at(i - 1), at(i))
}

pub(crate) fn close(n: u8, before: ChannelState, after: ChannelState, is_final: bool) -> CloseRecord {
    CloseRecord {
        channel_id: channel_id(n),
        before,
        state: after,
        surplus: before.balance.checked_sub(after.balance).unwrap(),
        is_final,
        market_maker_signature: Signature::new([0xd1; 65]),
        signature: Signature::new([0xd2; 65]),
    }
}

pub(crate) fn own_close(n: u8, state: ChannelState, block: u64) -> OwnClose {
    let close_at = units(block.into());
    let signature = Signature::new([block.to_le_bytes()[0]; 65]);
    OwnClose { channel_id: channel_id(n), state, close_at, signature }
}

pub(crate) fn key(n: u8) -> KeyRecord {
    KeyRecord {
        key_id: key_id(n),
        api_id: ApiId::new([0xe0; 16]),
        key: DataKey::from_bytes([n ^ 0x55; 32]),
        price: Amount::from_xbr(35),
        created_ns: 1_700_000_000_000_000_000,
        expires_ns: (!n.is_multiple_of(2)).then_some(1_700_000_300_000_000_000),
        offered_ns: None,
    }
}

pub(crate) fn sell_evidence(n: u8) -> Evidence {
    Evidence {
        received_ns: 1_700_000_000_000_000_000 + u64::from(n),
        reject: format!("unexpected balance\0 of {n} ü"),
        request: EvidenceRequest::Sell(SellRequest {
            market_maker: Address::new([1; 20]),
            buyer_key: BuyerKey::new([2; 32]),
            key_id: key_id(n),
            channel_id: channel_id(n),
            channel_seq: ChannelSeq::new(u32::MAX),
            amount: Amount::MAX,
            balance: Amount::ZERO,
            signature: Signature::new([3; 65]),
        }),
    }
}

pub(crate) fn close_evidence(n: u8, is_final: bool) -> Evidence {
    Evidence {
        received_ns: 0,
        reject: String::new(),
        request: EvidenceRequest::Close(CloseRequest {
            market_maker: Address::new([4; 20]),
            channel_id: channel_id(n),
            channel_seq: ChannelSeq::new(0),
            balance: Amount::from_xbr(7),
            is_final,
            signature: Signature::new([5; 65]),
        }),
    }
}

/// A look-up as something that can be compared.
pub(crate) fn shown(lookup: &KeyLookup) -> String {
    match lookup {
        KeyLookup::Found(record) => format!("{record:?} {:?}", record.key.expose_secret()),
        other => format!("{other:?}"),
    }
}

/// Everything that can be read of a store, for keys 0 to 15 and channels 0 to 3, seq 0 to 63.
pub(crate) async fn contents(store: &dyn Store) -> Vec<String> {
    try_contents(store).await.unwrap()
}

/// The same, or the first error.
pub(crate) async fn try_contents(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let mut contents: Vec<_> = store.channels().await?.iter().map(|channel| format!("{channel:?}")).collect();
    for n in 0..4 {
        for seq in 0..64 {
            let sale = store.sale(channel_id(n), ChannelSeq::new(seq)).await?;
            contents.extend(sale.map(|sale| format!("{sale:?}")));
        }
    }
    for n in 0..16 {
        contents.push(shown(&store.key(key_id(n)).await?));
    }
    let api_id = key(0).api_id;
    for filter in [
        KeyFilter::Unoffered { now_ns: 0 },
        KeyFilter::Unoffered { now_ns: 1_700_000_300_000_000_000 },
        KeyFilter::Old { now_ns: u64::MAX >> 1, made_before_ns: u64::MAX >> 1, keep: None },
        KeyFilter::Old { now_ns: 1_700_000_300_000_000_000, made_before_ns: 0, keep: NonZeroU64::new(2) },
        KeyFilter::Old { now_ns: 0, made_before_ns: 1_700_000_000_000_000_001, keep: None },
    ] {
        contents.push(format!("{:?}", store.keys(api_id, filter, 5).await?));
    }
    contents.extend(store.evidence().await?.iter().map(|evidence| format!("{evidence:?}")));
    Ok(contents)
}
