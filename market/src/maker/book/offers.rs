//! Offers: placed, revoked, and forgotten some time after they expired.

use std::time::Duration;

use xbr_core::KeyId;
use xbr_core::ids::OfferId;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::PlaceOffer;

use super::{Book, Entry};
use crate::maker::offer::{Caller, Offer};
use crate::maker::reject::{OfferReject, RevokeReject};

/// For how long an expired offer is told from one that never was.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// How many are forgotten at once.
const FORGOTTEN_AT_ONCE: usize = 5000;
/// How many bytes the labels of an offer may have in all.
const MAX_CATEGORIES_BYTES: usize = 4096;

impl Book {
    /// Judges an offer; `signed` says whether the delegate that it names signed it, or nobody wants to know.
    ///
    /// # Errors
    /// The first [`OfferReject`] that applies, in the order of that type.
    pub fn place(
        &self,
        request: PlaceOffer,
        signed: bool,
        offer_id: OfferId,
        placed_by: Caller,
        now_ns: u64,
    ) -> Result<Entry, OfferReject> {
        request.check_expiry(now_ns)?;
        let terms = &request.unsigned.offer;
        let labels = terms.categories.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
        if labels > MAX_CATEGORIES_BYTES {
            let (name, expected) = ("categories", "at most 4096 bytes in all");
            return Err(ArgumentError::Range { name, expected }.into());
        }
        if !signed {
            return Err(OfferReject::InvalidSignature);
        }
        if self.offers.contains_key(&terms.key_id) {
            return Err(OfferReject::AlreadyOffered);
        }
        if self.offers.len() >= self.limits.offers {
            return Err(OfferReject::Unavailable { reason: "too many keys are offered" });
        }
        let offer = Offer::new(request, offer_id, placed_by, now_ns);
        Ok(Entry { offers: vec![offer], ..Entry::default() })
    }

    /// Judges a revocation. `None` when the offer is revoked already.
    ///
    /// # Errors
    /// The first [`RevokeReject`] that applies, in the order of that type.
    pub fn revoke(&self, key_id: KeyId, caller: &Caller, now_ns: u64) -> Result<Option<Entry>, RevokeReject> {
        let offer = self.offers.get(&key_id).ok_or(RevokeReject::NoOffer)?;
        if !offer.may_be_revoked_by(caller) {
            return Err(RevokeReject::NotAuthorized);
        }
        if offer.revoked {
            return Ok(None);
        }
        Ok(Some(Entry { offers: vec![offer.revoke(now_ns)], ..Entry::default() }))
    }

    /// Offers to forget: those that expired an hour ago, the oldest first, 5,000 at the most. `None` when
    /// there are none.
    pub fn forget_expired(&self, now_ns: u64) -> Option<Entry> {
        let remembered = u64::try_from(REMEMBERED.as_nanos()).unwrap_or(u64::MAX);
        let expired =
            self.expiries.iter().take_while(|(expires, _)| *expires < now_ns.saturating_sub(remembered));
        let forgotten: Vec<_> = expired.take(FORGOTTEN_AT_ONCE).map(|(_, key_id)| *key_id).collect();
        (!forgotten.is_empty()).then(|| Entry { forgotten, ..Entry::default() })
    }

    /// How many offers can be bought from now.
    pub fn live_offers(&self, now_ns: u64) -> usize {
        self.offers.len() - self.expiries.range(..(now_ns, KeyId::new([0; 16]))).count()
    }
}
