//! The other side of a market for the real program: a router behind a WebSocket on loopback, and a market
//! maker that keeps its books like the reference's. It takes `seq + 1` and the price before it calls the
//! seller, and repeats identically what got no answer. Its books survive whatever becomes of the seller.

use std::collections::{BTreeMap, HashMap};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::ids::OfferId;
use xbr_core::wire::{
    ByChannel, ByKey, ChannelBalance, ChannelIds, ChannelInfo, ChannelStatus, ChannelType, CloseRequest,
    Field, MarketConfig, MarketDomain, OfferInfo, PlaceOffer, SellRequest, uri,
};
use xbr_core::{
    Address, Amount, BuyerKey, ChannelId, ChannelSeq, DelegateKey, Eip712, KeyId, MarketId, ProviderId,
    Signer, Value,
};
use xbr_wamp::Serializer;
use xbr_wamp::message::{Dict, Message, Payload, code};

use crate::wamp_stub::support::{Router, read, write};

const SERIALIZER: Serializer = Serializer::Cbor;
const SELLER: usize = 0;
const MARKET: usize = 1;
const PROCEDURES: [&str; 8] = [
    uri::GET_CONFIG,
    uri::GET_ACTIVE_PAYING_CHANNEL,
    uri::GET_CHANNELS_BY_DELEGATE,
    uri::GET_PAYING_CHANNEL,
    uri::GET_PAYING_CHANNEL_BALANCE,
    uri::PLACE_OFFER,
    uri::REVOKE_OFFER,
    uri::GET_STATUS,
];
const CHANNEL: ChannelId = ChannelId::new([0xc1; 16]);

/// The market maker, whose books outlive every connection.
pub(crate) struct MarketPeer {
    pub(crate) url: String,
    listener: TcpListener,
    key: DelegateKey,
    pub(crate) terms: ChannelTerms,
    provider: ProviderId,
    /// Where the channel stands, sales in flight included.
    pub(crate) state: ChannelState,
    /// The price of each key that was offered.
    pub(crate) offers: BTreeMap<KeyId, Amount>,
}

/// What a turn of a [`Link`] has brought.
#[derive(Debug)]
pub(crate) enum Happening {
    /// An offer was placed, which the seller does when it can sell.
    Offered,
    /// A call of the seller's was answered.
    Answered(u64, Result<Payload, (String, Payload)>),
    /// An event was published: the key, and the ciphertext.
    Published(KeyId, Vec<u8>),
    /// The connection is gone.
    Lost,
}

