//! What the master key does for the database. Data keys lie there in a secretbox under it, together with
//! their id, so that no row's key passes for another's. Every row has a code under it, so that none that was
//! damaged or changed passes for what was stored. An older copy of the whole database does: that shows only
//! against the market maker's books.

use std::fmt;

use blake2b_simd::Params;
use rusqlite::types::ValueRef;
use xbr_core::KeyId;
use xbr_core::crypto::{
    Entropy, NONCE_LEN, SECRETBOX_OVERHEAD, UserspaceEntropy, keccak256, secretbox_open, secretbox_seal,
};
use xbr_core::payload::DataKey;
use zeroize::Zeroizing;

use crate::MasterKey;

/// What the verifier row holds, sealed: it opens with the master key that the store was made with, and no
/// other.
const VERIFIER: &[u8] = b"xbr-store: the master key opens this";

/// Bytes of a sealed data key: 24 nonce, 16 tag, 16 key id, 32 data key.
pub(super) const SEALED_LEN: usize = SECRETBOX_OVERHEAD + KeyId::LEN + 32;

/// Bytes of the code that authenticates a row.
pub(super) const MAC_LEN: usize = 16;

/// No row has more bytes, but for what a text says: those of a sale, with 9 before each.
const ROW: usize = 640;

/// Tells the key of the codes from every other use of the master key.
const MAC_KEY: &[u8] = b"xbr-store: the key that authenticates rows";

/// Seals and opens with the master key, and authenticates rows under it.
#[derive(Clone)]
pub(super) struct Vault {
    master: MasterKey,
    mac_key: Zeroizing<[u8; 64]>,
}

impl Vault {
    pub(super) fn new(master: MasterKey) -> Self {
        let text = Zeroizing::new([MAC_KEY, master.expose_secret()].concat());
        let mut mac_key = Zeroizing::new([0; 64]);
        let (half, _) = mac_key.split_at_mut(32);
        half.copy_from_slice(&keccak256(&text));
        Self { master, mac_key }
    }

    /// The code of a row: over its table and all its columns with their types and lengths. Their names and order are
    /// those of the schema, which is checked at each start.
    pub(super) fn mac<'a>(
        &self,
        table: &str,
        columns: impl IntoIterator<Item = ValueRef<'a>>,
    ) -> [u8; MAC_LEN] {
        // Hashed as a whole: a part at a time takes twice as long.
        let mut text = Vec::with_capacity(ROW);
        part(&mut text, b'T', table.as_bytes());
        for value in columns {
            match value {
                ValueRef::Null => part(&mut text, b'n', &[]),
                ValueRef::Integer(integer) => part(&mut text, b'i', &integer.to_be_bytes()),
                ValueRef::Real(real) => part(&mut text, b'r', &real.to_be_bytes()),
                ValueRef::Text(bytes) => part(&mut text, b't', bytes),
                ValueRef::Blob(bytes) => part(&mut text, b'b', bytes),
            }
        }
        let mac = Params::new().hash_length(MAC_LEN).key(&*self.mac_key).hash(&text);
        let mut code = [0; MAC_LEN];
        code.copy_from_slice(mac.as_bytes());
        code
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

/// One part of what a code covers: what it is, how long, and its bytes.
fn part(text: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    text.push(kind);
    text.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    text.extend_from_slice(bytes);
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

/// Random: 24 bytes are enough never to meet twice.
fn nonce() -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    UserspaceEntropy.fill(&mut nonce);
    nonce
}
