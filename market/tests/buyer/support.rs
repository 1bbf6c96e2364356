//! A market maker in the place of the session actor: it keeps its books like a real one, and errs when a test
//! says so.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::crypto::UserspaceEntropy;
use xbr_core::wire::{
    BuyReceipt, BuyRequest, ChannelBalance, ChannelInfo, ChannelStatus, ChannelType, MarketConfig, Quote,
};
use xbr_core::{
    Address, Amount, BuyerKey, ChannelId, ChannelSeq, DataKey, DelegateKey, Eip712, KeyId, MarketId, Signer,
};
use xbr_market::buyer::messages::*;
use xbr_market::buyer::store::ReceiveKey;
use xbr_market::buyer::{BuyerHandle, BuyerOptions, BuyerStore, MarketError, MemoryBuyerStore};
use xbr_wamp::{ConnectError, Dial};

pub(crate) const CHANNEL: ChannelId = ChannelId::new([0xc1; 16]);
pub(crate) const MARKET: MarketId = MarketId::new([0x31; 16]);
pub(crate) const CONTRACT: Address = Address::new([0x0c; 20]);
pub(crate) const KEY: KeyId = KeyId::new([1; 16]);
pub(crate) const OTHER: KeyId = KeyId::new([2; 16]);
pub(crate) const PRICE: u128 = 35;

pub(crate) fn amount(units: u128) -> Amount {
    Amount::from_units(units)
}

pub(crate) fn state(seq: u32, balance: u128) -> ChannelState {
    ChannelState { seq: ChannelSeq::new(seq), balance: amount(balance) }
}

