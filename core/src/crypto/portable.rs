//! The portable backend: pure Rust, no C compiler needed. The independent oracle for the native one in tests.
//!
//! One difference is left: `crypto_box` reduces the ephemeral secret modulo the order of the prime subgroup,
//! so what it seals to a point outside of that group has other bytes than libsodium's. Such a point is
//! nobody's public key.

use std::fmt;

use crypto_box::aead::rand_core::{self, CryptoRng, RngCore};
use crypto_box::aead::{AeadInPlace, KeyInit, OsRng};
use crypto_secretbox::XSalsa20Poly1305;
use k256::ecdsa::{RecoveryId, VerifyingKey};

use super::{
    KeyError, MAC_LEN, NONCE_LEN, OpenError, RecoverError, SEALED_BOX_OVERHEAD, SECRETBOX_OVERHEAD,
    SealError, SignError, checked_parts, is_low_order, signature_from_parts, split_box,
};
use crate::append::append;
use crate::ids::{BuyerKey, Signature};

/// Encrypts with XSalsa20-Poly1305: nonce (24), tag (16), ciphertext. A nonce must never serve twice for a
/// key.
pub fn secretbox_seal(key: &[u8; 32], nonce: &[u8; NONCE_LEN], plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SECRETBOX_OVERHEAD + plaintext.len());
    out.extend_from_slice(&[0; SECRETBOX_OVERHEAD]);
    append(&mut out, plaintext);
    seal_in_place(key, nonce, &mut out);
    out
}

/// [`secretbox_seal`] of what an encoder appends to the vector that it is given. What is in that vector
/// already is not the encoder's to touch.
///
/// # Errors
/// Those of the encoder.
pub fn secretbox_seal_encoded<E>(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut out = vec![0; SECRETBOX_OVERHEAD];
    encode(&mut out)?;
    seal_in_place(key, nonce, &mut out);
    Ok(out)
}

/// Turns 40 bytes of room and a plaintext into a box.
fn seal_in_place(key: &[u8; 32], nonce: &[u8; NONCE_LEN], out: &mut [u8]) {
    let (room, plaintext) = out.split_at_mut(SECRETBOX_OVERHEAD);
    let (head, tail) = room.split_at_mut(NONCE_LEN);
    match XSalsa20Poly1305::new(key.into()).encrypt_in_place_detached(nonce.into(), &[], plaintext) {
        Ok(tag) => {
            head.copy_from_slice(nonce);
            tail.copy_from_slice(&tag);
        }
        Err(_) => unreachable!("a secretbox refuses associated data only, and there is none"),
    }
}

/// Opens what [`secretbox_seal`] made.
///
/// # Errors
/// [`OpenError`] when it is shorter than 40 bytes, was changed, or was made with another key.
pub fn secretbox_open(key: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (nonce, rest) = split_box::<NONCE_LEN>(sealed)?;
    let (tag, ciphertext) = rest.split_at(MAC_LEN);
    let mut plaintext = ciphertext.to_vec();
    XSalsa20Poly1305::new(key.into())
        .decrypt_in_place_detached(nonce.into(), &[], &mut plaintext, tag.into())
        .map_err(|_| OpenError::Forged)?;
    Ok(plaintext)
}

/// Seals to a public key, from nobody: ephemeral public key (32), tag (16), ciphertext. 80 bytes for 32.
///
/// # Errors
/// [`SealError::LowOrder`] for a key of low order in any encoding, all zero included.
pub fn sealed_box_seal(recipient: &BuyerKey, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    seal(&mut OsRng, recipient, plaintext)
}

/// [`sealed_box_seal`] with a given ephemeral secret key, which must be random and never serve twice: for
/// tests and known answers.
///
/// # Errors
/// [`SealError::LowOrder`] for a key of low order in any encoding, all zero included.
pub fn sealed_box_seal_with(
    ephemeral_secret: &[u8; 32],
    recipient: &BuyerKey,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    seal(&mut Given(ephemeral_secret), recipient, plaintext)
}

fn seal<R: CryptoRng + RngCore>(
    rng: &mut R,
    recipient: &BuyerKey,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    if is_low_order(recipient) {
        return Err(SealError::LowOrder);
    }
    match crypto_box::PublicKey::from_bytes(*recipient.as_bytes()).seal(rng, plaintext) {
        Ok(sealed) => Ok(sealed),
        Err(_) => unreachable!("a box refuses associated data only, and there is none"),
    }
}

