//! The buyer's side: a quote for a key, and its purchase through the market maker.

use super::form::{dictionary, request};
use crate::amount::Amount;
use crate::channel::ChannelState;
use crate::ids::{Address, BuyerKey, ChannelId, ChannelSeq, KeyId, OfferId, Signature};

dictionary!(
    /// The result of `get_quote`.
    Quote {
        /// The key.
        key_id: KeyId = Required "key",
        /// Its price.
        price: Amount = Lenient "price",
        /// When the quote was made, Unix time in ns.
        timestamp_ns: u64 = Required "timestamp",
        /// When the offer expires, Unix time in ns; `None`: never.
        expires_ns: Option<u64> = NonZero "expires",
    }
);

request!(
    /// The arguments of `buy_key`. The state is that of the buyer's payment channel after the purchase.
    BuyRequest {
        /// The buyer's delegate, who signs.
        delegate: Address = "delegate_adr",
        /// The buyer's Curve25519 key, to which the data key is to be sealed.
        buyer_key: BuyerKey = "buyer_pubkey",
        /// The data key to buy.
        key_id: KeyId = "key_id",
        /// The payment channel.
        channel_id: ChannelId = "channel_oid",
        /// Its sequence number after the purchase.
        channel_seq: ChannelSeq = "channel_seq",
        /// What the buyer pays at most: at least the price of the key.
        amount: Amount = "amount",
        /// What remains in the channel after the purchase.
        balance: Amount = "balance",
        /// The buyer's signature over the channel's state after the purchase.
        signature: Signature = "signature",
    }
);

impl BuyRequest {
    /// The payment channel's state after the purchase.
    pub fn state(&self) -> ChannelState {
        ChannelState { seq: self.channel_seq, balance: self.balance }
    }
}

dictionary!(
    /// The result of `buy_key`.
    BuyReceipt {
        /// The data key.
        key_id: KeyId = Required "key_id",
        /// The buyer's delegate.
        delegate: Address = Required "delegate",
        /// To whom the key is sealed.
        buyer_key: BuyerKey = Required "buyer_pubkey",
        /// The data key, sealed to the buyer: 80 bytes.
        sealed_key: Vec<u8> = Required "sealed_key",
        /// The offer that it was sold by.
        offer_id: Option<OfferId> = Optional "offer_id",
        /// Whether it cost nothing.
        free_rated: Option<bool> = Optional "free_rated",
        /// What the buyer offered to pay.
        amount: Amount = Lenient "amount",
        /// What was paid: the price.
        amount_paid: Amount = Lenient "amount_paid",
        /// The payment channel.
        channel_id: ChannelId = Required "payment_channel",
        /// Its sequence number after the purchase.
        channel_seq: ChannelSeq = Required "channel_seq",
        /// What remains in it.
        remaining: Amount = Lenient "remaining",
        /// How much of what was deducted belongs to purchases that are not finished.
        inflight: Amount = Lenient "inflight",
        /// The market maker's signature over the payment channel's state.
        signature: Signature = Required "signature",
    }
);

impl BuyReceipt {
    /// The payment channel's state that the market maker signed.
    pub fn state(&self) -> ChannelState {
        ChannelState { seq: self.channel_seq, balance: self.remaining }
    }
}
