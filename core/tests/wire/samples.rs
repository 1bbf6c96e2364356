//! One good value of every wire type.

use std::collections::BTreeMap;

use xbr_core::channel::ChannelState;
use xbr_core::ids::OfferId;
use xbr_core::offer::{KeyOffer, UriPrefix};
use xbr_core::wire::*;
use xbr_core::{
    Address, Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, KeyId, MarketId, ProviderId, Signature,
};

pub(crate) const KEY: KeyId = KeyId::new([1; 16]);
pub(crate) const CHANNEL: ChannelId = ChannelId::new([2; 16]);
pub(crate) const MARKET: MarketId = MarketId::new([3; 16]);
pub(crate) const ADDRESS: Address = Address::new([4; 20]);
pub(crate) const BUYER: BuyerKey = BuyerKey::new([5; 32]);
pub(crate) const SIGNATURE: Signature = Signature::new([6; 65]);
pub(crate) const SEQ: ChannelSeq = ChannelSeq::new(7);
const API: ApiId = ApiId::new([8; 16]);

pub(crate) fn sell_request() -> SellRequest {
    SellRequest {
        market_maker: ADDRESS,
        buyer_key: BUYER,
        key_id: KEY,
        channel_id: CHANNEL,
        channel_seq: SEQ,
        amount: Amount::from_xbr(35),
        balance: Amount::MAX,
        signature: SIGNATURE,
    }
}

pub(crate) fn close_request() -> CloseRequest {
    CloseRequest {
        market_maker: ADDRESS,
        channel_id: CHANNEL,
        channel_seq: SEQ,
        balance: Amount::ZERO,
        is_final: true,
        signature: SIGNATURE,
    }
}

pub(crate) fn buy_request() -> BuyRequest {
    BuyRequest {
        delegate: ADDRESS,
        buyer_key: BUYER,
        key_id: KEY,
        channel_id: CHANNEL,
        channel_seq: SEQ,
        amount: Amount::from_xbr(35),
        balance: Amount::MAX,
        signature: SIGNATURE,
    }
}

pub(crate) fn market_close_request() -> MarketCloseRequest {
    MarketCloseRequest {
        channel_id: CHANNEL,
        chain_id: 1,
        block_number: u64::MAX,
        verifying_contract: ADDRESS,
        balance: Amount::MAX,
        seq: SEQ,
        is_final: true,
        signature: SIGNATURE,
    }
}

pub(crate) fn channels_by_delegate() -> ChannelsByDelegate {
    ChannelsByDelegate { delegate: ADDRESS, channel_type: ChannelType::Paying, filter_open: false }
}

/// An offer with everything set.
pub(crate) fn place_offer() -> PlaceOffer {
    let offer = KeyOffer {
        key_id: KEY,
        api_id: API,
        uri: UriPrefix::new("io.crossbar.").unwrap(),
        valid_from_ns: 10,
        price: Amount::from_xbr(35),
        categories: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        expires_ns: Some(600_000_000_010),
        copies: Some(3),
    };
    let provider_id = ProviderId::new("provider_1").unwrap();
    PlaceOffer { unsigned: UnsignedOffer { offer, delegate: ADDRESS, provider_id }, signature: SIGNATURE }
}

pub(crate) fn config() -> MarketConfig {
    MarketConfig {
        verifying_chain_id: 1337,
        verifying_contract: ADDRESS,
        market_maker: ADDRESS,
        market_id: MARKET,
        owner: Some(ADDRESS),
        coin: None,
        contracts: BTreeMap::from([("xbrtoken".to_owned(), ADDRESS.to_string())]),
        eula: Some(Eula {
            url: Some("http://127.0.0.1/eula".to_owned()),
            hash: Some(String::new()),
            text: None,
        }),
        now_ns: Some(1),
        chain: Some(1337),
    }
}

pub(crate) fn status() -> MarketStatus {
    MarketStatus {
        now_ns: 1,
        chain: 2,
        block: Block { number: 3, hash: Some(vec![0; 32]), gas_limit: Some(4) },
        status: MarketMakerStatus::Running,
    }
}

pub(crate) fn channel_info() -> ChannelInfo {
    ChannelInfo {
        channel_id: CHANNEL,
        market_id: MARKET,
        channel_type: ChannelType::Paying,
        market_maker: ADDRESS,
        delegate: ADDRESS,
        amount: Amount::from_xbr(1_000_000),
        state: ChannelStatus::Open,
        actor: Some(ADDRESS),
        recipient: None,
        timestamp_ns: Some(1),
        timeout: Some(0),
        close_seq: None,
        close_is_final: Some(false),
    }
}

pub(crate) fn channel_balance() -> ChannelBalance {
    ChannelBalance { remaining: Amount::from_xbr(10), inflight: Amount::ZERO, seq: SEQ }
}

pub(crate) fn channel_closing() -> ChannelClosing {
    ChannelClosing {
        transaction: Some(vec![9; 32]),
        market_id: MARKET,
        channel_id: CHANNEL,
        state: ChannelStatus::Closing,
        balance: Amount::from_xbr(10),
        seq: SEQ,
        is_final: true,
    }
}

pub(crate) fn offer_info() -> OfferInfo {
    OfferInfo {
        offer_id: OfferId::new([9; 16]),
        seller: ADDRESS,
        provider_id: Some("provider_1".to_owned()),
        seller_session_id: Some(1),
        key_id: KEY,
        api_id: API,
        uri: "io.crossbar.".to_owned(),
        price: Amount::from_xbr(35),
        categories: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        timestamp_ns: Some(1),
        valid_from_ns: Some(10),
        expires_ns: None,
        copies: Some(3),
        remaining: Some(0),
        signature: Some(SIGNATURE),
    }
}

pub(crate) fn quote() -> Quote {
    Quote { key_id: KEY, price: Amount::from_xbr(35), timestamp_ns: 1, expires_ns: Some(2) }
}

pub(crate) fn buy_receipt() -> BuyReceipt {
    BuyReceipt {
        key_id: KEY,
        delegate: ADDRESS,
        buyer_key: BUYER,
        sealed_key: vec![7; 80],
        offer_id: Some(OfferId::new([9; 16])),
        free_rated: Some(false),
        amount: Amount::from_xbr(40),
        amount_paid: Amount::from_xbr(35),
        channel_id: CHANNEL,
        channel_seq: SEQ,
        remaining: Amount::MAX,
        inflight: Amount::ZERO,
        signature: SIGNATURE,
    }
}

pub(crate) fn sell_receipt() -> SellReceipt {
    SellReceipt {
        key_id: KEY,
        delegate: ADDRESS,
        buyer_key: BUYER,
        sealed_key: vec![7; 80],
        channel_seq: SEQ,
        amount: Amount::from_xbr(35),
        balance: Amount::MAX,
        signature: SIGNATURE,
    }
}

pub(crate) fn close_receipt() -> CloseReceipt {
    CloseReceipt { delegate: ADDRESS, seq: SEQ, balance: Amount::MAX, is_final: true, signature: SIGNATURE }
}

pub(crate) fn on_channel_closed() -> OnChannelClosed {
    OnChannelClosed {
        channel_id: CHANNEL,
        state: ChannelState { seq: SEQ, balance: Amount::from_xbr(10) },
        is_final: true,
    }
}