/// What `crypto_box` takes for randomness when the ephemeral secret key is given: it draws exactly that key.
struct Given<'a>(&'a [u8; 32]);

impl CryptoRng for Given<'_> {}

impl RngCore for Given<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for (to, from) in bytes.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// Opens what [`sealed_box_seal`] made for the public key of this secret key.
///
/// # Errors
/// [`OpenError`] when it is shorter than 48 bytes, was changed, or was sealed to another key.
pub fn sealed_box_open(secret: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (ephemeral_public, _) = split_box::<{ SEALED_BOX_OVERHEAD - MAC_LEN }>(sealed)?;
    if is_low_order(&BuyerKey::new(*ephemeral_public)) {
        return Err(OpenError::Forged);
    }
    crypto_box::SecretKey::from_bytes(*secret).unseal(sealed).map_err(|_| OpenError::Forged)
}

/// [`sealed_box_open`] for whoever has the public key of the secret key at hand. With another one nothing opens.
///
/// # Errors
/// [`OpenError`], as [`sealed_box_open`].
pub fn sealed_box_open_with(
    secret: &[u8; 32],
    public: &BuyerKey,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let opened = sealed_box_open(secret, sealed)?;
    if sealed_box_public_key(secret) == *public { Ok(opened) } else { Err(OpenError::Forged) }
}

/// The Curve25519 public key of a secret key.
pub fn sealed_box_public_key(secret: &[u8; 32]) -> BuyerKey {
    BuyerKey::new(crypto_box::SecretKey::from_bytes(*secret).public_key().to_bytes())
}

/// A parsed secp256k1 secret key. Erased when dropped; never printed.
pub struct SigningKey(k256::ecdsa::SigningKey);

impl SigningKey {
    /// From 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`KeyError::Range`] for zero, or when not below the group order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, KeyError> {
        k256::ecdsa::SigningKey::from_slice(secret).map(Self).map_err(|_| KeyError::Range)
    }

    /// The public key, 64 bytes, without the 04 prefix.
    pub fn public_key(&self) -> [u8; 64] {
        uncompressed(self.0.verifying_key())
    }

    /// Signs a digest: deterministic (RFC 6979), low s, v 27 or 28.
    ///
    /// # Errors
    /// [`SignError::Unrepresentable`] for one digest in 2^127.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        let (signature, recovery_id) = self.0.sign_prehash_recoverable(digest);
        signature_from_parts(&signature.to_bytes().into(), recovery_id.to_byte())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Signs a digest with a secret key of 32 bytes. Where a key signs more than once, [`SigningKey`] is quicker.
///
/// # Errors
/// [`SignError::Key`] when the secret key is zero or not below the group order.
pub fn sign(secret: &[u8; 32], digest: &[u8; 32]) -> Result<Signature, SignError> {
    SigningKey::from_bytes(secret)?.sign(digest)
}

/// The public key, 64 bytes without the 04 prefix, of whoever signed the digest.
///
/// # Errors
/// [`RecoverError`] when v is neither 27 nor 28, r or s is out of range, s is not low, or there is no such
/// key.
pub fn recover_public_key(digest: &[u8; 32], signature: &Signature) -> Result<[u8; 64], RecoverError> {
    let (compact, recovery_id) = checked_parts(signature)?;
    let parsed = k256::ecdsa::Signature::from_slice(&compact).map_err(|_| RecoverError::NoPublicKey)?;
    let recovery_id = RecoveryId::new(recovery_id == 1, false);
    VerifyingKey::recover_from_prehash(digest, &parsed, recovery_id)
        .map(|public_key| uncompressed(&public_key))
        .map_err(|_| RecoverError::NoPublicKey)
}

fn uncompressed(public_key: &VerifyingKey) -> [u8; 64] {
    let mut bytes = [0; 64];
    // The point is 04, x, y: a verifying key is never the point at infinity.
    bytes
        .iter_mut()
        .zip(public_key.to_sec1_point(false).as_bytes().iter().skip(1))
        .for_each(|(to, from)| *to = *from);
    bytes
}
