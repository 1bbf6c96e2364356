//! A market in memory: a seller, a market maker and buyers, each with its store, and what is done to them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use xbr_actors::messages::MarketPort as SellerPort;
use xbr_actors::seller::{AddApi, Observe, Start, Stop};
use xbr_actors::{ApiOptions, Clock, Seller, SellerOptions, SellerState};
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::wire::ChannelType;
use xbr_core::{Address, Amount, ApiId, DataKey, DelegateKey, KeyId, Signer};
use xbr_market::buyer::messages::MarketPort as BuyerPort;
use xbr_market::buyer::{BuyError, BuyerHandle, BuyerOptions, BuyerState, MemoryBuyerStore};
use xbr_market::maker::messages::RealmPort;
use xbr_market::maker::{ChannelGrant, MakerHandle, MakerOptions, MakerState, MemoryMakerStore};
use xbr_store::{Fault, MemoryStore};
use xbr_wamp::{ConnectError, Dial};

use crate::network::{Network, Party, Weather};
use crate::sessions::{Line, OfBuyer, OfMaker, OfSeller, Session};
use crate::stores::{Cut, Disk, Mounted};
use crate::support::chance::Chance;
use crate::support::{domain, every, market_maker, seller_key};

/// How many buyers there are.
const BUYERS: usize = 3;
/// What a buyer gives for a key at most.
const MAX_PRICE: u128 = 100;
/// The price of most keys; channels hold a multiple of it, so that they are emptied to the last unit.
const PRICE: u128 = 35;
/// The APIs: the price of a key, how often it is replaced, and for how long its offer is valid, in s. The
/// last is too dear.
const APIS: [(u128, u64, Option<u64>); 4] =
    [(PRICE, 60, None), (0, 90, None), (50, 120, Some(400)), (MAX_PRICE + 1, 240, None)];
/// For how long a stop waits for what is in flight.
const GRACE: Duration = Duration::from_secs(5);
/// Nobody waits longer than that for anything.
const HANGS: Duration = Duration::from_secs(900);

/// The time of day in the simulation.
#[derive(Debug)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + u64::try_from(self.0.elapsed().as_nanos()).unwrap()
    }
}

/// A party: its store, and the incarnation of it that lives now.
pub(crate) struct Side<S, H> {
    pub(crate) store: S,
    disk: Disk,
    cut: Cut,
    pub(crate) handle: H,
}

/// What a buyer wanted, and what came of it.
pub(crate) type Wanted = (usize, KeyId, Result<DataKey, BuyError>);

/// The market; see the module.
pub(crate) struct World {
    chance: Chance,
    pub(crate) network: Rc<Network>,
    clock: Arc<VirtualClock>,
    pub(crate) seller: Side<MemoryStore, Addr<Seller>>,
    pub(crate) maker: Side<MemoryMakerStore, MakerHandle>,
    pub(crate) buyers: Vec<Side<MemoryBuyerStore, BuyerHandle>>,
    grants: Vec<ChannelGrant>,
    max_in_flight: usize,
    keys: Vec<KeyId>,
    wants: Vec<JoinHandle<Result<Wanted, KeyId>>>,
}

fn buyer_key(index: usize) -> DelegateKey {
    DelegateKey::from_bytes(&[0x40 + u8::try_from(index).unwrap(); 32]).unwrap()
}

/// Sessions are made by the network, and dialled by nobody.
fn no_dial() -> Dial {
    Dial::new(|| async { Err(ConnectError::NoSerializer) })
}

fn api(index: usize) -> ApiOptions {
    let (price, seconds, expires) = APIS[index];
    let terms = OfferTerms {
        api_id: ApiId::new([u8::try_from(index).unwrap(); 16]),
        prefix: UriPrefix::new("io.crossbar.example").unwrap(),
        price: Amount::from_units(price),
        categories: Default::default(),
        expires_after: expires.map(Duration::from_secs),
        copies: None,
    };
    ApiOptions { terms, rotation: every(seconds) }
}

/// The channels that there are from the beginning.
fn grants(chance: &mut Chance) -> Vec<ChannelGrant> {
    let mut grants = Vec::new();
    let mut grant = |kind, delegate, sales: u64| {
        grants.push(ChannelGrant { kind, delegate, amount: Amount::from_units(PRICE * u128::from(sales)) });
    };
    for _ in 0..1 + chance.below(3) {
        grant(ChannelType::Paying, seller_key().address(), 3 + chance.below(10));
    }
    for index in 0..BUYERS {
        for _ in 0..1 + chance.below(2) {
            grant(ChannelType::Payment, buyer_key(index).address(), 2 + chance.below(8));
        }
    }
    grants
}

