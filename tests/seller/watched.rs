//! What those are told who watch a seller.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::time::advance;
use xbr_actors::messages::MarketError;
use xbr_actors::seller::{AddApi, SetLimits};
use xbr_actors::{
    Clock, Event, Observer, Observers, Retention, Rotation, SaleEvent, SaleOutcome, SellerLimits, SellerState,
};
use xbr_core::channel::Reconciliation;
use xbr_core::reject::SaleReject;
use xbr_core::{Amount, ChannelId, KeyId};
use xbr_store::MemoryStore;

use crate::support::fake_market::{refused, with};
use crate::support::{API, CHANNEL, StoppedClock, after, api, buyer, close, every, sale, state};
use crate::{Market, settle, spawn_adjusted};

struct Probe(Sender<Event>);

impl Observer for Probe {
    fn told(&self, event: &Event) {
        // A test that has heard enough has gone.
        let _ = self.0.send(event.clone());
    }
}

/// A seller that is not started, and what is told of it.
fn watched(rotation: Rotation) -> (Market, Receiver<Event>, impl Future<Output = ()>) {
    let (told, events) = channel();
    let it = spawn_adjusted(MemoryStore::new(), |options| {
        options.observers = Observers::new([Arc::new(Probe(told)) as _]);
        options.low_balance = Amount::from_xbr(900);
    });
    let seller = it.seller.clone();
    let add = async move { seller.send(AddApi(api(rotation))).await.unwrap().unwrap() };
    (it, events, add)
}

async fn selling() -> (Market, Receiver<Event>) {
    let (it, events, add) = watched(after(1_000_000));
    add.await;
    it.start().await.unwrap();
    settle().await;
    events.try_iter().for_each(drop);
    (it, events)
}

#[actix_rt::test]
async fn each_request_to_sell_is_told_of_once_with_its_outcome() {
    let (it, events) = selling().await;
    let key = it.key().await;
    let (first, unknown) = (sale(key, state(2, 965), 35), sale(KeyId::new([9; 16]), state(3, 930), 35));
    it.sell(first.clone()).await.unwrap();
    it.sell(first.clone()).await.unwrap();
    it.sell(unknown.clone()).await.unwrap_err();
    let told: Vec<_> = events.try_iter().collect();
    let expected = [
        (&first, Some(API), SaleOutcome::Sold, "sold"),
        (&first, Some(API), SaleOutcome::Repeated, "repeated"),
        (&unknown, None, SaleOutcome::Refused(SaleReject::NoSuchKey), "crossbar.error.no_such_object"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (event, (request, api_id, outcome, code)) in told.into_iter().zip(expected) {
        let Event::Sale(event) = event else { panic!("{event:?}") };
        let expected = SaleEvent {
            at_ns: StoppedClock.now_ns(),
            channel_id: CHANNEL,
            seq: request.channel_seq,
            key_id: request.key_id,
            api_id,
            buyer_key: buyer().1,
            amount: Amount::from_xbr(35),
            outcome,
            duration: event.duration,
        };
        assert_eq!((event.outcome.code(), &event), (code, &expected));
    }
}

#[actix_rt::test]
async fn the_life_of_a_session_is_told_in_order() {
    let (it, events, add) = watched(after(1_000_000));
    add.await;
    it.start().await.unwrap();
    it.lose_session().await;
    it.stop().await;
    let key_id = events.iter().find_map(|event| match event {
        Event::Rotated { key_id, previous: None, late: None, .. } => Some(key_id),
        _ => None,
    });
    assert!(key_id.is_some());
    let told: Vec<_> = events.try_iter().collect();
    let position =
        |event: &Event| told.iter().position(|it| it == event).unwrap_or_else(|| panic!("{told:?}"));
    let adopted =
        Event::Reconciled { channel_id: CHANNEL, is_new: true, reconciliation: Reconciliation::Equal };
    let order = [
        Event::State(SellerState::Starting),
        adopted,
        Event::State(SellerState::Started),
        Event::SessionLost { reason: "a test".to_owned() },
        Event::State(SellerState::Stopping),
        Event::State(SellerState::Stopped),
    ];
    assert!(order.iter().map(position).is_sorted(), "{told:?}");
}

#[actix_rt::test]
async fn an_offer_that_fails_and_one_that_is_taken_are_told_of() {
    let (it, events, add) = watched(after(1_000_000));
    let error = refused("xbr.error.on_purpose");
    it.fail("PlaceOffer", error.clone()).await;
    it.start().await.unwrap();
    add.await;
    let offers = |events: &Receiver<Event>| {
        let offers = events.try_iter().filter_map(|event| match event {
            Event::Offer { api_id: API, price, error, .. } if price == Amount::from_xbr(35) => Some(error),
            _ => None,
        });
        offers.collect::<Vec<Option<MarketError>>>()
    };
    settle().await;
    advance(Duration::from_secs(5)).await;
    settle().await;
    let told = offers(&events);
    assert_eq!(told.first(), Some(&Some(error)), "{told:?}");
    assert_eq!(told.last(), Some(&None), "{told:?}");
}

#[actix_rt::test]
async fn a_rotation_tells_how_late_it_is() {
    let (it, events, add) = watched(every(10));
    add.await;
    it.start().await.unwrap();
    settle().await;
    events.try_iter().for_each(drop);
    for _ in 0..11 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    let late = events.try_iter().find_map(|event| match event {
        Event::Rotated { api_id: API, offered: true, previous: Some(_), late, .. } => Some(late),
        _ => None,
    });
    let late = late.expect("a rotation after the interval").expect("it was due by the clock");
    assert!(late < Duration::from_secs(2), "{late:?}");
}

#[actix_rt::test]
async fn what_an_operator_must_see_is_told() {
    let (it, events) = selling().await;
    let key = it.key().await;
    it.sell(sale(key, state(2, 899), 101)).await.unwrap();
    it.sell(sale(key, state(3, 950), 35)).await.unwrap_err();
    it.close_channel(close(state(2, 950), true)).await.unwrap_err();
    it.close_channel(close(state(2, 899), true)).await.unwrap();
    let told: Vec<_> = events.try_iter().filter(|event| !matches!(event, Event::Sale(_))).collect();
    let error = "xbr.error.unexpected_channel_balance";
    let expected = [
        Event::Low { channel_id: CHANNEL, remaining: Amount::from_xbr(899) },
        Event::RolledBack { channel_id: CHANNEL, ours: state(2, 899), theirs: state(3, 950) },
        Event::Contradiction { channel_id: CHANNEL, error },
        Event::Contradiction { channel_id: CHANNEL, error },
        Event::Close { channel_id: CHANNEL, error: Some(error) },
        Event::Close { channel_id: CHANNEL, error: None },
    ];
    assert_eq!(told, expected);
}

#[actix_rt::test]
async fn limits_that_change_count_from_now_on() {
    let (it, events) = selling().await;
    let key = it.key().await;
    let limits = SellerLimits {
        low_balance: Amount::from_xbr(970),
        channel_poll: Some(Duration::from_secs(10)),
        offline_keys: NonZeroUsize::MIN,
        retention: Retention::default(),
    };
    it.seller.send(SetLimits(limits)).await.unwrap();
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    let low = Event::Low { channel_id: CHANNEL, remaining: Amount::from_xbr(965) };
    assert!(events.try_iter().any(|event| event == low));

    // The poll that was off is on.
    let other = ChannelId::new([0xc2; 16]);
    with(&it.market, move |market| market.channels.insert(other, state(1, 1000))).await;
    for _ in 0..21 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(it.status().await.channels.len(), 2);
}
