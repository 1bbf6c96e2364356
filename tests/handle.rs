//! The handle that embedders hold: from any thread and any runtime, while the actors live on a thread of their own. The
//! market maker is a fake on that thread.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers fail a test by panicking"
)]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use actix::prelude::*;
use support::fake_market::{FakeMarket, Told, with};
use support::{
    API, CHANNEL, URI, after, api, buyer, close, every, guarded, guarded_close, market_maker, sale,
    seller_key, seller_options, state,
};
use tokio::sync::mpsc;
use xbr_actors::messages::{MarketError, MarketPort};
use xbr_actors::{
    ApiError, KeyRotated, SellerHandle, SellerOptions, SellerState, StartError, WrapError, Wrapped,
};
use xbr_core::crypto::sealed_box_open;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::Field;
use xbr_core::{Amount, ApiId, DataKey, KeyId, ProviderId, Signer, Value};
use xbr_store::{KeyLookup, MemoryStore, Store};

const GRACE: Duration = Duration::from_secs(10);
/// A test that hangs has failed.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it did not come")
}

struct Fixture {
    handle: SellerHandle,
    market: Addr<FakeMarket>,
    store: MemoryStore,
}

fn spawn() -> Fixture {
    spawn_with(|| {})
}

/// A seller that is not started; `and` runs on the actors' thread.
fn spawn_with(and: impl FnOnce() + Send + 'static) -> Fixture {
    let store = MemoryStore::new();
    let (tell, told) = channel();
    let make_factory = move || -> Box<dyn FnMut(_) -> _> {
        and();
        let market = FakeMarket::default().start();
        tell.send(market.clone()).unwrap();
        let mut watches = Vec::new();
        Box::new(move |watch| {
            // What is dropped counts as dead.
            watches.push(watch);
            MarketPort::new(&market)
        })
    };
    let handle = SellerHandle::spawn_with(seller_options(Arc::new(store.clone())), make_factory).unwrap();
    Fixture { handle, market: told.recv().unwrap(), store }
}

impl Fixture {
    async fn told(&self) -> Vec<Told> {
        with(&self.market, |market| market.told.clone()).await
    }

    /// What a buyer of the key would read.
    async fn decrypt(&self, wrapped: &Wrapped) -> Value {
        let KeyLookup::Found(record) = self.store.key(wrapped.key_id).await.unwrap() else {
            panic!("the key is not durable")
        };
        let plain = record.key.decrypt(&wrapped.ciphertext).unwrap();
        xbr_core::cbor::decode(&plain, &xbr_core::cbor::Limits::default()).unwrap()
    }
}

