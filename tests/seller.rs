//! The supervisor: the order of starting and stopping, coming back, replacing what died, and sales through it. The
//! market maker's session is a fake; the ledger and the key series are the real ones.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure is a panic here")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use support::fake_market::{FakeMarket, Told, refused, with};
use support::{
    API, CHANNEL, PanickingClock, StoppedClock, after, api, buyer, close, every, market_maker, pause_time,
    sale, sale_on, seller_options, state,
};
use tokio::time::advance;
use xbr_actors::messages::{CloseChannel, MarketError, MarketPort, Sell, SessionLost};
use xbr_actors::seller::{AddApi, Balance, Observe, RemoveApi, Start, Stop};
use xbr_actors::{
    ApiError, ChannelReport, Clock, Seller, SellerOptions, SellerState, SellerStatus, StartError,
};
use xbr_core::channel::Reconciliation;
use xbr_core::crypto::sealed_box_open;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::{SellReceipt, SellRequest};
use xbr_core::{Address, Amount, ApiId, BuyerKey, ChannelId, KeyId, Signature, Signer};
use xbr_store::{MemoryStore, Store};

const GRACE: Duration = Duration::from_secs(10);

struct Market {
    seller: Addr<Seller>,
    market: Addr<FakeMarket>,
    store: MemoryStore,
}

/// A seller that is not started, on paused time.
fn spawn(store: MemoryStore) -> Market {
    spawn_with(store, Arc::new(StoppedClock))
}

fn spawn_with(store: MemoryStore, clock: Arc<dyn Clock>) -> Market {
    pause_time();
    let market = FakeMarket::default().start();
    let port = MarketPort::new(&market);
    let options = SellerOptions { clock, ..seller_options(Arc::new(store.clone())) };
    let mut watches = Vec::new();
    let make_market = move |watch| {
        // What is dropped counts as dead.
        watches.push(watch);
        port.clone()
    };
    let seller = Seller::new(options, Box::new(make_market)).start();
    Market { seller, market, store }
}

/// A started seller with one API, whose keys last for an hour.
async fn started() -> Market {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    it.start().await.unwrap();
    it
}

