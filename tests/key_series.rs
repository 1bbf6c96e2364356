//! The key series actor alone, on paused time: rotation, offers, and what the store and the market maker can do to it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod support;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use support::fake_market::{FakeMarket, Told, refused, with};
use support::{API, StoppedClock, URI, after, buyer, every, pause_time, series};
use tokio::time::advance;
use xbr_actors::key_series::{
    AttachMarket, DetachMarket, Encrypt, EncryptBatch, Halt, KeyRotated, Observe, OfferPort, Pause, Resume,
    RotateNow, SealKey, SealKeyError, SeriesOptions, SetPrice, Subscribe, Unpause,
};
use xbr_actors::messages::MarketPort;
use xbr_actors::{Clock, KeySeries, Rotation, WrapError, Wrapped, Wrapper};
use xbr_core::crypto::{SealError, sealed_box_open, secretbox_open};
use xbr_core::{BuyerKey, KeyId, Value};
use xbr_store::{Fault, KeyLookup, MemoryStore, Store, Write};

fn spawn(store: &MemoryStore, rotation: Rotation) -> (Addr<KeySeries>, Wrapper) {
    pause_time();
    KeySeries::spawn(series(Arc::new(store.clone()), rotation))
}

async fn attach(series: &Addr<KeySeries>, market: &Addr<FakeMarket>) -> usize {
    let port = MarketPort::new(market);
    series.send(AttachMarket(OfferPort { place: port.place_offer, revoke: port.revoke_offer })).await.unwrap()
}

async fn wrap(wrapper: &Wrapper) -> Wrapped {
    wrapper.wrap(URI, "payload").await.unwrap()
}

async fn key_after(wrapper: &Wrapper, time: Duration) -> KeyId {
    advance(time).await;
    settle().await;
    wrap(wrapper).await.key_id
}

/// Lets everything run that needs no time.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn keys_stored(store: &MemoryStore) -> Vec<KeyId> {
    let stored = |entry: &xbr_store::JournalEntry| match (&entry.operation, &entry.result) {
        (xbr_store::Operation::Write(Write::InsertKey(record)), Ok(())) => Some(record.key_id),
        _ => None,
    };
    store.journal().iter().filter_map(stored).collect()
}

#[actix_rt::test]
async fn the_first_key_is_used_only_once_it_is_durable() {
    let store = MemoryStore::new();
    store.hold();
    let (_series, wrapper) = spawn(&store, every(10));
    let mut wrapping = std::pin::pin!(wrapper.wrap(URI, "payload"));
    settle().await;
    assert!(futures_util::poll!(&mut wrapping).is_pending());
    store.release();
    let wrapped = wrapping.await.unwrap();
    assert!(matches!(store.key(wrapped.key_id).await, Ok(KeyLookup::Found(_))));
}

#[actix_rt::test]
async fn a_count_of_three_encrypts_exactly_three_payloads_per_key() {
    let (_series, wrapper) = spawn(&MemoryStore::new(), after(3));
    let mut uses: Vec<(KeyId, u32)> = Vec::new();
    for _ in 0..10 {
        let key_id = wrap(&wrapper).await.key_id;
        match uses.last_mut() {
            Some((last, count)) if *last == key_id => *count += 1,
            _ => uses.push((key_id, 1)),
        }
    }
    assert_eq!(uses.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 3, 3, 1]);
}

#[actix_rt::test]
async fn many_wrappers_at_once_keep_to_the_count() {
    let (_series, wrapper) = spawn(&MemoryStore::new(), after(1));
    let wrapped = futures_util::future::join_all((0..50).map(|_| wrap(&wrapper))).await;
    let mut uses: BTreeMap<KeyId, u32> = BTreeMap::new();
    for wrapped in wrapped {
        *uses.entry(wrapped.key_id).or_default() += 1;
    }
    assert_eq!(uses.len(), 50);
}

#[actix_rt::test]
async fn an_interval_rotates_on_time_with_the_next_key_stored_ahead() {
    let store = MemoryStore::new();
    let (_series, wrapper) = spawn(&store, every(40));
    let first = wrap(&wrapper).await.key_id;
    assert_eq!(key_after(&wrapper, Duration::from_secs(34)).await, first);
    assert_eq!(keys_stored(&store), [first], "the next key is made too early");
    assert_eq!(key_after(&wrapper, Duration::from_millis(1500)).await, first);
    let ahead = keys_stored(&store);
    assert_eq!(ahead.len(), 2, "the next key is not made ahead");
    // From here on the store is stuck: a rotation must not need it.
    store.hold();
    assert_eq!(Some(&key_after(&wrapper, Duration::from_secs(5)).await), ahead.last());
}