impl World {
    /// A market in which everybody has been told to start.
    pub(crate) fn new(seed: u64, verbose: bool) -> Self {
        let network = Network::new(seed, verbose);
        let mut chance = Chance(seed ^ 0xface);
        let clock = Arc::new(VirtualClock(Instant::now()));
        let grants = grants(&mut chance);
        let max_in_flight = usize::try_from(1 + chance.below(4)).unwrap();
        let store = MemoryStore::new();
        network.audit.borrow_mut().ledger = Some(store.clone());
        let seller = seller(&network, &clock, store, Disk::default());
        let store = MemoryMakerStore::new().unwrap();
        let maker = maker(&network, &clock, (&grants, max_in_flight), store, Disk::default());
        let new_buyer = |index| buyer(&network, index, MemoryBuyerStore::new().unwrap(), Disk::default());
        let buyers = (0..BUYERS).map(new_buyer).collect();
        let (keys, wants) = (Vec::new(), Vec::new());
        Self { chance, network, clock, seller, maker, buyers, grants, max_in_flight, keys, wants }
    }

    /// One thing happens, and some time passes.
    pub(crate) async fn step(&mut self) {
        let kind = self.chance.below(100);
        let party = self.party();
        match kind {
            0..70 => self.want(),
            70..76 => {
                let weathers = [Weather::CALM, Weather::CALM, Weather::ROUGH, Weather::ROUGH, Weather::STORM];
                self.network.set_weather(*self.chance.pick(&weathers).unwrap());
            }
            76..80 => self.network.disconnect(party),
            80..85 => self.crash(party).await,
            85..88 => self.reload(party).await,
            88..93 => self.fault(party),
            93..98 => {
                let amount = PRICE * u128::from(2 + self.chance.below(4));
                self.open_channel(party, amount).await;
            }
            _ => {
                self.network.note(format_args!("much time passes"));
                let seconds = 60 + self.chance.below(600);
                sleep(Duration::from_secs(seconds)).await;
            }
        }
        let pause = match self.chance.below(4) {
            0 => 0,
            1 => self.chance.below(5000),
            _ => self.chance.below(300),
        };
        sleep(Duration::from_millis(pause)).await;
        self.look().await;
    }

    fn party(&mut self) -> Party {
        let buyers = u64::try_from(BUYERS).unwrap();
        match self.chance.below(4 + buyers) {
            0 | 1 => Party::Seller,
            2 | 3 => Party::Maker,
            buyer => Party::Buyer(usize::try_from(buyer - 4).unwrap()),
        }
    }

    /// Learns which keys are current.
    async fn look(&mut self) {
        let status = self.seller.handle.send(Observe).await.unwrap();
        for key_id in status.apis.iter().filter_map(|api| api.key_id) {
            if !self.keys.contains(&key_id) {
                self.keys.push(key_id);
            }
        }
    }

    /// A buyer wants a key: mostly one of the last, now and then an old one or one that nobody has.
    fn want(&mut self) {
        let buyer = usize::try_from(self.chance.below(u64::try_from(BUYERS).unwrap())).unwrap();
        let unknown = KeyId::new([u8::try_from(self.chance.below(5)).unwrap(); 16]);
        let recent = &self.keys[self.keys.len().saturating_sub(APIS.len() + 2)..];
        let key_id = match self.chance.below(20) {
            0 => unknown,
            1..4 => self.chance.pick(&self.keys).copied().unwrap_or(unknown),
            _ => self.chance.pick(recent).copied().unwrap_or(unknown),
        };
        let index = self.keys.iter().position(|key| *key == key_id);
        self.network.note(format_args!("Buyer({buyer}) wants {index:?}"));
        let handle = self.buyers[buyer].handle.clone();
        self.wants.push(actix_rt::spawn(async move {
            let key = timeout(HANGS, handle.key(key_id)).await.map_err(|_| key_id)?;
            Ok((buyer, key_id, key))
        }));
    }

    fn fault(&mut self, party: Party) {
        let faults = [Fault::Refused, Fault::UnknownButWritten, Fault::UnknownAndLost];
        let fault = *self.chance.pick(&faults).unwrap();
        self.network.note(format_args!("the next write of {party:?}: {fault:?}"));
        self.disk(party).fail_next(fault);
    }

