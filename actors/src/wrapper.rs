//! Wrapping payloads on the caller's thread: the fast path beside the [`KeySeries`](crate::KeySeries) actor's mailbox.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use xbr_core::cbor::{self, CborError};
use xbr_core::crypto::Entropy;
use xbr_core::offer::UriPrefix;
use xbr_core::payload::SERIALIZER;
use xbr_core::wire::{Args, Field};
use xbr_core::{ApiId, KeyId, Value};

use crate::keyring::{Keyring, LiveKey};

/// A thread keeps no larger buffer than this for the payloads that it encodes.
const MAX_SCRATCH: usize = 2 * 1024 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An encrypted payload, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The key that it is encrypted with.
    pub key_id: KeyId,
    /// Nonce (24 bytes), tag (16) and the encrypted CBOR.
    pub ciphertext: Vec<u8>,
}

impl Wrapped {
    /// The three positional arguments of the event: `[key_id, "cbor", ciphertext]`.
    pub fn into_args(self) -> Args {
        vec![self.key_id.encode(), Value::from(SERIALIZER), Value::Bytes(self.ciphertext)]
    }
}

/// Why a payload was not wrapped. No use of a key was spent.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WrapError {
    /// There is no such API.
    #[error("no API {api_id}; add it first")]
    UnknownApi {
        /// The API that was asked for.
        api_id: ApiId,
    },
    /// The API is not offered under this URI.
    #[error("{uri:?} is outside the offered prefix {prefix:?}: nobody could buy its key")]
    UriOutsidePrefix {
        /// The URI, cut to 100 characters.
        uri: String,
        /// The prefix that is offered.
        prefix: String,
    },
    /// The payload has no CBOR form.
    #[error("the payload cannot be encoded: {0}")]
    Payload(#[from] CborError),
    /// The seller is stopped.
    #[error("the seller is stopped")]
    Stopped,
    /// The API is paused.
    #[error("the API {api_id} is paused; resume it first")]
    Paused {
        /// The API.
        api_id: ApiId,
    },
    /// No key became ready in time: the store or the market maker does not answer.
    #[error("no data key became ready within {waited:?}; see the log for what holds it up")]
    NoKey {
        /// For how long it was waited.
        waited: Duration,
    },
}

/// Encrypts payloads of one API. Clones share everything; usable from any thread. Where it has to wait for a key, it
/// needs a tokio runtime with time enabled.
#[derive(Clone)]
pub struct Wrapper(Arc<Shared>);

struct Shared {
    api_id: ApiId,
    prefix: UriPrefix,
    keyring: Arc<Keyring>,
    entropy: Arc<dyn Entropy>,
    patience: Duration,
}

impl Wrapper {
    pub(crate) fn new(
        api_id: ApiId,
        prefix: UriPrefix,
        keyring: Arc<Keyring>,
        entropy: Arc<dyn Entropy>,
        patience: Duration,
    ) -> Self {
        Self(Arc::new(Shared { api_id, prefix, keyring, entropy, patience }))
    }

    /// The API.
    pub fn api_id(&self) -> ApiId {
        self.0.api_id
    }

    /// The URI, or prefix of URIs, that its payloads are published under.
    pub fn prefix(&self) -> &UriPrefix {
        &self.0.prefix
    }

    /// Encrypts a payload with the current key, which is durable, and offered when a market maker is attached.
    ///
    /// # Errors
    /// [`WrapError`]; nothing was encrypted.
    pub async fn wrap<T: Serialize + ?Sized>(&self, uri: &str, payload: &T) -> Result<Wrapped, WrapError> {
        self.check(uri)?;
        let encoded = encode(payload)?;
        self.seal(encoded).await
    }

    /// [`wrap`](Self::wrap) for a dynamic value.
    ///
    /// # Errors
    /// [`WrapError`]; nothing was encrypted.
    pub async fn wrap_value(&self, uri: &str, payload: &Value) -> Result<Wrapped, WrapError> {
        self.check(uri)?;
        let encoded = encode_value(payload);
        self.seal(encoded).await
    }

