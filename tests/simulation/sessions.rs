//! The sessions of the parties: actors in the place of those that speak WAMP, which pass the same typed
//! messages to the network and bring the answers back.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use xbr_actors::messages as seller;
use xbr_actors::seller::MarketWatch;
use xbr_core::reject::{ArgumentError, CloseReject, Reject, SaleReject};
use xbr_core::wire::{
    BuyReceipt, ByChannel, ByDelegate, ByKey, ChannelBalance, ChannelClosing, ChannelIds, ChannelInfo,
    ChannelType, ChannelsByDelegate, CloseReceipt, GetConfig, GetStatus, MarketConfig, MarketDomain,
    MarketStatus, Quote, SellReceipt, UnsignedOffer, active_channel, uri,
};
use xbr_core::{Address, BuyerKey, ChannelId, DelegateKey, KeyId, ProviderId, Signer, Value};
use xbr_market::buyer::{error as buyer_error, messages as buyer};
use xbr_market::maker::messages as maker;
use xbr_market::maker::offer::Caller;
use xbr_market::maker::outcome::ProviderError;
use xbr_market::maker::procedures::Request;
use xbr_market::maker::reject::MakerReject;

use crate::network::{Failure, Network, Party, Role};
use crate::stores::Cut;

/// For how long buyers and sellers wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A buyer's key that is none.
const SPOILT: BuyerKey = BuyerKey::new([0; 32]);

/// A party's end of the network.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) network: Rc<Network>,
    pub(crate) party: Party,
    pub(crate) cut: Cut,
}

/// Why a call brought no result, as a caller is told.
enum CallError {
    NotJoined,
    Refused { uri: String, text: String },
    Unanswered { reason: &'static str },
    Malformed(ArgumentError),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        let refused = |uri: &str| Self::Refused { uri: uri.to_owned(), text: String::new() };
        match failure {
            Failure::NotJoined => Self::NotJoined,
            Failure::NotReached => refused("wamp.error.no_such_procedure"),
            Failure::Canceled => refused("wamp.error.canceled"),
            Failure::Unanswered(reason) => Self::Unanswered { reason },
        }
    }
}

/// The two market errors are alike, and two types.
macro_rules! market_error {
    ($error:path) => {
        |procedure: &str, error: CallError| {
            use $error as MarketError;
            let procedure = procedure.to_owned();
            match error {
                CallError::NotJoined => MarketError::NotJoined,
                CallError::Refused { uri, text } => MarketError::Refused { procedure, uri, text },
                CallError::Unanswered { reason } => {
                    MarketError::Unanswered { procedure, reason: reason.to_owned() }
                }
                CallError::Malformed(error) => MarketError::Malformed { procedure, error },
            }
        }
    };
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotJoined => Self::NotJoined,
            CallError::Refused { uri, text } => Self::Refused { uri, text },
            CallError::Unanswered { reason } => Self::Unanswered { reason: reason.to_owned() },
            CallError::Malformed(error) => Self::Malformed(error),
        }
    }
}

impl Line {
    /// Calls the market maker.
    fn ask(
        &self,
        session: Option<u64>,
        request: Request,
        what: String,
    ) -> LocalBoxFuture<'static, Result<Value, CallError>> {
        let caller = Caller { session, authid: None };
        let audited = self.network.clone();
        let asked = self.network.carry((self.party, session), Party::Maker, PATIENCE, what, move |role| {
            let Role::Maker { answers, .. } = role else { return None };
            let answer = answers.send(maker::Asked { request: request.clone(), caller: caller.clone() });
            let (request, network) = (request.clone(), audited.clone());
            Some(
                async move {
                    let answer = answer.await.ok()?;
                    if let (Request::Buy(_), Ok(receipt)) = (&request, &answer) {
                        let receipt = BuyReceipt::parse(std::slice::from_ref(receipt)).unwrap();
                        network.audit.borrow_mut().delivers(&receipt);
                    }
                    Some(answer)
                }
                .boxed_local(),
            )
        });
        Box::pin(async move {
            match asked.await? {
                Some(Ok(value)) => Ok(value),
                Some(Err(reject)) => Err(refused(&reject)),
                None => Err(Failure::Canceled.into()),
            }
        })
    }

    /// A session that counts: none after a crash.
    fn alive(&self, session: Option<u64>) -> Option<u64> {
        session.filter(|_| !self.cut.is_cut())
    }
}

