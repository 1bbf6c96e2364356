//! The [`MarketMaker`] actor: one WAMP session with the market maker's router. It dials, authenticates, calls,
//! registers and passes invocations on, in the order in which they came. The supervisor decides when to come back after
//! a loss; nothing of it survives a restart.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use backon::{BackoffBuilder, ExponentialBuilder};
use xbr_core::reject::{ArgumentError, Reject};
use xbr_core::signer::Signer;
use xbr_core::wire::{
    ByChannel, ByDelegate, ByKey, ChannelBalance, ChannelIds, ChannelInfo, ChannelType, ChannelsByDelegate,
    CloseRequest, MarketConfig, MarketDomain, SellRequest, UnsignedOffer, active_channel, uri,
};
use xbr_core::{ProviderId, Value};
use xbr_wamp::error::uris;
use xbr_wamp::request::RegistrationId;
use xbr_wamp::{
    Call, CallError, CallResult, ClientOptions, IncomingEvent, Invocation, Invoke, RegisterOptions, Session,
};

use crate::compute::on_worker;
use crate::in_flight::InFlight;
use crate::messages::{
    CloseChannel, FetchActiveChannel, FetchBalance, FetchChannel, FetchChannels, FetchConfig, Join, Leave,
    MarketError, PlaceOffer, Publish, RevokeOffer, Sell, Serve, SessionLost, Withdraw,
};
use crate::seller::MarketWatch;

/// How many messages may wait for the session.
const MAILBOX: usize = 4096;
/// How many invocations may be under way; what comes beyond is answered at once, to be repeated.
const MAX_IN_FLIGHT: usize = 2048;

/// How the market maker is reached.
#[derive(Debug, Clone)]
pub struct MarketOptions {
    /// The router, realm, authentication and limits.
    pub client: ClientOptions,
    /// How invocations are shared with other nodes of the same seller.
    pub invoke: Invoke,
    /// Whether to take registrations over from an earlier session that the router still holds (Crossbar).
    pub force_reregister: bool,
    /// For how long to try to register while the router still holds an earlier session.
    pub register_patience: Duration,
}

