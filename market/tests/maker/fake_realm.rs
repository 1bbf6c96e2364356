//! A realm in the place of the session actor: it passes a test's calls on to the market maker, and answers
//! for one seller, which keeps a ledger and errs when a test says so.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use xbr_core::channel::ChannelState;
use xbr_core::wire::{
    BuyReceipt, BuyRequest, ChannelType, CloseReceipt, CloseRequest, SellReceipt, SellRequest,
};
use xbr_core::{ChannelId, ChannelSeq, DataKey, Eip712, KeyId, Signer as _, Value};
use xbr_market::maker::messages::*;
use xbr_market::maker::offer::Caller;
use xbr_market::maker::outcome::ProviderError;
use xbr_market::maker::procedures::Request;
use xbr_market::maker::reject::MakerReject;
use xbr_market::maker::store::MakerStore;
use xbr_market::maker::{ChannelGrant, ChannelReport, MakerHandle, MakerOptions, MemoryMakerStore};
use xbr_store::Clock;
use xbr_wamp::{ConnectError, Dial};

use super::support::*;

/// Changes a receipt after it was signed.
pub(crate) type Change = Box<dyn FnOnce(&mut SellReceipt) + Send>;

/// What goes wrong with a `sell`.
pub(crate) enum Trick {
    /// The seller never hears of it.
    LoseRequest,
    /// The seller sells, and its answer is lost.
    LoseReply,
    /// Refused.
    Refuse(&'static str),
    /// Refused, when the test lets the answer go.
    RefuseLater(oneshot::Receiver<()>, &'static str),
    /// It was not even sent.
    NotSent,
    /// The receipt is changed.
    Tamper(Change),
    /// The answer waits until the test lets it go.
    Hold(oneshot::Receiver<()>),
}

pub(crate) struct FakeRealm {
    /// Takes exactly the next state, and answers no repeat, like the reference's.
    pub(crate) strict: bool,
    pub(crate) ledgers: HashMap<ChannelId, ChannelState>,
    receipts: HashMap<(ChannelId, ChannelSeq), SellReceipt>,
    pub(crate) tricks: VecDeque<Trick>,
    /// What the seller was asked, in order.
    pub(crate) asked: Vec<SellRequest>,
    pub(crate) closes: usize,
    pub(crate) refuses_to_close: bool,
    pub(crate) published: Vec<Publish>,
    pub(crate) joins: usize,
    /// Whether the realm can be joined.
    pub(crate) reachable: bool,
    pub(crate) answers: Option<Recipient<Asked>>,
    pub(crate) lost: Option<Recipient<SessionLost>>,
}

impl Default for FakeRealm {
    fn default() -> Self {
        Self {
            strict: false,
            ledgers: HashMap::new(),
            receipts: HashMap::new(),
            tricks: VecDeque::new(),
            asked: Vec::new(),
            closes: 0,
            refuses_to_close: false,
            published: Vec::new(),
            joins: 0,
            reachable: true,
            answers: None,
            lost: None,
        }
    }
}

/// The data key of a key id.
pub(crate) fn data_key(key_id: KeyId) -> DataKey {
    DataKey::from_bytes([key_id.as_bytes()[0]; 32])
}

/// What the seller answers, signed.
pub(crate) fn sell_receipt(request: &SellRequest) -> SellReceipt {
    SellReceipt {
        key_id: request.key_id,
        delegate: seller_key().address(),
        buyer_key: request.buyer_key,
        sealed_key: data_key(request.key_id).seal_to(&request.buyer_key).unwrap().to_vec(),
        channel_seq: request.channel_seq,
        amount: request.amount,
        balance: request.balance,
        signature: market().state(request.channel_id, request.state(), false).sign(&seller_key()).unwrap(),
    }
}

/// What the seller agrees to a close with.
pub(crate) fn close_receipt(request: &CloseRequest) -> CloseReceipt {
    let closed = market().state(request.channel_id, request.state(), request.is_final);
    CloseReceipt {
        delegate: seller_key().address(),
        seq: request.channel_seq,
        balance: request.balance,
        is_final: request.is_final,
        signature: closed.sign(&seller_key()).unwrap(),
    }
}

pub(crate) fn refused(uri: &str) -> ProviderError {
    ProviderError::Refused { uri: uri.into(), text: "on request".into() }
}

fn lost() -> ProviderError {
    ProviderError::Unanswered { reason: "on request".into() }
}

impl FakeRealm {
    fn sell(&mut self, request: &SellRequest) -> Result<SellReceipt, ProviderError> {
        let signed = market().state(request.channel_id, request.state(), false);
        assert_eq!(signed.recover(&request.signature), Ok(maker_key().address()), "a state is signed");
        if let Some(receipt) = self.receipts.get(&(request.channel_id, request.channel_seq))
            && !self.strict
            && (receipt.key_id, receipt.balance) == (request.key_id, request.balance)
        {
            return Ok(receipt.clone());
        }
        let ledger = self.ledgers.entry(request.channel_id).or_insert(state(1, DEPOSIT));
        let next = ledger.seq.value() + 1;
        let expected = ledger.balance.checked_sub(request.amount);
        let exact = (request.channel_seq.value(), Some(request.balance)) == (next, expected);
        let surplus = request.channel_seq.value() >= next && expected.is_some_and(|it| request.balance <= it);
        if !exact && (self.strict || !surplus) {
            return Err(refused("xbr.error.unexpected_channel_seq"));
        }
        *ledger = request.state();
        let receipt = sell_receipt(request);
        self.receipts.insert((request.channel_id, request.channel_seq), receipt.clone());
        Ok(receipt)
    }
}

impl Actor for FakeRealm {
    type Context = Context<Self>;
}

/// Do something with the fake, and give what came of it.
pub(crate) struct With<T>(Box<dyn FnOnce(&mut FakeRealm) -> T + Send>);

impl<T: Send + 'static> Message for With<T> {
    type Result = T;
}

impl<T: Send + 'static> Handler<With<T>> for FakeRealm {
    type Result = MessageResult<With<T>>;

