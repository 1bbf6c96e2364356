//! The cryptography of a sale: secretbox for payloads, sealed boxes for data keys, recoverable signatures for
//! channel states, and the Keccak-256 hash that addresses and EIP-712 are made of.
//!
//! Two backends with identical signatures do the work: [`native`] (libsodium and libsecp256k1; the default)
//! and `portable` (pure Rust). The functions of the one that serves are re-exported here; with both
//! features on that is the native one, and tests check each against the other. Nothing here keeps state
//! that a result depends on.

use rand::RngCore;
use sha3::{Digest, Keccak256};
use thiserror::Error;

use crate::ids::{Address, BuyerKey, Signature};

#[cfg(not(any(feature = "native", feature = "portable")))]
compile_error!("xbr-core needs a crypto backend: enable the feature `native` (default) or `portable`");

#[cfg(feature = "native")]
pub mod native;
#[cfg(feature = "portable")]
pub mod portable;

#[cfg(feature = "native")]
pub use native::{
    SigningKey, recover_public_key, sealed_box_open, sealed_box_open_with, sealed_box_public_key,
    sealed_box_seal, sealed_box_seal_with, secretbox_open, secretbox_seal, secretbox_seal_encoded, sign,
};
#[cfg(all(feature = "portable", not(feature = "native")))]
pub use portable::{
    SigningKey, recover_public_key, sealed_box_open, sealed_box_open_with, sealed_box_public_key,
    sealed_box_seal, sealed_box_seal_with, secretbox_open, secretbox_seal, secretbox_seal_encoded, sign,
};

/// Bytes of the random nonce in front of a secretbox.
pub const NONCE_LEN: usize = 24;
/// Bytes of the authentication tag of a secretbox and of a sealed box.
pub const MAC_LEN: usize = 16;
/// How many bytes a secretbox is longer than its plaintext: nonce and tag.
pub const SECRETBOX_OVERHEAD: usize = NONCE_LEN + MAC_LEN;
/// How many bytes a sealed box is longer than its plaintext: ephemeral public key and tag.
pub const SEALED_BOX_OVERHEAD: usize = 32 + MAC_LEN;

/// The order n of the secp256k1 group, big-endian: r, s and secret keys are below it.
const GROUP_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
/// (n - 1) / 2, big-endian: the greatest s that counts as low.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// The u-coordinates of the points of low order on Curve25519, little-endian, with the ignored top bit clear:
/// 0, 1, the two of order 8, p - 1, and p and p + 1 (0 and 1, not reduced). No other encoding gives one of
/// them.
const LOW_ORDER: [[u8; 32]; 7] = [
    edge(0x00, 0x00, 0x00),
    edge(0x01, 0x00, 0x00),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    edge(0xec, 0xff, 0x7f),
    edge(0xed, 0xff, 0x7f),
    edge(0xee, 0xff, 0x7f),
];

/// A number near 0 or near p = 2^255 - 19: its lowest byte, the 30 bytes between, its highest byte.
const fn edge(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Why nothing can be sealed to a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The key is of low order (all zero is one of them): the box could be opened by anybody.
    #[error("buyer_pubkey is a curve25519 point of low order")]
    LowOrder,
}

/// Why a secretbox or a sealed box cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Shorter than an empty one.
    #[error("box must be at least {expected} bytes, got {actual}")]
    TooShort {
        /// The length of an empty box.
        expected: usize,
        /// How many bytes there were.
        actual: usize,
    },
    /// Changed on the way, or made for another key.
    #[error("box does not open with this key")]
    Forged,
}

/// Why bytes or a text are not a secp256k1 secret key. Never says what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not 64 hex digits, with or without `0x`.
    #[error("secret key must be 64 hex digits")]
    Hex,
    /// A byte string of the wrong length.
    #[error("secret key must be 32 bytes, got {actual}")]
    Length {
        /// How many bytes there were.
        actual: usize,
    },
    /// Zero, or not below the order of the group.
    #[error("secret key is zero or not below the group order")]
    Range,
}

