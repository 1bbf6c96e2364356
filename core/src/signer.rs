//! Who signs: the trait that the seller signs through, and the delegate's key in memory.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::crypto::{Entropy, KeyError, SignError, SigningKey, address_of};
use crate::ids::{Address, Signature};

/// Signs for one Ethereum account. Implement it to keep the key outside this process.
pub trait Signer: Send + Sync {
    /// The account.
    fn address(&self) -> Address;

    /// The account's public key, 64 bytes, without the 04 prefix.
    fn public_key(&self) -> [u8; 64];

    /// Signs a digest: low s, v 27 or 28, and the same signature for the same digest each time, since an
    /// identical request must get an identical answer.
    ///
    /// # Errors
    /// [`SignError`] when there is no signature; nothing was signed then.
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, SignError>;
}

/// The delegate's secp256k1 key, in memory. Erased when dropped; never printed.
pub struct DelegateKey {
    key: SigningKey,
    public_key: [u8; 64],
    address: Address,
}

impl DelegateKey {
    /// From the 32 bytes of the secret key, big-endian.
    ///
    /// # Errors
    /// [`KeyError::Range`] when they are zero or not below the group order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(secret)?;
        let public_key = key.public_key();
        Ok(Self { key, public_key, address: address_of(&public_key) })
    }

    /// From a byte string.
    ///
    /// # Errors
    /// [`KeyError::Length`] when it is not 32 bytes, [`KeyError::Range`] when they are no secret key.
    pub fn from_slice(secret: &[u8]) -> Result<Self, KeyError> {
        Self::from_bytes(secret.try_into().map_err(|_| KeyError::Length { actual: secret.len() })?)
    }

    /// A new random key, together with its 32 secret bytes, which the caller is to put where they survive.
    pub fn generate(entropy: &dyn Entropy) -> (Self, Zeroizing<[u8; 32]>) {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            entropy.fill(secret.as_mut());
            // All but one in 2^127 random numbers are keys.
            if let Ok(key) = Self::from_bytes(&secret) {
                return (key, secret);
            }
        }
    }
}

impl FromStr for DelegateKey {
    type Err = KeyError;

    /// Reads 64 hex digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), secret.as_mut())
            .map_err(|_| KeyError::Hex)?;
        Self::from_bytes(&secret)
    }
}

impl Signer for DelegateKey {
    fn address(&self) -> Address {
        self.address
    }

    fn public_key(&self) -> [u8; 64] {
        self.public_key
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        self.key.sign(digest)
    }
}

impl fmt::Debug for DelegateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelegateKey").field("address", &self.address).finish_non_exhaustive()
    }
}
