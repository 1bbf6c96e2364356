//! The events of a subscription, decrypted. While a key is being bought, later events are taken in already,
//! so that their keys are bought as well; they come out in the order in which they came in.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::time::Instant;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::Field;
use xbr_core::{DataKey, KeyId, Value};

use super::error::UnwrapError;
use super::handle::{BuyerHandle, check_serializer, decrypt};
use super::messages::{Inlet, RawEvent};

/// How many events may wait for their keys, unless the subscriber says otherwise.
const MAX_IN_FLIGHT: usize = 256;
/// How many keys are at hand: publishers use one for many events in a row.
const KEYS_AT_HAND: usize = 16;

/// An event of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct DecryptedEvent {
    /// The topic that it was published to.
    pub topic: Arc<str>,
    /// When it was taken in, which is before its key was bought.
    pub received: Instant,
    /// Its key; `None` when it is not an encrypted event.
    pub key_id: Option<KeyId>,
    /// The payload, or why there is none.
    pub payload: Result<Value, UnwrapError>,
    /// How many events were left out before it because they were not taken in time.
    pub missed: u64,
}

/// The events of a subscription, which ends when this is dropped.
#[derive(Debug)]
pub struct Decrypted {
    buyer: BuyerHandle,
    inlet: Inlet,
    in_flight: FuturesOrdered<BoxFuture<'static, (DecryptedEvent, Option<DataKey>)>>,
    keys: VecDeque<(KeyId, DataKey)>,
    ahead: usize,
    ended: bool,
}

/// The parts of an encrypted event.
struct Encrypted {
    key_id: KeyId,
    serializer: String,
    ciphertext: Vec<u8>,
}

impl Decrypted {
    pub(super) fn new(buyer: BuyerHandle, inlet: Inlet) -> Self {
        Self {
            buyer,
            inlet,
            in_flight: FuturesOrdered::new(),
            keys: VecDeque::new(),
            ahead: MAX_IN_FLIGHT,
            ended: false,
        }
    }

    /// Takes in at most so many events before the first of them is taken, so that no more of their keys are
    /// bought. At least 1; default: 256.
    #[must_use]
    pub fn ahead(mut self, events: usize) -> Self {
        self.ahead = events.max(1);
        self
    }

    /// The next event; `None` when the buyer has gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<DecryptedEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn take_in(&mut self, event: RawEvent) {
        let missed = self.inlet.take_missed();
        let (topic, received) = (event.topic, Instant::now());
        let encrypted = match parse(event.args) {
            Ok(encrypted) => encrypted,
            Err(error) => {
                let event = DecryptedEvent { topic, received, key_id: None, payload: Err(error), missed };
                return self.in_flight.push_back(Box::pin(std::future::ready((event, None))));
            }
        };
        let Encrypted { key_id, serializer, ciphertext } = encrypted;
        let known = self.keys.iter().find(|(id, _)| *id == key_id).map(|(_, key)| key.clone());
        let buyer = self.buyer.clone();
        self.in_flight.push_back(Box::pin(async move {
            let unwrapped = async {
                check_serializer(&serializer)?;
                let key = match known {
                    Some(key) => key,
                    None => buyer.key(key_id).await?,
                };
                Ok::<_, UnwrapError>((decrypt(&key, &ciphertext), key))
            };
            let (payload, key) = match unwrapped.await {
                Ok((payload, key)) => (payload, Some(key)),
                Err(error) => (Err(error), None),
            };
            (DecryptedEvent { topic, received, key_id: Some(key_id), payload, missed }, key)
        }));
    }

    fn remember(&mut self, key_id: KeyId, key: DataKey) {
        if self.keys.iter().all(|(id, _)| *id != key_id) {
            self.keys.truncate(KEYS_AT_HAND - 1);
            self.keys.push_front((key_id, key));
        }
    }
}

impl Stream for Decrypted {
    type Item = DecryptedEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DecryptedEvent>> {
        let this = self.get_mut();
        while !this.ended && this.in_flight.len() < this.ahead {
            match this.inlet.events.poll_recv(cx) {
                Poll::Ready(Some(event)) => this.take_in(event),
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => break,
            }
        }
        match Pin::new(&mut this.in_flight).poll_next(cx) {
            Poll::Ready(Some((event, key))) => {
                if let (Some(key_id), Some(key)) = (event.key_id, key) {
                    this.remember(key_id, key);
                }
                Poll::Ready(Some(event))
            }
            Poll::Ready(None) if this.ended => Poll::Ready(None),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// `[key_id, serializer, ciphertext]`.
fn parse(args: Vec<Value>) -> Result<Encrypted, UnwrapError> {
    let [key_id, serializer, ciphertext]: [Value; 3] = args
        .try_into()
        .map_err(|args: Vec<Value>| ArgumentError::Arity { expected: 3, actual: args.len() })?;
    let key_id = KeyId::parse("key_id", &key_id)?;
    let serializer = String::parse("serializer", &serializer)?;
    match ciphertext {
        Value::Bytes(ciphertext) => Ok(Encrypted { key_id, serializer, ciphertext }),
        other => {
            let (name, expected, actual) = ("ciphertext", "a byte string", other.kind());
            Err(ArgumentError::Type { name, expected, actual }.into())
        }
    }
}