/// Why a digest could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// The secret key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The nonce point has no v of 27 or 28; happens for one digest in 2^127.
    #[error("signature of this digest has no v of 27 or 28")]
    Unrepresentable,
    /// A signer outside this process did not answer.
    #[error("signer is not available")]
    Unavailable,
}

/// Why no signer can be recovered from a signature, in the order in which it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecoverError {
    /// v is neither 27 nor 28.
    #[error("signature v must be 27 or 28, got {actual}")]
    V {
        /// The v there was.
        actual: u8,
    },
    /// r is zero or not below the group order.
    #[error("signature r is out of range")]
    R,
    /// s is zero or not below the group order.
    #[error("signature s is out of range")]
    S,
    /// s is in the upper half of its range, where every signature has a twin (EIP-2).
    #[error("signature s is not low")]
    HighS,
    /// No point has this r, or the recovered key is the point at infinity.
    #[error("signature has no public key")]
    NoPublicKey,
}

/// Where nonces and keys come from. A test passes a sequence of its own; everything else
/// [`UserspaceEntropy`].
pub trait Entropy: Send + Sync {
    /// Fills the whole slice with bytes that nobody can predict.
    fn fill(&self, bytes: &mut [u8]);
}

/// A ChaCha generator per thread, seeded and re-seeded by the operating system: a call to the kernel for each
/// nonce would cost as much as encrypting 64 bytes.
///
/// # Panics
/// [`fill`](Entropy::fill) panics when the operating system has no entropy for the seed: there is no safe way
/// on.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserspaceEntropy;

impl Entropy for UserspaceEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Whether a public key is a point of low order, all zero included: whatever is sealed to it, anybody can
/// open.
pub fn is_low_order(public: &BuyerKey) -> bool {
    let mut masked = *public.as_bytes();
    masked[31] &= 0x7f;
    LOW_ORDER.contains(&masked)
}

/// The Keccak-256 hash (Ethereum's; not the SHA3-256 of the standard).
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// The address of a public key, which is 64 bytes, without the 04 prefix.
pub fn address_of(public_key: &[u8; 64]) -> Address {
    let hash = keccak256(public_key);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    Address::new(address)
}

/// The address of whoever signed the digest.
///
/// # Errors
/// [`RecoverError`] when v is neither 27 nor 28, r or s is out of range, s is not low, or there is no such
/// key.
pub fn recover(digest: &[u8; 32], signature: &Signature) -> Result<Address, RecoverError> {
    recover_public_key(digest, signature).map(|public_key| address_of(&public_key))
}

/// The parts of a signature that follows the rules of Ethereum: r and s side by side, and 0 or 1 for v.
fn checked_parts(signature: &Signature) -> Result<([u8; 64], u8), RecoverError> {
    let bytes = signature.as_bytes();
    let mut compact = [0; 64];
    compact.copy_from_slice(&bytes[..64]);
    let (r, s, v) = (&bytes[..32], &bytes[32..64], bytes[64]);
    let in_range = |part: &[u8]| part < GROUP_ORDER.as_slice() && part.iter().any(|byte| *byte != 0);
    match v {
        27 | 28 if !in_range(r) => Err(RecoverError::R),
        27 | 28 if !in_range(s) => Err(RecoverError::S),
        27 | 28 if s > HALF_ORDER.as_slice() => Err(RecoverError::HighS),
        27 | 28 => Ok((compact, v - 27)),
        actual => Err(RecoverError::V { actual }),
    }
}

/// The 65 bytes of a signature from its parts.
fn signature_from_parts(compact: &[u8; 64], recovery_id: u8) -> Result<Signature, SignError> {
    if recovery_id > 1 {
        return Err(SignError::Unrepresentable);
    }
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(compact);
    bytes[64] = 27 + recovery_id;
    Ok(Signature::new(bytes))
}

/// A box cut into what comes in front (a nonce or a public key) and the rest, which begins with the tag.
fn split_box<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), OpenError> {
    let too_short = OpenError::TooShort { expected: N + MAC_LEN, actual: bytes.len() };
    match bytes.split_first_chunk::<N>() {
        Some((head, rest)) if rest.len() >= MAC_LEN => Ok((head, rest)),
        _ => Err(too_short),
    }
}
