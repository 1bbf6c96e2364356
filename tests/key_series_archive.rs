//! The key series and its archive, on paused time: keys of an earlier life that were never offered, how many may wait
//! while the market maker is away, and which leave the archive.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod support;

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use support::fake_market::{FakeMarket, Told, refused, with};
use support::{API, URI, after, every, pause_time, series};
use tokio::time::advance;
use xbr_actors::key_series::{
    AttachMarket, DetachMarket, Halt, KeysRetired, Observe, OfferPort, SeriesOptions,
};
use xbr_actors::messages::MarketPort;
use xbr_actors::{Clock, KeySeries, Retention, WrapError, Wrapper};
use xbr_core::{Amount, DataKey, KeyId};
use xbr_store::{KeyLookup, KeyRecord, MemoryStore, Store};

const NOW_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A clock that a test sets.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn spawn(options: SeriesOptions) -> (Addr<KeySeries>, Wrapper) {
    pause_time();
    KeySeries::spawn(options)
}

async fn attach(series: &Addr<KeySeries>, market: &Addr<FakeMarket>) -> usize {
    let port = MarketPort::new(market);
    series.send(AttachMarket(OfferPort { place: port.place_offer, revoke: port.revoke_offer })).await.unwrap()
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn pass(seconds: u64) {
    for _ in 0..seconds {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
}

async fn key_of(wrapper: &Wrapper) -> KeyId {
    wrapper.wrap(URI, "payload").await.unwrap().key_id
}

/// Puts a key into the archive, made so many seconds ago.
async fn archive(store: &MemoryStore, n: u8, age_s: u64, expires_ns: Option<u64>, is_offered: bool) -> KeyId {
    let key_id = KeyId::new([n; 16]);
    let created_ns = NOW_NS - age_s * SECOND_NS;
    let record = KeyRecord {
        key_id,
        api_id: API,
        key: DataKey::from_bytes([n; 32]),
        price: Amount::from_xbr(50),
        created_ns,
        expires_ns,
        offered_ns: is_offered.then_some(created_ns),
    };
    store.insert_key(record).await.unwrap();
    key_id
}

async fn is_retired(store: &MemoryStore, key_id: KeyId) -> bool {
    matches!(store.key(key_id).await.unwrap(), KeyLookup::Retired)
}

#[actix_rt::test]
async fn a_key_that_an_earlier_life_could_not_offer_is_offered_at_its_own_price_unless_it_has_expired() {
    let store = MemoryStore::new();
    let waiting = archive(&store, 1, 600, None, false).await;
    let lasting = archive(&store, 2, 500, Some(NOW_NS + 1), false).await;
    let expired = archive(&store, 3, 400, Some(NOW_NS), false).await;
    let offered = archive(&store, 4, 300, None, true).await;
    let market = FakeMarket::default().start();
    let (series, wrapper) = spawn(series(Arc::new(store.clone()), every(3600)));
    let own = key_of(&wrapper).await;
    assert_eq!(attach(&series, &market).await, 1, "which waits for no look into the archive");
    settle().await;
    let mut seen = with(&market, |market| market.offered()).await;
    seen.sort();
    let mut expected = vec![waiting, lasting, own];
    expected.sort();
    assert_eq!(seen, expected, "neither {expired} nor {offered}");
    let offers = with(&market, |market| market.offers.clone()).await;
    let offer = offers.iter().find(|offer| offer.key_id == lasting).unwrap();
    // Valid from ten seconds before it was made, as when it is offered at once.
    assert_eq!((offer.price, offer.valid_from_ns), (Amount::from_xbr(50), NOW_NS - 510 * SECOND_NS));
    assert_eq!(offer.expires_ns, Some(NOW_NS + 1));
    settle().await;
    let KeyLookup::Found(record) = store.key(waiting).await.unwrap() else { panic!("it is there") };
    assert!(record.offered_ns.is_some(), "the next life does not offer it again");
    series.send(Halt).await.unwrap();
    let revoked =
        with(&market, |market| market.told.iter().filter(|told| matches!(told, Told::Revoked(_))).count());
    assert_eq!(
        revoked.await,
        1,
        "only what is in use is revoked at the stop: the others can still be bought"
    );
}

#[actix_rt::test]
async fn no_more_keys_than_allowed_wait_for_a_market_maker_and_all_are_offered_when_it_comes() {
    let store = MemoryStore::new();
    let options =
        SeriesOptions { offline_keys: NonZeroUsize::new(3).unwrap(), ..series(Arc::new(store), every(10)) };
    let (series, wrapper) = spawn(options);
    let first = key_of(&wrapper).await;
    pass(60).await;
    let last = key_of(&wrapper).await;
    let status = series.send(Observe).await.unwrap();
    assert_eq!((status.unoffered, status.rotations, status.is_offered), (3, 3, false));
    assert!(status.last_error.unwrap().contains("too many"));
    let market = FakeMarket::default().start();
    assert_eq!(attach(&series, &market).await, 3);
    let offered = with(&market, |market| market.offered()).await;
    assert_eq!((offered[0], offered[2]), (first, last), "none was given up, the oldest first");
    pass(12).await;
    assert_ne!(key_of(&wrapper).await, last, "it goes on");
    assert!(series.send(Observe).await.unwrap().is_offered);
}

#[actix_rt::test]
async fn a_key_that_was_used_up_while_the_market_maker_was_away_is_offered_again_when_it_is_back() {
    let market = FakeMarket::default().start();
    let (series, wrapper) = spawn(series(Arc::new(MemoryStore::new()), after(1)));
    attach(&series, &market).await;
    settle().await;
    series.send(DetachMarket).await.unwrap();
    let used = key_of(&wrapper).await;
    key_of(&wrapper).await;
    settle().await;
    with(&market, |market| market.told.clear()).await;
    attach(&series, &market).await;
    assert!(
        with(&market, |market| market.offered()).await.contains(&used),
        "a feed repeats its events under it"
    );
    key_of(&wrapper).await;
    settle().await;
    with(&market, |market| market.told.clear()).await;
    attach(&series, &market).await;
    assert!(!with(&market, |market| market.offered()).await.contains(&used), "once is enough");
}

#[actix_rt::test]
async fn wrapping_by_count_waits_when_too_many_keys_wait() {
    let options = SeriesOptions {
        offline_keys: NonZeroUsize::new(2).unwrap(),
        ..series(Arc::new(MemoryStore::new()), after(1))
    };
    let (series, wrapper) = spawn(options);
    for _ in 0..2 {
        key_of(&wrapper).await;
        settle().await;
    }
    assert!(matches!(wrapper.wrap(URI, "one too many").await, Err(WrapError::NoKey { .. })));
    let market = FakeMarket::default().start();
    attach(&series, &market).await;
    settle().await;
    key_of(&wrapper).await;
}

#[actix_rt::test]
async fn a_key_whose_time_has_passed_before_it_was_offered_is_not_offered() {
    let clock = Arc::new(SetClock(AtomicU64::new(NOW_NS)));
    let mut options = series(Arc::new(MemoryStore::new()), every(3600));
    options.clock = clock.clone();
    options.terms.expires_after = Some(Duration::from_secs(7200));
    let (series, wrapper) = spawn(options);
    key_of(&wrapper).await;
    clock.0.fetch_add(7200 * SECOND_NS, Ordering::SeqCst);
    let market = FakeMarket::default().start();
    assert_eq!(attach(&series, &market).await, 0);
    assert_eq!(series.send(Observe).await.unwrap().unoffered, 0);
}

#[actix_rt::test]
async fn failed_offers_are_counted() {
    let market = FakeMarket::default().start();
    with(&market, |market| market.fail.push_back(("PlaceOffer", refused("some.error")))).await;
    let (series, wrapper) = spawn(series(Arc::new(MemoryStore::new()), every(3600)));
    key_of(&wrapper).await;
    attach(&series, &market).await;
    assert_eq!(series.send(Observe).await.unwrap().failed_offers, 1);
}

/// Remembers what it was told.
struct Listener(Vec<KeyId>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<KeysRetired> for Listener {
    type Result = ();

    fn handle(&mut self, message: KeysRetired, _: &mut Self::Context) {
        self.0.extend(message.0);
    }
}

#[derive(Message)]
#[rtype(result = "Vec<KeyId>")]
struct Heard;

impl Handler<Heard> for Listener {
    type Result = Vec<KeyId>;

    fn handle(&mut self, _: Heard, _: &mut Self::Context) -> Vec<KeyId> {
        self.0.clone()
    }
}

#[actix_rt::test]
async fn old_keys_leave_the_archive_but_none_that_is_in_use_or_promised() {
    let store = MemoryStore::new();
    let for_ever = archive(&store, 1, 900, None, true).await;
    let never_offered = archive(&store, 2, 800, Some(NOW_NS - 1), false).await;
    let promised = archive(&store, 3, 700, Some(NOW_NS + 1), true).await;
    let expired = archive(&store, 4, 650, Some(NOW_NS), true).await;
    let young = archive(&store, 5, 599, None, true).await;
    let listener = Listener(Vec::new()).start();
    let options = SeriesOptions {
        retention: Retention { max_age: Some(Duration::from_secs(600)), max_keys: None },
        on_retired: Some(listener.clone().recipient()),
        ..series(Arc::new(store.clone()), every(3600))
    };
    let (series, wrapper) = spawn(options);
    let current = key_of(&wrapper).await;
    pass(15).await;
    assert!(!is_retired(&store, for_ever).await, "it cannot be revoked while the market maker is away");
    assert!(is_retired(&store, never_offered).await && is_retired(&store, expired).await);
    let market = FakeMarket::default().start();
    attach(&series, &market).await;
    pass(61).await;
    assert!(is_retired(&store, for_ever).await);
    let told = with(&market, |market| market.told.clone()).await;
    assert!(told.contains(&Told::Revoked(for_ever)) && !told.contains(&Told::Revoked(expired)));
    for kept in [promised, young, current] {
        assert!(!is_retired(&store, kept).await, "{kept}");
    }
    assert_eq!(series.send(Observe).await.unwrap().retired, 3);
    let mut heard = listener.send(Heard).await.unwrap();
    heard.sort();
    assert_eq!(heard, [for_ever, never_offered, expired]);
}

#[actix_rt::test]
async fn more_keys_than_are_kept_leave_in_steps() {
    let store = MemoryStore::new();
    for n in 0..=255 {
        archive(&store, n, 60_000 - u64::from(n), Some(NOW_NS), true).await;
    }
    let options = SeriesOptions {
        retention: Retention { max_age: None, max_keys: NonZeroU64::new(3) },
        ..series(Arc::new(store.clone()), every(3600))
    };
    let (series, wrapper) = spawn(options);
    let current = key_of(&wrapper).await;
    pass(13).await;
    assert_eq!(series.send(Observe).await.unwrap().retired, 254, "all but two, and the current one");
    assert!(!is_retired(&store, KeyId::new([255; 16])).await && !is_retired(&store, current).await);
}