#[actix_rt::test]
async fn interval_and_count_together_rotate_by_whichever_comes_first() {
    let rotation = Rotation { interval: Some(Duration::from_secs(10)), count: Some(2) };
    let (_series, wrapper) = spawn(&MemoryStore::new(), rotation);
    let first = wrap(&wrapper).await.key_id;
    assert_eq!(wrap(&wrapper).await.key_id, first);
    let second = wrap(&wrapper).await.key_id;
    assert_ne!(second, first, "the count is over");
    settle().await;
    // The interval runs from the rotation, not from the start.
    assert_eq!(key_after(&wrapper, Duration::from_secs(9)).await, second);
    let third = key_after(&wrapper, Duration::from_secs(2)).await;
    assert_ne!(third, second, "the interval is over");
}

#[actix_rt::test]
async fn a_stall_is_followed_by_one_rotation_not_by_a_burst() {
    let store = MemoryStore::new();
    let (series, wrapper) = spawn(&store, every(10));
    wrap(&wrapper).await;
    advance(Duration::from_secs(1000)).await;
    settle().await;
    assert_eq!(series.send(Observe).await.unwrap().rotations, 2);
    assert!(keys_stored(&store).len() <= 3);
}

#[actix_rt::test]
async fn a_key_is_offered_before_it_is_used() {
    let market = FakeMarket::default().start();
    let (series, wrapper) = spawn(&MemoryStore::new(), every(10));
    let first = wrap(&wrapper).await.key_id;
    assert_eq!(attach(&series, &market).await, 1);
    assert_eq!(with(&market, |market| market.offered()).await, [first]);
    with(&market, |market| market.hold = Some("PlaceOffer")).await;
    assert_eq!(
        key_after(&wrapper, Duration::from_secs(11)).await,
        first,
        "a key is used before it is offered"
    );
    with(&market, FakeMarket::release).await;
    settle().await;
    let second = wrap(&wrapper).await.key_id;
    assert_eq!(with(&market, |market| market.offered()).await, [first, second]);
    let offer = with(&market, |market| market.offers.pop()).await.unwrap();
    assert_eq!((offer.api_id, offer.uri.as_str()), (API, URI));
    assert_eq!(offer.price, xbr_core::Amount::from_xbr(35));
}

#[actix_rt::test]
async fn an_offer_that_fails_is_reported_and_placed_again_until_it_is_taken() {
    let market = FakeMarket::default().start();
    let (series, wrapper) = spawn(&MemoryStore::new(), every(3600));
    let first = wrap(&wrapper).await.key_id;
    with(&market, |market| {
        for _ in 0..5 {
            market.fail.push_back(("PlaceOffer", refused("wamp.error.no_such_procedure")));
        }
    })
    .await;
    assert_eq!(attach(&series, &market).await, 0);
    let status = series.send(Observe).await.unwrap();
    assert_eq!(status.unoffered, 1);
    assert!(status.last_error.unwrap().contains("wamp.error.no_such_procedure"));
    for _ in 0..100 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(with(&market, |market| market.offered()).await, [first]);
    assert_eq!(series.send(Observe).await.unwrap().unoffered, 0);
}

#[actix_rt::test]
async fn a_key_that_could_not_be_offered_is_rotated_away_but_still_offered_later() {
    let market = FakeMarket::default().start();
    let (series, wrapper) = spawn(&MemoryStore::new(), every(10));
    let first = wrap(&wrapper).await.key_id;
    series.send(DetachMarket).await.unwrap();
    let second = key_after(&wrapper, Duration::from_secs(11)).await;
    assert_ne!(first, second);
    assert_eq!(attach(&series, &market).await, 2);
    assert_eq!(with(&market, |market| market.offered()).await, [first, second]);
}

