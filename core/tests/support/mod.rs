//! What the crypto tests share: the backends that are built in, behind one set of function pointers. That it
//! compiles shows that their signatures are identical.
#![allow(dead_code, clippy::type_complexity)]

use xbr_core::crypto::{KeyError, OpenError, RecoverError, SealError, SignError};
use xbr_core::{BuyerKey, Signature};

/// The encoder of [`Backend::secretbox_seal_encoded`] fails halfway through this plaintext.
pub(crate) const UNENCODABLE: &[u8] = b"unencodable";

/// A backend.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) secretbox_seal: fn(&[u8; 32], &[u8; 24], &[u8]) -> Vec<u8>,
    pub(crate) secretbox_seal_encoded: fn(&[u8; 32], &[u8; 24], &[u8]) -> Result<Vec<u8>, ()>,
    pub(crate) secretbox_open: fn(&[u8; 32], &[u8]) -> Result<Vec<u8>, OpenError>,
    pub(crate) sealed_box_seal: fn(&BuyerKey, &[u8]) -> Result<Vec<u8>, SealError>,
    pub(crate) sealed_box_seal_with: fn(&[u8; 32], &BuyerKey, &[u8]) -> Result<Vec<u8>, SealError>,
    pub(crate) sealed_box_open: fn(&[u8; 32], &[u8]) -> Result<Vec<u8>, OpenError>,
    pub(crate) sealed_box_open_with: fn(&[u8; 32], &BuyerKey, &[u8]) -> Result<Vec<u8>, OpenError>,
    pub(crate) sealed_box_public_key: fn(&[u8; 32]) -> BuyerKey,
    pub(crate) public_key: fn(&[u8; 32]) -> Result<[u8; 64], KeyError>,
    pub(crate) sign: fn(&[u8; 32], &[u8; 32]) -> Result<Signature, SignError>,
    pub(crate) recover_public_key: fn(&[u8; 32], &Signature) -> Result<[u8; 64], RecoverError>,
}

macro_rules! backend {
    ($name:ident) => {
        Backend {
            name: stringify!($name),
            secretbox_seal: xbr_core::crypto::$name::secretbox_seal,
            secretbox_seal_encoded: |key, nonce, plaintext| {
                xbr_core::crypto::$name::secretbox_seal_encoded(key, nonce, |out| {
                    out.extend_from_slice(plaintext);
                    if plaintext == UNENCODABLE { Err(()) } else { Ok(()) }
                })
            },
            secretbox_open: xbr_core::crypto::$name::secretbox_open,
            sealed_box_seal: xbr_core::crypto::$name::sealed_box_seal,
            sealed_box_seal_with: xbr_core::crypto::$name::sealed_box_seal_with,
            sealed_box_open: xbr_core::crypto::$name::sealed_box_open,
            sealed_box_open_with: xbr_core::crypto::$name::sealed_box_open_with,
            sealed_box_public_key: xbr_core::crypto::$name::sealed_box_public_key,
            public_key: |secret| {
                xbr_core::crypto::$name::SigningKey::from_bytes(secret).map(|key| key.public_key())
            },
            sign: xbr_core::crypto::$name::sign,
            recover_public_key: xbr_core::crypto::$name::recover_public_key,
        }
    };
}

/// The backends that are built in: both with `--all-features`.
pub(crate) const BACKENDS: &[Backend] = &[
    #[cfg(feature = "native")]
    backend!(native),
    #[cfg(feature = "portable")]
    backend!(portable),
];