    async fn open_channel(&self, party: Party, amount: u128) -> bool {
        let (kind, delegate) = channel_of(party);
        let opened = self.maker.handle.open_channel(kind, delegate, Amount::from_units(amount)).await.is_ok();
        self.network.note(format_args!("a {kind:?} channel of {amount}: {opened}"));
        opened
    }

    fn disk(&self, party: Party) -> &Disk {
        match party {
            Party::Seller => &self.seller.disk,
            Party::Maker => &self.maker.disk,
            Party::Buyer(index) => &self.buyers[index].disk,
        }
    }

    fn cut(&self, party: Party) {
        let cut = match party {
            Party::Seller => &self.seller.cut,
            Party::Maker => &self.maker.cut,
            Party::Buyer(index) => &self.buyers[index].cut,
        };
        cut.cut();
        self.network.leave(party, None);
    }

    /// Puts a successor on the same store.
    fn replace(&mut self, party: Party) {
        self.network.note(format_args!("{party:?} starts anew"));
        let (network, clock) = (&self.network, &self.clock);
        match party {
            Party::Seller => {
                let Side { store, disk, .. } = &self.seller;
                self.seller = seller(network, clock, store.clone(), disk.clone());
            }
            Party::Maker => {
                let Side { store, disk, .. } = &self.maker;
                let terms = (self.grants.as_slice(), self.max_in_flight);
                self.maker = maker(network, clock, terms, store.clone(), disk.clone());
            }
            Party::Buyer(index) => {
                let Side { store, disk, .. } = &self.buyers[index];
                self.buyers[index] = buyer(network, index, store.clone(), disk.clone());
            }
        }
    }

    async fn crash(&mut self, party: Party) {
        self.network.note(format_args!("{party:?} crashes"));
        self.cut(party);
        if self.chance.below(2) == 0 {
            let pause = self.chance.below(5000);
            sleep(Duration::from_millis(pause)).await;
        }
        self.replace(party);
    }

    async fn reload(&mut self, party: Party) {
        self.network.note(format_args!("{party:?} is stopped"));
        match party {
            Party::Seller => self.seller.handle.send(Stop { grace: GRACE }).await.unwrap(),
            Party::Maker => self.maker.handle.stop(GRACE).await,
            Party::Buyer(index) => self.buyers[index].handle.stop(GRACE).await,
        }
        self.cut(party);
        self.replace(party);
    }