#[actix_rt::test]
async fn a_key_that_is_being_offered_when_a_market_maker_comes_is_offered_once_it_is_taken() {
    pause_time();
    let (store, market) = (MemoryStore::new(), FakeMarket::default().start());
    let options = series(Arc::new(store), every(10));
    // A second key that waits would keep the series from making another.
    let (series, wrapper) = KeySeries::spawn(SeriesOptions { offline_keys: NonZeroUsize::MIN, ..options });
    let first = wrap(&wrapper).await.key_id;
    assert_eq!(attach(&series, &market).await, 1);
    with(&market, |market| market.hold = Some("PlaceOffer")).await;
    advance(Duration::from_secs(9)).await;
    settle().await;
    // It finds the next key in the archive, not offered yet.
    let (again, with_market) = (series.clone(), market.clone());
    let attaching = actix_rt::spawn(async move { attach(&again, &with_market).await });
    settle().await;
    with(&market, FakeMarket::release).await;
    attaching.await.unwrap();
    settle().await;
    assert_eq!(series.send(Observe).await.unwrap().unoffered, 0);
    let second = key_after(&wrapper, Duration::from_secs(2)).await;
    let third = key_after(&wrapper, Duration::from_secs(11)).await;
    assert!(first != second && second != third, "it goes on");
}

#[actix_rt::test]
async fn a_store_that_refuses_keys_is_asked_again_while_the_current_key_serves_on() {
    let store = MemoryStore::new();
    let (series, wrapper) = spawn(&store, every(10));
    let first = wrap(&wrapper).await.key_id;
    for _ in 0..3 {
        store.fail_when(Fault::Refused, |write| matches!(write, Write::InsertKey(_)));
    }
    assert_eq!(key_after(&wrapper, Duration::from_secs(11)).await, first);
    assert!(series.send(Observe).await.unwrap().last_error.unwrap().contains("cannot store"));
    for _ in 0..30 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_ne!(wrap(&wrapper).await.key_id, first);
}

struct Subscriber(Vec<KeyRotated>);

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<KeyRotated> for Subscriber {
    type Result = ();

    fn handle(&mut self, message: KeyRotated, _: &mut Self::Context) {
        self.0.push(message);
    }
}

#[derive(Message)]
#[rtype(result = "Vec<KeyRotated>")]
struct Take;

impl Handler<Take> for Subscriber {
    type Result = Vec<KeyRotated>;

    fn handle(&mut self, _: Take, _: &mut Self::Context) -> Vec<KeyRotated> {
        std::mem::take(&mut self.0)
    }
}

#[actix_rt::test]
async fn subscribers_hear_of_each_rotation_once() {
    let (series, wrapper) = spawn(&MemoryStore::new(), every(10));
    let subscriber = Subscriber(Vec::new()).start();
    let gone = Subscriber(Vec::new()).start();
    series.send(Subscribe(subscriber.clone().recipient())).await.unwrap();
    series.send(Subscribe(gone.recipient())).await.unwrap();
    let first = wrap(&wrapper).await.key_id;
    let second = key_after(&wrapper, Duration::from_secs(11)).await;
    let third = series.send(RotateNow).await.unwrap().unwrap();
    let heard = subscriber.send(Take).await.unwrap();
    let pairs: Vec<_> = heard.iter().map(|event| (event.previous, event.key_id)).collect();
    // The first rotation may have come before the subscription.
    assert!(pairs.ends_with(&[(Some(first), second), (Some(second), third)]), "{pairs:?}");
    assert!(pairs.len() <= 3);
}

#[actix_rt::test]
async fn keys_are_sealed_to_the_buyer_current_or_archived() {
    let store = MemoryStore::new();
    let (series, wrapper) = spawn(&store, every(10));
    let wrapped = wrap(&wrapper).await;
    key_after(&wrapper, Duration::from_secs(11)).await;
    let (secret, buyer_key) = buyer();
    let seal = |key_id, buyer_key| series.send(SealKey { key_id, buyer_key });
    let sealed = seal(wrapped.key_id, buyer_key).await.unwrap().unwrap();
    assert_eq!(sealed.len(), 80);
    let key: [u8; 32] = sealed_box_open(&secret, &sealed).unwrap().try_into().unwrap();
    assert_eq!(secretbox_open(&key, &wrapped.ciphertext).unwrap(), b"\x67payload");

    let unknown = seal(KeyId::new([9; 16]), buyer_key).await.unwrap();
    assert_eq!(unknown, Err(SealKeyError::NoSuchKey));
    let low_order = seal(wrapped.key_id, BuyerKey::new([0; 32])).await.unwrap();
    assert_eq!(low_order, Err(SealKeyError::BuyerKey(SealError::LowOrder)));
    store.retire_key(wrapped.key_id).await.unwrap();
    let retired = seal(wrapped.key_id, buyer_key).await.unwrap();
    assert_eq!(retired, Err(SealKeyError::KeyRetired));
}

