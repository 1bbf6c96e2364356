//! The [`MarketSession`] actor: one WAMP session on which the market maker is called and events are heard.
//! The buyer decides when to come back after a loss; nothing of it survives a restart.

use std::collections::HashMap;
use std::fmt;

use actix::prelude::*;
use xbr_core::Value;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::{
    BuyReceipt, ByChannel, ByDelegate, ByKey, ChannelBalance, ChannelInfo, MarketConfig, Quote,
    active_channel, uri,
};
use xbr_wamp::request::SubscriptionId;
use xbr_wamp::{Call, CallError, CallResult, Dial, IncomingEvent, Session};

use super::error::MarketError;
use super::messages::{
    BuyKey, FetchActiveChannel, FetchBalance, FetchConfig, FetchQuote, Join, Leave, Outlet, RawEvent,
    SessionLost, Subscribe,
};

/// How many messages may wait for the session.
const MAILBOX: usize = 4096;

/// The actor; see the module.
pub struct MarketSession {
    dial: Dial,
    joined: Option<Joined>,
    /// Which session it is: what an earlier one says does not count.
    generation: u64,
}

struct Joined {
    session: Session,
    lost: Recipient<SessionLost>,
    /// Several subscribers of a topic share its subscription.
    outlets: HashMap<SubscriptionId, Vec<Outlet>>,
}

/// Something came over the session.
#[derive(Message)]
#[rtype(result = "()")]
struct Came {
    generation: u64,
    event: IncomingEvent,
}

impl MarketSession {
    /// A session that is to be joined.
    pub fn new(dial: Dial) -> Self {
        Self { dial, joined: None, generation: 0 }
    }

    fn session(&self) -> Result<Session, MarketError> {
        self.joined.as_ref().map(|joined| joined.session.clone()).ok_or(MarketError::NotJoined)
    }

    /// Calls the market maker and parses what it answers.
    fn call<T: 'static>(
        &self,
        call: Call,
        parse: impl FnOnce(&[Value]) -> Result<T, ArgumentError> + 'static,
    ) -> ResponseFuture<Result<T, MarketError>> {
        let session = self.session();
        Box::pin(async move {
            let procedure = call.procedure.clone();
            let CallResult { args, .. } =
                session?.call(call).await.map_err(|error| market_error(&procedure, &error))?;
            parse(&args).map_err(|error| MarketError::Malformed { procedure, error })
        })
    }

    /// Ends the session, if there is one; what it still says does not count.
    fn end(&mut self) -> Option<Joined> {
        self.generation += 1;
        self.joined.take()
    }

    fn deliver(&mut self, event: xbr_wamp::Event) {
        let Some(joined) = &mut self.joined else { return };
        let Some(outlets) = joined.outlets.get_mut(&event.subscription) else { return };
        outlets.retain(|outlet| !outlet.is_closed());
        if outlets.is_empty() {
            joined.outlets.remove(&event.subscription);
            let (session, subscription) = (joined.session.clone(), event.subscription);
            actix_rt::spawn(async move {
                // It fails with the session, which ends the subscription as well.
                let _ = session.unsubscribe(subscription).await;
            });
            return;
        }
        let raw = RawEvent { topic: event.topic, args: event.args };
        for outlet in outlets.iter() {
            outlet.put(raw.clone());
        }
    }
}

fn market_error(procedure: &str, error: &CallError) -> MarketError {
    let procedure = procedure.to_owned();
    match error {
        CallError::Closed => MarketError::NotJoined,
        CallError::Application { uri, payload } => {
            let text = payload.args.first().and_then(Value::as_str).unwrap_or_default();
            MarketError::Refused { procedure, uri: uri.clone(), text: text.chars().take(200).collect() }
        }
        error if error.is_not_sent() => MarketError::Unsendable { procedure, reason: error.to_string() },
        error => MarketError::Unanswered { procedure, reason: error.to_string() },
    }
}

impl Actor for MarketSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Join> for MarketSession {
    type Result = ResponseActFuture<Self, Result<(), MarketError>>;

