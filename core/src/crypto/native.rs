//! The native backend: libsodium for secretbox and sealed box, the C library libsecp256k1 for signatures.
//!
//! The binding of libsodium returns fresh vectors only, without room for what comes before a box: that of a
//! secretbox is grown by its nonce, and moved behind it. Each thread keeps the buffer that payloads are encoded
//! into, up to 2 MiB of it: a fresh one next to the box makes 1 MiB twice as slow, since the allocator then
//! returns the pages to the operating system each time.

use std::cell::Cell;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

use libsodium_rs::{crypto_box, crypto_generichash, crypto_scalarmult, crypto_secretbox};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey, SignOnly, VerifyOnly};

use zeroize::Zeroizing;

use super::{
    Entropy, KeyError, MAC_LEN, NONCE_LEN, OpenError, RecoverError, SEALED_BOX_OVERHEAD, SealError,
    SignError, UserspaceEntropy, checked_parts, signature_from_parts, split_box,
};
use crate::ids::{BuyerKey, Signature};

/// A thread keeps no larger buffer than this for the payloads that it encodes.
const MAX_SCRATCH: usize = 2 * 1024 * 1024;

/// Lets libsodium pick the fastest code for this processor, once. It takes a lock of its own each time it is
/// asked, so it is asked once only. Should it fail, everything still works, with libsodium's slowest code.
fn init() {
    static INIT: OnceLock<bool> = OnceLock::new();
    INIT.get_or_init(|| libsodium_rs::ensure_init().is_ok());
}

