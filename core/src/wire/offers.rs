//! Placing and revoking offers, and offers as the market maker tells about them.

use super::form::{Bound, dictionary, request};
use super::{Args, Field, Kwargs, MarketDomain, Pairs};
use crate::amount::Amount;
use crate::crypto::SignError;
use crate::eip712::{Eip712, Offer};
use crate::ids::{Address, ApiId, KeyId, OfferId, ProviderId, Signature};
use crate::offer::{KeyOffer, MAX_VALIDITY, MIN_VALIDITY};
use crate::reject::ArgumentError;
use crate::signer::Signer;
use crate::value::Value;

/// The arguments of `place_offer` in the order of the market maker, the first six of which must be there.
const PLACE_OFFER: &[&str] = &[
    "key_id",
    "api_id",
    "uri",
    "valid_from",
    "delegate_adr",
    "delegate_signature",
    "privkey",
    "price",
    "categories",
    "expires",
    "copies",
    "provider_id",
];

request!(
    /// The argument of `revoke_offer` and `get_quote`.
    ByKey {
        /// The key.
        key_id: KeyId = "key_id",
    }
);

request!(
    /// The argument of `get_offer`.
    ByOffer {
        /// The market maker's name for the offer.
        offer_id: OfferId = "offer_id",
    }
);

/// What a delegate offers: the one place that both the call and the message that is signed are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedOffer {
    /// The offer.
    pub offer: KeyOffer,
    /// The seller's delegate.
    pub delegate: Address,
    /// Under which name its procedures are registered.
    pub provider_id: ProviderId,
}

impl UnsignedOffer {
    /// The message that the delegate signs; `expires` and `copies` are 0 when unset.
    pub fn message(&self, domain: &MarketDomain) -> Offer {
        Offer {
            chain_id: domain.chain_id,
            verifying_contract: domain.verifying_contract,
            market_id: domain.market_id,
            key_id: self.offer.key_id,
            api_id: self.offer.api_id,
            uri: self.offer.uri.as_str().to_owned(),
            valid_from: self.offer.valid_from_ns,
            delegate: self.delegate,
            price: self.offer.price,
            expires: self.offer.expires_ns.unwrap_or(0),
            copies: self.offer.copies.unwrap_or(0),
            provider_id: self.provider_id.clone(),
        }
    }

    /// The call, signed.
    ///
    /// # Errors
    /// Those of the signer.
    pub fn sign(self, domain: &MarketDomain, signer: &dyn Signer) -> Result<PlaceOffer, SignError> {
        let signature = self.message(domain).sign(signer)?;
        Ok(PlaceOffer { unsigned: self, signature })
    }
}

/// The arguments of `place_offer`: six positional ones, the rest keywords. What is unset is left out, and
/// price and provider are always there: the market maker stores an offer without a price as free, and one
/// without a provider as `None`, which nobody answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOffer {
    /// What is offered.
    pub unsigned: UnsignedOffer,
    /// The delegate's signature over [`UnsignedOffer::message`].
    pub signature: Signature,
}

impl PlaceOffer {
    /// Parses the arguments of a call, each by position or by keyword, as the market maker does. A data key
    /// handed to it (`privkey`) is checked and dropped, as it does too; no copies, or 0 of them, means
    /// without limit.
    ///
    /// An offer without a price is free, as with the reference. Stricter than the reference in one thing that
    /// no seller wants: an offer without a provider is refused.
    ///
    /// # Errors
    /// [`ArgumentError`] for arguments that are missing or too many, or have another type, length or form.
    pub fn parse(args: &[Value], kwargs: &[(String, Value)]) -> Result<Self, ArgumentError> {
        let bound = Bound::new(PLACE_OFFER, args, kwargs)?;
        let offer = KeyOffer {
            key_id: bound.required("key_id")?,
            api_id: bound.required("api_id")?,
            uri: bound.required("uri")?,
            valid_from_ns: bound.required("valid_from")?,
            price: bound.optional("price")?.unwrap_or_default(),
            categories: bound.optional::<Pairs<String>>("categories")?.unwrap_or_default(),
            expires_ns: bound.optional("expires")?,
            copies: bound.optional("copies")?.filter(|copies| *copies != 0),
        };
        // 32 bytes like an amount; read only to be checked.
        bound.optional::<Amount>("privkey")?;
        let provider_id =
            bound.optional("provider_id")?.ok_or(ArgumentError::Missing { name: "provider_id" })?;
        let unsigned = UnsignedOffer { offer, delegate: bound.required("delegate_adr")?, provider_id };
        Ok(Self { unsigned, signature: bound.required("delegate_signature")? })
    }

