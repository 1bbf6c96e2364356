//! The [`MarketMaker`] actor: one WAMP session with the market maker's router. It dials, authenticates, calls,
//! registers and passes invocations on, in the order in which they came. The supervisor decides when to come back after
//! a loss; nothing of it survives a restart.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use xbr_compute::on_worker;
use xbr_core::reject::ArgumentError;
use xbr_core::signer::Signer;
use xbr_core::wire::{
    ByChannel, ByDelegate, ByKey, ChannelBalance, ChannelClosing, ChannelIds, ChannelInfo, ChannelType,
    ChannelsByDelegate, GetStatus, MarketConfig, MarketDomain, MarketStatus, UnsignedOffer, active_channel,
    uri,
};
use xbr_core::{ProviderId, Value};
use xbr_wamp::{Call, CallError, CallResult, Dial, IncomingEvent, Invoke, Session};

use crate::in_flight::InFlight;
use crate::messages::{
    FetchActiveChannel, FetchBalance, FetchChannel, FetchChannels, FetchConfig, FetchStatus, Join, Leave,
    MarketError, PlaceOffer, Publish, RevokeOffer, SessionLost, SubmitClose,
};
use crate::observer::Observers;
use crate::seller::MarketWatch;

mod serving;

use serving::Served;

/// How many messages may wait for the session.
const MAILBOX: usize = 4096;

/// How the market maker is reached.
#[derive(Debug, Clone)]
pub struct MarketOptions {
    /// How a session with its router is made: [`xbr_wamp::ClientOptions`] to dial one.
    pub dial: Dial,
    /// How invocations are shared with other nodes of the same seller.
    pub invoke: Invoke,
    /// Whether to take registrations over from an earlier session that the router still holds (Crossbar).
    pub force_reregister: bool,
    /// For how long to try to register while the router still holds an earlier session.
    pub register_patience: Duration,
}

impl MarketOptions {
    /// The defaults: a single callee, no take-over, 15 s of patience.
    pub fn new(dial: impl Into<Dial>) -> Self {
        Self {
            dial: dial.into(),
            invoke: Invoke::Single,
            force_reregister: false,
            register_patience: Duration::from_secs(15),
        }
    }
}

/// The actor; see the module.
#[derive(Debug)]
pub struct MarketMaker {
    options: MarketOptions,
    signer: SharedSigner,
    provider_id: ProviderId,
    joined: Option<Joined>,
    /// What offers are signed for, once `get_config` told.
    domain: Option<MarketDomain>,
    /// Which session it is: what an earlier one says does not count.
    generation: u64,
    in_flight: InFlight,
    observers: Observers,
    _watch: Option<MarketWatch>,
}

#[derive(Debug)]
struct Joined {
    session: Session,
    lost: Recipient<SessionLost>,
    served: Option<Served>,
    _pump: Pump,
}

/// The task that brings what comes over a session. It keeps the session up, so that the two must end together.
#[derive(Debug)]
struct Pump(actix_rt::task::JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
struct SharedSigner(Arc<dyn Signer>);

impl std::fmt::Debug for SharedSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.address().fmt(f)
    }
}

/// Something came over the session.
#[derive(Message)]
#[rtype(result = "()")]
struct Came {
    generation: u64,
    event: IncomingEvent,
}

impl MarketMaker {
    /// A session that is to be joined, for the seller that signs with `signer` and serves as `provider_id`.
    pub fn new(
        options: MarketOptions,
        signer: Arc<dyn Signer>,
        provider_id: ProviderId,
        watch: Option<MarketWatch>,
    ) -> Self {
        Self {
            options,
            signer: SharedSigner(signer),
            provider_id,
            joined: None,
            domain: None,
            generation: 0,
            in_flight: InFlight::default(),
            observers: Observers::default(),
            _watch: watch,
        }
    }