/// A started seller with one API, whose keys last for so many uses that no timer is armed: time does not jump while
/// worker threads compute.
async fn selling() -> Market {
    let it = spawn(MemoryStore::new());
    it.seller.send(AddApi(api(after(1_000_000)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    settle().await;
    it
}

impl Market {
    async fn add_api(&self) {
        self.seller.send(AddApi(api(every(3600)))).await.unwrap().unwrap();
    }

    async fn start(&self) -> Result<(), StartError> {
        self.seller.send(Start).await.unwrap()
    }

    async fn stop(&self) {
        self.seller.send(Stop { grace: GRACE }).await.unwrap();
    }

    async fn status(&self) -> SellerStatus {
        self.seller.send(Observe).await.unwrap()
    }

    async fn state(&self) -> SellerState {
        self.status().await.state
    }

    async fn key(&self) -> KeyId {
        self.status().await.apis[0].key_id.unwrap()
    }

    async fn sell(&self, request: SellRequest) -> Result<SellReceipt, SaleReject> {
        self.seller.send(Sell { request }).await.unwrap()
    }

    async fn told(&self) -> Vec<Told> {
        with(&self.market, |market| market.told.clone()).await
    }

    async fn fail(&self, name: &'static str, error: MarketError) {
        with(&self.market, move |market| market.fail.push_back((name, error))).await;
    }

    async fn lose_session(&self) {
        let lost = with(&self.market, |market| market.lost.clone()).await.unwrap();
        lost.send(SessionLost { reason: "a test".into() }).await.unwrap();
    }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn a_start_registers_before_it_offers_and_is_idempotent() {
    let it = spawn(MemoryStore::new());
    assert_eq!(it.state().await as u8, 0);
    it.add_api().await;
    let key = it.key().await;
    let (first, second) = futures_util::join!(it.start(), it.start());
    assert_eq!((first, second, it.start().await), (Ok(()), Ok(()), Ok(())));
    assert_eq!(it.state().await as u8, 2);
    assert_eq!(it.told().await, [Told::Joined, Told::Served, Told::Offered(key)]);
}

#[actix_rt::test]
async fn a_start_that_fails_at_any_step_says_why_leaves_and_can_be_retried() {
    for step in ["Join", "FetchConfig", "FetchActiveChannel", "FetchChannels", "FetchBalance", "Serve"] {
        let it = spawn(MemoryStore::new());
        it.add_api().await;
        it.fail(step, refused("some.error")).await;
        assert_eq!(it.start().await, Err(StartError::Market(refused("some.error"))), "{step}");
        assert_eq!(it.state().await as u8, 4, "{step}");
        assert_eq!(it.told().await.last(), Some(&Told::Left), "{step}");
        assert_eq!(it.start().await, Ok(()), "{step}");
    }
}

#[actix_rt::test]
async fn a_start_checks_whom_it_deals_with() {
    let it = spawn(MemoryStore::new());
    with(&it.market, |market| market.marketmaker = Address::new([9; 20])).await;
    let expected = market_maker().address();
    let actual = Address::new([9; 20]);
    assert_eq!(it.start().await, Err(StartError::OtherMarketMaker { expected, actual }));
    with(&it.market, |market| {
        market.marketmaker = market_maker().address();
        market.active = None;
    })
    .await;
    assert!(matches!(it.start().await, Err(StartError::NoPayingChannel { .. })));
}

#[actix_rt::test]
async fn an_offer_that_fails_does_not_fail_the_start() {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    it.fail("PlaceOffer", refused("some.error")).await;
    assert_eq!(it.start().await, Ok(()));
    assert_eq!(it.status().await.apis[0].unoffered, 1);
    advance(Duration::from_secs(5)).await;
    settle().await;
    assert_eq!(it.status().await.apis[0].unoffered, 0);
}

#[actix_rt::test]
async fn a_stop_revokes_unregisters_and_leaves_in_this_order_from_any_state() {
    let it = started().await;
    let key = it.key().await;
    let (first, second) = futures_util::join!(it.stop(), it.stop());
    assert_eq!((first, second), ((), ()));
    assert_eq!(it.state().await as u8, 4);
    let told = it.told().await;
    assert_eq!(told[3..], [Told::Revoked(key), Told::Withdrawn, Told::Left]);
    it.stop().await;
    assert_eq!(it.told().await.len(), told.len());
    assert_eq!(it.start().await, Ok(()), "it can be started again");
    assert_ne!(it.key().await, key, "with a new key");
    let never_started = spawn(MemoryStore::new());
    never_started.stop().await;
    assert_eq!(never_started.state().await as u8, 4);
}

#[actix_rt::test]
async fn a_stop_interrupts_a_start() {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    with(&it.market, |market| market.hold = Some("FetchConfig")).await;
    let (started, ()) = futures_util::join!(it.start(), async {
        settle().await;
        it.stop().await;
    });
    assert_eq!(started, Err(StartError::Interrupted));
    with(&it.market, FakeMarket::release).await;
    settle().await;
    assert_eq!(it.state().await as u8, 4);
    assert!(!it.told().await.contains(&Told::Served), "what was begun before the stop is void");
}

#[actix_rt::test]
async fn a_stop_waits_for_sales_in_flight_but_no_longer_than_the_grace_period() {
    for patient in [true, false] {
        let it = selling().await;
        let key = it.key().await;
        it.store.hold();
        let mut sold = std::pin::pin!(it.sell(sale(key, state(2, 965), 35)));
        assert!(futures_util::poll!(&mut sold).is_pending());
        it.store.until_held(1).await;
        let mut stopped = std::pin::pin!(it.stop());
        assert!(futures_util::poll!(&mut stopped).is_pending());
        settle().await;
        assert_eq!(it.state().await as u8, 3);
        let other = it.sell(sale(key, state(3, 930), 35)).await;
        assert!(matches!(other, Err(SaleReject::Unavailable { .. })), "no new sale while stopping");
        if patient {
            it.store.release();
            assert!(sold.await.is_ok());
        } else {
            advance(GRACE + Duration::from_secs(1)).await;
        }
        stopped.await;
        assert_eq!(it.told().await.last(), Some(&Told::Left));
    }
}

#[actix_rt::test]
async fn a_lost_session_is_replaced_and_nothing_is_sold_in_between() {
    let it = started().await;
    let key = it.key().await;
    it.fail("Join", MarketError::NotJoined).await;
    it.fail("FetchConfig", MarketError::NotJoined).await;
    it.lose_session().await;
    assert_eq!(it.state().await as u8, 1);
    let request = sale(key, state(2, 965), 35);
    assert!(matches!(it.sell(request.clone()).await, Err(SaleReject::Unavailable { .. })));
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(it.state().await as u8, 2);
    assert_eq!(it.start().await, Ok(()));
    let offered = with(&it.market, |market| market.offered()).await;
    assert_eq!(offered, [key, key], "a market maker that may have forgotten the key is offered it again");
    assert!(it.sell(request).await.is_ok());
}

#[actix_rt::test]
async fn a_session_that_is_lost_during_the_start_fails_it() {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    with(&it.market, |market| market.hold = Some("Serve")).await;
    let (started, ()) = futures_util::join!(it.start(), async {
        settle().await;
        it.lose_session().await;
        with(&it.market, FakeMarket::release).await;
    });
    assert_eq!(started, Err(StartError::SessionLost));
}

#[actix_rt::test]
async fn apis_come_and_go_before_and_after_the_start() {
    let it = started().await;
    let mut other = api(after(5));
    other.terms.api_id = ApiId::new([2; 16]);
    it.seller.send(AddApi(other.clone())).await.unwrap().unwrap();
    assert!(with(&it.market, |market| market.offers.len()).await >= 2, "it is offered at once");
    let twice = it.seller.send(AddApi(other.clone())).await.unwrap();
    assert_eq!(twice, Err(ApiError::Exists { api_id: other.terms.api_id }));
    let removed_key = it.key().await;
    assert!(it.seller.send(RemoveApi(API)).await.unwrap());
    assert!(!it.seller.send(RemoveApi(API)).await.unwrap());
    assert_eq!(it.status().await.apis.len(), 1);
    let revoked = it.told().await.iter().filter(|told| matches!(told, Told::Revoked(_))).count();
    assert!(revoked >= 1);
    let late = it.sell(sale(removed_key, state(2, 965), 35)).await;
    assert!(late.is_ok(), "a key that was offered stays sellable: {late:?}");
}

#[actix_rt::test]
async fn an_api_that_makes_no_sense_is_refused() {
    let it = spawn(MemoryStore::new());
    let mut options = api(every(10));
    options.rotation.interval = None;
    assert_eq!(it.seller.send(AddApi(options)).await.unwrap(), Err(ApiError::NoRotation));
    assert_eq!(it.seller.send(AddApi(api(after(0)))).await.unwrap(), Err(ApiError::TooFast));
    let mut options = api(every(600));
    options.terms.expires_after = Some(Duration::from_secs(600));
    assert_eq!(it.seller.send(AddApi(options)).await.unwrap(), Err(ApiError::OutlivesOffer));
    let mut options = api(every(10));
    options.terms.copies = Some(0);
    assert!(matches!(it.seller.send(AddApi(options)).await.unwrap(), Err(ApiError::Terms(_))));
}

#[actix_rt::test]
async fn a_sale_delivers_the_key_to_the_buyer_and_the_money_to_the_ledger() {
    let it = selling().await;
    let key = it.key().await;
    let receipt = it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    assert_eq!((receipt.key_id, receipt.balance), (key, Amount::from_xbr(965)));
    assert_eq!(sealed_box_open(&buyer().0, &receipt.sealed_key).unwrap().len(), 32);
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    let balance = it.seller.send(Balance).await.unwrap().unwrap();
    let [ChannelReport { local, remote }] = &balance[..] else { panic!("one channel: {balance:?}") };
    assert_eq!((local.channel.state, local.channel.earned), (state(2, 965), Amount::from_xbr(35)));
    assert_eq!(remote.as_ref().unwrap().state(), state(2, 965));
}

#[actix_rt::test]
async fn what_is_wrong_with_a_sale_is_said_in_order_of_precedence() {
    let it = selling().await;
    let key = it.key().await;
    // Each row repairs one more mistake; the next one is then the answer.
    let mut request = sale(key, state(1, 966), 34);
    request.market_maker = Address::new([9; 20]);
    request.key_id = KeyId::new([9; 16]);
    request.buyer_key = BuyerKey::new([0; 32]);
    request.channel_id = ChannelId::new([9; 16]);
    request.signature = Signature::new([0; 65]);
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::UnexpectedMarketMaker));
    request.market_maker = market_maker().address();
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::NoSuchKey));
    request.key_id = key;
    // Whether the channel exists is found out on the way to sealing.
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::UnexpectedChannel));
    request.channel_id = CHANNEL;
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::InvalidBuyerKey));
    request.buyer_key = buyer().1;
    assert!(matches!(it.sell(request.clone()).await, Err(SaleReject::UnexpectedSeq { .. })));
    request.channel_seq = state(2, 0).seq;
    request.balance = Amount::from_xbr(967);
    assert!(matches!(it.sell(request.clone()).await, Err(SaleReject::UnexpectedBalance { .. })));
    request.balance = Amount::from_xbr(966);
    assert_eq!(it.sell(request.clone()).await, Err(SaleReject::InvalidSignature));
    request.signature = sale(key, state(2, 966), 34).signature;
    assert!(matches!(it.sell(request.clone()).await, Err(SaleReject::InsufficientAmount { .. })));
    assert!(it.sell(sale(key, state(2, 965), 35)).await.is_ok());
    assert_eq!(it.status().await.channels[0].channel.sales, 1);
}

