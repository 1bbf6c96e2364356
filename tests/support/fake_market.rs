//! A market maker in the place of the session actor: it answers every message, notes what it was told, and fails or
//! waits when a test says so.

use std::collections::{BTreeMap, VecDeque};

use actix::prelude::*;
use tokio::sync::oneshot;
use xbr_actors::messages::*;
use xbr_core::channel::ChannelState;
use xbr_core::offer::KeyOffer;
use xbr_core::wire::{
    Args, Block, ChannelBalance, ChannelClosing, ChannelInfo, ChannelStatus, ChannelType, MarketCloseRequest,
    MarketConfig, MarketMakerStatus, MarketStatus,
};
use xbr_core::{Address, Amount, ChannelId, KeyId, Signer};

use super::{CHANNEL, MARKET, domain, market_maker, seller_key, state, terms_of};

/// What it was told, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Joined,
    Left,
    Served,
    Withdrawn,
    Offered(KeyId),
    Revoked(KeyId),
    Published(String, Args),
    Closed(Box<MarketCloseRequest>),
}

#[derive(Debug)]
pub struct FakeMarket {
    pub marketmaker: Address,
    /// Where each channel stands by its books.
    pub channels: BTreeMap<ChannelId, ChannelState>,
    /// What its figures say is reserved for sales in flight.
    pub inflight: BTreeMap<ChannelId, Amount>,
    /// Those that it has sent to the chain.
    pub closing: Vec<ChannelId>,
    /// The newest block.
    pub block: u64,
    /// What it says of itself.
    pub status: MarketMakerStatus,
    /// The channel that `get_active_paying_channel` answers with.
    pub active: Option<ChannelId>,
    pub told: Vec<Told>,
    pub offers: Vec<KeyOffer>,
    /// The next calls of these names fail.
    pub fail: VecDeque<(&'static str, MarketError)>,
    /// Calls of this name wait until the test lets them go.
    pub hold: Option<&'static str>,
    held: Vec<oneshot::Sender<()>>,
    pub lost: Option<Recipient<SessionLost>>,
    pub serve: Option<Serve>,
}

impl Default for FakeMarket {
    fn default() -> Self {
        Self {
            marketmaker: market_maker().address(),
            channels: [(CHANNEL, state(1, 1000))].into(),
            inflight: BTreeMap::new(),
            closing: Vec::new(),
            block: 5000,
            // The real one says so for as long as it runs.
            status: MarketMakerStatus::None,
            active: Some(CHANNEL),
            told: Vec::new(),
            offers: Vec::new(),
            fail: VecDeque::new(),
            hold: None,
            held: Vec::new(),
            lost: None,
            serve: None,
        }
    }
}

impl Actor for FakeMarket {
    type Context = Context<Self>;
}

/// Do something with the fake, and give what came of it.
pub struct With<T>(pub Box<dyn FnOnce(&mut FakeMarket) -> T + Send>);

impl<T: Send + 'static> Message for With<T> {
    type Result = T;
}

impl<T: Send + 'static> Handler<With<T>> for FakeMarket {
    type Result = MessageResult<With<T>>;

    fn handle(&mut self, message: With<T>, _: &mut Self::Context) -> Self::Result {
        MessageResult((message.0)(self))
    }
}

pub async fn with<T: Send + 'static>(
    market: &Addr<FakeMarket>,
    act: impl FnOnce(&mut FakeMarket) -> T + Send + 'static,
) -> T {
    market.send(With(Box::new(act))).await.unwrap()
}

pub fn refused(uri: &str) -> MarketError {
    MarketError::Refused { procedure: "a procedure".into(), uri: uri.into(), text: "on request".into() }
}

impl FakeMarket {
    /// Lets the calls go that are held, and holds no more.
    pub fn release(&mut self) {
        self.hold = None;
        for held in self.held.drain(..) {
            let _ = held.send(());
        }
    }

    pub fn offered(&self) -> Vec<KeyId> {
        self.told
            .iter()
            .filter_map(|told| if let Told::Offered(key) = told { Some(*key) } else { None })
            .collect()
    }