pub(crate) fn delegate_key(byte: u8) -> DelegateKey {
    DelegateKey::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn market_maker() -> DelegateKey {
    delegate_key(7)
}

pub(crate) fn buyer_key() -> DelegateKey {
    delegate_key(8)
}

pub(crate) fn terms(channel_id: ChannelId) -> ChannelTerms {
    ChannelTerms {
        channel_id,
        market_id: MARKET,
        market_maker: market_maker().address(),
        delegate: buyer_key().address(),
        amount: amount(1000),
        chain_id: amount(1),
        verifying_contract: CONTRACT,
        close_at: amount(1),
    }
}

/// What goes wrong with a `buy_key`.
pub(crate) enum Trick {
    /// The request is lost: nothing happens.
    LoseRequest,
    /// The answer is lost: everything has happened.
    LoseReply,
    /// Refused, without a trace in the books.
    Refuse(&'static str),
    /// The sale fails: refunded, but the sequence number stays up, as with the reference.
    FailSale,
    /// The price is taken, and no key delivered.
    TakeAndRefuse,
    /// The receipt is changed after it was signed.
    Tamper(Box<dyn FnOnce(&mut BuyReceipt) + Send>),
    /// The receipt is signed by somebody else.
    SignBy(DelegateKey),
    /// The key is sealed to somebody else.
    SealToOther,
    /// The answer waits until the test lets it go.
    Hold(oneshot::Receiver<()>),
}

pub(crate) struct FakeMarket {
    pub(crate) channels: HashMap<ChannelId, ChannelState>,
    pub(crate) active: Option<ChannelId>,
    pub(crate) offers: HashMap<KeyId, (DataKey, Amount)>,
    pub(crate) tricks: VecDeque<Trick>,
    /// Whether an identical repeat gets the stored receipt; the reference sells once more.
    pub(crate) replays: bool,
    pub(crate) reachable: bool,
    pub(crate) market_maker: Address,
    /// What was asked for, in order.
    pub(crate) quoted: Vec<KeyId>,
    pub(crate) requests: Vec<BuyRequest>,
    pub(crate) joins: usize,
    pub(crate) lost: Option<Recipient<SessionLost>>,
    pub(crate) subscriptions: Vec<Subscribe>,
    receipts: HashMap<(ChannelId, ChannelSeq), (BuyRequest, BuyReceipt)>,
}

impl Default for FakeMarket {
    fn default() -> Self {
        Self {
            channels: [(CHANNEL, state(1, 1000))].into(),
            active: Some(CHANNEL),
            offers: [KEY, OTHER].map(|key| (key, (data_key(key), amount(PRICE)))).into(),
            tricks: VecDeque::new(),
            replays: true,
            reachable: true,
            market_maker: market_maker().address(),
            quoted: Vec::new(),
            requests: Vec::new(),
            joins: 0,
            lost: None,
            subscriptions: Vec::new(),
            receipts: HashMap::new(),
        }
    }
}

/// The data key of a key id.
pub(crate) fn data_key(key_id: KeyId) -> DataKey {
    DataKey::from_bytes([key_id.as_bytes()[0]; 32])
}

impl FakeMarket {
    pub(crate) fn state(&mut self) -> &mut ChannelState {
        self.channels.get_mut(&CHANNEL).unwrap()
    }

    fn up(&self) -> Result<(), MarketError> {
        if self.reachable { Ok(()) } else { Err(MarketError::NotJoined) }
    }

    fn buy(&mut self, request: BuyRequest) -> Result<BuyReceipt, MarketError> {
        self.up()?;
        self.requests.push(request.clone());
        let terms = terms(request.channel_id);
        let message = terms.state(request.channel_seq, request.balance, false);
        assert_eq!(
            message.recover(&request.signature),
            Ok(request.delegate),
            "a state is signed by the buyer"
        );
        let trick = self.tricks.pop_front();
        match trick {
            Some(Trick::LoseRequest) => return Err(unanswered()),
            Some(Trick::Refuse(uri)) => return Err(refused(uri)),
            Some(Trick::FailSale) => {
                self.raise(&request, Amount::ZERO);
                return Err(refused("xbr.error.transaction_failed"));
            }
            Some(Trick::TakeAndRefuse) => {
                self.raise(&request, request.amount);
                return Err(refused("xbr.error.transaction_failed"));
            }
            _ => {}
        }
        let stored = self.receipts.get(&(request.channel_id, request.channel_seq));
        if self.replays
            && let Some((earlier, receipt)) = stored
            && *earlier == request
        {
            return Ok(receipt.clone());
        }
        let (key, price) = self.offers.get(&request.key_id).cloned().ok_or_else(|| refused("no offer"))?;
        let after = self.raise(&request, price);
        let other = matches!(trick, Some(Trick::SealToOther));
        let to = if other { ReceiveKey::generate(&UserspaceEntropy).public() } else { request.buyer_key };
        let mut receipt = receipt_for(&request, after, &key, to);
        self.receipts.insert((request.channel_id, request.channel_seq), (request, receipt.clone()));
        match trick {
            Some(Trick::LoseReply) => return Err(unanswered()),
            Some(Trick::Tamper(change)) => change(&mut receipt),
            Some(Trick::SignBy(somebody)) => {
                let message = terms.state(after.seq, after.balance, false);
                receipt.signature = somebody.sign_digest(&message.digest()).unwrap();
            }
            _ => {}
        }
        Ok(receipt)
    }

    fn raise(&mut self, request: &BuyRequest, price: Amount) -> ChannelState {
        let state = self.channels.get_mut(&request.channel_id).unwrap();
        state.seq = ChannelSeq::new(state.seq.value() + 1);
        state.balance = state.balance.checked_sub(price).unwrap();
        *state
    }
}

pub(crate) fn receipt_for(
    request: &BuyRequest,
    after: ChannelState,
    key: &DataKey,
    to: BuyerKey,
) -> BuyReceipt {
    let message = terms(request.channel_id).state(after.seq, after.balance, false);
    BuyReceipt {
        key_id: request.key_id,
        delegate: request.delegate,
        buyer_key: request.buyer_key,
        sealed_key: key.seal_to(&to).unwrap().to_vec(),
        offer_id: None,
        free_rated: Some(false),
        amount: request.amount,
        amount_paid: request.amount,
        channel_id: request.channel_id,
        channel_seq: after.seq,
        remaining: after.balance,
        inflight: Amount::ZERO,
        signature: market_maker().sign_digest(&message.digest()).unwrap(),
    }
}

pub(crate) fn unanswered() -> MarketError {
    MarketError::Unanswered { procedure: "buy_key".into(), reason: "on request".into() }
}

pub(crate) fn refused(uri: &str) -> MarketError {
    MarketError::Refused { procedure: "a procedure".into(), uri: uri.into(), text: "on request".into() }
}

impl Actor for FakeMarket {
    type Context = Context<Self>;
}

/// Do something with the fake, and give what came of it.
pub(crate) struct With<T>(Box<dyn FnOnce(&mut FakeMarket) -> T + Send>);

impl<T: Send + 'static> Message for With<T> {
    type Result = T;
}

impl<T: Send + 'static> Handler<With<T>> for FakeMarket {
    type Result = MessageResult<With<T>>;

    fn handle(&mut self, message: With<T>, _: &mut Self::Context) -> Self::Result {
        MessageResult((message.0)(self))
    }
}

impl Handler<Join> for FakeMarket {
    type Result = Result<(), MarketError>;

    fn handle(&mut self, message: Join, _: &mut Self::Context) -> Self::Result {
        self.joins += 1;
        self.lost = Some(message.lost);
        self.up()
    }
}

impl Handler<Leave> for FakeMarket {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {}
}

impl Handler<FetchConfig> for FakeMarket {
    type Result = Result<MarketConfig, MarketError>;

    fn handle(&mut self, _: FetchConfig, _: &mut Self::Context) -> Self::Result {
        self.up()?;
        Ok(MarketConfig {
            verifying_chain_id: 1,
            verifying_contract: CONTRACT,
            market_maker: self.market_maker,
            market_id: MARKET,
            owner: None,
            coin: None,
            contracts: Default::default(),
            eula: None,
            now_ns: None,
            chain: None,
        })
    }
}