    /// Nothing goes wrong any more, there is money, and everybody finds out where things stand. Gives what
    /// buyers wanted, and what came of it.
    pub(crate) async fn heal(&mut self) -> Result<Vec<Wanted>, String> {
        self.network.note(format_args!("everything is well again"));
        self.network.set_weather(Weather::CALM);
        let parties = [Party::Seller, Party::Maker].into_iter().chain((0..BUYERS).map(Party::Buyer));
        parties.clone().for_each(|party| self.disk(party).repair());
        let begin = Instant::now();
        for party in parties.filter(|party| *party != Party::Maker) {
            while !self.open_channel(party, 10_000).await {
                sleep(Duration::from_secs(1)).await;
                if begin.elapsed() > HANGS {
                    return Err("no channel can be opened".to_owned());
                }
            }
        }
        let mut wanted = Vec::new();
        for want in std::mem::take(&mut self.wants) {
            let want = want.await.map_err(|error| format!("a buyer's task failed: {error}"))?;
            wanted.push(want.map_err(|key_id| format!("whoever wants {key_id} waits for ever"))?);
        }
        loop {
            // A buyer settles what was left behind at its next purchase, or its next start.
            for index in 0..BUYERS {
                self.reload(Party::Buyer(index)).await;
            }
            for _ in 0..12 {
                sleep(Duration::from_secs(5)).await;
                match self.unsettled().await {
                    None => return Ok(wanted),
                    Some(unsettled) if begin.elapsed() > 2 * HANGS => {
                        return Err(format!("never settled: {unsettled}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// What is not at its end yet.
    async fn unsettled(&self) -> Option<String> {
        let maker = self.maker.handle.observe().await.unwrap();
        if maker.state != MakerState::Running || maker.pending > 0 {
            return Some(format!("market maker {:?}, {} in flight", maker.state, maker.pending));
        }
        let seller = self.seller.handle.send(Observe).await.unwrap().state;
        if seller != SellerState::Started {
            return Some(format!("seller {seller:?}"));
        }
        for (index, buyer) in self.buyers.iter().enumerate() {
            let status = buyer.handle.observe().await.unwrap();
            let pending = status.wallet.as_ref().and_then(|wallet| wallet.pending.as_ref());
            if status.state != BuyerState::Started || !status.connected || pending.is_some() {
                return Some(format!("buyer {index}: {status:?}"));
            }
        }
        None
    }
}

/// What a party is paid over, or pays over; the market maker's own money goes to the seller.
fn channel_of(party: Party) -> (ChannelType, Address) {
    match party {
        Party::Seller | Party::Maker => (ChannelType::Paying, seller_key().address()),
        Party::Buyer(index) => (ChannelType::Payment, buyer_key(index).address()),
    }
}

fn seller(
    network: &Rc<Network>,
    clock: &Arc<VirtualClock>,
    store: MemoryStore,
    disk: Disk,
) -> Side<MemoryStore, Addr<Seller>> {
    let cut = Cut::default();
    let mounted = Arc::new(Mounted { store: store.clone(), disk: disk.clone(), cut: cut.clone() });
    let mut options = SellerOptions::new(market_maker().address(), seller_key(), mounted);
    options.clock = clock.clone();
    options.channel_poll = None;
    let provider_id = options.provider_id.clone();
    let line = Line { network: network.clone(), party: Party::Seller, cut: cut.clone() };
    let make_market = move |watch| {
        let (signer, domain, provider_id) = (seller_key(), domain(), provider_id.clone());
        let of = OfSeller { signer, domain, provider_id, _watch: watch };
        SellerPort::new(&Session::open(line.clone(), of))
    };
    let handle = Seller::new(options, Box::new(make_market)).start();
    let told = handle.clone();
    for index in 0..APIS.len() {
        let (told, added) = (told.clone(), api(index));
        // One whose first key cannot be stored becomes ready later.
        actix_rt::spawn(async move { told.send(AddApi(added)).await });
    }
    keep_trying(cut.clone(), move || {
        let started = told.send(Start);
        async move { matches!(started.await, Ok(Ok(()))) }
    });
    Side { store, disk, cut, handle }
}

fn maker(
    network: &Rc<Network>,
    clock: &Arc<VirtualClock>,
    (grants, max_in_flight): (&[ChannelGrant], usize),
    store: MemoryMakerStore,
    disk: Disk,
) -> Side<MemoryMakerStore, MakerHandle> {
    let cut = Cut::default();
    let mounted = Arc::new(Mounted { store: store.clone(), disk: disk.clone(), cut: cut.clone() });
    let mut options = MakerOptions::new(Arc::new(market_maker()), domain(), mounted, no_dial());
    options.channels = grants.to_vec();
    options.clock = clock.clone();
    options.max_in_flight = max_in_flight;
    let line = Line { network: network.clone(), party: Party::Maker, cut: cut.clone() };
    let handle = MakerHandle::here(options, RealmPort::new(&Session::open(line, OfMaker)));
    let told = handle.clone();
    keep_trying(cut.clone(), move || {
        let told = told.clone();
        async move { told.start().await.is_ok() }
    });
    Side { store, disk, cut, handle }
}

fn buyer(
    network: &Rc<Network>,
    index: usize,
    store: MemoryBuyerStore,
    disk: Disk,
) -> Side<MemoryBuyerStore, BuyerHandle> {
    let cut = Cut::default();
    let mounted = Arc::new(Mounted { store: store.clone(), disk: disk.clone(), cut: cut.clone() });
    let signer = Arc::new(buyer_key(index));
    let max_price = Amount::from_units(MAX_PRICE);
    let options = BuyerOptions::new(market_maker().address(), signer, max_price, mounted, no_dial());
    let line = Line { network: network.clone(), party: Party::Buyer(index), cut: cut.clone() };
    let handle = BuyerHandle::here(options, BuyerPort::new(&Session::open(line, OfBuyer)));
    let told = handle.clone();
    keep_trying(cut.clone(), move || {
        let told = told.clone();
        async move { told.start().await.is_ok() }
    });
    Side { store, disk, cut, handle }
}

/// Starts an incarnation again and again until it has started, as an operator does.
fn keep_trying<F: Future<Output = bool>>(cut: Cut, start: impl Fn() -> F + 'static) {
    actix_rt::spawn(async move {
        while !cut.is_cut() && !start().await {
            sleep(Duration::from_millis(500)).await;
        }
    });
}