fn refused(reject: &MakerReject) -> CallError {
    CallError::Refused { uri: reject.uri().to_owned(), text: reject.to_string() }
}

/// The session of one party.
pub(crate) struct Session<Of> {
    pub(crate) line: Line,
    pub(crate) number: Option<u64>,
    pub(crate) of: Of,
}

pub(crate) struct OfSeller {
    pub(crate) signer: Arc<DelegateKey>,
    pub(crate) domain: MarketDomain,
    pub(crate) provider_id: ProviderId,
    pub(crate) _watch: Option<MarketWatch>,
}
pub(crate) struct OfBuyer;
pub(crate) struct OfMaker;

impl<Of: Unpin + 'static> Actor for Session<Of> {
    type Context = Context<Self>;
}

impl<Of: Unpin + 'static> Session<Of> {
    pub(crate) fn open(line: Line, of: Of) -> Addr<Self> {
        Self { line, number: None, of }.start()
    }

    fn number(&self) -> Option<u64> {
        self.line.alive(self.number)
    }

    fn join<E: 'static>(
        &mut self,
        role: Role,
        error: impl FnOnce() -> E + 'static,
    ) -> ResponseActFuture<Self, Result<(), E>> {
        let line = self.line.clone();
        let joined = async move { line.network.join(line.party, &line.cut, role).await };
        Box::pin(joined.into_actor(self).map(|number, session, _| {
            session.number = number;
            number.map(|_| ()).ok_or_else(error)
        }))
    }

    fn leave(&mut self) {
        if let Some(number) = self.number() {
            self.line.network.leave(self.line.party, Some(number));
        }
        self.number = None;
    }
}

/// What is asked of the market maker as it is, and how the answers are read.
macro_rules! asks {
    (
        $session:ty, $error:path,
        $($message:path => $result:ty, |$it:ident| $request:expr, $parse:expr;)*
    ) => {$(
        impl Handler<$message> for $session {
            type Result = ResponseFuture<Result<$result, $error>>;

            fn handle(&mut self, $it: $message, _: &mut Self::Context) -> Self::Result {
                let what = stringify!($message).to_owned();
                let asked = self.line.ask(self.number(), $request, what);
                Box::pin(async move {
                    let parsed = asked.await.and_then(|value| $parse(&[value]).map_err(CallError::Malformed));
                    parsed.map_err(|error| market_error!($error)(stringify!($message), error))
                })
            }
        }
    )*};
}

fn active(kind: ChannelType, delegate: Address) -> Request {
    Request::ActiveChannel(kind, ByDelegate { delegate })
}

fn balance(kind: ChannelType, channel_id: ChannelId) -> Request {
    Request::Balance(kind, ByChannel { channel_id })
}

fn config() -> Request {
    Request::Config(GetConfig { include_eula_text: false })
}

asks! { Session<OfSeller>, seller::MarketError,
    seller::FetchConfig => MarketConfig, |_it| config(), MarketConfig::parse;
    seller::FetchStatus => MarketStatus, |_it| Request::Status(GetStatus), MarketStatus::parse;
    seller::FetchActiveChannel => Option<ChannelInfo>,
        |it| active(ChannelType::Paying, it.delegate), active_channel;
    seller::FetchChannels => Vec<ChannelId>, |it| Request::Channels(ChannelsByDelegate {
        delegate: it.delegate,
        channel_type: ChannelType::Paying,
        filter_open: true,
    }), channel_ids;
    seller::FetchChannel => ChannelInfo, |it| {
        Request::Channel(ChannelType::Paying, ByChannel { channel_id: it.channel_id })
    }, ChannelInfo::parse;
    seller::FetchBalance => ChannelBalance,
        |it| balance(ChannelType::Paying, it.channel_id), ChannelBalance::parse;
    seller::SubmitClose => ChannelClosing, |it| Request::Close(Box::new(it.request)), ChannelClosing::parse;
    seller::RevokeOffer => (), |it| Request::Revoke(ByKey { key_id: it.key_id }), any;
}

asks! { Session<OfBuyer>, buyer_error::MarketError,
    buyer::FetchConfig => MarketConfig, |_it| config(), MarketConfig::parse;
    buyer::FetchActiveChannel => Option<ChannelInfo>,
        |it| active(ChannelType::Payment, it.delegate), active_channel;
    buyer::FetchBalance => ChannelBalance,
        |it| balance(ChannelType::Payment, it.channel_id), ChannelBalance::parse;
    buyer::FetchQuote => Quote, |it| Request::Quote(ByKey { key_id: it.key_id }), Quote::parse;
}