    fn info(&self, channel_id: ChannelId) -> Result<ChannelInfo, MarketError> {
        if !self.channels.contains_key(&channel_id) {
            return Err(refused("crossbar.error.no_such_object"));
        }
        Ok(ChannelInfo {
            channel_id,
            market_id: MARKET,
            channel_type: ChannelType::Paying,
            market_maker: self.marketmaker,
            delegate: seller_key().address(),
            amount: terms_of(channel_id).amount,
            state: if self.closing.contains(&channel_id) {
                ChannelStatus::Closing
            } else {
                ChannelStatus::Open
            },
            actor: None,
            recipient: None,
            timestamp_ns: None,
            timeout: None,
            close_seq: None,
            close_is_final: None,
        })
    }

    /// Fails or waits if the test said so, then does the work.
    fn answer<T: Send + 'static>(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T, MarketError> + 'static,
    ) -> ResponseActFuture<Self, Result<T, MarketError>> {
        if let Some(position) = self.fail.iter().position(|(failing, _)| *failing == name) {
            let (_, error) = self.fail.remove(position).unwrap();
            return Box::pin(fut::err(error));
        }
        if self.hold != Some(name) {
            return Box::pin(fut::ready(work(self)));
        }
        let (held, released) = oneshot::channel();
        self.held.push(held);
        Box::pin(released.into_actor(self).map(|_, market, _| work(market)))
    }
}

macro_rules! answers {
    ($($message:ident => $result:ty, |$this:ident, $it:ident| $work:expr;)*) => {$(
        impl Handler<$message> for FakeMarket {
            type Result = ResponseActFuture<Self, Result<$result, MarketError>>;

            fn handle(&mut self, $it: $message, _: &mut Self::Context) -> Self::Result {
                self.answer(stringify!($message), move |$this| $work)
            }
        }
    )*};
}

answers! {
    Join => (), |market, it| {
        market.told.push(Told::Joined);
        market.lost = Some(it.lost);
        Ok(())
    };
    FetchConfig => MarketConfig, |market, _it| Ok(MarketConfig {
        verifying_chain_id: 1,
        verifying_contract: domain().verifying_contract,
        market_maker: market.marketmaker,
        market_id: MARKET,
        owner: None,
        coin: None,
        contracts: Default::default(),
        eula: None,
        now_ns: None,
        chain: None,
    });
    FetchStatus => MarketStatus, |market, _it| Ok(MarketStatus {
        now_ns: 0,
        chain: 1,
        block: Block { number: market.block, hash: None, gas_limit: None },
        status: market.status,
    });
    FetchActiveChannel => Option<ChannelInfo>, |market, _it| market.active.map(|id| market.info(id)).transpose();
    FetchChannels => Vec<ChannelId>, |market, _it| Ok(market.channels.keys().copied().collect());
    FetchChannel => ChannelInfo, |market, it| market.info(it.channel_id);
    FetchBalance => ChannelBalance, |market, it| {
        let state = market.channels.get(&it.channel_id).ok_or(refused("crossbar.error.no_such_object"))?;
        let inflight = market.inflight.get(&it.channel_id).copied().unwrap_or_default();
        Ok(ChannelBalance { remaining: state.balance, inflight, seq: state.seq })
    };
    PlaceOffer => (), |market, it| {
        market.told.push(Told::Offered(it.offer.key_id));
        market.offers.push(it.offer);
        Ok(())
    };
    RevokeOffer => (), |market, it| {
        market.told.push(Told::Revoked(it.key_id));
        Ok(())
    };
    SubmitClose => ChannelClosing, |market, it| {
        let request = it.request;
        market.closing.push(request.channel_id);
        market.told.push(Told::Closed(Box::new(request.clone())));
        Ok(ChannelClosing {
            transaction: Some(vec![7; 32]),
            market_id: MARKET,
            channel_id: request.channel_id,
            state: ChannelStatus::Closing,
            balance: request.balance,
            seq: request.seq,
            is_final: request.is_final,
        })
    };
    Publish => (), |market, it| {
        market.told.push(Told::Published(it.topic, it.args));
        Ok(())
    };
    Serve => (), |market, it| {
        market.told.push(Told::Served);
        market.serve = Some(it);
        Ok(())
    };
}

impl Handler<Leave> for FakeMarket {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        self.told.push(Told::Left);
    }
}

impl Handler<Withdraw> for FakeMarket {
    type Result = ();

    fn handle(&mut self, _: Withdraw, _: &mut Self::Context) {
        self.told.push(Told::Withdrawn);
    }
}