#[actix_rt::test]
async fn what_cannot_be_wrapped_spends_no_use() {
    let (_series, wrapper) = spawn(&MemoryStore::new(), after(1));
    let first = wrapper.wrap("io.crossbarista", "payload").await.unwrap_err();
    assert!(matches!(first, WrapError::UriOutsidePrefix { .. }));
    struct Unencodable;
    impl serde::Serialize for Unencodable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("on purpose"))
        }
    }
    assert!(matches!(wrapper.wrap(URI, &Unencodable).await, Err(WrapError::Payload(_))));
    let keys = [wrap(&wrapper).await.key_id, wrap(&wrapper).await.key_id];
    assert_ne!(keys[0], keys[1]);
    assert_eq!(_series.send(Observe).await.unwrap().rotations, 3 - 1);
}

#[actix_rt::test]
async fn the_messages_encrypt_as_the_wrapper_does() {
    let (series, wrapper) = spawn(&MemoryStore::new(), after(2));
    let encrypt = Encrypt { uri: URI.to_owned(), payload: Value::from("payload") };
    let first = series.send(encrypt).await.unwrap().unwrap();
    assert_eq!(wrap(&wrapper).await.key_id, first.key_id);
    let batch = EncryptBatch { uri: URI.to_owned(), payloads: vec![Value::Null; 3] };
    let batch = series.send(batch).await.unwrap().unwrap();
    assert_eq!(batch[0].key_id, batch[1].key_id);
    assert_ne!(batch[1].key_id, batch[2].key_id);
    let args = batch[0].clone().into_args();
    assert_eq!((args[0].as_bytes(), args[1].as_str()), (Some(batch[0].key_id.as_ref()), Some("cbor")));
}

#[actix_rt::test]
async fn a_halted_series_revokes_its_offers_and_wakes_those_who_wait() {
    let market = FakeMarket::default().start();
    let store = MemoryStore::new();
    let (series, wrapper) = spawn(&store, after(1));
    attach(&series, &market).await;
    let first = wrap(&wrapper).await.key_id;
    settle().await;
    store.hold();
    // The next key and the one after it were made before the store got stuck.
    wrap(&wrapper).await;
    wrap(&wrapper).await;
    let mut waiting = std::pin::pin!(wrapper.wrap(URI, "payload"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    series.send(Halt).await.unwrap();
    assert_eq!(waiting.await, Err(WrapError::Stopped));
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(WrapError::Stopped));
    series.send(Halt).await.unwrap();
    let told = with(&market, |market| market.told.clone()).await;
    assert!(told.iter().any(|told| matches!(told, Told::Revoked(_))));
    store.release();
    series.send(Resume).await.unwrap();
    assert_ne!(wrap(&wrapper).await.key_id, first);
}

#[actix_rt::test]
async fn a_wrapper_waits_for_a_key_no_longer_than_its_patience() {
    let store = MemoryStore::new();
    store.hold();
    let (_series, wrapper) = spawn(&store, every(10));
    let waited = Duration::from_secs(30);
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(WrapError::NoKey { waited }));
}

#[actix_rt::test]
async fn a_paused_series_refuses_makes_no_key_and_keeps_its_offers() {
    let (store, market) = (MemoryStore::new(), FakeMarket::default().start());
    let (series, wrapper) = spawn(&store, every(10));
    let first = wrap(&wrapper).await.key_id;
    attach(&series, &market).await;
    series.send(Pause).await.unwrap();
    let paused = WrapError::Paused { api_id: API };
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(paused.clone()));
    assert_eq!(series.send(RotateNow).await.unwrap(), Err(paused.clone()));
    for _ in 0..30 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(paused));
    assert_eq!(keys_stored(&store), [first]);
    let told = with(&market, |market| market.told.clone()).await;
    assert_eq!(told, [Told::Offered(first)], "nothing else is offered, and nothing revoked");
    // A market maker that comes back hears of what is sellable.
    series.send(DetachMarket).await.unwrap();
    assert_eq!(attach(&series, &market).await, 1);
    let status = series.send(Observe).await.unwrap();
    assert_eq!((status.is_paused, status.key_id, status.is_offered), (true, Some(first), true));
    // The interval has passed meanwhile: whoever wraps gets a new key, however slow the store is.
    store.hold();
    series.send(Unpause).await.unwrap();
    let mut wrapping = std::pin::pin!(wrapper.wrap(URI, "payload"));
    assert!(futures_util::poll!(&mut wrapping).is_pending());
    store.release();
    assert_ne!(wrapping.await.unwrap().key_id, first);
    let rotations = series.send(Observe).await.unwrap().rotations;
    series.send(Unpause).await.unwrap();
    assert_eq!(series.send(Observe).await.unwrap().rotations, rotations, "there was no pause to end");
}