impl MarketPeer {
    /// A market maker with a fresh paying channel for this seller.
    pub(crate) async fn start(key: DelegateKey, seller: &DelegateKey, amount: Amount) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let terms = ChannelTerms {
            channel_id: CHANNEL,
            market_id: MarketId::new([0x31; 16]),
            market_maker: key.address(),
            delegate: seller.address(),
            amount,
            chain_id: Amount::from_units(1),
            verifying_contract: Address::new([0x44; 20]),
            close_at: Amount::from_units(1),
        };
        Self {
            url: format!("ws://{}/ws", listener.local_addr().unwrap()),
            listener,
            key,
            terms,
            provider: ProviderId::from_public_key(&seller.public_key()),
            state: ChannelState { seq: ChannelSeq::new(1), balance: amount },
            offers: BTreeMap::new(),
        }
    }

    /// The next connection of the seller, which may be gone before it is one.
    pub(crate) async fn accept(&self) -> Option<Link> {
        let (tcp, _) = self.listener.accept().await.unwrap();
        Link::new(tcp).await
    }

    /// A new sale of a key at its price, booked before it is asked for.
    pub(crate) fn buy(&mut self, key_id: KeyId, buyer_key: BuyerKey) -> SellRequest {
        let amount = self.offers[&key_id];
        let seq = ChannelSeq::new(self.state.seq.value() + 1);
        let balance = self.state.balance.checked_sub(amount).expect("the channel is large enough");
        self.state = ChannelState { seq, balance };
        SellRequest {
            market_maker: self.key.address(),
            buyer_key,
            key_id,
            channel_id: CHANNEL,
            channel_seq: seq,
            amount,
            balance,
            signature: self.terms.state(seq, balance, false).sign(&self.key).unwrap(),
        }
    }

    /// The final close at the state of the books.
    pub(crate) fn close(&self) -> CloseRequest {
        let ChannelState { seq, balance } = self.state;
        CloseRequest {
            market_maker: self.key.address(),
            channel_id: CHANNEL,
            channel_seq: seq,
            balance,
            is_final: true,
            signature: self.terms.state(seq, balance, true).sign(&self.key).unwrap(),
        }
    }

    pub(crate) fn sell_procedure(&self) -> String {
        uri::sell(&self.provider)
    }

    pub(crate) fn close_procedure(&self) -> String {
        uri::close_channel(&self.provider)
    }

    /// What the market maker answers to a call of the seller's.
    fn answer(&mut self, procedure: &str, payload: &Payload) -> Result<Value, (&'static str, &'static str)> {
        let (args, kwargs) = (&payload.args, &payload.kwargs);
        Ok(match procedure {
            uri::GET_CONFIG => MarketConfig {
                verifying_chain_id: 1,
                verifying_contract: self.terms.verifying_contract,
                market_maker: self.key.address(),
                market_id: self.terms.market_id,
                owner: None,
                coin: None,
                contracts: BTreeMap::new(),
                eula: None,
                now_ns: None,
                chain: None,
            }
            .to_value(),
            uri::GET_ACTIVE_PAYING_CHANNEL => self.info().to_value(),
            uri::GET_CHANNELS_BY_DELEGATE => ChannelIds(vec![CHANNEL]).to_value(),
            uri::GET_PAYING_CHANNEL | uri::GET_PAYING_CHANNEL_BALANCE => {
                let asked = ByChannel::parse(args, kwargs).unwrap();
                if asked.channel_id != CHANNEL {
                    return Err((uri::error::NO_SUCH_OBJECT, "no such channel"));
                }
                if procedure == uri::GET_PAYING_CHANNEL {
                    self.info().to_value()
                } else {
                    let ChannelState { seq, balance } = self.state;
                    ChannelBalance { remaining: balance, inflight: Amount::ZERO, seq }.to_value()
                }
            }
            uri::PLACE_OFFER => {
                let placed = PlaceOffer::parse(args, kwargs).unwrap();
                let domain = MarketDomain {
                    chain_id: self.terms.chain_id,
                    verifying_contract: self.terms.verifying_contract,
                    market_id: self.terms.market_id,
                };
                let signer = placed.unsigned.message(&domain).recover(&placed.signature);
                assert_eq!(signer, Ok(self.terms.delegate), "an offer is signed by its seller");
                let offer = &placed.unsigned.offer;
                if self.offers.insert(offer.key_id, offer.price).is_some() {
                    return Err((uri::error::RUNTIME_ERROR, "key already offered (in another offer)"));
                }
                self.offer_info(&placed).to_value()
            }
            uri::REVOKE_OFFER => {
                // As the reference does: it answers, and goes on selling the key.
                ByKey::parse(args, kwargs).unwrap();
                Value::Null
            }
            other => panic!("the seller calls {other}"),
        })
    }

    fn info(&self) -> ChannelInfo {
        ChannelInfo {
            channel_id: CHANNEL,
            market_id: self.terms.market_id,
            channel_type: ChannelType::Paying,
            market_maker: self.key.address(),
            delegate: self.terms.delegate,
            amount: self.terms.amount,
            state: ChannelStatus::Open,
            actor: None,
            recipient: None,
            timestamp_ns: None,
            timeout: None,
            close_seq: None,
            close_is_final: None,
        }
    }

    fn offer_info(&self, placed: &PlaceOffer) -> OfferInfo {
        let offer = &placed.unsigned.offer;
        OfferInfo {
            offer_id: OfferId::new([1; 16]),
            seller: self.terms.delegate,
            provider_id: None,
            seller_session_id: None,
            key_id: offer.key_id,
            api_id: offer.api_id,
            uri: offer.uri.as_str().to_owned(),
            price: offer.price,
            categories: BTreeMap::new(),
            timestamp_ns: None,
            valid_from_ns: None,
            expires_ns: None,
            copies: None,
            remaining: None,
            signature: None,
        }
    }
}