    /// Checks when the offer expires: at least five minutes after it becomes valid, and at most a day after
    /// `now_ns`, Unix time in nanoseconds.
    ///
    /// # Errors
    /// [`ArgumentError::Range`] when the market maker would not take it.
    pub fn check_expiry(&self, now_ns: u64) -> Result<(), ArgumentError> {
        let Some(expires) = self.unsigned.offer.expires_ns else { return Ok(()) };
        let expected = "from 5 min after valid_from to 24 h ahead";
        let validity = u128::from(expires).checked_sub(self.unsigned.offer.valid_from_ns.into());
        let ahead = u128::from(expires).saturating_sub(now_ns.into());
        if validity.is_some_and(|ns| ns >= MIN_VALIDITY.as_nanos()) && ahead <= MAX_VALIDITY.as_nanos() {
            return Ok(());
        }
        Err(ArgumentError::Range { name: "expires", expected })
    }

    /// The positional arguments of a call.
    pub fn to_args(&self) -> Args {
        let offer = &self.unsigned.offer;
        vec![
            offer.key_id.encode(),
            offer.api_id.encode(),
            offer.uri.encode(),
            offer.valid_from_ns.encode(),
            self.unsigned.delegate.encode(),
            self.signature.encode(),
        ]
    }

    /// The keyword arguments of a call.
    pub fn to_kwargs(&self) -> Kwargs {
        let offer = &self.unsigned.offer;
        let categories = Some(&offer.categories).filter(|categories| !categories.is_empty());
        [
            ("price", Some(offer.price.encode())),
            ("categories", categories.map(Field::encode)),
            ("expires", offer.expires_ns.map(Value::from)),
            ("copies", offer.copies.map(Value::from)),
            ("provider_id", Some(self.unsigned.provider_id.encode())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

dictionary!(
    /// An offer as the market maker stores it: the result of `place_offer` and `revoke_offer`, and the events
    /// `on_offer_placed` and `on_offer_revoked`.
    OfferInfo {
        /// The market maker's name for the offer.
        offer_id: OfferId = Required "offer",
        /// The seller's delegate.
        seller: Address = Required "seller",
        /// Under which name the seller's procedures are registered: its `provider_id`.
        provider_id: Option<String> = Optional "seller_authid",
        /// The WAMP session that placed it.
        seller_session_id: Option<u64> = Optional "seller_session_id",
        /// The key.
        key_id: KeyId = Required "key",
        /// The API that it belongs to.
        api_id: ApiId = Required "api",
        /// The URI, or prefix of URIs, of the payloads.
        uri: String = Required "uri",
        /// The price of the key.
        price: Amount = Lenient "price",
        /// Free-form labels.
        categories: Pairs<String> = Labels "categories",
        /// When it was placed, Unix time in ns.
        timestamp_ns: Option<u64> = Optional "timestamp",
        /// From when on it is valid, Unix time in ns.
        valid_from_ns: Option<u64> = NonZero "valid_from",
        /// When it expires, Unix time in ns; `None`: never.
        expires_ns: Option<u64> = NonZero "expires",
        /// How many times the key may be sold; `None`: without limit.
        copies: Option<u64> = NonZero "copies",
        /// How many of those are left; says nothing when there is no limit.
        remaining: Option<u64> = Optional "remaining",
        /// The delegate's signature over the offer.
        signature: Option<Signature> = Optional "signature",
    }
);
