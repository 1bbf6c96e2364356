//! APIs that come and go.

use std::time::Duration;

use tokio::time::advance;
use xbr_actors::seller::{AddApi, PauseApi, RemoveApi, ResumeApi, RotateApi, SetPrice};
use xbr_actors::{ApiError, WrapError};
use xbr_core::{Amount, ApiId};
use xbr_store::MemoryStore;

use crate::support::fake_market::{Told, with};
use crate::support::{API, after, api, every, sale, state};
use crate::{selling, settle, spawn, started};

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
async fn an_api_is_rotated_paused_resumed_and_priced_by_its_id() {
    let it = started().await;
    let first = it.key().await;
    let second = it.seller.send(RotateApi(API)).await.unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(it.key().await, second);

    assert!(it.seller.send(PauseApi(API)).await.unwrap());
    assert!(it.status().await.apis[0].is_paused);
    let refused = it.seller.send(RotateApi(API)).await.unwrap();
    assert_eq!(refused, Err(WrapError::Paused { api_id: API }));
    // What was offered stays sellable.
    assert!(it.sell(sale(first, state(2, 965), 35)).await.is_ok());
    assert!(it.seller.send(ResumeApi(API)).await.unwrap());
    assert_eq!(it.key().await, second, "the pause was short");

    let price = Amount::from_xbr(7);
    assert!(it.seller.send(SetPrice { api_id: API, price }).await.unwrap());
    let third = it.seller.send(RotateApi(API)).await.unwrap().unwrap();
    assert_eq!(it.status().await.apis[0].price, price);
    assert!(it.sell(sale(second, state(3, 958), 7)).await.is_err(), "it was offered for more");
    assert!(it.sell(sale(third, state(3, 958), 7)).await.is_ok());

    let unknown = ApiId::new([9; 16]);
    assert!(!it.seller.send(PauseApi(unknown)).await.unwrap());
    assert!(!it.seller.send(ResumeApi(unknown)).await.unwrap());
    assert!(!it.seller.send(SetPrice { api_id: unknown, price }).await.unwrap());
    let rotated = it.seller.send(RotateApi(unknown)).await.unwrap();
    assert_eq!(rotated, Err(WrapError::UnknownApi { api_id: unknown }));
}

#[actix_rt::test]
async fn a_rotation_that_the_store_holds_up_is_given_up_after_the_patience() {
    let it = started().await;
    it.store.hold();
    let waited = Duration::from_secs(30);
    assert_eq!(it.seller.send(RotateApi(API)).await.unwrap(), Err(WrapError::NoKey { waited }));
}
