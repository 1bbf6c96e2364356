//! Data keys: what payloads are encrypted with, and what is sold. A payload is encoded as CBOR, then
//! encrypted; the key is sealed to the buyer who paid for it.

use std::convert::Infallible;
use std::fmt;

use serde::Serialize;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cbor::{self, CborError};
use crate::crypto::{self, Entropy, NONCE_LEN, OpenError, SEALED_BOX_OVERHEAD, SealError};
use crate::ids::BuyerKey;
use crate::value::Value;

/// The name of the payload encoding, the second argument of every event.
pub const SERIALIZER: &str = "cbor";

/// The length of a sealed data key.
pub const SEALED_KEY_LEN: usize = 32 + SEALED_BOX_OVERHEAD;

/// A secretbox key of 32 bytes. Erased when dropped; never printed; compare by key id.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Self([0; 32]);
        entropy.fill(&mut key.0);
        key
    }

    /// From its 32 bytes, as a store keeps them under its master key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself, for a store that keeps it under its master key.
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key sealed to a buyer: 80 bytes, different each time.
    ///
    /// # Errors
    /// [`SealError::LowOrder`] when the buyer's key is of low order, all zero included.
    pub fn seal_to(&self, buyer: &BuyerKey) -> Result<[u8; SEALED_KEY_LEN], SealError> {
        crypto::sealed_box_seal(buyer, &self.0).map(|sealed| sealed_key(&sealed))
    }

    /// [`seal_to`](Self::seal_to) with an ephemeral key from the given entropy: the same entropy gives the
    /// same bytes.
    ///
    /// # Errors
    /// [`SealError::LowOrder`] when the buyer's key is of low order, all zero included.
    pub fn seal_to_with(
        &self,
        entropy: &dyn Entropy,
        buyer: &BuyerKey,
    ) -> Result<[u8; SEALED_KEY_LEN], SealError> {
        let ephemeral = Self::generate(entropy);
        crypto::sealed_box_seal_with(&ephemeral.0, buyer, &self.0).map(|sealed| sealed_key(&sealed))
    }

    /// Encrypts an encoded payload: 40 bytes longer than it, with a random nonce.
    pub fn encrypt(&self, entropy: &dyn Entropy, cbor_bytes: &[u8]) -> Vec<u8> {
        crypto::secretbox_seal(&self.0, &nonce(entropy), cbor_bytes)
    }

    /// Encodes a payload as CBOR and encrypts it, without a buffer of its own in between.
    ///
    /// # Errors
    /// [`CborError`] when the payload has no CBOR form.
    pub fn encrypt_value<T: Serialize + ?Sized>(
        &self,
        entropy: &dyn Entropy,
        payload: &T,
    ) -> Result<Vec<u8>, CborError> {
        crypto::secretbox_seal_encoded(&self.0, &nonce(entropy), |out| cbor::to_vec_into(payload, out))
    }

    /// [`encrypt_value`](Self::encrypt_value) for a dynamic value, which always has a CBOR form.
    pub fn encrypt_dynamic(&self, entropy: &dyn Entropy, payload: &Value) -> Vec<u8> {
        let Ok(ciphertext) = crypto::secretbox_seal_encoded(&self.0, &nonce(entropy), |out| {
            cbor::encode_into(payload, out);
            Ok::<(), Infallible>(())
        });
        ciphertext
    }

    /// Decrypts a payload to its encoded form.
    ///
    /// # Errors
    /// [`OpenError`] when it is shorter than 40 bytes, was changed, or was encrypted with another key.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<Vec<u8>, OpenError> {
        crypto::secretbox_open(&self.0, ciphertext)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

fn nonce(entropy: &dyn Entropy) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    nonce
}

fn sealed_key(sealed: &[u8]) -> [u8; SEALED_KEY_LEN] {
    match sealed.try_into() {
        Ok(sealed) => sealed,
        Err(_) => unreachable!("a sealed box is 48 bytes longer than the key, which has 32"),
    }
}