    fn handle(&mut self, message: Join, _: &mut Self::Context) -> Self::Result {
        // Dropping the session of before closes its connection.
        drop(self.end());
        let generation = self.generation;
        let dial = self.dial.connect();
        Box::pin(dial.into_actor(self).map(move |result, actor, ctx| {
            let (session, mut incoming) = result.map_err(|error| MarketError::Join {
                reason: error.to_string(),
                permanent: error.is_permanent(),
            })?;
            if actor.generation != generation {
                return Err(MarketError::NotJoined);
            }
            actor.joined = Some(Joined { session, lost: message.lost, outlets: HashMap::new() });
            let address = ctx.address();
            actix_rt::spawn(async move {
                while let Some(event) = incoming.next().await {
                    // Awaited one by one, which keeps the order. An actor that has gone ends the session.
                    if address.send(Came { generation, event }).await.is_err() {
                        break;
                    }
                }
            });
            Ok(())
        }))
    }
}

impl Handler<Came> for MarketSession {
    type Result = ();

    fn handle(&mut self, message: Came, _: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        match message.event {
            IncomingEvent::Event(event) => self.deliver(event),
            IncomingEvent::Closed(reason) => {
                if let Some(joined) = self.end() {
                    // A buyer that has gone needs no news.
                    let _ = joined.lost.try_send(SessionLost { reason: reason.to_string() });
                }
            }
            // A buyer registers nothing; the router is told so when the responder is dropped.
            IncomingEvent::Invocation(_) | IncomingEvent::RegistrationRevoked { .. } => {}
        }
    }
}

impl Handler<Leave> for MarketSession {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Leave, _: &mut Self::Context) -> Self::Result {
        let joined = self.end();
        Box::pin(async move {
            if let Some(joined) = joined {
                joined.session.leave().await;
            }
        })
    }
}

impl Handler<FetchConfig> for MarketSession {
    type Result = ResponseFuture<Result<MarketConfig, MarketError>>;

    fn handle(&mut self, _: FetchConfig, _: &mut Self::Context) -> Self::Result {
        self.call(Call::new(uri::GET_CONFIG), MarketConfig::parse)
    }
}

impl Handler<FetchActiveChannel> for MarketSession {
    type Result = ResponseFuture<Result<Option<ChannelInfo>, MarketError>>;

    fn handle(&mut self, message: FetchActiveChannel, _: &mut Self::Context) -> Self::Result {
        let args = ByDelegate { delegate: message.delegate }.to_args();
        self.call(Call::new(uri::GET_ACTIVE_PAYMENT_CHANNEL).args(args), active_channel)
    }
}

impl Handler<FetchBalance> for MarketSession {
    type Result = ResponseFuture<Result<ChannelBalance, MarketError>>;

    fn handle(&mut self, message: FetchBalance, _: &mut Self::Context) -> Self::Result {
        let args = ByChannel { channel_id: message.channel_id }.to_args();
        self.call(Call::new(uri::GET_PAYMENT_CHANNEL_BALANCE).args(args), ChannelBalance::parse)
    }
}

impl Handler<FetchQuote> for MarketSession {
    type Result = ResponseFuture<Result<Quote, MarketError>>;

    fn handle(&mut self, message: FetchQuote, _: &mut Self::Context) -> Self::Result {
        let args = ByKey { key_id: message.key_id }.to_args();
        self.call(Call::new(uri::GET_QUOTE).args(args), Quote::parse)
    }
}

impl Handler<BuyKey> for MarketSession {
    type Result = ResponseFuture<Result<BuyReceipt, MarketError>>;

    fn handle(&mut self, message: BuyKey, _: &mut Self::Context) -> Self::Result {
        self.call(Call::new(uri::BUY_KEY).args(message.request.to_args()), BuyReceipt::parse)
    }
}

impl Handler<Subscribe> for MarketSession {
    type Result = ResponseActFuture<Self, Result<(), MarketError>>;

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        let (session, generation) = (self.session(), self.generation);
        let Subscribe { topic, matching, outlet } = message;
        let subscribed = async move {
            session?.subscribe(&topic, matching).await.map_err(|error| market_error("subscribe", &error))
        };
        Box::pin(subscribed.into_actor(self).map(move |subscription, actor, _| {
            let subscription = subscription?;
            match &mut actor.joined {
                Some(joined) if actor.generation == generation => {
                    joined.outlets.entry(subscription).or_default().push(outlet);
                    Ok(())
                }
                _ => Err(MarketError::NotJoined),
            }
        }))
    }
}

impl fmt::Debug for MarketSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketSession").field("joined", &self.joined.is_some()).finish_non_exhaustive()
    }
}
