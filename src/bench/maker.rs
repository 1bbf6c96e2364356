//! The market maker that a load generator plays: it answers what sellers ask before they sell, opens a paying
//! channel for each, and takes every offer. There is nobody behind it, and nothing of it survives.
//!
//! Its procedures are answered by one task, which owns all that it knows. What the load moves meanwhile, the
//! state of the channel that it buys over, comes from there.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use xbr_core::channel::ChannelState;
use xbr_core::ids::OfferId;
use xbr_core::offer::KeyOffer;
use xbr_core::reject::ArgumentError;
use xbr_core::wire::{
    Block, ByChannel, ByDelegate, ByKey, ChannelIds, ChannelType, ChannelsByDelegate, GetConfig, GetStatus,
    MarketConfig, MarketMakerStatus, MarketStatus, OfferInfo, OnStatus, PlaceOffer, uri,
};
use xbr_core::{Address, Amount, ChannelId, ProviderId, Value};
use xbr_market::maker::account::{Account, Market};
use xbr_store::{Clock, SystemClock};
use xbr_wamp::error::uris;
use xbr_wamp::{ClientOptions, Incoming, IncomingEvent, Publish, RegisterOptions, Session, connect};

use super::BenchError;

/// What sellers call.
const PROCEDURES: [&str; 8] = [
    uri::GET_CONFIG,
    uri::GET_STATUS,
    uri::GET_ACTIVE_PAYING_CHANNEL,
    uri::GET_CHANNELS_BY_DELEGATE,
    uri::GET_PAYING_CHANNEL,
    uri::GET_PAYING_CHANNEL_BALANCE,
    uri::PLACE_OFFER,
    uri::REVOKE_OFFER,
];

/// A key on sale, and the channel that it is paid over.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    pub(super) offer: KeyOffer,
    pub(super) delegate: Address,
    pub(super) provider_id: ProviderId,
    pub(super) channel_id: ChannelId,
}

/// Where the channel stands that the load buys over.
pub(super) type Standing = Option<(ChannelId, ChannelState)>;

/// The market maker, joined and registered.
#[derive(Debug)]
pub(super) struct Maker {
    address: Address,
    pub(super) session: Session,
    offers: watch::Receiver<Option<Offered>>,
    pub(super) standing: watch::Sender<Standing>,
    task: JoinHandle<()>,
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Maker {
    /// Joins the realm, registers what sellers call, and says that it is there. Each seller's channel holds
    /// `amount`; only offers of `provider_id` count, or those of whoever first makes one.
    pub(super) async fn open(
        client: ClientOptions,
        force_reregister: bool,
        market: Market,
        amount: Amount,
        provider_id: Option<ProviderId>,
    ) -> Result<Self, BenchError> {
        let (session, incoming) = connect(client).await?;
        let options = RegisterOptions { force_reregister, ..RegisterOptions::default() };
        for procedure in PROCEDURES {
            let registered = session.register(procedure, options).await;
            registered.map_err(|error| BenchError::Register { procedure, error })?;
        }
        let (tell, offers) = watch::channel(None);
        let standing = watch::Sender::new(None);
        let books = Books {
            market,
            amount,
            provider_id,
            accounts: BTreeMap::new(),
            standing: standing.subscribe(),
            offers: tell,
        };
        let task = tokio::spawn(books.serve(incoming));
        // Sellers that run already offer their keys again.
        let status =
            OnStatus { market_id: Some(market.domain.market_id), status: MarketMakerStatus::Running };
        let event = Publish::new(uri::ON_STATUS).args(status.to_args()).acknowledge();
        session.publish(event).await.map_err(|error| BenchError::Announce { error })?;
        tracing::info!(market_maker = %market.market_maker, "waiting for an offer");
        Ok(Self { address: market.market_maker, session, offers, standing, task })
    }

    /// The newest offer, after waiting for one.
    pub(super) async fn offered(&mut self, patience: Duration) -> Result<Offered, BenchError> {
        match timeout(patience, self.offers.wait_for(Option::is_some)).await {
            Ok(Ok(offered)) => offered.clone().ok_or(BenchError::Lost),
            Ok(Err(_)) => Err(BenchError::Lost),
            Err(_) => Err(BenchError::NoOffer { market_maker: self.address, patience }),
        }
    }
}

/// What it knows.
struct Books {
    market: Market,
    amount: Amount,
    provider_id: Option<ProviderId>,
    accounts: BTreeMap<Address, Account>,
    standing: watch::Receiver<Standing>,
    offers: watch::Sender<Option<Offered>>,
}

/// Why a call is refused.
struct Refusal {
    uri: &'static str,
    text: String,
}

impl From<ArgumentError> for Refusal {
    fn from(error: ArgumentError) -> Self {
        Self { uri: uris::INVALID_ARGUMENT, text: error.to_string() }
    }
}

impl Books {
    /// Answers until the session is over.
    async fn serve(mut self, mut incoming: Incoming) {
        while let Some(event) = incoming.next().await {
            match event {
                IncomingEvent::Invocation(call) => {
                    match self.answer(&call.procedure, &call.args, &call.kwargs) {
                        Ok(value) => call.responder.yield_result(vec![value], Vec::new()),
                        Err(Refusal { uri, text }) => {
                            call.responder.error(uri, vec![Value::from(text)], Vec::new());
                        }
                    }
                }
                IncomingEvent::RegistrationRevoked { procedure, .. } => {
                    tracing::error!(procedure = &*procedure, "another session has taken a registration over");
                    return;
                }
                IncomingEvent::Event(_) | IncomingEvent::Closed(_) => {}
            }
        }
    }

