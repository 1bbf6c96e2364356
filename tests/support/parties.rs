//! Who takes part in the tests of the actors, and in what: keys, a market, a channel.

use std::sync::Arc;

use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::wire::MarketDomain;
use xbr_core::{Address, Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, DelegateKey, MarketId, Signer};

pub const API: ApiId = ApiId::new([0xa1; 16]);
pub const CHANNEL: ChannelId = ChannelId::new([0xc1; 16]);
pub const MARKET: MarketId = MarketId::new([0x31; 16]);
pub const URI: &str = "io.crossbar.example";

pub fn market_maker() -> DelegateKey {
    DelegateKey::from_bytes(&[0x11; 32]).unwrap()
}

pub fn seller_key() -> Arc<DelegateKey> {
    Arc::new(DelegateKey::from_bytes(&[0x22; 32]).unwrap())
}

/// The secret and public halves of a buyer's key.
pub fn buyer() -> ([u8; 32], BuyerKey) {
    let secret = [0x33; 32];
    (secret, xbr_core::crypto::sealed_box_public_key(&secret))
}

pub fn domain() -> MarketDomain {
    MarketDomain {
        chain_id: Amount::from_units(1),
        verifying_contract: Address::new([0x44; 20]),
        market_id: MARKET,
    }
}

pub fn terms_of(channel_id: ChannelId) -> ChannelTerms {
    ChannelTerms {
        channel_id,
        market_id: MARKET,
        market_maker: market_maker().address(),
        delegate: seller_key().address(),
        amount: Amount::from_xbr(1000),
        chain_id: domain().chain_id,
        verifying_contract: domain().verifying_contract,
        close_at: Amount::from_units(1),
    }
}

pub fn state(seq: u32, balance_xbr: u64) -> ChannelState {
    ChannelState { seq: ChannelSeq::new(seq), balance: Amount::from_xbr(balance_xbr) }
}
