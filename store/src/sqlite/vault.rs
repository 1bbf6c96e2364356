//! How data keys lie in the database: in a secretbox under the master key, together with their id, so that no
//! row's key passes for another's.

use xbr_core::KeyId;
use xbr_core::crypto::{
    Entropy, NONCE_LEN, SECRETBOX_OVERHEAD, UserspaceEntropy, secretbox_open, secretbox_seal,
};
use xbr_core::payload::DataKey;
use zeroize::Zeroizing;

use crate::MasterKey;

/// What the verifier row holds, sealed: it opens with the master key that the store was made with, and no
/// other.
const VERIFIER: &[u8] = b"xbr-store: the master key opens this";

/// Bytes of a sealed data key: 24 nonce, 16 tag, 16 key id, 32 data key.
pub(super) const SEALED_LEN: usize = SECRETBOX_OVERHEAD + KeyId::LEN + 32;

/// Seals and opens with the master key.
#[derive(Debug, Clone)]
pub(super) struct Vault {
    master: MasterKey,
}

impl Vault {
    pub(super) fn new(master: MasterKey) -> Self {
        Self { master }
    }

    pub(super) fn seal_verifier(&self) -> Vec<u8> {
        secretbox_seal(self.master.expose_secret(), &nonce(), VERIFIER)
    }

    /// Whether the verifier was sealed with this master key.
    pub(super) fn verifies(&self, sealed: &[u8]) -> bool {
        secretbox_open(self.master.expose_secret(), sealed).is_ok_and(|text| text == VERIFIER)
    }

    pub(super) fn seal(&self, key_id: KeyId, key: &DataKey) -> Vec<u8> {
        let mut plaintext = Zeroizing::new([0; KeyId::LEN + 32]);
        let (id, secret) = plaintext.split_at_mut(KeyId::LEN);
        id.copy_from_slice(key_id.as_bytes());
        secret.copy_from_slice(key.expose_secret());
        secretbox_seal(self.master.expose_secret(), &nonce(), plaintext.as_slice())
    }

    /// The data key, or what is wrong with its row.
    pub(super) fn open(&self, key_id: KeyId, sealed: &[u8]) -> Result<DataKey, &'static str> {
        let plaintext = secretbox_open(self.master.expose_secret(), sealed)
            .map(Zeroizing::new)
            .map_err(|_| "does not open with the master key")?;
        let (id, secret) = plaintext.split_first_chunk::<{ KeyId::LEN }>().ok_or("is too short")?;
        if id != key_id.as_bytes() {
            return Err("is that of another key id");
        }
        let secret = Zeroizing::new(<[u8; 32]>::try_from(secret).map_err(|_| "is not 32 bytes")?);
        Ok(DataKey::from_bytes(*secret))
    }
}

/// Random: 24 bytes are enough never to meet twice.
fn nonce() -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    UserspaceEntropy.fill(&mut nonce);
    nonce
}