/// Encrypts with XSalsa20-Poly1305: nonce (24), tag (16), ciphertext. A nonce must never serve twice for a
/// key.
pub fn secretbox_seal(key: &[u8; 32], nonce: &[u8; NONCE_LEN], plaintext: &[u8]) -> Vec<u8> {
    init();
    let nonce_of_box = crypto_secretbox::Nonce::from_bytes(*nonce);
    let mut sealed = crypto_secretbox::seal(plaintext, &nonce_of_box, &(*key).into());
    sealed.reserve_exact(NONCE_LEN);
    sealed.extend_from_slice(nonce);
    sealed.rotate_right(NONCE_LEN);
    sealed
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
    thread_local! {
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken, not borrowed: an encoder that encrypts in its turn finds an empty one.
    let mut plaintext = SCRATCH.take();
    plaintext.clear();
    let sealed = encode(&mut plaintext).map(|()| secretbox_seal(key, nonce, &plaintext));
    if plaintext.capacity() <= MAX_SCRATCH {
        SCRATCH.set(plaintext);
    }
    sealed
}

/// Opens what [`secretbox_seal`] made.
///
/// # Errors
/// [`OpenError`] when it is shorter than 40 bytes, was changed, or was made with another key.
pub fn secretbox_open(key: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    init();
    let (nonce, ciphertext) = split_box::<NONCE_LEN>(sealed)?;
    crypto_secretbox::open(ciphertext, &crypto_secretbox::Nonce::from_bytes(*nonce), &(*key).into())
        .map_err(|_| OpenError::Forged)
}

/// Seals to a public key, from nobody: ephemeral public key (32), tag (16), ciphertext. 80 bytes for 32.
///
/// # Errors
/// [`SealError::LowOrder`] for a key of low order in any encoding, all zero included.
pub fn sealed_box_seal(recipient: &BuyerKey, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    init();
    crypto_box::seal_box(plaintext, &(*recipient.as_bytes()).into()).map_err(|_| SealError::LowOrder)
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
    let ephemeral_public = sealed_box_public_key(ephemeral_secret);
    let nonce = sealed_box_nonce(ephemeral_public.as_bytes(), recipient.as_bytes());
    let secret = crypto_box::SecretKey::from_bytes_exact(*ephemeral_secret);
    let sealed = crypto_box::seal(plaintext, &nonce, &(*recipient.as_bytes()).into(), &secret)
        .map_err(|_| SealError::LowOrder)?;
    let mut out = Vec::with_capacity(SEALED_BOX_OVERHEAD + plaintext.len());
    out.extend_from_slice(ephemeral_public.as_bytes());
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// BLAKE2b-192 of both public keys.
fn sealed_box_nonce(ephemeral: &[u8; 32], recipient: &[u8; 32]) -> crypto_box::Nonce {
    let keys = [*ephemeral, *recipient];
    let mut nonce = [0; NONCE_LEN];
    match crypto_generichash::generichash(keys.as_flattened(), None, NONCE_LEN) {
        Ok(hash) => nonce.copy_from_slice(&hash),
        Err(_) => unreachable!("24 bytes is a length that BLAKE2b has, and there is no key"),
    }
    crypto_box::Nonce::from_bytes_exact(nonce)
}

/// Opens what [`sealed_box_seal`] made for the public key of this secret key.
///
/// # Errors
/// [`OpenError`] when it is shorter than 48 bytes, was changed, or was sealed to another key.
pub fn sealed_box_open(secret: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    sealed_box_open_with(secret, &sealed_box_public_key(secret), sealed)
}

/// [`sealed_box_open`] for whoever has the public key of the secret key at hand, which takes a third of the
/// time to work out. With another one nothing opens.
///
/// # Errors
/// [`OpenError`], as [`sealed_box_open`].
pub fn sealed_box_open_with(
    secret: &[u8; 32],
    public: &BuyerKey,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    init();
    split_box::<{ SEALED_BOX_OVERHEAD - MAC_LEN }>(sealed)?;
    let public = (*public.as_bytes()).into();
    crypto_box::open_sealed_box(sealed, &public, &crypto_box::SecretKey::from_bytes_exact(*secret))
        .map_err(|_| OpenError::Forged)
}

/// The Curve25519 public key of a secret key.
pub fn sealed_box_public_key(secret: &[u8; 32]) -> BuyerKey {
    init();
    match crypto_scalarmult::curve25519::scalarmult_base(secret) {
        Ok(public) => BuyerKey::new(public),
        Err(_) => unreachable!("32 bytes are a scalar, and no multiple of the base point is the identity"),
    }
}

/// A parsed secp256k1 secret key. Erased when dropped; never printed.
///
/// It brings a context of its own, blinded once against those who watch the processor. Blinding anew with every
/// signature, as later versions of the binding do, takes as long as the signature.
pub struct SigningKey {
    secret: SecretKey,
    context: Secp256k1<SignOnly>,
}

impl SigningKey {
    /// From 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`KeyError::Range`] for zero, or when not below the group order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_byte_array(*secret).map_err(|_| KeyError::Range)?;
        let mut context = Secp256k1::signing_only();
        let mut seed = Zeroizing::new([0; 32]);
        UserspaceEntropy.fill(&mut *seed);
        context.seeded_randomize(&seed);
        Ok(Self { secret, context })
    }

    /// The public key, 64 bytes, without the 04 prefix.
    pub fn public_key(&self) -> [u8; 64] {
        uncompressed(&PublicKey::from_secret_key(&self.context, &self.secret))
    }

    /// Signs a digest: deterministic (RFC 6979), low s, v 27 or 28.
    ///
    /// # Errors
    /// [`SignError::Unrepresentable`] for one digest in 2^127.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        let signature = self.context.sign_ecdsa_recoverable(Message::from_digest(*digest), &self.secret);
        let (recovery_id, compact) = signature.serialize_compact();
        signature_from_parts(&compact, u8::try_from(i32::from(recovery_id)).unwrap_or(u8::MAX))
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
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
    static CONTEXT: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);
    let (compact, recovery_id) = checked_parts(signature)?;
    RecoverableSignature::from_compact(&compact, RecoveryId::from_u8_masked(recovery_id))
        .and_then(|parsed| CONTEXT.recover_ecdsa(Message::from_digest(*digest), &parsed))
        .map(|public_key| uncompressed(&public_key))
        .map_err(|_| RecoverError::NoPublicKey)
}

fn uncompressed(public_key: &PublicKey) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(&public_key.serialize_uncompressed()[1..]);
    bytes
}