fn channel_ids(args: &[Value]) -> Result<Vec<ChannelId>, ArgumentError> {
    ChannelIds::parse(args).map(|ids| ids.0)
}

fn any(_: &[Value]) -> Result<(), ArgumentError> {
    Ok(())
}

impl Handler<seller::Join> for Session<OfSeller> {
    type Result = ResponseActFuture<Self, Result<(), seller::MarketError>>;

    fn handle(&mut self, message: seller::Join, _: &mut Self::Context) -> Self::Result {
        let role = Role::Seller { lost: message.lost, served: None };
        self.join(role, || seller::MarketError::Join { reason: "the router is away".to_owned() })
    }
}

impl Handler<buyer::Join> for Session<OfBuyer> {
    type Result = ResponseActFuture<Self, Result<(), buyer_error::MarketError>>;

    fn handle(&mut self, message: buyer::Join, _: &mut Self::Context) -> Self::Result {
        let reason = || "the router is away".to_owned();
        let role = Role::Buyer { lost: message.lost };
        self.join(role, move || buyer_error::MarketError::Join { reason: reason(), permanent: false })
    }
}

impl Handler<maker::Join> for Session<OfMaker> {
    type Result = ResponseActFuture<Self, Result<(), maker::JoinError>>;

    fn handle(&mut self, message: maker::Join, _: &mut Self::Context) -> Self::Result {
        let reason = || "the router is away".to_owned();
        let role = Role::Maker { lost: message.lost, answers: message.answers };
        self.join(role, move || maker::JoinError::Join { reason: reason(), permanent: false })
    }
}

macro_rules! leaves {
    ($($session:ty: $message:path;)*) => {$(
        impl Handler<$message> for $session {
            type Result = ();

            fn handle(&mut self, _: $message, _: &mut Self::Context) {
                self.leave();
            }
        }
    )*};
}

leaves! {
    Session<OfSeller>: seller::Leave;
    Session<OfBuyer>: buyer::Leave;
    Session<OfMaker>: maker::Leave;
}

impl Handler<seller::Serve> for Session<OfSeller> {
    type Result = Result<(), seller::MarketError>;

    fn handle(&mut self, message: seller::Serve, _: &mut Self::Context) -> Self::Result {
        let number = self.number().ok_or(seller::MarketError::NotJoined)?;
        let served = self.line.network.serve(self.line.party, number, Some(message));
        if served { Ok(()) } else { Err(seller::MarketError::NotJoined) }
    }
}

impl Handler<seller::Withdraw> for Session<OfSeller> {
    type Result = ();

    fn handle(&mut self, _: seller::Withdraw, _: &mut Self::Context) {
        if let Some(number) = self.number() {
            self.line.network.serve(self.line.party, number, None);
        }
    }
}

impl Handler<seller::Publish> for Session<OfSeller> {
    type Result = Result<(), seller::MarketError>;

