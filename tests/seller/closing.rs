//! Closing from the seller's side: what is checked before the one try, what is durable when it is sent, and that the
//! same close can be sent again.

use xbr_actors::closing::Close;
use xbr_actors::messages::MarketError;
use xbr_actors::{CloseAt, CloseError, CloseOptions, CloseOutcome, CloseReport};
use xbr_core::channel::Reconciliation;
use xbr_core::reject::{CloseReject, OwnCloseReject, SaleReject};
use xbr_core::wire::{MarketCloseRequest, MarketMakerStatus};
use xbr_core::{Amount, ChannelId, Eip712, Signer};
use xbr_store::{Fault, MemoryStore, Store, Write};

use crate::support::fake_market::{Told, refused, with};
use crate::support::{CHANNEL, MARKET, close, sale, seller_key, state};
use crate::{Market, selling, settle, spawn};

const OTHER: ChannelId = ChannelId::new([0xc9; 16]);

type Closed = Result<CloseReport, CloseError>;

impl Market {
    async fn close(&self, options: CloseOptions) -> Closed {
        self.seller.send(Close(options)).await.unwrap()
    }

    async fn close_at(&self, close_at: CloseAt) -> Closed {
        self.close(CloseOptions { close_at, ..CloseOptions::default() }).await
    }

    /// The closes that the market maker got.
    async fn closes(&self) -> Vec<MarketCloseRequest> {
        let told = self.told().await.into_iter();
        told.filter_map(|told| if let Told::Closed(request) = told { Some(*request) } else { None }).collect()
    }
}

/// A seller that has sold one key, with the market maker's books equal.
async fn sold() -> Market {
    let it = selling().await;
    let key = it.key().await;
    it.sell(sale(key, state(2, 965), 35)).await.unwrap();
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    it
}

fn outcome(closed: &Closed) -> &CloseOutcome {
    &closed.as_ref().unwrap().outcome
}

#[actix_rt::test]
async fn a_close_is_final_at_the_last_signed_state_for_the_newest_block_and_ends_the_sales() {
    let it = sold().await;
    let closed = it.close(CloseOptions::default()).await;
    assert_eq!(outcome(&closed), &CloseOutcome::Sent { transaction: Some(vec![7; 32]) });
    let [request] = &it.closes().await[..] else { panic!("sent once") };
    assert_eq!((request.seq, request.balance), (state(2, 965).seq, state(2, 965).balance));
    assert_eq!((request.block_number, request.is_final, request.chain_id), (5000, true, 1));
    assert_eq!(request.message(MARKET).recover(&request.signature), Ok(seller_key().address()));
    let key = it.key().await;
    assert_eq!(it.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::ChannelClosed));
    assert!(it.sell(sale(key, state(2, 965), 35)).await.is_ok(), "what was sold keeps its receipt");
    it.stop().await;
    let restarted = spawn(it.store.clone());
    restarted.start().await.unwrap();
    assert_eq!(restarted.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::ChannelClosed));
}

#[actix_rt::test]
async fn a_dry_run_signs_stores_and_sends_nothing() {
    let it = sold().await;
    let checked = it.close(CloseOptions { dry_run: true, ..CloseOptions::default() }).await.unwrap();
    assert_eq!((checked.outcome, checked.close_at), (CloseOutcome::Checked, Amount::from_units(5000)));
    assert!(it.closes().await.is_empty());
    let written = it
        .store
        .journal()
        .into_iter()
        .any(|entry| matches!(entry.operation, xbr_store::Operation::Write(Write::CommitOwnClose(_))));
    assert!(!written);
    let key = it.key().await;
    assert!(it.sell(sale(key, state(3, 930), 35)).await.is_ok());
}

#[actix_rt::test]
async fn a_seller_that_is_not_started_joins_to_close_and_serves_nothing() {
    let it = sold().await;
    it.stop().await;
    let alone = spawn(it.store.clone());
    with(&alone.market, |market| {
        market.channels.insert(CHANNEL, state(2, 965));
        market.active = None;
    })
    .await;
    assert!(matches!(outcome(&alone.close(CloseOptions::default()).await), CloseOutcome::Sent { .. }));
    let told = alone.told().await;
    assert_eq!((&told[0], told.len(), told.last()), (&Told::Joined, 3, Some(&Told::Left)));
}

