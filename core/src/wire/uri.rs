//! The URIs of procedures, topics and errors: the only place where they are spelt out. Errors that the seller
//! answers with are in [`reject`](crate::reject).

use crate::ids::ProviderId;

/// `[include_eula_text=false]` → [`MarketConfig`](super::MarketConfig).
pub const GET_CONFIG: &str = "xbr.marketmaker.get_config";
/// `[]` → [`MarketStatus`](super::MarketStatus).
pub const GET_STATUS: &str = "xbr.marketmaker.get_status";
/// [`ByDelegate`](super::ByDelegate) → [`ChannelInfo`](super::ChannelInfo) or null.
pub const GET_ACTIVE_PAYING_CHANNEL: &str = "xbr.marketmaker.get_active_paying_channel";
/// [`ByDelegate`](super::ByDelegate) → [`ChannelInfo`](super::ChannelInfo) or null.
pub const GET_ACTIVE_PAYMENT_CHANNEL: &str = "xbr.marketmaker.get_active_payment_channel";
/// [`ChannelsByDelegate`](super::ChannelsByDelegate) → [`ChannelIds`](super::ChannelIds).
pub const GET_CHANNELS_BY_DELEGATE: &str = "xbr.marketmaker.get_channels_by_delegate";
/// [`ByChannel`](super::ByChannel) → [`ChannelInfo`](super::ChannelInfo), or [`error::NO_SUCH_OBJECT`].
pub const GET_PAYING_CHANNEL: &str = "xbr.marketmaker.get_paying_channel";
/// [`ByChannel`](super::ByChannel) → [`ChannelInfo`](super::ChannelInfo), or [`error::NO_SUCH_OBJECT`].
pub const GET_PAYMENT_CHANNEL: &str = "xbr.marketmaker.get_payment_channel";
/// [`ByChannel`](super::ByChannel) → [`ChannelBalance`](super::ChannelBalance), or [`error::NO_SUCH_OBJECT`].
pub const GET_PAYING_CHANNEL_BALANCE: &str = "xbr.marketmaker.get_paying_channel_balance";
/// [`ByChannel`](super::ByChannel) → [`ChannelBalance`](super::ChannelBalance), or [`error::NO_SUCH_OBJECT`].
pub const GET_PAYMENT_CHANNEL_BALANCE: &str = "xbr.marketmaker.get_payment_channel_balance";
/// [`PlaceOffer`](super::PlaceOffer) → [`OfferInfo`](super::OfferInfo).
pub const PLACE_OFFER: &str = "xbr.marketmaker.place_offer";
/// [`ByOffer`](super::ByOffer) → [`OfferInfo`](super::OfferInfo), or [`error::NO_SUCH_OBJECT`].
pub const GET_OFFER: &str = "xbr.marketmaker.get_offer";
/// [`ByKey`](super::ByKey) → [`OfferInfo`](super::OfferInfo).
pub const REVOKE_OFFER: &str = "xbr.marketmaker.revoke_offer";
/// [`OpenChannel`](super::OpenChannel) → [`ChannelInfo`](super::ChannelInfo).
pub const OPEN_CHANNEL: &str = "xbr.marketmaker.open_channel";
/// [`MarketCloseRequest`](super::MarketCloseRequest) → [`ChannelClosing`](super::ChannelClosing).
pub const CLOSE_CHANNEL: &str = "xbr.marketmaker.close_channel";
/// [`ByKey`](super::ByKey) → [`Quote`](super::Quote).
pub const GET_QUOTE: &str = "xbr.marketmaker.get_quote";
/// [`BuyRequest`](super::BuyRequest) → [`BuyReceipt`](super::BuyReceipt).
pub const BUY_KEY: &str = "xbr.marketmaker.buy_key";

/// Topic of [`OnStatus`](super::OnStatus).
pub const ON_STATUS: &str = "xbr.marketmaker.on_status";
/// Topic of an [`OfferInfo`](super::OfferInfo).
pub const ON_OFFER_PLACED: &str = "xbr.marketmaker.on_offer_placed";
/// Topic of an [`OfferInfo`](super::OfferInfo).
pub const ON_OFFER_REVOKED: &str = "xbr.marketmaker.on_offer_revoked";
/// Topic of a [`ByChannel`](super::ByChannel).
pub const ON_PAYING_CHANNEL_EMPTY: &str = "xbr.marketmaker.on_paying_channel_empty";
/// Topic of a [`ChannelClosing`](super::ChannelClosing).
pub const ON_PAYING_CHANNEL_CLOSING: &str = "xbr.marketmaker.on_paying_channel_closing";
/// Topic of a [`ByChannel`](super::ByChannel).
pub const ON_PAYMENT_CHANNEL_EMPTY: &str = "xbr.marketmaker.on_payment_channel_empty";
/// Topic of a [`ChannelClosing`](super::ChannelClosing).
pub const ON_PAYMENT_CHANNEL_CLOSING: &str = "xbr.marketmaker.on_payment_channel_closing";

/// The seller's procedure that sells a key: [`SellRequest`](super::SellRequest) →
/// [`SellReceipt`](super::SellReceipt).
pub fn sell(provider: &ProviderId) -> String {
    format!("xbr.provider.{provider}.sell")
}

/// The seller's procedure that agrees to a close: [`CloseRequest`](super::CloseRequest) →
/// [`CloseReceipt`](super::CloseReceipt).
pub fn close_channel(provider: &ProviderId) -> String {
    format!("xbr.provider.{provider}.close_channel")
}

/// Topic of [`OnChannelClosed`](super::OnChannelClosed), published by the market maker.
pub fn on_channel_closed(provider: &ProviderId) -> String {
    format!("xbr.provider.{provider}.on_channel_closed")
}

/// Errors that the market maker answers with and a caller has to tell apart.
pub mod error {
    /// An unknown channel, key or offer.
    pub const NO_SUCH_OBJECT: &str = "crossbar.error.no_such_object";
    /// Anything that upstream did not foresee; "key already offered" comes as this one.
    pub const RUNTIME_ERROR: &str = "wamp.error.runtime_error";
    /// `close_channel` of an unknown channel.
    pub const INVALID_CHANNEL: &str = "xbr.error.invalid_channel";
    /// A signature that is not the expected signer's.
    pub const INVALID_SIGNATURE: &str = "xbr.error.invalid_signature";
    /// `close_channel` of a channel that is closing or closed.
    pub const CHANNEL_NOT_OPEN: &str = "xbr.error.channel_not_open";
    /// `get_quote` and `buy_key` of an offer that has expired.
    pub const OFFER_EXPIRED: &str = "xbr.error.offer_expired";
    /// `get_quote` and `buy_key` of a key of which no copies are left.
    pub const SOLD_OUT: &str = "xbr.error.offer_sold_out";
}