    fn handle(&mut self, message: With<T>, _: &mut Self::Context) -> Self::Result {
        MessageResult((message.0)(self))
    }
}

impl Handler<Join> for FakeRealm {
    type Result = Result<(), JoinError>;

    fn handle(&mut self, message: Join, _: &mut Self::Context) -> Self::Result {
        self.joins += 1;
        if !self.reachable {
            return Err(JoinError::Join { reason: "on request".into(), permanent: false });
        }
        (self.answers, self.lost) = (Some(message.answers), Some(message.lost));
        Ok(())
    }
}

impl Handler<Leave> for FakeRealm {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        (self.answers, self.lost) = (None, None);
    }
}

impl Handler<CallSell> for FakeRealm {
    type Result = ResponseFuture<Result<SellReceipt, ProviderError>>;

    fn handle(&mut self, message: CallSell, _: &mut Self::Context) -> Self::Result {
        let request = message.request;
        let trick = self.tricks.pop_front();
        if matches!(trick, Some(Trick::NotSent)) {
            return Box::pin(std::future::ready(Err(ProviderError::NotJoined)));
        }
        self.asked.push(request.clone());
        let answer = match trick {
            Some(Trick::LoseRequest) => Err(lost()),
            Some(Trick::LoseReply) => self.sell(&request).and(Err(lost())),
            Some(Trick::Refuse(uri)) => Err(refused(uri)),
            Some(Trick::RefuseLater(released, uri)) => {
                return Box::pin(async move {
                    let _ = released.await;
                    Err(refused(uri))
                });
            }
            Some(Trick::Tamper(change)) => self.sell(&request).map(|mut receipt| {
                change(&mut receipt);
                receipt
            }),
            Some(Trick::Hold(released)) => {
                let answer = self.sell(&request);
                return Box::pin(async move {
                    let _ = released.await;
                    answer
                });
            }
            Some(Trick::NotSent) | None => self.sell(&request),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Handler<CallClose> for FakeRealm {
    type Result = Result<CloseReceipt, ProviderError>;

    fn handle(&mut self, message: CallClose, _: &mut Self::Context) -> Self::Result {
        self.closes += 1;
        let request = message.request;
        let signed = market().state(request.channel_id, request.state(), true);
        assert_eq!(signed.recover(&request.signature), Ok(maker_key().address()), "a close is signed");
        if self.refuses_to_close {
            return Err(refused("xbr.error.unexpected_channel_seq"));
        }
        Ok(close_receipt(&request))
    }
}

impl Handler<Publish> for FakeRealm {
    type Result = ();

    fn handle(&mut self, message: Publish, _: &mut Self::Context) {
        self.published.push(message);
    }
}

/// A clock that a test moves.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(pub(crate) Arc<AtomicU64>);

impl Clock for TestClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A market maker, its realm and its store.
pub(crate) struct World {
    pub(crate) realm: Addr<FakeRealm>,
    pub(crate) store: Arc<dyn MakerStore>,
    pub(crate) maker: MakerHandle,
    pub(crate) clock: TestClock,
    /// Where the buyer stands; it sends one payment after the other, and counts those that it is not
    /// refused.
    pub(crate) buyer: ChannelState,
    pub(crate) payment: ChannelId,
}

pub(crate) fn options(store: Arc<dyn MakerStore>, clock: TestClock) -> MakerOptions {
    let dial = Dial::new(|| async { Err(ConnectError::NoSerializer) });
    let mut options = MakerOptions::new(Arc::new(maker_key()), market().domain, store, dial);
    let grant = |kind, delegate| ChannelGrant { kind, delegate, amount: units(DEPOSIT) };
    options.channels = vec![
        grant(ChannelType::Payment, buyer_key().address()),
        grant(ChannelType::Paying, seller_key().address()),
    ];
    options.clock = Arc::new(clock);
    (options.repeat_delay, options.rejoin_delay) = (Duration::from_millis(1), Duration::from_millis(1));
    options
}

impl World {
    /// A market maker that runs, with two keys and a free one on offer.
    pub(crate) async fn started() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut MakerOptions)) -> Self {
        let store = Arc::new(MemoryMakerStore::new().unwrap());
        let mut world = Self::on(FakeRealm::default().start(), store, adjust).await;
        for (key, price) in [(KEY, PRICE), (OTHER, PRICE), (FREE, 0)] {
            world.ask(Request::Place(Box::new(offer(key, price)))).await.unwrap();
        }
        world.payment = world.channel(ChannelType::Payment).await.channel_id;
        world
    }

    pub(crate) async fn on(
        realm: Addr<FakeRealm>,
        store: Arc<dyn MakerStore>,
        adjust: impl FnOnce(&mut MakerOptions),
    ) -> Self {
        let clock = TestClock(Arc::new(AtomicU64::new(NOW)));
        let mut options = options(store.clone(), clock.clone());
        adjust(&mut options);
        let maker = MakerHandle::here(options, RealmPort::new(&realm));
        maker.start().await.unwrap();
        Self { realm, store, maker, clock, buyer: state(1, DEPOSIT), payment: PAYMENT }
    }

    /// Another market maker on the same store, as after a crash: the one of before is cut off.
    pub(crate) async fn crashed(self) -> Self {
        let Self { realm, store, maker, buyer, payment, .. } = self;
        drop(maker);
        let world = Self::on(realm, store, |_| ()).await;
        Self { buyer, payment, ..world }
    }

    pub(crate) async fn realm<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut FakeRealm) -> T + Send + 'static,
    ) -> T {
        self.realm.send(With(Box::new(act))).await.unwrap()
    }

    pub(crate) async fn trick(&self, trick: Trick) {
        self.realm(|realm| realm.tricks.push_back(trick)).await;
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Value, MakerReject> {
        self.ask_as(request, Caller::default()).await
    }

    pub(crate) async fn ask_as(&self, request: Request, caller: Caller) -> Result<Value, MakerReject> {
        let answers = self.realm(|realm| realm.answers.clone()).await.expect("the market maker has joined");
        answers.send(Asked { request, caller }).await.unwrap()
    }

    /// What the buyer pays for a key, signed.
    pub(crate) fn request(&self, key_id: KeyId, price: u128) -> BuyRequest {
        let after = ChannelState {
            seq: ChannelSeq::new(self.buyer.seq.value() + 1),
            balance: self.buyer.balance.checked_sub(units(price)).unwrap(),
        };
        BuyRequest {
            delegate: buyer_key().address(),
            buyer_key: receive_key(),
            key_id,
            channel_id: self.payment,
            channel_seq: after.seq,
            amount: units(price),
            balance: after.balance,
            signature: market().state(self.payment, after, false).sign(&buyer_key()).unwrap(),
        }
    }

    /// Buys a key; the buyer goes on from there when it was sold.
    pub(crate) async fn buy(&mut self, key_id: KeyId, price: u128) -> Result<BuyReceipt, MakerReject> {
        let request = self.request(key_id, price);
        let receipt = self.send(request).await?;
        self.buyer = receipt.state();
        Ok(receipt)
    }

    pub(crate) async fn send(&self, request: BuyRequest) -> Result<BuyReceipt, MakerReject> {
        self.send_off(request).await.await
    }

    /// Sends a request; those that are sent off one after the other arrive in that order.
    pub(crate) async fn send_off(
        &self,
        request: BuyRequest,
    ) -> impl Future<Output = Result<BuyReceipt, MakerReject>> + use<> {
        let expected = request.state();
        let answers = self.realm(|realm| realm.answers.clone()).await.expect("the market maker has joined");
        let asked = Asked { request: Request::Buy(Box::new(request)), caller: Caller::default() };
        let answer = answers.send(asked);
        async move { Self::check(expected, &answer.await.unwrap()?) }
    }

    fn check(expected: ChannelState, value: &Value) -> Result<BuyReceipt, MakerReject> {
        let receipt = BuyReceipt::parse(std::slice::from_ref(value)).unwrap();
        assert_eq!(receipt.state(), expected);
        let signed = market().state(receipt.channel_id, receipt.state(), false);
        assert_eq!(signed.recover(&receipt.signature), Ok(maker_key().address()));
        Ok(receipt)
    }

    /// The newest channel of a kind.
    pub(crate) async fn channel(&self, kind: ChannelType) -> ChannelReport {
        let status = self.maker.observe().await.unwrap();
        status.channels.into_iter().rfind(|channel| channel.kind == kind).unwrap()
    }

    /// Both channels, as the market maker has them, at these states and with nothing in flight.
    pub(crate) async fn assert_at(&self, payment: ChannelState, paying: ChannelState) {
        for (kind, expected) in [(ChannelType::Payment, payment), (ChannelType::Paying, paying)] {
            let channel = self.channel(kind).await;
            assert_eq!((channel.seq, channel.remaining), (expected.seq, expected.balance), "{kind:?}");
            assert!(channel.inflight.is_zero(), "{kind:?}");
        }
    }

    /// Waits until the seller was asked so many times.
    pub(crate) async fn until_asked(&self, times: usize) {
        while self.realm(|realm| realm.asked.len()).await < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
