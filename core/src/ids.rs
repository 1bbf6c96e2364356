//! Typed identifiers. Each is made from bytes (or text) in exactly one place, which checks length and form; code
//! behind that edge never sees a wrong length. All are plain values: copying one shares nothing.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::{Builder, Uuid};

use crate::crypto::Entropy;

/// Why bytes or a text are not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// A byte string of the wrong length.
    #[error("{what} must be {expected} bytes, got {actual}")]
    Length {
        /// The kind of identifier.
        what: &'static str,
        /// How many bytes it has.
        expected: usize,
        /// How many bytes there were.
        actual: usize,
    },
    /// A text that is not the textual form of the identifier.
    #[error("{what} must be {expected}, got {actual:?}")]
    Text {
        /// The kind of identifier.
        what: &'static str,
        /// The textual form, described.
        expected: &'static str,
        /// The text there was, cut to 100 characters.
        actual: String,
    },
}

impl IdError {
    fn text(what: &'static str, expected: &'static str, actual: &str) -> Self {
        Self::Text { what, expected, actual: actual.chars().take(100).collect() }
    }
}

fn array<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], IdError> {
    bytes.try_into().map_err(|_| IdError::Length { what, expected: N, actual: bytes.len() })
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The length in bytes.
            pub const LEN: usize = $len;

            /// From an array of the right length.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// From a byte string.
            ///
            /// # Errors
            /// [`IdError::Length`] when it has another length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                array($what, bytes).map(Self)
            }

            /// The bytes, as they are on the wire.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        byte_id!($(#[$doc])* $name, 16, $what);

        impl $name {
            /// A random identifier (UUID version 4, from the operating system's entropy).
            pub fn random() -> Self {
                Self(Uuid::new_v4().into_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text)
                    .map(|uuid| Self(uuid.into_bytes()))
                    .map_err(|_| IdError::text($what, "a UUID", text))
            }
        }
    };
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal, $form:literal) => {
        byte_id!($(#[$doc])* $name, $len, $what);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
                    .map(|()| Self(bytes))
                    .map_err(|_| IdError::text($what, $form, text))
            }
        }
    };
}

uuid_id!(
    /// A data key: 16 bytes, a UUID. Every rotation makes a new one, by [`KeyId::made_at`].
    KeyId,
    "key_id"
);

impl KeyId {
    /// The identifier of a key that is made at this Unix time in ns: a UUID version 7, which begins with the time in
    /// ms and has 74 random bits. Keys of one time so lie side by side in the index of an archive, and storing one
    /// writes to the few pages that the ones before it have written to. An offer says the time as well.
    pub fn made_at(unix_ns: u64, entropy: &dyn Entropy) -> Self {
        let mut random = [0; 10];
        entropy.fill(&mut random);
        Self(Builder::from_unix_timestamp_millis(unix_ns / 1_000_000, &random).into_uuid().into_bytes())
    }
}

uuid_id!(
    /// An API, the unit that is priced and sold: 16 bytes, a UUID.
    ApiId,
    "api_id"
);
uuid_id!(
    /// A payment or paying channel (`channel_oid`): 16 bytes, a UUID.
    ChannelId,
    "channel_oid"
);
uuid_id!(
    /// A data market (`market_oid`): 16 bytes, a UUID.
    MarketId,
    "market_oid"
);
uuid_id!(
    /// A catalog of APIs, which a consent is about: 16 bytes, a UUID.
    CatalogId,
    "catalog_oid"
);
uuid_id!(
    /// An offer, as the market maker names it: 16 bytes, a UUID.
    OfferId,
    "offer_id"
);
hex_id!(
    /// An Ethereum address: 20 bytes, the end of the Keccak-256 hash of the public key. Shown as `0x` and 40 hex
    /// digits; both cases are read, and a checksum in the case is not insisted on.
    Address,
    20,
    "address",
    "0x and 40 hex digits"
);
hex_id!(
    /// A buyer's Curve25519 (X25519) public key, 32 bytes. The reference calls it "Ed25519", which it is not.
    BuyerKey,
    32,
    "buyer_pubkey",
    "0x and 64 hex digits"
);
hex_id!(
    /// A recoverable secp256k1 signature, 65 bytes: r (32), s (32), v (1). That v is 27 or 28 and s low is checked
    /// when the signer is recovered.
    Signature,
    65,
    "signature",
    "0x and 130 hex digits"
);

/// The sequence number of a channel state: `uint32`, as EIP-712 signs it. A fresh channel stands at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSeq(u32);

impl ChannelSeq {
    /// From the number.
    pub const fn new(seq: u32) -> Self {
        Self(seq)
    }

    /// The number.
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChannelSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Under which name a provider's procedures are registered (`xbr.provider.<provider_id>.sell`): one valid WAMP URI
/// part, that is `[0-9a-z_]+` by the strict rule of the WAMP specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProviderId(String);

impl ProviderId {
    /// From a text.
    ///
    /// # Errors
    /// [`IdError::Text`] when it is not one strict WAMP URI part of at most 200 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let valid = |c: u8| c.is_ascii_digit() || c.is_ascii_lowercase() || c == b'_';
        if text.is_empty() || text.len() > 200 || !text.bytes().all(valid) {
            return Err(IdError::text("provider_id", "one WAMP URI part of a to z, 0 to 9 and _", &text));
        }
        Ok(Self(text))
    }

    /// The reference's default: `0x` and 128 hex digits of the uncompressed public key, 64 bytes without the 04
    /// prefix.
    pub fn from_public_key(public_key: &[u8; 64]) -> Self {
        Self(format!("0x{}", hex::encode(public_key)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::UserspaceEntropy;

    #[test]
    fn a_wrong_length_never_becomes_an_id() {
        for len in [0, 15, 17, 32] {
            assert_eq!(
                KeyId::from_slice(&vec![0; len]),
                Err(IdError::Length { what: "key_id", expected: 16, actual: len })
            );
        }
        assert!(Address::from_slice(&[1; 20]).is_ok());
    }

    #[test]
    fn text_forms_round_trip() {
        let api: ApiId = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04".parse().unwrap();
        assert_eq!(api.to_string(), "627f1b5c-58c2-43b1-8422-a34f7d3f5a04");
        let address: Address = "0x254dffcd3277C0b1660F6d42EFbB754edaBAbC2B".parse().unwrap();
        assert_eq!(address.to_string(), "0x254dffcd3277c0b1660f6d42efbb754edababc2b");
        assert!("0x254d".parse::<Address>().is_err());
        assert!("not a uuid".parse::<ApiId>().is_err());
    }

    #[test]
    fn key_ids_lie_in_the_order_of_their_times() {
        let ms = |number: u64| KeyId::made_at(number * 1_000_000 + 999_999, &UserspaceEntropy);
        let times = [0, 1, 1_796_000_000_000, u64::MAX / 1_000_000 - 1];
        for (earlier, later) in times.iter().zip(&times[1..]) {
            assert!(ms(*earlier) < ms(*later), "{earlier} {later}");
        }
        for time in times {
            let (one, other) = (ms(time), ms(time));
            assert_ne!(one, other);
            assert_eq!(one.as_bytes()[..6], time.to_be_bytes()[2..]);
            let uuid = Uuid::from_bytes(*one.as_bytes());
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn a_provider_id_is_one_uri_part() {
        for bad in ["", "a.b", "A", "a b", "a#", "é"] {
            assert!(ProviderId::new(bad).is_err(), "{bad:?}");
        }
        assert!(ProviderId::new("provider_1").is_ok());
        assert_eq!(ProviderId::from_public_key(&[0xab; 64]).as_str().len(), 130);
    }
}
