//! The procedures of the market maker: under which URI each is registered, and how its arguments are read.

use xbr_core::Value;
use xbr_core::wire::{
    BuyRequest, ByChannel, ByDelegate, ByKey, ByOffer, ChannelType, ChannelsByDelegate, GetConfig, GetStatus,
    MarketCloseRequest, OpenChannel, PlaceOffer, uri,
};

use super::reject::{
    BuyReject, CloseReject, MakerReject, OfferReject, OpenReject, QueryReject, RevokeReject,
};

/// A call of the market maker's, its arguments read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `get_config`.
    Config(GetConfig),
    /// `get_status`.
    Status(GetStatus),
    /// `get_active_payment_channel`, `get_active_paying_channel`.
    ActiveChannel(ChannelType, ByDelegate),
    /// `get_channels_by_delegate`.
    Channels(ChannelsByDelegate),
    /// `get_payment_channel`, `get_paying_channel`.
    Channel(ChannelType, ByChannel),
    /// `get_payment_channel_balance`, `get_paying_channel_balance`.
    Balance(ChannelType, ByChannel),
    /// `get_offer`.
    Offer(ByOffer),
    /// `get_quote`.
    Quote(ByKey),
    /// `place_offer`.
    Place(Box<PlaceOffer>),
    /// `revoke_offer`.
    Revoke(ByKey),
    /// `buy_key`.
    Buy(Box<BuyRequest>),
    /// `close_channel`.
    Close(Box<MarketCloseRequest>),
    /// `open_channel`.
    Open(Box<OpenChannel>),
}

impl Request {
    /// That it cannot be answered now.
    pub(super) fn unavailable(&self, reason: &'static str) -> MakerReject {
        match self {
            Self::Buy(_) => BuyReject::Unavailable { reason }.into(),
            Self::Place(_) => OfferReject::Unavailable { reason }.into(),
            Self::Revoke(_) => RevokeReject::Unavailable { reason }.into(),
            Self::Close(_) => CloseReject::Unavailable { reason }.into(),
            Self::Open(_) => OpenReject::Unavailable { reason }.into(),
            _ => QueryReject::Unavailable { reason }.into(),
        }
    }
}

/// Reads the arguments of a call.
type Parse = fn(&[Value], &[(String, Value)]) -> Result<Request, MakerReject>;

/// How arguments are read, and which error says that they cannot be.
macro_rules! parse {
    ($request:ident, $reject:ident, |$parsed:ident| $make:expr) => {
        |args, kwargs| {
            $request::parse(args, kwargs).map(|$parsed| $make).map_err(|error| $reject::from(error).into())
        }
    };
}

/// All procedures.
pub(super) const PROCEDURES: [(&str, Parse); 16] = [
    (uri::GET_CONFIG, parse!(GetConfig, QueryReject, |it| Request::Config(it))),
    (uri::GET_STATUS, parse!(GetStatus, QueryReject, |it| Request::Status(it))),
    (
        uri::GET_ACTIVE_PAYMENT_CHANNEL,
        parse!(ByDelegate, QueryReject, |it| Request::ActiveChannel(ChannelType::Payment, it)),
    ),
    (
        uri::GET_ACTIVE_PAYING_CHANNEL,
        parse!(ByDelegate, QueryReject, |it| Request::ActiveChannel(ChannelType::Paying, it)),
    ),
    (uri::GET_CHANNELS_BY_DELEGATE, parse!(ChannelsByDelegate, QueryReject, |it| Request::Channels(it))),
    (
        uri::GET_PAYMENT_CHANNEL,
        parse!(ByChannel, QueryReject, |it| Request::Channel(ChannelType::Payment, it)),
    ),
    (uri::GET_PAYING_CHANNEL, parse!(ByChannel, QueryReject, |it| Request::Channel(ChannelType::Paying, it))),
    (
        uri::GET_PAYMENT_CHANNEL_BALANCE,
        parse!(ByChannel, QueryReject, |it| Request::Balance(ChannelType::Payment, it)),
    ),
    (
        uri::GET_PAYING_CHANNEL_BALANCE,
        parse!(ByChannel, QueryReject, |it| Request::Balance(ChannelType::Paying, it)),
    ),
    (uri::GET_OFFER, parse!(ByOffer, QueryReject, |it| Request::Offer(it))),
    (uri::GET_QUOTE, parse!(ByKey, QueryReject, |it| Request::Quote(it))),
    (uri::PLACE_OFFER, parse!(PlaceOffer, OfferReject, |it| Request::Place(Box::new(it)))),
    (uri::REVOKE_OFFER, parse!(ByKey, RevokeReject, |it| Request::Revoke(it))),
    (uri::BUY_KEY, parse!(BuyRequest, BuyReject, |it| Request::Buy(Box::new(it)))),
    (uri::CLOSE_CHANNEL, parse!(MarketCloseRequest, CloseReject, |it| Request::Close(Box::new(it)))),
    (uri::OPEN_CHANNEL, parse!(OpenChannel, OpenReject, |it| Request::Open(Box::new(it)))),
];
