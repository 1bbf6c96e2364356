//! The market maker's session alone: a real WebSocket to a router that does as the test says, and probes in the place of
//! the seller. Whatever is waited for must come within [`SOON`]; nothing else depends on time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers fail a test by panicking"
)]

mod support;
#[path = "support/wamp_stub.rs"]
mod wamp_stub;

#[path = "market_maker/calls.rs"]
mod calls;
#[path = "market_maker/joining.rs"]
mod joining;
#[path = "market_maker/serving.rs"]
mod serving;

use std::time::Duration;

use actix::prelude::*;
use support::seller_key;
use tokio::sync::{mpsc, oneshot};
use wamp_stub::stub::{Choice, Order, Stub};
use wamp_stub::support::Reply;
use xbr_actors::messages::*;
use xbr_actors::{MarketMaker, MarketOptions};
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::wire::{CloseReceipt, CloseRequest, SellReceipt, SellRequest, uri};
use xbr_core::{ProviderId, Signer, Value};
use xbr_wamp::ClientOptions;
use xbr_wamp::message::{Dict, Message as Wamp, Payload};

const REALM: &str = "realm1";
/// A test that hangs has failed.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it did not come")
}

/// What reached the seller's side, with the way to answer.
#[derive(Debug)]
enum Asked {
    Sell(SellRequest, oneshot::Sender<Result<SellReceipt, SaleReject>>),
    Close(CloseRequest, oneshot::Sender<Result<CloseReceipt, CloseReject>>),
    Lost(String),
    Back,
}

/// In the seller's place: hands on what it is asked, and answers as the test says.
struct Probe(mpsc::UnboundedSender<Asked>);

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<Sell> for Probe {
    type Result = ResponseFuture<Result<SellReceipt, SaleReject>>;

    fn handle(&mut self, message: Sell, _: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked::Sell(message.request, answer)).unwrap();
        Box::pin(async { answered.await.unwrap() })
    }
}

impl Handler<CloseChannel> for Probe {
    type Result = ResponseFuture<Result<CloseReceipt, CloseReject>>;

    fn handle(&mut self, message: CloseChannel, _: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked::Close(message.request, answer)).unwrap();
        Box::pin(async { answered.await.unwrap() })
    }
}

impl Handler<SessionLost> for Probe {
    type Result = ();

    fn handle(&mut self, message: SessionLost, _: &mut Self::Context) {
        self.0.send(Asked::Lost(message.reason)).unwrap();
    }
}

impl Handler<MarketMakerBack> for Probe {
    type Result = ();

    fn handle(&mut self, _: MarketMakerBack, _: &mut Self::Context) {
        self.0.send(Asked::Back).unwrap();
    }
}

/// Ends the probe.
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for Probe {
    type Result = ();

    fn handle(&mut self, _: Die, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// A session actor between a router and a probe.
struct Market {
    router: Stub,
    session: Addr<MarketMaker>,
    probe: Addr<Probe>,
    asked: mpsc::UnboundedReceiver<Asked>,
}

fn provider() -> ProviderId {
    ProviderId::from_public_key(&seller_key().public_key())
}

fn market_at(router: Stub, adjust: impl FnOnce(&mut ClientOptions, &mut MarketOptions)) -> Market {
    let mut client = ClientOptions::new(router.url.as_str(), REALM);
    let mut options = MarketOptions::new(client.clone());
    adjust(&mut client, &mut options);
    options.dial = client.into();
    let session = MarketMaker::new(options, seller_key(), provider(), None).start();
    let (tell, asked) = mpsc::unbounded_channel();
    Market { router, session, probe: Probe(tell).start(), asked }
}

/// Before the session is joined.
async fn market() -> Market {
    market_at(Stub::start(Choice::First).await, |_, _| {})
}

async fn joined_with(adjust: impl FnOnce(&mut ClientOptions, &mut MarketOptions)) -> Market {
    let it = market_at(Stub::start(Choice::First).await, adjust);
    assert_eq!(it.join().await, Ok(()));
    it
}

async fn joined() -> Market {
    joined_with(|_, _| {}).await
}

impl Market {
    async fn ask<M>(&self, message: M) -> M::Result
    where
        M: Message + Send + 'static,
        M::Result: Send,
        MarketMaker: Handler<M>,
    {
        soon(self.session.send(message)).await.unwrap()
    }

    fn joining(&self) -> Join {
        Join { lost: self.probe.clone().recipient() }
    }

    async fn join(&self) -> Result<(), MarketError> {
        self.ask(self.joining()).await
    }

    fn serving(&self) -> Serve {
        let (sell, close) = (self.probe.clone().recipient(), self.probe.clone().recipient());
        let back = self.probe.clone().recipient();
        Serve { provider_id: provider(), sell, close, back }
    }

    fn order(&self, order: Order) {
        self.router.orders.send(order).unwrap();
    }

    fn reply(&self, uri: impl Into<String>, reply: Reply) {
        self.order(Order::Reply(uri.into(), reply));
    }

    fn say(&self, message: Wamp) {
        self.order(Order::Say(message));
    }

    /// The next message of this kind that the router hears; others before it are passed over.
    async fn heard<T>(&mut self, wanted: impl Fn(&Wamp) -> Option<T>) -> T {
        loop {
            let message = soon(self.router.heard.recv()).await.expect("the connection has ended");
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }

    async fn heard_call(&mut self, of: &str) -> Payload {
        self.heard(|message| match message {
            Wamp::Call { procedure, payload, .. } if procedure == of => Some(payload.clone()),
            _ => None,
        })
        .await
    }

    async fn heard_goodbye(&mut self) {
        self.heard(|message| matches!(message, Wamp::Goodbye { .. }).then_some(())).await;
    }

    /// The next answer to an invocation: its request, and the error's URI unless it has succeeded.
    async fn answered(&mut self) -> (u64, Result<Payload, String>) {
        self.heard(|message| match message {
            Wamp::Yield { request, payload, .. } => Some((*request, Ok(payload.clone()))),
            Wamp::Error { request, error, .. } => Some((*request, Err(error.clone()))),
            _ => None,
        })
        .await
    }

    async fn asked(&mut self) -> Asked {
        soon(self.asked.recv()).await.unwrap()
    }

    async fn lost(&mut self) -> String {
        let Asked::Lost(reason) = self.asked().await else { panic!("not asked to sell") };
        reason
    }

    /// Nothing that was under way has reached the probe after what the test has seen.
    fn assert_nothing_asked(&mut self) {
        assert!(matches!(self.asked.try_recv(), Err(mpsc::error::TryRecvError::Empty)));
    }
}

fn error(uri: &'static str) -> Reply {
    Reply::Error(uri, "the router's text")
}

fn sell_uri() -> String {
    uri::sell(&provider())
}

fn close_uri() -> String {
    uri::close_channel(&provider())
}

fn invocation(request: u64, registration: u64, args: Vec<Value>) -> Wamp {
    let payload = Payload { args, kwargs: Dict::new() };
    Wamp::Invocation { request, registration, details: Dict::new(), payload }
}