impl Handler<FetchActiveChannel> for FakeMarket {
    type Result = Result<Option<ChannelInfo>, MarketError>;

    fn handle(&mut self, message: FetchActiveChannel, _: &mut Self::Context) -> Self::Result {
        self.up()?;
        Ok(self.active.map(|channel_id| ChannelInfo {
            channel_id,
            market_id: MARKET,
            channel_type: ChannelType::Payment,
            market_maker: market_maker().address(),
            delegate: message.delegate,
            amount: amount(1000),
            state: ChannelStatus::Open,
            actor: None,
            recipient: None,
            timestamp_ns: None,
            timeout: None,
            close_seq: None,
            close_is_final: None,
        }))
    }
}

impl Handler<FetchBalance> for FakeMarket {
    type Result = Result<ChannelBalance, MarketError>;

    fn handle(&mut self, message: FetchBalance, _: &mut Self::Context) -> Self::Result {
        self.up()?;
        let state = self.channels.get(&message.channel_id).unwrap();
        Ok(ChannelBalance { remaining: state.balance, inflight: Amount::ZERO, seq: state.seq })
    }
}

impl Handler<FetchQuote> for FakeMarket {
    type Result = Result<Quote, MarketError>;

    fn handle(&mut self, message: FetchQuote, _: &mut Self::Context) -> Self::Result {
        self.up()?;
        self.quoted.push(message.key_id);
        let (_, price) = self.offers.get(&message.key_id).ok_or_else(|| refused("no offer"))?;
        Ok(Quote { key_id: message.key_id, price: *price, timestamp_ns: 1, expires_ns: None })
    }
}

impl Handler<BuyKey> for FakeMarket {
    type Result = ResponseFuture<Result<BuyReceipt, MarketError>>;

    fn handle(&mut self, message: BuyKey, _: &mut Self::Context) -> Self::Result {
        let held = match self.tricks.front() {
            Some(Trick::Hold(_)) => self.tricks.pop_front(),
            _ => None,
        };
        let answer = self.buy(message.request);
        Box::pin(async move {
            if let Some(Trick::Hold(released)) = held {
                let _ = released.await;
            }
            answer
        })
    }
}

impl Handler<Subscribe> for FakeMarket {
    type Result = Result<(), MarketError>;

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        self.up()?;
        self.subscriptions.push(message);
        Ok(())
    }
}

/// A buyer, its market and its store.
pub(crate) struct World {
    pub(crate) market: Addr<FakeMarket>,
    pub(crate) store: Arc<dyn BuyerStore>,
    pub(crate) buyer: BuyerHandle,
}

pub(crate) fn options(store: Arc<dyn BuyerStore>) -> BuyerOptions {
    let dial = Dial::new(|| async { Err(ConnectError::NoSerializer) });
    let signer = Arc::new(buyer_key());
    let mut options = BuyerOptions::new(market_maker().address(), signer, amount(100), store, dial);
    // Nothing waits for the clock, unless a test wants it to.
    options.retry_pause = Duration::ZERO;
    options.repeat_delay = Duration::ZERO;
    options.rejoin_delay = Duration::ZERO;
    options
}

impl World {
    /// A buyer that is not started.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut BuyerOptions)) -> Self {
        Self::on(FakeMarket::default().start(), Arc::new(MemoryBuyerStore::new().unwrap()), adjust)
    }

    pub(crate) fn on(
        market: Addr<FakeMarket>,
        store: Arc<dyn BuyerStore>,
        adjust: impl FnOnce(&mut BuyerOptions),
    ) -> Self {
        let mut options = options(store.clone());
        adjust(&mut options);
        let buyer = BuyerHandle::here(options, MarketPort::new(&market));
        Self { market, store, buyer }
    }

    pub(crate) async fn started() -> Self {
        let world = Self::new();
        world.buyer.start().await.unwrap();
        world
    }

    /// Another buyer on the same store, as after a crash: the one of before is cut off.
    pub(crate) async fn crashed(self) -> Self {
        Self::on(self.market, self.store, |_| ())
    }

    pub(crate) async fn market<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut FakeMarket) -> T + Send + 'static,
    ) -> T {
        self.market.send(With(Box::new(act))).await.unwrap()
    }

    pub(crate) async fn trick(&self, trick: Trick) {
        self.market(|market| market.tricks.push_back(trick)).await;
    }

    /// Where the channel stands by the buyer's books; a settled one.
    pub(crate) async fn local(&self) -> ChannelState {
        let wallet = self.store.wallet(CHANNEL).await.unwrap().unwrap();
        assert_eq!(wallet.pending, None);
        wallet.state
    }

    pub(crate) async fn requests(&self) -> Vec<BuyRequest> {
        self.market(|market| market.requests.clone()).await
    }
}

/// The key that came is the one that was sold.
pub(crate) fn assert_key(key: &DataKey, key_id: KeyId) {
    assert_eq!(key.expose_secret(), data_key(key_id).expose_secret());
}
