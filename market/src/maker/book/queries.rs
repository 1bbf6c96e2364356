//! What the market maker tells about its books.

use xbr_core::ids::OfferId;
use xbr_core::wire::{ChannelBalance, ChannelIds, ChannelInfo, ChannelType, ChannelsByDelegate, Quote};
use xbr_core::{Address, ChannelId, KeyId};

use super::Book;
use crate::maker::account::Account;
use crate::maker::offer::Offer;
use crate::maker::reject::QueryReject;

impl Book {
    /// `get_active_payment_channel` and `get_active_paying_channel`: the oldest that is open, with something
    /// remaining.
    pub fn active_channel(&self, kind: ChannelType, delegate: Address) -> Option<ChannelInfo> {
        let mut channels = self.channels_of(kind, delegate);
        channels.find(|account| account.is_active()).map(|account| account.info(&self.market))
    }

    /// `get_channels_by_delegate`.
    pub fn channels_by_delegate(&self, request: &ChannelsByDelegate) -> ChannelIds {
        let channels = self.channels_of(request.channel_type, request.delegate);
        let wanted = channels.filter(|account| !request.filter_open || account.is_active());
        ChannelIds(wanted.map(|account| account.channel_id).collect())
    }

    /// `get_payment_channel` and `get_paying_channel`.
    ///
    /// # Errors
    /// [`QueryReject::NoSuchChannel`] when there is none, or it is of the other type.
    pub fn channel(&self, kind: ChannelType, channel_id: ChannelId) -> Result<ChannelInfo, QueryReject> {
        self.account_of(kind, channel_id).map(|account| account.info(&self.market))
    }

    /// `get_payment_channel_balance` and `get_paying_channel_balance`.
    ///
    /// # Errors
    /// [`QueryReject::NoSuchChannel`] when there is none, or it is of the other type.
    pub fn balance(&self, kind: ChannelType, channel_id: ChannelId) -> Result<ChannelBalance, QueryReject> {
        self.account_of(kind, channel_id).map(Account::balance)
    }

    /// `get_offer`.
    ///
    /// # Errors
    /// [`QueryReject::NoOffer`].
    pub fn offer_by_id(&self, offer_id: OfferId) -> Result<&Offer, QueryReject> {
        let key_id = self.offer_keys.get(&offer_id);
        key_id.and_then(|key_id| self.offers.get(key_id)).ok_or(QueryReject::NoOffer)
    }

    /// `get_quote`.
    ///
    /// # Errors
    /// [`QueryReject::NoOffer`], [`QueryReject::OfferExpired`], [`QueryReject::SoldOut`].
    pub fn quote(&self, key_id: KeyId, now_ns: u64) -> Result<Quote, QueryReject> {
        let offer = self.offers.get(&key_id).ok_or(QueryReject::NoOffer)?;
        match () {
            () if offer.is_expired(now_ns) => Err(QueryReject::OfferExpired),
            () if offer.is_sold_out() => Err(QueryReject::SoldOut),
            () => Ok(offer.quote(now_ns)),
        }
    }

    fn account_of(&self, kind: ChannelType, channel_id: ChannelId) -> Result<&Account, QueryReject> {
        let account = self.accounts.get(&channel_id).filter(|account| account.kind == kind);
        account.ok_or(QueryReject::NoSuchChannel)
    }
}