    /// [`wrap`](Self::wrap) for a payload that is CBOR already; it is not looked into.
    ///
    /// # Errors
    /// [`WrapError`]; nothing was encrypted.
    pub async fn wrap_cbor(&self, uri: &str, payload: &[u8]) -> Result<Wrapped, WrapError> {
        self.check(uri)?;
        self.encrypt(payload).await
    }

    /// Encrypts many payloads, in order; the key may change in between. All are encoded before the first is
    /// encrypted.
    ///
    /// # Errors
    /// [`WrapError`]; what was encrypted before is lost, and its uses are spent.
    pub async fn wrap_batch<'a, T, I>(&self, uri: &str, payloads: I) -> Result<Vec<Wrapped>, WrapError>
    where
        T: Serialize + ?Sized + 'a,
        I: IntoIterator<Item = &'a T>,
    {
        self.check(uri)?;
        let buffers: Result<Vec<_>, _> = payloads.into_iter().map(encode).collect();
        self.seal_all(buffers?).await
    }

    /// [`wrap_batch`](Self::wrap_batch) for dynamic values.
    ///
    /// # Errors
    /// [`WrapError`]; what was encrypted before is lost, and its uses are spent.
    pub async fn wrap_batch_values(&self, uri: &str, payloads: &[Value]) -> Result<Vec<Wrapped>, WrapError> {
        self.check(uri)?;
        self.seal_all(payloads.iter().map(encode_value).collect()).await
    }

    fn check(&self, uri: &str) -> Result<(), WrapError> {
        if self.0.prefix.covers(uri) {
            return Ok(());
        }
        let uri = uri.chars().take(100).collect();
        Err(WrapError::UriOutsidePrefix { uri, prefix: self.0.prefix.to_string() })
    }

    async fn seal_all(&self, encoded: Vec<Vec<u8>>) -> Result<Vec<Wrapped>, WrapError> {
        let mut wrapped = Vec::with_capacity(encoded.len());
        for encoded in encoded {
            wrapped.push(self.seal(encoded).await?);
        }
        Ok(wrapped)
    }

    /// The payload is encoded by now: whatever fails from here on spends no use.
    async fn seal(&self, encoded: Vec<u8>) -> Result<Wrapped, WrapError> {
        let wrapped = self.encrypt(&encoded).await?;
        if encoded.capacity() <= MAX_SCRATCH {
            SCRATCH.set(encoded);
        }
        Ok(wrapped)
    }

    async fn encrypt(&self, encoded: &[u8]) -> Result<Wrapped, WrapError> {
        let Shared { keyring, entropy, patience, .. } = &*self.0;
        if keyring.is_closed() {
            return Err(self.closed());
        }
        let encrypt = |key: &LiveKey, exhausted| {
            if exhausted {
                keyring.tell();
            }
            Wrapped { key_id: key.key_id, ciphertext: key.key.encrypt(&**entropy, encoded) }
        };
        if let Some(wrapped) = keyring.take(encrypt) {
            return Ok(wrapped);
        }
        match tokio::time::timeout(*patience, keyring.take_or_wait(|| keyring.tell(), encrypt)).await {
            Ok(wrapped) => wrapped.ok_or_else(|| self.closed()),
            Err(_) => Err(WrapError::NoKey { waited: *patience }),
        }
    }

    fn closed(&self) -> WrapError {
        let api_id = self.0.api_id;
        if self.0.keyring.is_stopped() { WrapError::Stopped } else { WrapError::Paused { api_id } }
    }
}

impl fmt::Debug for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapper").field("api_id", &self.0.api_id).field("prefix", &self.0.prefix).finish()
    }
}

/// Encodes into the buffer that the thread has at hand; [`Wrapper::seal`] puts it back.
fn encode<T: Serialize + ?Sized>(payload: &T) -> Result<Vec<u8>, WrapError> {
    let mut buffer = SCRATCH.take();
    buffer.clear();
    cbor::to_vec_into(payload, &mut buffer)?;
    Ok(buffer)
}

fn encode_value(payload: &Value) -> Vec<u8> {
    let mut buffer = SCRATCH.take();
    buffer.clear();
    cbor::encode_into(payload, &mut buffer);
    buffer
}
