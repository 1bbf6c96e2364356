//! Starting, stopping, and coming back after the session was lost.

use std::time::Duration;

use tokio::time::advance;
use xbr_actors::StartError;
use xbr_actors::messages::{MarketError, MarketMakerBack};
use xbr_core::reject::SaleReject;
use xbr_core::{Address, Signer};
use xbr_store::MemoryStore;

use crate::support::fake_market::{FakeMarket, Told, refused, with};
use crate::support::{market_maker, sale, state};
use crate::{GRACE, selling, settle, spawn, started};

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
async fn a_market_maker_that_comes_back_is_offered_what_is_live_but_not_as_often_as_it_likes() {
    let it = started().await;
    let key = it.key().await;
    let back = with(&it.market, |market| market.serve.clone()).await.unwrap().back;
    for _ in 0..100 {
        back.send(MarketMakerBack).await.unwrap();
        settle().await;
    }
    advance(Duration::from_secs(2)).await;
    settle().await;
    assert_eq!(with(&it.market, |market| market.offered()).await, [key, key]);
    back.send(MarketMakerBack).await.unwrap();
    it.lose_session().await;
    advance(Duration::from_secs(2)).await;
    settle().await;
    assert_eq!(it.state().await as u8, 2, "coming back meanwhile does no harm");
}

#[actix_rt::test]
async fn a_session_that_is_lost_over_and_over_comes_back_ever_later() {
    let it = started().await;
    let mut waited = Vec::new();
    for _ in 0..8 {
        it.lose_session().await;
        let mut ms = 0;
        while it.state().await as u8 != 2 {
            advance(Duration::from_millis(50)).await;
            settle().await;
            ms += 50;
        }
        waited.push(ms);
    }
    assert!(waited[0] < 1000 && waited[7] > 5000, "{waited:?}");
    advance(Duration::from_secs(31)).await;
    it.lose_session().await;
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(it.state().await as u8, 2, "a session that lasted is followed by a quick return");
}
