//! An offer of a key as the market maker keeps it. Pure; a changed offer is stored before anybody hears of
//! it.

use std::collections::BTreeMap;

use xbr_core::ids::OfferId;
use xbr_core::offer::UriPrefix;
use xbr_core::wire::{OfferInfo, PlaceOffer, Quote};
use xbr_core::{Address, Amount, ApiId, KeyId, ProviderId, Signature};

/// Who called, as far as the router discloses it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The session.
    pub session: Option<u64>,
    /// The name that it is known to the router by.
    pub authid: Option<String>,
}

impl Caller {
    /// Whether it can be `other`, as far as is known: the same name, or else the same session. Who is not
    /// known can be anybody.
    fn may_be(&self, other: &Self) -> bool {
        match (&self.authid, self.session) {
            (Some(authid), _) => other.authid.as_ref() == Some(authid),
            (None, Some(session)) => other.session == Some(session),
            (None, None) => true,
        }
    }
}

/// An offer of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The key.
    pub key_id: KeyId,
    /// The market maker's name for it.
    pub offer_id: OfferId,
    /// The API that the key belongs to.
    pub api_id: ApiId,
    /// The URI, or prefix of URIs, of the payloads.
    pub uri: UriPrefix,
    /// The seller's delegate.
    pub seller: Address,
    /// Under which name the seller's procedures are registered.
    pub provider_id: ProviderId,
    /// The price of the key; nothing when it is free.
    pub price: Amount,
    /// Free-form labels.
    pub categories: BTreeMap<String, String>,
    /// When it was placed, Unix time in ns.
    pub placed_ns: u64,
    /// From when on it is valid, Unix time in ns.
    pub valid_from_ns: u64,
    /// When it expires, Unix time in ns; `None`: never. A revoked offer expired when it was revoked.
    pub expires_ns: Option<u64>,
    /// How many times the key may be sold; `None`: without limit.
    pub copies: Option<u64>,
    /// How many of those are not sold or reserved.
    pub copies_left: Option<u64>,
    /// The seller's signature over the offer.
    pub signature: Signature,
    /// Who placed it.
    pub placed_by: Caller,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl Offer {
    /// A new one.
    pub(super) fn new(request: PlaceOffer, offer_id: OfferId, placed_by: Caller, now_ns: u64) -> Self {
        let PlaceOffer { unsigned, signature } = request;
        let terms = unsigned.offer;
        Self {
            key_id: terms.key_id,
            offer_id,
            api_id: terms.api_id,
            uri: terms.uri,
            seller: unsigned.delegate,
            provider_id: unsigned.provider_id,
            price: terms.price,
            categories: terms.categories,
            placed_ns: now_ns,
            valid_from_ns: terms.valid_from_ns,
            expires_ns: terms.expires_ns,
            copies: terms.copies,
            copies_left: terms.copies,
            signature,
            placed_by,
            revoked: false,
        }
    }

    /// Whether it has expired, or was revoked.
    pub fn is_expired(&self, now_ns: u64) -> bool {
        self.revoked || self.expires_ns.is_some_and(|expires| expires < now_ns)
    }

    /// Whether every copy is sold or reserved.
    pub fn is_sold_out(&self) -> bool {
        self.copies_left == Some(0)
    }

    /// Whether a caller may revoke it: whoever placed it, as far as the router tells.
    pub fn may_be_revoked_by(&self, caller: &Caller) -> bool {
        self.placed_by.may_be(caller)
    }

    /// The same offer, revoked.
    pub(super) fn revoke(&self, now_ns: u64) -> Self {
        let expires_ns = Some(self.expires_ns.map_or(now_ns, |expires| expires.min(now_ns)));
        Self { expires_ns, revoked: true, ..self.clone() }
    }

    /// The same offer with one copy less.
    pub(super) fn reserve_copy(&self) -> Self {
        Self { copies_left: self.copies_left.map(|left| left.saturating_sub(1)), ..self.clone() }
    }

    /// The same offer with one copy more, up to all of them.
    pub(super) fn give_back_copy(&self) -> Self {
        let left = self.copies_left.map(|left| left.saturating_add(1));
        Self { copies_left: left.min(self.copies), ..self.clone() }
    }

    /// The answer to `get_quote`.
    pub fn quote(&self, now_ns: u64) -> Quote {
        Quote { key_id: self.key_id, price: self.price, timestamp_ns: now_ns, expires_ns: self.expires_ns }
    }

    /// The offer as the market maker tells it.
    pub fn info(&self) -> OfferInfo {
        OfferInfo {
            offer_id: self.offer_id,
            seller: self.seller,
            provider_id: Some(self.provider_id.to_string()),
            seller_session_id: self.placed_by.session,
            key_id: self.key_id,
            api_id: self.api_id,
            uri: self.uri.to_string(),
            price: self.price,
            categories: self.categories.clone(),
            timestamp_ns: Some(self.placed_ns),
            valid_from_ns: Some(self.valid_from_ns),
            expires_ns: self.expires_ns,
            copies: self.copies,
            remaining: self.copies_left,
            signature: Some(self.signature),
        }
    }
}