    fn answer(
        &mut self,
        procedure: &str,
        args: &[Value],
        kwargs: &[(String, Value)],
    ) -> Result<Value, Refusal> {
        Ok(match procedure {
            uri::GET_CONFIG => {
                GetConfig::parse(args, kwargs)?;
                self.config().to_value()
            }
            uri::GET_STATUS => {
                GetStatus::parse(args, kwargs)?;
                status().to_value()
            }
            uri::GET_ACTIVE_PAYING_CHANNEL => {
                let (delegate, market) = (ByDelegate::parse(args, kwargs)?.delegate, self.market);
                self.account(delegate).info(&market).to_value()
            }
            uri::GET_CHANNELS_BY_DELEGATE => {
                let asked = ChannelsByDelegate::parse(args, kwargs)?;
                let paying = asked.channel_type == ChannelType::Paying;
                ChannelIds(paying.then(|| self.account(asked.delegate).channel_id).into_iter().collect())
                    .to_value()
            }
            uri::GET_PAYING_CHANNEL => {
                self.find(ByChannel::parse(args, kwargs)?.channel_id)?.info(&self.market).to_value()
            }
            uri::GET_PAYING_CHANNEL_BALANCE => {
                let channel_id = ByChannel::parse(args, kwargs)?.channel_id;
                self.as_it_stands(self.find(channel_id)?.clone()).balance().to_value()
            }
            uri::PLACE_OFFER => self.take(PlaceOffer::parse(args, kwargs)?).to_value(),
            uri::REVOKE_OFFER => {
                self.forget(&ByKey::parse(args, kwargs)?);
                Value::Null
            }
            _ => return Err(Refusal { uri: uris::NO_SUCH_PROCEDURE, text: "not served".to_owned() }),
        })
    }

    fn config(&self) -> MarketConfig {
        let Market { domain, market_maker, .. } = self.market;
        MarketConfig {
            verifying_chain_id: domain.chain_id.to_u64().unwrap_or_default(),
            verifying_contract: domain.verifying_contract,
            market_maker,
            market_id: domain.market_id,
            owner: Some(market_maker),
            coin: None,
            contracts: BTreeMap::new(),
            eula: None,
            now_ns: Some(SystemClock.now_ns()),
            chain: Some(0),
        }
    }

    /// A seller's account, opened when it is first asked for.
    fn account(&mut self, delegate: Address) -> &Account {
        let amount = self.amount;
        self.accounts.entry(delegate).or_insert_with(|| {
            let now_ns = SystemClock.now_ns();
            Account::open(ChannelId::random(), ChannelType::Paying, [delegate; 3], amount, now_ns)
        })
    }

    fn find(&self, channel_id: ChannelId) -> Result<&Account, Refusal> {
        let no_such = Refusal { uri: uri::error::NO_SUCH_OBJECT, text: format!("no channel {channel_id}") };
        self.accounts.values().find(|account| account.channel_id == channel_id).ok_or(no_such)
    }

    /// With the sales of the load that were answered, which count as settled.
    fn as_it_stands(&self, mut account: Account) -> Account {
        if let Some((channel_id, state)) = *self.standing.borrow()
            && channel_id == account.channel_id
        {
            account.state = state;
            account.settled = account.amount.checked_sub(state.balance).unwrap_or_default();
        }
        account
    }

    fn take(&mut self, PlaceOffer { unsigned, signature }: PlaceOffer) -> OfferInfo {
        let (offer, delegate, provider_id) = (unsigned.offer, unsigned.delegate, unsigned.provider_id);
        let info = OfferInfo {
            offer_id: OfferId::random(),
            seller: delegate,
            provider_id: Some(provider_id.to_string()),
            seller_session_id: None,
            key_id: offer.key_id,
            api_id: offer.api_id,
            uri: offer.uri.to_string(),
            price: offer.price,
            categories: offer.categories.clone(),
            timestamp_ns: Some(SystemClock.now_ns()),
            valid_from_ns: Some(offer.valid_from_ns),
            expires_ns: offer.expires_ns,
            copies: offer.copies,
            remaining: offer.copies,
            signature: Some(signature),
        };
        if *self.provider_id.get_or_insert_with(|| provider_id.clone()) == provider_id {
            let channel_id = self.account(delegate).channel_id;
            self.offers.send_replace(Some(Offered { offer, delegate, provider_id, channel_id }));
        }
        info
    }

    fn forget(&self, ByKey { key_id }: &ByKey) {
        self.offers
            .send_if_modified(|offered| offered.take_if(|offered| offered.offer.key_id == *key_id).is_some());
    }
}

fn status() -> MarketStatus {
    MarketStatus {
        now_ns: SystemClock.now_ns(),
        chain: 0,
        block: Block { number: 0, hash: None, gas_limit: None },
        status: MarketMakerStatus::Running,
    }
}
