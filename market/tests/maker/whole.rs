//! The whole market in one process, over the embedded router: this crate's buyer, the market maker, and a
//! seller that is a bare WAMP client.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;
use xbr_core::channel::ChannelState;
use xbr_core::wire::{CloseRequest, OfferInfo, SellReceipt, SellRequest, uri};
use xbr_core::{Amount, KeyId};
use xbr_market::buyer::{BuyerHandle, BuyerOptions, MemoryBuyerStore};
use xbr_market::maker::messages::RealmPort;
use xbr_market::maker::{MakerHandle, MemoryMakerStore, RealmSession};
use xbr_market::router::{Identity, RealmOptions, Role, RouterHandle, RouterOptions};
use xbr_store::SystemClock;
use xbr_wamp::{Call, Dial, Incoming, IncomingEvent, Match, RegisterOptions, Session};

use super::fake_realm::{TestClock, close_receipt, data_key, options, sell_receipt};
use super::support::*;

const REALM: &str = "realm1";

struct Market {
    router: RouterHandle,
    maker: MakerHandle,
    seller: Session,
    buyer: BuyerHandle,
}

fn key_id(n: u8) -> KeyId {
    KeyId::new([n; 16])
}

impl Market {
    async fn open() -> Self {
        let realm = RealmOptions::new(REALM).role(Role::unrestricted("member").disclosed());
        let router = RouterHandle::here(RouterOptions::new([realm])).unwrap();
        let dial =
            |authid: &str| router.dial(REALM, Identity { authid: authid.into(), role: "member".into() });
        let store = Arc::new(MemoryMakerStore::new().unwrap());
        let mut options = options(store, TestClock(Arc::default()));
        options.clock = Arc::new(SystemClock);
        let session = RealmSession::new(dial("maker"), false).start();
        let maker = MakerHandle::here(options, RealmPort::new(&session));
        maker.start().await.unwrap();
        let seller = sell(&dial("seller")).await;
        let store = Arc::new(MemoryBuyerStore::new().unwrap());
        let signer = Arc::new(buyer_key());
        let options = BuyerOptions::new(maker.address(), signer, units(100), store, dial("buyer"));
        let buyer = BuyerHandle::spawn(options).unwrap();
        buyer.start().await.unwrap();
        Self { router, maker, seller, buyer }
    }

    async fn offer(&self, key_id: KeyId, price: u128) -> OfferInfo {
        let offer = offer(key_id, price);
        let call = Call::new(uri::PLACE_OFFER).args(offer.to_args()).kwargs(offer.to_kwargs());
        OfferInfo::parse(&self.seller.call(call).await.unwrap().args).unwrap()
    }

    /// The buyer, the market maker and the seller agree on what was paid.
    async fn assert_paid(&self, paid: u128) {
        let balance = self.buyer.balance().await.unwrap();
        let remote = balance.remote.unwrap();
        assert_eq!((balance.spent, balance.lost), (units(paid), Amount::ZERO));
        assert_eq!((balance.local, remote.inflight), (remote.state(), Amount::ZERO));
        for channel in self.maker.observe().await.unwrap().channels {
            assert_eq!((channel.settled, channel.remaining), (units(paid), units(DEPOSIT - paid)));
        }
    }
}

/// A seller that has the keys 1 to 99, and insists on the next state.
async fn sell(dial: &Dial) -> Session {
    let (session, incoming) = dial.connect().await.unwrap();
    for procedure in [uri::sell(&provider()), uri::close_channel(&provider())] {
        session.register(&procedure, RegisterOptions::default()).await.unwrap();
    }
    actix_rt::spawn(serve(incoming));
    session
}

async fn serve(mut incoming: Incoming) {
    let mut ledger = state(1, DEPOSIT);
    while let Some(event) = incoming.next().await {
        let IncomingEvent::Invocation(invocation) = event else { continue };
        let (args, kwargs) = (&invocation.args, &invocation.kwargs);
        let answer = if invocation.procedure.ends_with(".sell") {
            sold(&SellRequest::parse(args, kwargs).unwrap(), &mut ledger).map(|receipt| receipt.to_value())
        } else {
            Ok(close_receipt(&CloseRequest::parse(args, kwargs).unwrap()).to_value())
        };
        match answer {
            Ok(value) => invocation.responder.yield_result(vec![value], Vec::new()),
            Err(uri) => invocation.responder.error(uri, vec!["on request".into()], Vec::new()),
        }
    }
}

fn sold(request: &SellRequest, ledger: &mut ChannelState) -> Result<SellReceipt, &'static str> {
    if request.key_id.as_bytes()[0] > 99 {
        return Err("crossbar.error.no_such_object");
    }
    let balance = ledger.balance.checked_sub(request.amount);
    if (request.channel_seq.value(), Some(request.balance)) != (ledger.seq.value() + 1, balance) {
        return Err("xbr.error.unexpected_channel_seq");
    }
    *ledger = request.state();
    Ok(sell_receipt(request))
}

#[actix_rt::test]
async fn the_buyer_buys_from_the_seller_and_everybody_agrees_on_what_was_paid() {
    let market = Market::open().await;
    for n in 1..=12 {
        let placed = market.offer(key_id(n), u128::from(n % 4) * 10).await;
        assert_eq!(placed.provider_id, Some(provider().to_string()));
    }
    market.offer(key_id(100), 10).await;
    for n in 1..=12 {
        let key = market.buyer.key(key_id(n)).await.unwrap();
        assert_eq!(key.expose_secret(), data_key(key_id(n)).expose_secret());
        if n % 5 == 0 {
            let error = market.buyer.key(key_id(100)).await.unwrap_err();
            assert!(error.to_string().contains("crossbar.error.no_such_object"), "{error}");
        }
    }
    market.assert_paid(180).await;
}

#[actix_rt::test]
async fn offers_are_announced_and_revoked_by_their_seller_only() {
    let market = Market::open().await;
    let (listener, mut heard) = {
        let identity = Identity { authid: "somebody".into(), role: "member".into() };
        market.router.dial(REALM, identity).connect().await.unwrap()
    };
    listener.subscribe("xbr.marketmaker.", Match::Prefix).await.unwrap();
    market.offer(key_id(1), 10).await;
    let revoke = || Call::new(uri::REVOKE_OFFER).args([xbr_core::Value::Bytes(vec![1; 16])]);
    let refused = listener.call(revoke()).await.unwrap_err();
    assert_eq!(refused.uri(), Some("wamp.error.not_authorized"));
    market.seller.call(revoke()).await.unwrap();
    assert!(market.buyer.key(key_id(1)).await.is_err());
    for topic in [uri::ON_OFFER_PLACED, uri::ON_OFFER_REVOKED] {
        let Some(IncomingEvent::Event(event)) = heard.next().await else { panic!() };
        assert_eq!(&*event.topic, topic);
        assert_eq!(OfferInfo::parse(&event.args).unwrap().key_id, key_id(1));
    }
    market.assert_paid(0).await;
}

#[actix_rt::test]
async fn a_market_maker_that_stops_and_starts_again_goes_on_where_it_was() {
    let market = Market::open().await;
    market.offer(key_id(1), 10).await;
    market.offer(key_id(2), 20).await;
    market.buyer.key(key_id(1)).await.unwrap();
    market.maker.stop(Duration::from_secs(5)).await;
    assert!(market.buyer.key(key_id(2)).await.is_err());
    market.maker.start().await.unwrap();
    // A buyer that failed pauses before it tries again.
    while market.buyer.key(key_id(2)).await.is_err() {
        tokio::task::yield_now().await;
    }
    market.assert_paid(30).await;
}
