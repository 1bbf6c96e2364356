//! A purchase on its way from the buyer's payment to the seller's receipt. Pure; each step is stored before
//! anybody hears of it.

use xbr_core::channel::ChannelState;
use xbr_core::ids::OfferId;
use xbr_core::wire::{BuyReceipt, BuyRequest, SellRequest};
use xbr_core::{Address, Amount, BuyerKey, ChannelId, KeyId, ProviderId, Signature};

use super::account::Market;

/// Numbers the purchases of a market maker, from 1.
pub type PurchaseId = u64;

/// The purchase of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Its number.
    pub id: PurchaseId,
    /// The key.
    pub key_id: KeyId,
    /// To whom it is to be sealed.
    pub buyer_key: BuyerKey,
    /// The buyer's delegate.
    pub buyer: Address,
    /// The price, which both channels pay.
    pub price: Amount,
    /// The payment channel.
    pub payment_channel: ChannelId,
    /// Its state after the purchase, which the buyer signed.
    pub payment: ChannelState,
    /// The buyer's signature over it.
    pub payment_signature: Signature,
    /// The offer that the key is sold by.
    pub offer_id: OfferId,
    /// The seller's delegate.
    pub seller: Address,
    /// Under which name the seller's procedures are registered.
    pub provider_id: ProviderId,
    /// When it was reserved, Unix time in ns.
    pub reserved_ns: u64,
    /// How the seller is paid; `None` while no paying channel is free for it, or when it was refused.
    pub sale: Option<Sale>,
    /// Where it stands.
    pub stage: Stage,
}

/// How the seller is paid for a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sale {
    /// The paying channel.
    pub channel_id: ChannelId,
    /// Its state after the purchase.
    pub state: ChannelState,
}

/// Where a purchase stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its price is reserved; the seller has not answered, or not for certain.
    Reserved,
    /// The key was delivered.
    Settled(Settled),
    /// The seller refused it, and the buyer has its money back.
    Refused {
        /// The error URI that the buyer was told.
        uri: String,
        /// When, Unix time in ns.
        refused_ns: u64,
    },
}

/// What a settled purchase has beyond a reserved one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The data key, sealed to the buyer: 80 bytes.
    pub sealed_key: Vec<u8>,
    /// The seller's signature over the paying channel's state.
    pub seller_signature: Signature,
    /// The market maker's signature over the payment channel's state.
    pub signature: Signature,
    /// What was in flight in the payment channel besides this purchase.
    pub inflight: Amount,
    /// When, Unix time in ns.
    pub settled_ns: u64,
}

impl Purchase {
    /// Whether a request is this very purchase again; `signed` says whether the buyer signed its state. The
    /// very signature of before was judged then.
    pub fn is_repeated_by(&self, request: &BuyRequest, signed: bool) -> bool {
        let same = (self.buyer, self.buyer_key, self.key_id, self.payment_channel, self.payment, self.price)
            == (
                request.delegate,
                request.buyer_key,
                request.key_id,
                request.channel_id,
                request.state(),
                request.amount,
            );
        same && (signed || self.payment_signature == request.signature)
    }

    /// What the seller is asked, the same each time: a signature of the same state is the same one.
    pub fn request(&self, market: &Market, sale: &Sale, signature: Signature) -> SellRequest {
        SellRequest {
            market_maker: market.market_maker,
            buyer_key: self.buyer_key,
            key_id: self.key_id,
            channel_id: sale.channel_id,
            channel_seq: sale.state.seq,
            amount: self.price,
            balance: sale.state.balance,
            signature,
        }
    }

    /// What the buyer gets, the same each time; `None` before it is settled.
    pub fn receipt(&self) -> Option<BuyReceipt> {
        let Stage::Settled(settled) = &self.stage else { return None };
        Some(BuyReceipt {
            key_id: self.key_id,
            delegate: self.buyer,
            buyer_key: self.buyer_key,
            sealed_key: settled.sealed_key.clone(),
            offer_id: Some(self.offer_id),
            free_rated: Some(self.price.is_zero()),
            amount: self.price,
            amount_paid: self.price,
            channel_id: self.payment_channel,
            channel_seq: self.payment.seq,
            remaining: self.payment.balance,
            inflight: settled.inflight,
            signature: settled.signature,
        })
    }
}