    /// Tells these what happens.
    #[must_use]
    pub fn observed_by(self, observers: Observers) -> Self {
        Self { observers, ..self }
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
        self.domain = None;
        self.joined.take()
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

impl Actor for MarketMaker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Join> for MarketMaker {
    type Result = ResponseActFuture<Self, Result<(), MarketError>>;

    fn handle(&mut self, message: Join, _: &mut Self::Context) -> Self::Result {
        // Dropping the session of before closes its connection.
        drop(self.end());
        let generation = self.generation;
        let dial = self.options.dial.connect();
        Box::pin(dial.into_actor(self).map(move |result, actor, ctx| {
            let (session, mut incoming) =
                result.map_err(|error| MarketError::Join { reason: error.to_string() })?;
            if actor.generation != generation {
                return Err(MarketError::NotJoined);
            }
            let details = session.details();
            tracing::info!(
                session = details.session, serializer = %details.serializer, "joined the market's realm"
            );
            // Weak, so that the actor goes when nobody else can reach it.
            let address = ctx.address().downgrade();
            let pump = actix_rt::spawn(async move {
                while let Some(event) = incoming.next().await {
                    let Some(actor) = address.upgrade() else { break };
                    // Awaited one by one, which keeps the order.
                    if actor.send(Came { generation, event }).await.is_err() {
                        break;
                    }
                }
            });
            actor.joined = Some(Joined { session, lost: message.lost, served: None, _pump: Pump(pump) });
            Ok(())
        }))
    }
}

impl Handler<Came> for MarketMaker {
    type Result = ();

    fn handle(&mut self, message: Came, _: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        match message.event {
            IncomingEvent::Invocation(invocation) => self.invoked(invocation),
            IncomingEvent::Closed(reason) => self.lose(reason.to_string()),
            // Sales would go elsewhere for good while this session believes that it sells.
            IncomingEvent::RegistrationRevoked { procedure, .. } => {
                tracing::error!(procedure = &*procedure, "another session has taken a registration over");
                self.lose("another session has taken a registration over".to_owned());
            }
            IncomingEvent::Event(event) => self.told(&event),
        }
    }
}

impl MarketMaker {
    /// Ends the session, and says so.
    fn lose(&mut self, reason: String) {
        if let Some(joined) = self.end() {
            let lost = joined.lost.send(SessionLost { reason });
            // A seller that is busy must hear of it as well; one that has gone needs no news.
            actix_rt::spawn(async move {
                let _ = lost.await;
            });
        }
    }
}

impl Handler<Leave> for MarketMaker {
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

impl Handler<FetchConfig> for MarketMaker {
    type Result = ResponseActFuture<Self, Result<MarketConfig, MarketError>>;

    fn handle(&mut self, _: FetchConfig, _: &mut Self::Context) -> Self::Result {
        let generation = self.generation;
        let fetched = self.call(Call::new(uri::GET_CONFIG), MarketConfig::parse);
        Box::pin(fetched.into_actor(self).map(move |result, actor, _| {
            let config = result?;
            if actor.generation == generation {
                actor.domain = Some(config.domain());
            }
            Ok(config)
        }))
    }
}

impl Handler<FetchStatus> for MarketMaker {
    type Result = ResponseFuture<Result<MarketStatus, MarketError>>;

    fn handle(&mut self, _: FetchStatus, _: &mut Self::Context) -> Self::Result {
        self.call(Call::new(uri::GET_STATUS).args(GetStatus.to_args()), MarketStatus::parse)
    }
}

impl Handler<FetchActiveChannel> for MarketMaker {
    type Result = ResponseFuture<Result<Option<ChannelInfo>, MarketError>>;

    fn handle(&mut self, message: FetchActiveChannel, _: &mut Self::Context) -> Self::Result {
        let args = ByDelegate { delegate: message.delegate }.to_args();
        self.call(Call::new(uri::GET_ACTIVE_PAYING_CHANNEL).args(args), active_channel)
    }
}

impl Handler<FetchChannels> for MarketMaker {
    type Result = ResponseFuture<Result<Vec<xbr_core::ChannelId>, MarketError>>;

    fn handle(&mut self, message: FetchChannels, _: &mut Self::Context) -> Self::Result {
        let request = ChannelsByDelegate {
            delegate: message.delegate,
            channel_type: ChannelType::Paying,
            filter_open: true,
        };
        let call = Call::new(uri::GET_CHANNELS_BY_DELEGATE).args(request.to_args());
        self.call(call, |args| ChannelIds::parse(args).map(|ids| ids.0))
    }
}

impl Handler<FetchChannel> for MarketMaker {
    type Result = ResponseFuture<Result<ChannelInfo, MarketError>>;

    fn handle(&mut self, message: FetchChannel, _: &mut Self::Context) -> Self::Result {
        let args = ByChannel { channel_id: message.channel_id }.to_args();
        self.call(Call::new(uri::GET_PAYING_CHANNEL).args(args), ChannelInfo::parse)
    }
}

impl Handler<FetchBalance> for MarketMaker {
    type Result = ResponseFuture<Result<ChannelBalance, MarketError>>;

    fn handle(&mut self, message: FetchBalance, _: &mut Self::Context) -> Self::Result {
        let args = ByChannel { channel_id: message.channel_id }.to_args();
        self.call(Call::new(uri::GET_PAYING_CHANNEL_BALANCE).args(args), ChannelBalance::parse)
    }
}

impl Handler<PlaceOffer> for MarketMaker {
    type Result = ResponseFuture<Result<(), MarketError>>;

    fn handle(&mut self, message: PlaceOffer, _: &mut Self::Context) -> Self::Result {
        let (Ok(session), Some(domain)) = (self.session(), self.domain) else {
            return Box::pin(async { Err(MarketError::NotJoined) });
        };
        let signer = self.signer.0.clone();
        let key_id = message.offer.key_id;
        let unsigned = UnsignedOffer {
            offer: message.offer,
            delegate: signer.address(),
            provider_id: self.provider_id.clone(),
        };
        let procedure = || uri::PLACE_OFFER.to_owned();
        Box::pin(async move {
            let signed = on_worker(move || unsigned.sign(&domain, &*signer)).await;
            let offer = signed.and_then(Result::ok).ok_or_else(|| MarketError::Unanswered {
                procedure: procedure(),
                reason: "the offer cannot be signed".to_owned(),
            })?;
            let call = Call::new(uri::PLACE_OFFER).args(offer.to_args()).kwargs(offer.to_kwargs());
            match session.call(call).await {
                Ok(_) => {
                    tracing::debug!(%key_id, "key offered");
                    Ok(())
                }
                Err(error) if is_offered_already(&error) => {
                    tracing::debug!(%key_id, "key was offered already");
                    Ok(())
                }
                Err(error) => Err(market_error(uri::PLACE_OFFER, &error)),
            }
        })
    }
}

/// The reference raises a bare exception when a key is offered twice, which only its text tells.
fn is_offered_already(error: &CallError) -> bool {
    match error {
        CallError::Application { uri, payload } => {
            let text = payload.args.first().and_then(Value::as_str).unwrap_or_default();
            uri == uri::error::RUNTIME_ERROR && text.contains("already offered")
        }
        _ => false,
    }
}

impl Handler<RevokeOffer> for MarketMaker {
    type Result = ResponseFuture<Result<(), MarketError>>;

    fn handle(&mut self, message: RevokeOffer, _: &mut Self::Context) -> Self::Result {
        let args = ByKey { key_id: message.key_id }.to_args();
        self.call(Call::new(uri::REVOKE_OFFER).args(args), |_| Ok(()))
    }
}

impl Handler<SubmitClose> for MarketMaker {
    type Result = ResponseFuture<Result<ChannelClosing, MarketError>>;

    fn handle(&mut self, message: SubmitClose, _: &mut Self::Context) -> Self::Result {
        let args = message.request.to_args();
        self.call(Call::new(uri::CLOSE_CHANNEL).args(args), ChannelClosing::parse)
    }
}

impl Handler<Publish> for MarketMaker {
    type Result = ResponseFuture<Result<(), MarketError>>;

    fn handle(&mut self, message: Publish, _: &mut Self::Context) -> Self::Result {
        let session = self.session();
        Box::pin(async move {
            let event = xbr_wamp::Publish::new(&message.topic).args(message.args).acknowledge();
            let published = session?.publish(event).await;
            published.map(|_| ()).map_err(|error| market_error(&message.topic, &error))
        })
    }
}