#[actix_rt::test]
async fn a_short_pause_changes_neither_the_key_nor_its_time() {
    let (series, wrapper) = spawn(&MemoryStore::new(), every(40));
    let first = wrap(&wrapper).await.key_id;
    series.send(Pause).await.unwrap();
    advance(Duration::from_secs(36)).await;
    settle().await;
    series.send(Unpause).await.unwrap();
    assert_eq!(wrap(&wrapper).await.key_id, first);
    let second = key_after(&wrapper, Duration::from_secs(5)).await;
    assert_ne!(second, first, "the next key was due while it was paused, and is made all the same");
}

#[actix_rt::test]
async fn whoever_waits_for_a_key_hears_of_a_pause_and_a_pause_outlasts_a_halt() {
    let store = MemoryStore::new();
    store.hold();
    let (series, wrapper) = spawn(&store, after(1));
    let mut waiting = std::pin::pin!(wrapper.wrap(URI, "payload"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    series.send(Pause).await.unwrap();
    assert_eq!(waiting.await, Err(WrapError::Paused { api_id: API }));
    store.release();
    series.send(Halt).await.unwrap();
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(WrapError::Stopped));
    series.send(Unpause).await.unwrap();
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(WrapError::Stopped));
    series.send(Pause).await.unwrap();
    series.send(Resume).await.unwrap();
    assert_eq!(wrapper.wrap(URI, "payload").await, Err(WrapError::Paused { api_id: API }));
    series.send(Unpause).await.unwrap();
    wrap(&wrapper).await;
}

#[actix_rt::test]
async fn a_price_counts_for_keys_that_are_made_after_it() {
    let (store, market) = (MemoryStore::new(), FakeMarket::default().start());
    let (series, wrapper) =
        spawn(&store, Rotation { interval: Some(Duration::from_secs(60)), count: Some(2) });
    attach(&series, &market).await;
    wrap(&wrapper).await;
    settle().await;
    let before = series.send(Observe).await.unwrap();
    let next = before.next_key_id.unwrap();
    let (old, new) = (xbr_core::Amount::from_xbr(35), xbr_core::Amount::from_xbr(7));
    series.send(SetPrice(new)).await.unwrap();
    let status = series.send(Observe).await.unwrap();
    assert_eq!((status.price, status.next_price), (old, old), "both keys are offered for it");
    assert_eq!(status.next_key_id, Some(next));
    while wrap(&wrapper).await.key_id != next {
        settle().await;
    }
    settle().await;
    let status = series.send(Observe).await.unwrap();
    let after_next = status.next_key_id.unwrap();
    assert_eq!((status.key_id, status.price, status.next_price), (Some(next), old, new));
    let offers = with(&market, |market| market.offers.clone()).await;
    for offer in &offers {
        assert_eq!(offer.price, if offer.key_id == after_next { new } else { old });
        let Ok(KeyLookup::Found(record)) = store.key(offer.key_id).await else { panic!("it is not stored") };
        assert_eq!(record.price, offer.price, "a sale would be judged by another price");
    }
}

#[actix_rt::test]
async fn the_status_tells_when_the_key_was_made_and_when_it_rotates() {
    let (series, wrapper) = spawn(&MemoryStore::new(), every(10));
    let key_id = wrap(&wrapper).await.key_id;
    let status = series.send(Observe).await.unwrap();
    let made_ns = StoppedClock.now_ns();
    assert_eq!((status.key_id, status.created_ns), (Some(key_id), Some(made_ns)));
    assert_eq!(status.rotates_ns, Some(made_ns + 10_000_000_000));
    assert_eq!(status.uses_left, None);
    let (series, wrapper) = spawn(&MemoryStore::new(), after(3));
    wrap(&wrapper).await;
    let status = series.send(Observe).await.unwrap();
    assert_eq!((status.rotates_ns, status.uses_left), (None, Some(2)));
}
