//! What the buyer says to the market's session and hears from it: one struct per message, each sent through a
//! [`Recipient`], so that a test puts an actor of its own in the session's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use tokio::sync::mpsc;
use xbr_core::wire::{BuyReceipt, BuyRequest, ChannelBalance, ChannelInfo, MarketConfig, Quote};
use xbr_core::{Address, ChannelId, KeyId, Value};
use xbr_wamp::Match;

use super::error::MarketError;

/// Dial, authenticate and join the realm.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct Join {
    /// Who hears when the session is lost.
    pub lost: Recipient<SessionLost>,
}

/// The session that [`Join`] made has ended without [`Leave`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SessionLost {
    /// Why, for the log.
    pub reason: String,
}

/// Say goodbye and close the connection. Without a session it does nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave;

/// `xbr.marketmaker.get_config`.
#[derive(Debug, Message)]
#[rtype(result = "Result<MarketConfig, MarketError>")]
pub struct FetchConfig;

/// `xbr.marketmaker.get_active_payment_channel`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<ChannelInfo>, MarketError>")]
pub struct FetchActiveChannel {
    /// The buyer's address.
    pub delegate: Address,
}

/// `xbr.marketmaker.get_payment_channel_balance`.
#[derive(Debug, Message)]
#[rtype(result = "Result<ChannelBalance, MarketError>")]
pub struct FetchBalance {
    /// The channel.
    pub channel_id: ChannelId,
}

/// `xbr.marketmaker.get_quote`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Quote, MarketError>")]
pub struct FetchQuote {
    /// The key.
    pub key_id: KeyId,
}

/// `xbr.marketmaker.buy_key`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<BuyReceipt, MarketError>")]
pub struct BuyKey {
    /// The call's arguments.
    pub request: BuyRequest,
}

/// Subscribe to a topic. The subscription ends with the receiver of its events.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), MarketError>")]
pub struct Subscribe {
    /// The topic, or a pattern.
    pub topic: String,
    /// How it is matched.
    pub matching: Match,
    /// Where its events go.
    pub outlet: Outlet,
}

/// An event as it came, still encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEvent {
    /// The topic that it was published to.
    pub topic: Arc<str>,
    /// Its positional arguments.
    pub args: Vec<Value>,
}

/// Where the events of a subscription go. It never waits: what does not fit is left out and counted, since a
/// slow subscriber must not hold up the answers of the market maker that come over the same session.
#[derive(Debug, Clone)]
pub struct Outlet {
    events: mpsc::Sender<RawEvent>,
    missed: Arc<AtomicU64>,
}

/// The other end of an [`Outlet`].
#[derive(Debug)]
pub struct Inlet {
    pub(super) events: mpsc::Receiver<RawEvent>,
    missed: Arc<AtomicU64>,
}

impl Outlet {
    /// Both ends; at most `capacity` events wait in between.
    pub fn new(capacity: usize) -> (Self, Inlet) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let missed = Arc::new(AtomicU64::new(0));
        (Self { events: sender, missed: missed.clone() }, Inlet { events: receiver, missed })
    }

    /// Passes an event on, or counts it as missed.
    pub fn put(&self, event: RawEvent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the other end has gone.
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }
}

impl Inlet {
    /// How many events were left out since the last time that this was asked.
    pub(super) fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

/// The way to the market's session: a recipient per message, so that it can be any actor that knows them.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field is the recipient of the message of its name")]
pub struct MarketPort {
    pub join: Recipient<Join>,
    pub leave: Recipient<Leave>,
    pub fetch_config: Recipient<FetchConfig>,
    pub fetch_active_channel: Recipient<FetchActiveChannel>,
    pub fetch_balance: Recipient<FetchBalance>,
    pub fetch_quote: Recipient<FetchQuote>,
    pub buy_key: Recipient<BuyKey>,
    pub subscribe: Recipient<Subscribe>,
}

impl MarketPort {
    /// The port of an actor that knows all the messages.
    pub fn new<A>(session: &Addr<A>) -> Self
    where
        A: Actor
            + Handler<Join>
            + Handler<Leave>
            + Handler<FetchConfig>
            + Handler<FetchActiveChannel>
            + Handler<FetchBalance>
            + Handler<FetchQuote>
            + Handler<BuyKey>
            + Handler<Subscribe>,
        A::Context: ToEnvelope<A, Join>
            + ToEnvelope<A, Leave>
            + ToEnvelope<A, FetchConfig>
            + ToEnvelope<A, FetchActiveChannel>
            + ToEnvelope<A, FetchBalance>
            + ToEnvelope<A, FetchQuote>
            + ToEnvelope<A, BuyKey>
            + ToEnvelope<A, Subscribe>,
    {
        Self {
            join: session.clone().recipient(),
            leave: session.clone().recipient(),
            fetch_config: session.clone().recipient(),
            fetch_active_channel: session.clone().recipient(),
            fetch_balance: session.clone().recipient(),
            fetch_quote: session.clone().recipient(),
            buy_key: session.clone().recipient(),
            subscribe: session.clone().recipient(),
        }
    }
}

/// Asks an actor and waits; an actor that has gone counts as a session that is not there.
pub(super) async fn ask<M, T>(recipient: &Recipient<M>, message: M) -> Result<T, MarketError>
where
    M: Message<Result = Result<T, MarketError>> + Send,
    T: Send,
{
    recipient.send(message).await.unwrap_or(Err(MarketError::NotJoined))
}