#[actix_rt::test]
async fn nothing_is_signed_when_a_check_fails() {
    let it = sold().await;
    // Each row breaks one thing and repairs it.
    with(&it.market, |market| market.marketmaker = xbr_core::Address::new([9; 20])).await;
    assert!(matches!(it.close(CloseOptions::default()).await, Err(CloseError::OtherMarketMaker { .. })));
    with(&it.market, |market| market.marketmaker = crate::support::market_maker().address()).await;
    let unknown = CloseOptions { channel_id: Some(OTHER), ..CloseOptions::default() };
    assert_eq!(it.close(unknown).await, Err(CloseError::Rejected(OwnCloseReject::UnknownChannel)));
    with(&it.market, |market| market.status = MarketMakerStatus::Stopping).await;
    assert!(matches!(it.close(CloseOptions::default()).await, Err(CloseError::Stopping { .. })));
    with(&it.market, |market| market.status = MarketMakerStatus::Running).await;
    with(&it.market, |market| market.closing.push(CHANNEL)).await;
    assert!(matches!(it.close(CloseOptions::default()).await, Err(CloseError::NotOpen { .. })));
    with(&it.market, |market| market.closing.clear()).await;
    for actual in [3559, 5001] {
        let block = CloseError::Block { oldest: 3560, newest: 5000, actual };
        assert_eq!(it.close_at(CloseAt::Block(actual)).await, Err(block));
    }
    with(&it.market, |market| market.channels.insert(CHANNEL, state(1, 1000))).await;
    let rolled_back = OwnCloseReject::RolledBack { expected: state(2, 965), actual: state(1, 1000) };
    assert_eq!(it.close(CloseOptions::default()).await, Err(CloseError::Rejected(rolled_back)));
    with(&it.market, |market| market.channels.insert(CHANNEL, state(2, 965))).await;
    for step in ["FetchConfig", "FetchChannel", "FetchStatus", "FetchBalance"] {
        it.fail(step, refused("some.error")).await;
        let failed = it.close(CloseOptions::default()).await;
        assert_eq!(failed, Err(CloseError::Market(refused("some.error"))), "{step}");
    }
    assert!(it.closes().await.is_empty());
    assert_eq!(it.status().await.channels[0].channel.own_close, None);
    assert!(it.close_at(CloseAt::Block(3560)).await.is_ok(), "nothing was spoilt");
}

#[actix_rt::test]
async fn a_sale_under_way_comes_before_the_close() {
    let it = sold().await;
    let key = it.key().await;
    it.store.hold();
    let mut sold = std::pin::pin!(it.sell(sale(key, state(3, 930), 35)));
    assert!(futures_util::poll!(&mut sold).is_pending());
    it.store.until_held(1).await;
    with(&it.market, |market| market.channels.insert(CHANNEL, state(3, 930))).await;
    assert_eq!(it.close(CloseOptions::default()).await, Err(CloseError::Rejected(OwnCloseReject::Busy)));
    it.store.release();
    assert!(sold.await.is_ok());
    settle().await;
    let closed = it.close(CloseOptions::default()).await.unwrap();
    assert_eq!(closed.channel.state, state(3, 930));
}