    fn handle(&mut self, _: seller::Publish, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<seller::PlaceOffer> for Session<OfSeller> {
    type Result = ResponseFuture<Result<(), seller::MarketError>>;

    fn handle(&mut self, message: seller::PlaceOffer, _: &mut Self::Context) -> Self::Result {
        let OfSeller { signer, domain, provider_id, .. } = &self.of;
        let unsigned = UnsignedOffer {
            offer: message.offer,
            delegate: signer.address(),
            provider_id: provider_id.clone(),
        };
        let offer = unsigned.sign(domain, &**signer).unwrap();
        let asked = self.line.ask(self.number(), Request::Place(Box::new(offer)), "place_offer".to_owned());
        Box::pin(async move {
            match asked.await {
                Ok(_) => Ok(()),
                Err(CallError::Refused { uri, .. }) if uri == uri::error::RUNTIME_ERROR => Ok(()),
                Err(error) => Err(market_error!(seller::MarketError)("place_offer", error)),
            }
        })
    }
}

impl Handler<buyer::Subscribe> for Session<OfBuyer> {
    type Result = Result<(), buyer_error::MarketError>;

    fn handle(&mut self, _: buyer::Subscribe, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<buyer::BuyKey> for Session<OfBuyer> {
    type Result = ResponseFuture<Result<BuyReceipt, buyer_error::MarketError>>;

    fn handle(&mut self, message: buyer::BuyKey, _: &mut Self::Context) -> Self::Result {
        let (mut request, number) = (message.request, self.number());
        let state = (request.channel_id, request.channel_seq, request.key_id);
        if number.is_some() && self.line.network.spoils_first(state) {
            request.buyer_key = SPOILT;
        }
        let what =
            format!("buy_key of ({}, {}) for {}", request.channel_seq, request.balance, request.amount);
        let asked = self.line.ask(number, Request::Buy(Box::new(request)), what);
        Box::pin(async move {
            let receipt = asked.await.and_then(|it| BuyReceipt::parse(&[it]).map_err(CallError::Malformed));
            receipt.map_err(|error| market_error!(buyer_error::MarketError)("buy_key", error))
        })
    }
}

impl Handler<maker::CallSell> for Session<OfMaker> {
    type Result = ResponseFuture<Result<SellReceipt, ProviderError>>;

    fn handle(&mut self, message: maker::CallSell, _: &mut Self::Context) -> Self::Result {
        let maker::CallSell { request, timeout, .. } = message;
        let (network, number) = (self.line.network.clone(), self.number());
        let mut sent = request.clone();
        if number.is_some() {
            network.audit.borrow_mut().asks(&request);
            let state: (ChannelId, _, KeyId) = (request.channel_id, request.channel_seq, request.key_id);
            if network.spoils_first(state) {
                sent.buyer_key = SPOILT;
            }
        }
        let what = format!("sell of ({}, {}) for {}", request.channel_seq, request.balance, request.amount);
        let audited = network.clone();
        let asked = network.carry((Party::Maker, number), Party::Seller, timeout, what, move |role| {
            let Role::Seller { served: Some(served), .. } = role else { return None };
            let answer = served.sell.send(seller::Sell::from(sent.clone()));
            let (network, channel_id) = (audited.clone(), sent.channel_id);
            Some(
                async move {
                    let answer: Result<SellReceipt, SaleReject> = answer.await.ok()?;
                    if let Ok(receipt) = &answer {
                        network.audit.borrow_mut().sells(channel_id, receipt);
                    }
                    Some(answer.map_err(|reject| reason(&reject.into())))
                }
                .boxed_local(),
            )
        });
        Box::pin(async move {
            let answer = match asked.await {
                Ok(Some(answer)) => answer.map_err(ProviderError::from),
                Ok(None) => Err(CallError::from(Failure::Canceled).into()),
                Err(failure) => Err(CallError::from(failure).into()),
            };
            network.audit.borrow_mut().learns(&request, &answer);
            answer
        })
    }
}

impl Handler<maker::CallClose> for Session<OfMaker> {
    type Result = ResponseFuture<Result<CloseReceipt, ProviderError>>;

    fn handle(&mut self, message: maker::CallClose, _: &mut Self::Context) -> Self::Result {
        let maker::CallClose { request, timeout, .. } = message;
        let (network, number) = (self.line.network.clone(), self.number());
        let what = format!("close_channel at ({}, {})", request.channel_seq, request.balance);
        let audited = network.clone();
        let asked = network.carry((Party::Maker, number), Party::Seller, timeout, what, move |role| {
            let Role::Seller { served: Some(served), .. } = role else { return None };
            let answer = served.close.send(seller::CloseChannel { request: request.clone() });
            let (network, channel_id) = (audited.clone(), request.channel_id);
            Some(
                async move {
                    let answer: Result<CloseReceipt, CloseReject> = answer.await.ok()?;
                    if let Ok(receipt) = &answer {
                        network.audit.borrow_mut().closes(channel_id, receipt);
                    }
                    Some(answer.map_err(|reject| reason(&reject.into())))
                }
                .boxed_local(),
            )
        });
        Box::pin(async move {
            match asked.await {
                Ok(Some(answer)) => answer.map_err(ProviderError::from),
                Ok(None) => Err(CallError::from(Failure::Canceled).into()),
                Err(failure) => Err(CallError::from(failure).into()),
            }
        })
    }
}

/// A seller's refusal, as the market maker hears it.
fn reason(reject: &Reject) -> CallError {
    CallError::Refused { uri: reject.uri().to_owned(), text: reject.to_string() }
}

impl Handler<maker::Publish> for Session<OfMaker> {
    type Result = ();

    fn handle(&mut self, _: maker::Publish, _: &mut Self::Context) {}
}