#[actix_rt::test]
async fn a_retired_key_is_said_to_be_retired() {
    let it = selling().await;
    let retired = KeyId::new([8; 16]);
    let record = match it.store.key(it.key().await).await.unwrap() {
        xbr_store::KeyLookup::Found(record) => xbr_store::KeyRecord { key_id: retired, ..record },
        other => panic!("{other:?}"),
    };
    it.store.insert_key(record).await.unwrap();
    it.store.retire_key(retired).await.unwrap();
    assert_eq!(it.sell(sale(retired, state(2, 965), 35)).await, Err(SaleReject::KeyRetired));
}

#[actix_rt::test]
async fn keys_of_an_earlier_life_are_sold() {
    let it = selling().await;
    let key = it.key().await;
    it.stop().await;
    let restarted = spawn(it.store.clone());
    assert_eq!(restarted.start().await, Ok(()));
    assert!(restarted.sell(sale(key, state(2, 965), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_channel_first_seen_in_a_sale_is_fetched_checked_and_sold_on() {
    let it = selling().await;
    let key = it.key().await;
    let new = ChannelId::new([0xc2; 16]);
    let first = sale_on(new, key, state(2, 965), 35);
    assert_eq!(
        it.sell(first.clone()).await,
        Err(SaleReject::UnexpectedChannel),
        "the market maker has none such"
    );
    // The market maker's figures include the sale already.
    with(&it.market, move |market| market.channels.insert(new, state(2, 965))).await;
    let mut unsigned = first.clone();
    unsigned.signature = Signature::new([0; 65]);
    assert_eq!(
        it.sell(unsigned).await,
        Err(SaleReject::UnexpectedChannel),
        "only its signature makes us ask"
    );
    assert!(it.sell(first).await.is_ok());
    assert!(it.sell(sale_on(new, key, state(3, 930), 35)).await.is_ok());
    let status = it.status().await;
    let channel =
        &status.channels.iter().find(|status| status.channel.terms.channel_id == new).unwrap().channel;
    assert_eq!((channel.adopted, channel.earned), (state(1, 1000), Amount::from_xbr(70)));
}

#[actix_rt::test]
async fn a_sale_that_was_in_flight_when_its_channel_was_adopted_is_made() {
    let it = spawn(MemoryStore::new());
    it.seller.send(AddApi(api(after(1_000_000)))).await.unwrap().unwrap();
    with(&it.market, |market| {
        market.channels.insert(CHANNEL, state(2, 965));
        market.inflight = Amount::from_xbr(35);
    })
    .await;
    it.start().await.unwrap();
    settle().await;
    it.sell(sale(it.key().await, state(2, 965), 35)).await.unwrap();
    let [channel] = it.store.channels().await.unwrap().try_into().unwrap();
    assert_eq!((channel.adopted, channel.earned), (state(1, 1000), Amount::from_xbr(35)));
}

#[actix_rt::test]
async fn a_market_maker_that_fell_behind_halts_the_channel_at_the_start() {
    let it = selling().await;
    let key = it.key().await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    it.stop().await;
    // By its books nothing was ever sold.
    let restarted = spawn(it.store.clone());
    assert_eq!(restarted.start().await, Ok(()));
    let channel = restarted.status().await.channels.remove(0).channel;
    assert!(matches!(channel.reconciliation, Reconciliation::Behind { .. }));
    assert_eq!(restarted.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::ChannelHalted));
}

#[actix_rt::test]
async fn a_close_is_signed_for_the_configured_market_maker_only() {
    let it = selling().await;
    let request = close(state(1, 1000), true);
    let send = |request| it.seller.send(CloseChannel { request });
    let mut other = request.clone();
    other.market_maker = Address::new([9; 20]);
    assert_eq!(send(other).await.unwrap(), Err(CloseReject::UnexpectedDelegate));
    let mut other = request.clone();
    other.channel_id = ChannelId::new([9; 16]);
    assert_eq!(send(other).await.unwrap(), Err(CloseReject::UnexpectedChannel));
    assert!(send(request).await.unwrap().is_ok());
    let key = it.key().await;
    assert_eq!(it.sell(sale(key, state(2, 965), 35)).await, Err(SaleReject::ChannelClosed));
}

#[actix_rt::test]
async fn a_stopped_seller_says_so() {
    let it = spawn(MemoryStore::new());
    it.add_api().await;
    let key = it.key().await;
    let answer = it.sell(sale(key, state(2, 965), 35)).await;
    assert_eq!(answer, Err(SaleReject::Unavailable { reason: "the seller is not started" }));
    let answer = it.seller.send(CloseChannel { request: close(state(1, 1000), true) }).await.unwrap();
    assert!(matches!(answer, Err(CloseReject::Unavailable { .. })));
}

#[actix_rt::test]
async fn a_key_series_that_dies_is_replaced_and_wraps_on() {
    let clock = Arc::new(PanickingClock::default());
    let it = spawn_with(MemoryStore::new(), clock.clone());
    it.seller.send(AddApi(api(every(10)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    let before = it.key().await;
    clock.0.store(true, Ordering::SeqCst);
    // The next key is due, and making it is what kills the series.
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert!(!clock.0.load(Ordering::SeqCst), "the series did not die");
    let after = it.key().await;
    assert_ne!(before, after);
    assert!(with(&it.market, |market| market.offered()).await.contains(&after));
    assert!(it.sell(sale(after, state(2, 965), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_ledger_that_dies_is_replaced_from_what_is_durable() {
    let clock = Arc::new(PanickingClock::default());
    let it = spawn_with(MemoryStore::new(), clock.clone());
    // A series without a timer, so that it does not read the clock first.
    it.seller.send(AddApi(api(after(1000)))).await.unwrap().unwrap();
    it.start().await.unwrap();
    settle().await;
    let key = it.key().await;
    let receipt = it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    clock.0.store(true, Ordering::SeqCst);
    // Keeping evidence reads the clock, which kills the ledger in the middle of the request.
    let contradiction = it.sell(sale(key, state(3, 999), 35)).await;
    assert!(matches!(contradiction, Err(SaleReject::Unavailable { .. })), "{contradiction:?}");
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(it.state().await as u8, 2);
    assert_eq!(it.sell(sale(key, state(2, 965), 35)).await.unwrap(), receipt);
    assert!(it.sell(sale(key, state(3, 930), 35)).await.is_ok());
}

#[actix_rt::test]
async fn an_api_that_is_removed_and_added_again_has_one_series() {
    let it = selling().await;
    assert!(it.seller.send(RemoveApi(API)).await.unwrap());
    it.seller.send(AddApi(api(after(1000)))).await.unwrap().unwrap();
    settle().await;
    let before = with(&it.market, |market| market.offers.len()).await;
    for _ in 0..60 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(with(&it.market, |market| market.offers.len()).await, before, "the removed series came back");
}

#[actix_rt::test]
async fn the_key_of_a_second_start_is_offered_though_the_disk_takes_its_time() {
    let it = started().await;
    it.stop().await;
    it.store.hold();
    assert_eq!(it.start().await, Ok(()));
    it.store.release();
    settle().await;
    for _ in 0..60 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    let key = it.key().await;
    assert!(with(&it.market, |market| market.offered()).await.contains(&key), "never offered");
}

#[actix_rt::test]
async fn sales_that_are_the_first_of_a_channel_together_are_both_made() {
    let it = selling().await;
    let key = it.key().await;
    let new = ChannelId::new([0xc2; 16]);
    with(&it.market, move |market| market.channels.insert(new, state(3, 930))).await;
    let first = it.sell(sale_on(new, key, state(2, 965), 35));
    let second = it.sell(sale_on(new, key, state(3, 930), 35));
    let (first, second) = futures_util::join!(first, second);
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert!(it.store.evidence().await.unwrap().is_empty());
}

#[actix_rt::test]
async fn a_sale_that_was_made_keeps_its_receipt_when_its_key_is_retired() {
    let it = selling().await;
    let key = it.key().await;
    let request = sale(key, state(2, 965), 35);
    let receipt = it.sell(request.clone()).await.unwrap();
    it.stop().await;
    it.store.retire_key(key).await.unwrap();
    let restarted = spawn(it.store.clone());
    with(&restarted.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    restarted.start().await.unwrap();
    assert_eq!(restarted.sell(request).await, Ok(receipt));
    assert_eq!(restarted.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::KeyRetired));
}

#[actix_rt::test]
async fn a_contradiction_on_a_halted_channel_is_kept_as_evidence() {
    let it = selling().await;
    let key = it.key().await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    it.stop().await;
    let restarted = spawn(it.store.clone());
    assert_eq!(restarted.start().await, Ok(()));
    assert_eq!(restarted.sell(sale(key, state(3, 965), 35)).await, Err(SaleReject::ChannelHalted));
    settle().await;
    assert_eq!(it.store.evidence().await.unwrap().len(), 1);
}