/// Everything that a seller's life has, whatever runs it.
async fn a_whole_life(it: Fixture) {
    let handle = it.handle.clone();
    let mut states = handle.state();
    assert_eq!(*states.borrow_and_update(), SellerState::None);
    assert_eq!(handle.add_api(api(every(3600))).await, Ok(()));
    assert_eq!(handle.start().await, Ok(()));
    assert_eq!(
        *soon(states.wait_for(|state| *state == SellerState::Started)).await.unwrap(),
        SellerState::Started
    );
    let mut other = api(after(5));
    other.terms.api_id = ApiId::new([2; 16]);
    assert_eq!(handle.add_api(other.clone()).await, Ok(()));
    assert_eq!(handle.add_api(other).await, Err(ApiError::Exists { api_id: ApiId::new([2; 16]) }));
    let status = handle.observe().await.unwrap();
    assert_eq!((status.state, status.apis.len(), status.channels.len()), (SellerState::Started, 2, 1));

    let wrapped = handle.wrap(API, URI, &[1u8, 2]).await.unwrap();
    let expected = Told::Published(
        "com.topic".to_owned(),
        vec![wrapped.key_id.encode(), Value::from("cbor"), Value::Bytes(wrapped.ciphertext.clone())],
    );
    assert_eq!(handle.publish("com.topic", wrapped.clone()).await, Ok(()));
    assert_eq!(it.told().await.last(), Some(&expected));

    let receipt = guarded(CHANNEL, handle.sell(sale(wrapped.key_id, state(2, 965), 35)).await).unwrap();
    let key = sealed_box_open(&buyer().0, &receipt.sealed_key).unwrap();
    let key = DataKey::from_bytes(key[..].try_into().unwrap());
    assert_eq!(key.decrypt(&wrapped.ciphertext).unwrap(), [0x82, 1, 2], "the buyer reads the payload");
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    let balance = handle.balance().await.unwrap();
    assert_eq!(balance.len(), 1);
    assert_eq!(balance[0].local.channel.earned, Amount::from_xbr(35));
    assert_eq!(balance[0].remote.as_ref().unwrap().state(), state(2, 965));

    let closed = guarded_close(handle.close_channel(close(state(2, 965), true)).await).unwrap();
    assert_eq!((closed.delegate, closed.is_final), (handle.address(), true));
    let late = handle.sell(sale(wrapped.key_id, state(3, 930), 35)).await;
    assert_eq!(late, Err(SaleReject::ChannelClosed));

    assert!(handle.remove_api(ApiId::new([2; 16])).await);
    assert!(!handle.remove_api(ApiId::new([2; 16])).await);
    handle.stop(GRACE).await;
    assert_eq!(*states.borrow_and_update(), SellerState::Stopped);
    assert_eq!(it.told().await.last(), Some(&Told::Left));
    assert_eq!(handle.wrap(API, URI, "late").await, Err(WrapError::Stopped));
    let late = handle.sell(sale(wrapped.key_id, state(3, 930), 35)).await;
    assert!(matches!(late, Err(SaleReject::Unavailable { .. })));
    let late = handle.close_channel(close(state(2, 965), true)).await;
    assert!(matches!(late, Err(CloseReject::Unavailable { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seller_lives_beside_a_runtime_of_many_threads() {
    soon(a_whole_life(spawn())).await;
}

#[test]
fn a_seller_lives_beside_a_runtime_of_one_thread() {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(soon(a_whole_life(spawn())));
    });
    thread.join().unwrap();
}

#[test]
fn a_seller_outlives_the_runtime_that_started_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let it = spawn();
    runtime().block_on(async {
        it.handle.add_api(api(every(3600))).await.unwrap();
        it.handle.start().await.unwrap();
    });
    assert_eq!(*it.handle.state().borrow(), SellerState::Started);
    let wrapped = runtime().block_on(it.handle.wrap(API, URI, "hello")).unwrap();
    assert_eq!(runtime().block_on(it.decrypt(&wrapped)), Value::from("hello"));
    runtime().block_on(it.handle.stop(GRACE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_key_is_used_exactly_as_often_as_it_may_be_by_any_number_of_tasks() {
    let it = spawn();
    it.handle.add_api(api(after(50))).await.unwrap();
    it.handle.start().await.unwrap();
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let handle = it.handle.clone();
            tokio::spawn(async move {
                let mut wrapped = Vec::new();
                for number in 0..50 {
                    wrapped.push(handle.wrap(API, URI, &(task, number)).await.unwrap());
                }
                wrapped
            })
        })
        .collect();
    let mut uses: BTreeMap<KeyId, usize> = BTreeMap::new();
    let mut payloads = HashSet::new();
    for task in tasks {
        for wrapped in soon(task).await.unwrap() {
            *uses.entry(wrapped.key_id).or_default() += 1;
            payloads.insert(format!("{:?}", it.decrypt(&wrapped).await));
        }
    }
    assert_eq!(uses.into_values().collect::<Vec<_>>(), [50; 8]);
    assert_eq!(payloads.len(), 400, "each payload is encrypted with the key that it names");
    let offered = with(&it.market, |market| market.offered()).await;
    assert!(offered.len() >= 8, "each key was offered: {}", offered.len());
}

#[tokio::test]
async fn values_and_batches_are_wrapped_in_order_over_rotations() {
    let it = spawn();
    it.handle.add_api(api(after(3))).await.unwrap();
    let value = Value::from_iter([("a", Value::Bytes(vec![1, 2])), ("b", Value::Null)]);
    let wrapped = it.handle.wrap_value(API, URI, &value).await.unwrap();
    assert_eq!(it.decrypt(&wrapped).await, value);
    let numbers: Vec<u64> = (0..8).collect();
    let batch = soon(it.handle.wrap_batch(API, URI, &numbers)).await.unwrap();
    let mut keys = vec![wrapped.key_id];
    for (number, wrapped) in numbers.iter().zip(&batch) {
        assert_eq!(it.decrypt(wrapped).await, Value::from(*number));
        keys.push(wrapped.key_id);
    }
    assert_eq!((batch.len(), keys.len()), (8, 9));
    let uses: Vec<_> = keys.chunk_by(|one, next| one == next).map(<[_]>::len).collect();
    assert_eq!(uses, [3, 3, 3]);
}

#[tokio::test]
async fn what_cannot_be_wrapped_says_why() {
    let it = spawn();
    let unknown = Err(WrapError::UnknownApi { api_id: API });
    assert_eq!(it.handle.wrap(API, URI, "x").await, unknown);
    assert_eq!(it.handle.wrapper(API).map(|_| ()), Err(WrapError::UnknownApi { api_id: API }));
    it.handle.add_api(api(every(3600))).await.unwrap();
    let outside = it.handle.wrap(API, "com.elsewhere", "x").await;
    assert!(matches!(outside, Err(WrapError::UriOutsidePrefix { .. })));
    assert!(it.handle.remove_api(API).await);
    assert_eq!(it.handle.wrap(API, URI, "x").await, Err(WrapError::UnknownApi { api_id: API }));
}

#[tokio::test]
async fn a_start_that_fails_is_told_and_can_be_repeated() {
    let it = spawn();
    with(&it.market, |market| market.fail.push_back(("Join", MarketError::NotJoined))).await;
    assert_eq!(it.handle.start().await, Err(StartError::Market(MarketError::NotJoined)));
    assert_eq!(*it.handle.state().borrow(), SellerState::Stopped);
    assert_eq!(it.handle.start().await, Ok(()));
}

/// Hears of rotations.
struct Listener(mpsc::UnboundedSender<KeyRotated>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<KeyRotated> for Listener {
    type Result = ();

    fn handle(&mut self, message: KeyRotated, _: &mut Self::Context) {
        self.0.send(message).unwrap();
    }
}

#[tokio::test]
async fn a_subscriber_hears_of_every_rotation_in_order() {
    let it = spawn();
    it.handle.add_api(api(after(1))).await.unwrap();
    it.handle.start().await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = with(&it.market, |_| Listener(tell).start().recipient()).await;
    assert!(!it.handle.on_rotate(ApiId::new([2; 16]), listener.clone()).await);
    assert!(it.handle.on_rotate(API, listener).await);
    let mut keys = Vec::new();
    for number in 0..4u64 {
        keys.push(soon(it.handle.wrap(API, URI, &number)).await.unwrap().key_id);
    }
    for pair in keys.windows(2) {
        let rotated = soon(told.recv()).await.unwrap();
        assert_eq!((rotated.api_id, rotated.previous, rotated.key_id), (API, Some(pair[0]), pair[1]));
        assert!(rotated.offered);
    }
}

thread_local! {
    /// Dropped when the actors' thread ends.
    static LIFE: RefCell<Option<Sender<()>>> = const { RefCell::new(None) };
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle() {
    let (life, ended) = channel();
    let it = spawn_with(move || LIFE.set(Some(life)));
    it.handle.add_api(api(every(3600))).await.unwrap();
    it.handle.start().await.unwrap();
    let clone = it.handle.clone();
    let wrapper = clone.wrapper(API).unwrap();
    drop(it.handle);
    assert!(clone.observe().await.is_some(), "another handle of the same seller");
    assert_eq!(ended.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    drop(clone);
    assert_eq!(ended.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    assert!(!it.market.connected());
    assert_eq!(soon(wrapper.wrap(URI, "payload")).await, Err(WrapError::Stopped), "a wrapper that was kept");
}

#[test]
fn a_thread_that_cannot_begin_is_told() {
    let options = seller_options(Arc::new(MemoryStore::new()));
    let failed = SellerHandle::spawn_with(options, || panic!("on purpose"));
    assert!(failed.unwrap_err().to_string().starts_with("cannot start the seller's thread"));
}

#[test]
fn the_seller_is_known_by_its_key() {
    let it = spawn();
    let key = seller_key();
    assert_eq!((it.handle.address(), it.handle.public_key()), (key.address(), &key.public_key()));
    let provider_id = it.handle.provider_id().as_str();
    assert_eq!(provider_id, format!("0x{}", hex::encode(key.public_key())));
    assert_eq!(provider_id.len(), 2 + 128);

    let options = SellerOptions::new(market_maker().address(), key, Arc::new(MemoryStore::new()));
    let options = SellerOptions { provider_id: ProviderId::new("shop_1").unwrap(), ..options };
    let market =
        || -> Box<dyn FnMut(_) -> _> { Box::new(|_| MarketPort::new(&FakeMarket::default().start())) };
    let named = SellerHandle::spawn_with(options, market).unwrap();
    assert_eq!(named.provider_id().as_str(), "shop_1");
}