/// A connection of the seller's, with the router and the market maker's own session in it.
pub(crate) struct Link {
    socket: WebSocketStream<TcpStream>,
    router: Router,
    /// The market maker's registrations: first by their request, then by their id.
    requested: HashMap<u64, &'static str>,
    procedures: HashMap<u64, &'static str>,
    requests: u64,
}

impl Link {
    async fn new(tcp: TcpStream) -> Option<Self> {
        #[allow(clippy::result_large_err, reason = "the handshake's own type")]
        let answer = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            let header = HeaderValue::from_static(SERIALIZER.subprotocol());
            response.headers_mut().insert("Sec-WebSocket-Protocol", header);
            Ok(response)
        };
        tcp.set_nodelay(true).unwrap();
        let socket = accept_hdr_async(tcp, answer).await.ok()?;
        let mut link = Self {
            socket,
            router: Router::default(),
            requested: HashMap::new(),
            procedures: HashMap::new(),
            requests: 0,
        };
        for procedure in PROCEDURES {
            let (request, options) = (link.request(), Dict::new());
            link.requested.insert(request, procedure);
            link.router.hear(MARKET, Message::Register { request, options, procedure: procedure.to_owned() });
        }
        Some(link)
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Takes the events of a topic.
    pub(crate) fn subscribe(&mut self, topic: &str) {
        let (request, options) = (self.request(), Dict::new());
        self.router.hear(MARKET, Message::Subscribe { request, options, topic: topic.to_owned() });
    }

    /// Calls the seller; the answer comes as [`Happening::Answered`] with the number that this gives.
    pub(crate) fn call(&mut self, procedure: String, args: Vec<Value>) -> u64 {
        let (request, options) = (self.request(), Dict::new());
        let payload = Payload { args, kwargs: Dict::new() };
        self.router.hear(MARKET, Message::Call { request, options, procedure, payload });
        request
    }

    /// Delivers everything, and waits for the next thing that happens.
    pub(crate) async fn turn(&mut self, peer: &mut MarketPeer) -> Happening {
        loop {
            while let Some((to, message)) = self.router.next() {
                if to == SELLER {
                    if self.socket.feed(Frame::binary(write(SERIALIZER, message))).await.is_err() {
                        return Happening::Lost;
                    }
                } else if let Some(happening) = self.hear(peer, message) {
                    return happening;
                }
            }
            if self.socket.flush().await.is_err() {
                return Happening::Lost;
            }
            match self.socket.next().await {
                Some(Ok(Frame::Binary(bytes))) => self.router.hear(SELLER, read(SERIALIZER, &bytes)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Happening::Lost,
            }
        }
    }

    /// What the market maker's session does with a message.
    fn hear(&mut self, peer: &mut MarketPeer, message: Message) -> Option<Happening> {
        match message {
            Message::Registered { request, registration } => {
                self.procedures.insert(registration, self.requested[&request]);
                None
            }
            Message::Invocation { request, registration, payload, .. } => {
                let procedure = self.procedures[&registration];
                let answer = match peer.answer(procedure, &payload) {
                    Ok(value) => {
                        let payload = Payload { args: vec![value], kwargs: Dict::new() };
                        Message::Yield { request, options: Dict::new(), payload }
                    }
                    Err((error, text)) => {
                        let payload = Payload { args: vec![Value::from(text)], kwargs: Dict::new() };
                        let (request_type, details) = (code::INVOCATION, Dict::new());
                        Message::Error { request_type, request, details, error: error.to_owned(), payload }
                    }
                };
                self.router.hear(MARKET, answer);
                (procedure == uri::PLACE_OFFER).then_some(Happening::Offered)
            }
            Message::Result { request, payload, .. } => Some(Happening::Answered(request, Ok(payload))),
            Message::Error { request, error, payload, .. } => {
                Some(Happening::Answered(request, Err((error, payload))))
            }
            Message::Event { payload, .. } => {
                let key_id = KeyId::parse("key_id", &payload.args[0]).unwrap();
                Some(Happening::Published(key_id, payload.args[2].as_bytes().unwrap().to_vec()))
            }
            _ => None,
        }
    }
}