#[actix_rt::test]
async fn a_close_that_is_not_durable_is_not_sent_and_one_that_is_can_be_sent_again() {
    let it = sold().await;
    let own_close = |write: &Write| matches!(write, Write::CommitOwnClose(_));
    for fault in [Fault::Refused, Fault::UnknownAndLost, Fault::UnknownButWritten] {
        it.store.fail_when(fault, own_close);
        let failed = it.close(CloseOptions::default()).await;
        assert!(matches!(failed, Err(CloseError::Rejected(OwnCloseReject::Unavailable { .. }))), "{fault:?}");
        settle().await;
    }
    assert!(it.closes().await.is_empty(), "no signature has left");
    let lost = MarketError::Unanswered { procedure: "close_channel".into(), reason: "lost".into() };
    it.fail("SubmitClose", lost.clone()).await;
    assert_eq!(it.close(CloseOptions::default()).await, Err(CloseError::NotTaken(lost)));
    // A crash here: what is sent again is the very same, though the chain has gone on.
    let stored = it.store.channels().await.unwrap().remove(0).own_close.unwrap();
    let restarted = spawn(it.store.clone());
    with(&restarted.market, |market| {
        market.channels.insert(CHANNEL, state(2, 965));
        market.block = 6100;
    })
    .await;
    assert!(restarted.close(CloseOptions::default()).await.is_ok());
    let [request] = &restarted.closes().await[..] else { panic!("sent once") };
    assert_eq!((request.signature, request.block_number), (stored.signature, 5000));
    assert_eq!(outcome(&restarted.close(CloseOptions::default()).await), &CloseOutcome::SentBefore);
    assert_eq!(restarted.closes().await.len(), 1);
}

#[actix_rt::test]
async fn a_close_too_old_for_the_contract_is_signed_anew_for_the_same_state() {
    let it = sold().await;
    it.fail("SubmitClose", MarketError::NotJoined).await;
    assert!(it.close(CloseOptions::default()).await.is_err());
    with(&it.market, |market| market.block = 6300).await;
    let closed = it.close(CloseOptions::default()).await.unwrap();
    assert_eq!((closed.close_at, closed.channel.state), (Amount::from_units(6300), state(2, 965)));
}

#[actix_rt::test]
async fn what_the_market_maker_is_ahead_by_is_given_up_and_said() {
    let it = sold().await;
    with(&it.market, |market| market.channels.insert(CHANNEL, state(4, 895))).await;
    let closed = it.close(CloseOptions::default()).await.unwrap();
    let unconfirmed = Amount::from_xbr(70);
    assert_eq!(closed.reconciliation, Reconciliation::Ahead { gap: 2, unconfirmed });
    assert_eq!(closed.channel.state, state(2, 965));
}

#[actix_rt::test]
async fn both_sides_can_ask_for_the_same_end_in_any_order_and_for_no_other() {
    for theirs_first in [true, false] {
        let it = sold().await;
        let ask = async |state, is_final| it.close_channel(close(state, is_final)).await;
        if theirs_first {
            assert!(ask(state(2, 965), true).await.is_ok());
        }
        let ours = it.close(CloseOptions::default()).await;
        assert!(matches!(outcome(&ours), CloseOutcome::Sent { .. }), "{theirs_first}");
        let receipt = ask(state(2, 965), true).await.unwrap();
        assert_eq!(ask(state(2, 965), true).await, Ok(receipt.clone()), "identical, identically");
        let signed = crate::support::terms_of(CHANNEL).state(receipt.seq, receipt.balance, true);
        assert_eq!(signed.recover(&receipt.signature), Ok(seller_key().address()));
        for (other, is_final) in [(state(2, 965), false), (state(3, 930), true), (state(2, 964), true)] {
            assert_eq!(ask(other, is_final).await, Err(CloseReject::ChannelClosed), "{other:?}");
        }
        let key = it.key().await;
        assert_eq!(it.sell(sale(key, state(3, 930), 35)).await, Err(SaleReject::ChannelClosed));
    }
}

#[actix_rt::test]
async fn one_of_several_channels_has_to_be_named() {
    let store = MemoryStore::new();
    let it = spawn(store);
    with(&it.market, |market| market.channels.insert(OTHER, state(1, 1000))).await;
    it.start().await.unwrap();
    assert_eq!(it.close(CloseOptions::default()).await, Err(CloseError::Ambiguous { actual: 2 }));
    let other = CloseOptions { channel_id: Some(OTHER), close_at: CloseAt::Configured, dry_run: false };
    assert_eq!(it.close(other).await.unwrap().close_at, Amount::from_units(1));
    let closed = it.close(CloseOptions::default()).await.unwrap();
    assert_eq!(closed.channel.terms.channel_id, CHANNEL, "the only one that is not closed");
    assert_eq!(it.close(CloseOptions::default()).await, Err(CloseError::Ambiguous { actual: 0 }));
}
