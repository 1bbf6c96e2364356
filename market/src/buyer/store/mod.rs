//! Durable state of a buyer behind one narrow trait, [`BuyerStore`]: its receive key, its payment channels,
//! their payments and the keys that were bought.
//!
//! The contract is that of `xbr-store`: what is answered with `Ok` is on disk; a payment's settlement, the
//! new state of its channel and the key that it bought are stored together or not at all; calls take effect
//! in order; after [`StoreError::Unknown`] the caller reads back what is there; secrets are encrypted at rest
//! under a [`MasterKey`].

use std::fmt;

use xbr_core::crypto::{Entropy, OpenError, sealed_box_open_with, sealed_box_public_key};
use xbr_core::{Amount, BuyerKey, ChannelId, DataKey, KeyId};
use xbr_store::StoreFuture;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::wallet::{Payment, Settlement, Wallet};

mod database;
mod memory;
mod sqlite;

pub use memory::MemoryBuyerStore;
pub use sqlite::SqliteBuyerStore;
pub use xbr_store::{MasterKey, StoreError};

/// The buyer's X25519 key pair, to which data keys are sealed. Erased when dropped; never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReceiveKey {
    secret: [u8; 32],
    #[zeroize(skip)]
    public: BuyerKey,
}

impl ReceiveKey {
    /// A new random one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        entropy.fill(secret.as_mut());
        Self::from_bytes(*secret)
    }

    /// From the 32 bytes of the secret key.
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self { public: sealed_box_public_key(&secret), secret }
    }

    /// The secret itself, for a store that keeps it under its master key.
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The public key, to be sent along with a purchase.
    pub fn public(&self) -> BuyerKey {
        self.public
    }

    /// Opens a data key that was sealed to the public key.
    ///
    /// # Errors
    /// [`OpenError`] when it was changed, or sealed to another key, or is not a data key of 32 bytes.
    pub fn open(&self, sealed: &[u8]) -> Result<DataKey, OpenError> {
        let opened = Zeroizing::new(sealed_box_open_with(&self.secret, &self.public, sealed)?);
        let secret = Zeroizing::new(<[u8; 32]>::try_from(opened.as_slice()).map_err(|_| OpenError::Forged)?);
        Ok(DataKey::from_bytes(*secret))
    }
}

impl fmt::Debug for ReceiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReceiveKey").field(&self.public).finish()
    }
}

/// A key that was bought, to be stored with the settlement of its payment.
#[derive(Debug, Clone)]
pub struct BoughtKey {
    /// Its id.
    pub key_id: KeyId,
    /// The key itself, encrypted at rest.
    pub key: DataKey,
}

/// What there is of a key.
#[derive(Debug, Clone, Default)]
pub struct StoredKey {
    /// The key itself, if it was bought.
    pub key: Option<DataKey>,
    /// What was written off for it: it was taken, but the key did not come.
    pub written_off: Amount,
}

/// What does not add up is damage, wherever it is stored.
fn check_figures(wallet: &Wallet) -> Result<(), StoreError> {
    if wallet.is_sound() {
        return Ok(());
    }
    let what = format!("the figures of channel {} do not add up", wallet.terms.channel_id);
    Err(StoreError::Corrupt { what })
}

/// Durable state. Everything is asynchronous: no method blocks its caller.
pub trait BuyerStore: fmt::Debug + Send + Sync + 'static {
    /// The buyer's key pair: made together with the store, the same ever after.
    fn receive_key(&self) -> StoreFuture<ReceiveKey>;

    /// A payment channel, with its pending payment.
    fn wallet(&self, channel_id: ChannelId) -> StoreFuture<Option<Wallet>>;

    /// The payment channels with a pending payment, the one with the oldest first.
    fn unsettled(&self) -> StoreFuture<Vec<Wallet>>;

    /// Adds a channel that was seen for the first time. A channel that is there stays as it is.
    fn attach(&self, wallet: Wallet) -> StoreFuture<()>;

    /// Stores a payment that is to be sent. [`StoreError::Conflict`] when the channel does not stand where
    /// the payment says, or has one pending.
    fn begin(&self, payment: Payment) -> StoreFuture<()>;

    /// Stores how the pending payment ended, or how the channel moved without one, and the key if it was
    /// bought. [`StoreError::Conflict`] when the channel does not stand where the settlement says.
    fn settle(
        &self,
        channel_id: ChannelId,
        settlement: Settlement,
        bought: Option<BoughtKey>,
    ) -> StoreFuture<()>;

    /// What there is of a key.
    fn key(&self, key_id: KeyId) -> StoreFuture<StoredKey>;
}
