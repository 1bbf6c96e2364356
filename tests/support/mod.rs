//! What the tests of the actors share: a market maker that is an actor, a clock that stands still, a guard that fails
//! the test when receipts contradict each other, and claims to sell.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "a module of tests")]

pub mod chance;
pub mod fake_market;
pub(crate) mod guard;
pub mod parties;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guard::Guard;
pub use parties::*;
use xbr_actors::key_series::SeriesOptions;
use xbr_actors::{ApiOptions, Clock, DEFAULT_OFFLINE_KEYS, Observers, Retention, Rotation, SellerOptions};
use xbr_core::channel::ChannelState;
use xbr_core::crypto::UserspaceEntropy;
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest};
use xbr_core::{Amount, ChannelId, Eip712, KeyId, Signature, Signer};
use xbr_store::Store;

thread_local! {
    static PAUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// What was signed in this test. A signature is made ahead of its turn: it counts when its receipt leaves.
    static GUARD: RefCell<Guard> = RefCell::new(Guard::default());
}

/// The answer to a sale, which fails the test when it is signed in contradiction to another.
pub fn guarded<E>(channel_id: ChannelId, answer: Result<SellReceipt, E>) -> Result<SellReceipt, E> {
    answer.inspect(|receipt| GUARD.with_borrow_mut(|guard| guard.sold(&terms_of(channel_id), receipt)))
}

/// The same for a close of [`CHANNEL`].
pub fn guarded_close<E>(answer: Result<CloseReceipt, E>) -> Result<CloseReceipt, E> {
    answer.inspect(|receipt| GUARD.with_borrow_mut(|guard| guard.closed(&terms_of(CHANNEL), receipt)))
}

/// Pauses the time of this test, once. From then on it jumps to the next timer whenever the test has nothing to do,
/// also while worker threads compute: where that matters, no timer may be armed.
pub fn pause_time() {
    if !PAUSED.replace(true) {
        tokio::time::pause();
    }
}

/// A clock that stands still.
#[derive(Debug)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ns(&self) -> u64 {
        1_700_000_000_000_000_000
    }
}

/// A clock that panics once when it is told to, and with it the actor that reads it.
#[derive(Debug, Default)]
pub struct PanickingClock(pub std::sync::atomic::AtomicBool);

impl Clock for PanickingClock {
    fn now_ns(&self) -> u64 {
        if self.0.swap(false, std::sync::atomic::Ordering::SeqCst) {
            panic!("on purpose");
        }
        StoppedClock.now_ns()
    }
}

fn sign(channel_id: ChannelId, state: ChannelState, is_final: bool) -> Signature {
    terms_of(channel_id).state(state.seq, state.balance, is_final).sign(&market_maker()).unwrap()
}

/// A sale that the market maker signed: `amount` is paid for the key, the channel is at `state` after it.
pub fn sale(key_id: KeyId, state: ChannelState, amount_xbr: u64) -> SellRequest {
    sale_on(CHANNEL, key_id, state, amount_xbr)
}

pub fn sale_on(channel_id: ChannelId, key_id: KeyId, state: ChannelState, amount_xbr: u64) -> SellRequest {
    SellRequest {
        market_maker: market_maker().address(),
        buyer_key: buyer().1,
        key_id,
        channel_id,
        channel_seq: state.seq,
        amount: Amount::from_xbr(amount_xbr),
        balance: state.balance,
        signature: sign(channel_id, state, false),
    }
}

/// A close that the market maker signed.
pub fn close(state: ChannelState, is_final: bool) -> CloseRequest {
    CloseRequest {
        market_maker: market_maker().address(),
        channel_id: CHANNEL,
        channel_seq: state.seq,
        balance: state.balance,
        is_final,
        signature: sign(CHANNEL, state, is_final),
    }
}

pub fn offer_terms(price_xbr: u64) -> OfferTerms {
    OfferTerms {
        api_id: API,
        prefix: UriPrefix::new(URI).unwrap(),
        price: Amount::from_xbr(price_xbr),
        categories: BTreeMap::new(),
        expires_after: None,
        copies: None,
    }
}

pub fn every(seconds: u64) -> Rotation {
    Rotation { interval: Some(Duration::from_secs(seconds)), count: None }
}

pub fn after(count: u64) -> Rotation {
    Rotation { interval: None, count: Some(count) }
}

pub fn api(rotation: Rotation) -> ApiOptions {
    ApiOptions { terms: offer_terms(35), rotation }
}

pub fn series(store: Arc<dyn Store>, rotation: Rotation) -> SeriesOptions {
    SeriesOptions {
        terms: offer_terms(35),
        rotation,
        store,
        clock: Arc::new(StoppedClock),
        entropy: Arc::new(UserspaceEntropy),
        patience: Duration::from_secs(30),
        offline_keys: DEFAULT_OFFLINE_KEYS,
        retention: Retention::default(),
        on_retired: None,
        observers: Observers::default(),
    }
}

pub fn seller_options(store: Arc<dyn Store>) -> SellerOptions {
    let mut options = SellerOptions::new(market_maker().address(), seller_key(), store);
    options.clock = Arc::new(StoppedClock);
    // Tests that want it say so: where no timer is armed, paused time stands still.
    options.channel_poll = None;
    options
}