impl MarketOptions {
    /// The defaults: a single callee, no take-over, 15 s of patience.
    pub fn new(client: ClientOptions) -> Self {
        Self {
            client,
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
    _watch: Option<MarketWatch>,
}

#[derive(Debug)]
struct Joined {
    session: Session,
    lost: Recipient<SessionLost>,
    served: Option<Served>,
}

#[derive(Debug)]
struct Served {
    sell: (RegistrationId, Recipient<Sell>),
    close: (RegistrationId, Recipient<CloseChannel>),
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
            _watch: watch,
        }
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

    fn invoked(&self, invocation: Invocation) {
        let Some(served) = self.joined.as_ref().and_then(|joined| joined.served.as_ref()) else {
            return refuse_early(invocation);
        };
        if self.in_flight.count() >= MAX_IN_FLIGHT {
            return answer_error(
                invocation,
                uris::UNAVAILABLE,
                "too many requests at once; repeat the request",
            );
        }
        let (args, kwargs) = (&invocation.args, &invocation.kwargs);
        if invocation.registration == served.sell.0 {
            match SellRequest::parse(args, kwargs) {
                Ok(request) => {
                    // Sent before anything is awaited: sales reach the ledger in the order of the wire.
                    let answer = served.sell.1.send(Sell { request });
                    self.answer(invocation, answer, |receipt| receipt.to_value());
                }
                Err(error) => refuse(invocation, &Reject::Sale(error.into())),
            }
        } else if invocation.registration == served.close.0 {
            match CloseRequest::parse(args, kwargs) {
                Ok(request) => {
                    let answer = served.close.1.send(CloseChannel { request });
                    self.answer(invocation, answer, |receipt| receipt.to_value());
                }
                Err(error) => refuse(invocation, &Reject::Close(error.into())),
            }
        } else {
            refuse_early(invocation);
        }
    }

    /// Answers an invocation when its recipient does. An interrupted one is answered as well: a committed sale is
    /// never undone.
    fn answer<T: 'static, R: Into<Reject> + 'static>(
        &self,
        invocation: Invocation,
        answer: impl Future<Output = Result<Result<T, R>, MailboxError>> + 'static,
        encode: impl FnOnce(&T) -> Value + 'static,
    ) {
        let flight = self.in_flight.enter();
        actix_rt::spawn(async move {
            match answer.await {
                Ok(Ok(receipt)) => invocation.responder.yield_result(vec![encode(&receipt)], Vec::new()),
                Ok(Err(reject)) => refuse(invocation, &reject.into()),
                Err(_) => {
                    answer_error(invocation, uris::UNAVAILABLE, "the seller has gone; repeat the request")
                }
            }
            drop(flight);
        });
    }

    /// Ends the session, if there is one; what it still says does not count.
    fn end(&mut self) -> Option<Joined> {
        self.generation += 1;
        self.domain = None;
        self.joined.take()
    }
}

fn refuse(invocation: Invocation, reject: &Reject) {
    tracing::warn!(error = reject.uri(), "refused: {reject}");
    answer_error(invocation, reject.uri(), &reject.to_string());
}

/// An invocation that comes between the router's registration and our knowing of it.
fn refuse_early(invocation: Invocation) {
    answer_error(invocation, uris::UNAVAILABLE, "the seller is not ready; repeat the request");
}

fn answer_error(invocation: Invocation, uri: &str, text: &str) {
    invocation.responder.error(uri, vec![Value::from(text)], Vec::new());
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
        let dial = xbr_wamp::connect(self.options.client.clone());
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
            actor.joined = Some(Joined { session, lost: message.lost, served: None });
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

impl Handler<Came> for MarketMaker {
    type Result = ();

    fn handle(&mut self, message: Came, _: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        match message.event {
            IncomingEvent::Invocation(invocation) => self.invoked(invocation),
            IncomingEvent::Closed(reason) => {
                if let Some(joined) = self.end() {
                    // A seller that has gone needs no news.
                    let _ = joined.lost.try_send(SessionLost { reason: reason.to_string() });
                }
            }
            IncomingEvent::RegistrationRevoked { .. } => {
                tracing::error!(
                    "another session has taken a registration over; it sells now, this one does not"
                );
            }
            IncomingEvent::Event(_) => {}
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

impl Handler<Serve> for MarketMaker {
    type Result = ResponseActFuture<Self, Result<(), MarketError>>;

    fn handle(&mut self, message: Serve, _: &mut Self::Context) -> Self::Result {
        let session = self.session();
        let options = RegisterOptions {
            invoke: self.options.invoke,
            force_reregister: self.options.force_reregister,
            ..RegisterOptions::default()
        };
        let patience = self.options.register_patience;
        let generation = self.generation;
        let provider = message.provider_id.clone();
        let registered = async move {
            let session = session?;
            let sell = register(&session, uri::sell(&provider), options, patience).await?;
            let close = register(&session, uri::close_channel(&provider), options, patience).await?;
            Ok((sell, close))
        };
        Box::pin(registered.into_actor(self).map(move |result, actor, _| {
            let (sell, close) = result?;
            match &mut actor.joined {
                Some(joined) if actor.generation == generation => {
                    joined.served =
                        Some(Served { sell: (sell, message.sell), close: (close, message.close) });
                    Ok(())
                }
                _ => Err(MarketError::NotJoined),
            }
        }))
    }
}

/// Registers a procedure. After a dropped connection the router may hold the old registration for a while.
async fn register(
    session: &Session,
    procedure: String,
    options: RegisterOptions,
    patience: Duration,
) -> Result<RegistrationId, MarketError> {
    let delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_total_delay(Some(patience))
        .without_max_times();
    for delay in delays.build() {
        match session.register(&procedure, options).await {
            Err(error) if error.uri() == Some(uris::PROCEDURE_ALREADY_EXISTS) => {
                tracing::info!(procedure, "the router still holds the registration, trying again");
                actix_rt::time::sleep(delay).await;
            }
            result => return result.map_err(|error| market_error(&procedure, &error)),
        }
    }
    session.register(&procedure, options).await.map_err(|error| market_error(&procedure, &error))
}

impl Handler<Withdraw> for MarketMaker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Withdraw, _: &mut Self::Context) -> Self::Result {
        let in_flight = self.in_flight.clone();
        let served =
            self.joined.as_mut().and_then(|joined| Some((joined.session.clone(), joined.served.take()?)));
        Box::pin(async move {
            in_flight.idle().await;
            let Some((session, served)) = served else { return };
            for registration in [served.sell.0, served.close.0] {
                if let Err(error) = session.unregister(registration).await {
                    tracing::warn!(%error, "cannot unregister");
                }
            }
        })
    }
}
