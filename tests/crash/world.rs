//! One seller, one market maker, and one store between many starts of the program.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use xbr_core::crypto::{sealed_box_open, sealed_box_public_key};
use xbr_core::wire::{CloseReceipt, SellReceipt};
use xbr_core::{Amount, DataKey, DelegateKey, KeyId, Signer, Value};
use xbr_store::kill_point::Step;

use crate::chance::Chance;
use crate::figures::{Cause, Figures};
use crate::guard::Guard;
use crate::market_peer::{Happening, Link, MarketPeer};
use crate::program::{Folder, Program, TOPIC};
use crate::record::Record;

const BUYER: [u8; 32] = [0x33; 32];
/// More sales than any step is killed after.
const MOST: usize = 2000;
/// How many sales are under way at a time, at most.
const WINDOW: u64 = 24;
/// A program that does nothing for so long has failed.
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct World {
    seed: u64,
    chance: Chance,
    folder: Folder,
    peer: MarketPeer,
    record: Record,
    guard: Guard,
    /// An event under each key, and what it says.
    events: BTreeMap<KeyId, Vec<u8>>,
    /// The data keys that were bought.
    keys: BTreeMap<KeyId, Vec<u8>>,
    lines: u64,
    close: Option<Vec<u8>>,
    figures: Figures,
}

/// What is asked of the seller in one life of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ask {
    Sale(usize),
    Close,
}

/// One life of the program, from its start to its end.
struct Life {
    program: Program,
    link: Option<Link>,
    serving: bool,
    calls: HashMap<u64, Ask>,
    /// What is asked for before anything new.
    first: VecDeque<Ask>,
    /// How many new sales may follow.
    new: usize,
    window: usize,
    answers: u64,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let (market_maker, secret) = (DelegateKey::from_bytes(&[0x11; 32]).unwrap(), [0x22; 32]);
        let seller = DelegateKey::from_bytes(&secret).unwrap();
        let address = market_maker.address().to_string();
        let peer = MarketPeer::start(market_maker, &seller, Amount::from_xbr(1_000_000_000)).await;
        let folder = Folder::new(&peer.url, &address, &secret);
        Self {
            seed,
            chance: Chance(seed),
            folder,
            peer,
            record: Record::default(),
            guard: Guard::default(),
            events: BTreeMap::new(),
            keys: BTreeMap::new(),
            lines: 0,
            close: None,
            figures: Figures::default(),
        }
    }

    /// Kills the program so often, closes the channel in the end, and gives what was counted.
    pub(crate) async fn run(mut self, kills: u32) -> Figures {
        for round in 0..kills {
            let number = self.seed * u64::from(kills) + u64::from(round);
            let step = Step::ALL[usize::try_from(number / 2 % 8).unwrap()];
            let cause = if number.is_multiple_of(2) { Cause::Moment } else { Cause::At(step) };
            self.kill(cause).await;
        }
        self.account().await;
        self.end().await;
        self.figures.keys = self.keys.len() as u64;
        self.figures
    }

    /// One life under load, cut short.
    async fn kill(&mut self, cause: Cause) {
        let again = self.chance.below(10);
        let mut life = match cause {
            Cause::At(step) => {
                let count = 1 + u32::try_from(self.chance.below(40)).unwrap();
                self.begin(Some((step, count)), again)
            }
            Cause::Moment => self.begin(None, again),
        };
        life.new = MOST;
        // Now and then before it sells at all.
        let early = Instant::now() + Duration::from_micros(self.chance.below(150_000));
        let answers = self.chance.below(200);
        let mut kill_at = match cause {
            Cause::Moment if self.chance.below(4) == 0 => Some(early),
            _ => None,
        };
        loop {
            let happening = tokio::select! {
                biased;
                () = until(kill_at) => {
                    life.program.kill();
                    break;
                }
                happening = self.next(&mut life) => happening,
            };
            let Some(happening) = happening else { break };
            self.take(&mut life, happening);
            let due = cause == Cause::Moment && kill_at.is_none() && life.serving && life.answers >= answers;
            if due {
                kill_at = Some(Instant::now() + Duration::from_micros(self.chance.below(3_000)));
            }
        }
        assert!(life.program.killed(), "{cause:?}, {}: {}", self.whoami(), self.folder.last_log());
        *self.figures.kills.entry(cause).or_default() += 1;
        self.look().await;
    }

    /// Compares what the dead program has left with the record.
    async fn look(&mut self) {
        let open = self.record.unanswered().len() as u64;
        self.figures.unanswered += open;
        if let Some((_folder, path)) = self.folder.copy() {
            self.figures.stored_unanswered += self.record.compare(&self.peer.terms, &path).await;
        }
    }

    /// A life in which everything that was ever asked for is asked for again, and every key is sold once
    /// more.
    async fn account(&mut self) {
        let mut life = self.begin(None, u64::MAX);
        let keys: Vec<_> = self.peer.offers.keys().copied().collect();
        for key_id in keys {
            life.first.push_back(self.buy(key_id));
        }
        self.live(&mut life, |life| life.is_idle()).await;
        self.stop(life).await;
        let (_folder, path) = self.folder.copy().expect("a store");
        let unanswered = self.record.compare(&self.peer.terms, &path).await;
        assert_eq!((unanswered, self.record.unanswered().len()), (0, 0), "{}", self.whoami());
    }

    /// A final close, with a kill in the middle of it. The same request is signed identically after it, sales
    /// that were made keep their receipts, and nothing new is sold.
    async fn end(&mut self) {
        let steps =
            [Step::Received, Step::Checked, Step::Signed, Step::Applied, Step::Written, Step::Fsynced];
        let step = *self.chance.pick(&steps).unwrap();
        let mut life = self.begin(Some((step, 1)), 0);
        life.first.push_back(Ask::Close);
        self.live(&mut life, |_| false).await;
        assert!(life.program.killed(), "{}: {}", self.whoami(), self.folder.last_log());

        let mut life = self.begin(None, 10);
        for _ in 0..2 {
            life.first.push_back(Ask::Close);
            self.fill(&mut life);
            self.live(&mut life, |life| life.is_idle()).await;
        }
        let key_id = *self.peer.offers.keys().next().unwrap();
        let refused = self.peer.buy(key_id, sealed_box_public_key(&BUYER));
        let link = life.link.as_mut().unwrap();
        let call = link.call(self.peer.sell_procedure(), refused.to_args());
        loop {
            match self.next(&mut life).await {
                Some(Happening::Answered(answered, Err((error, _)))) if answered == call => {
                    assert_eq!(error, "xbr.error.channel_closed", "{}", self.whoami());
                    break;
                }
                Some(Happening::Answered(..)) | None => panic!("sold after the end, {}", self.whoami()),
                Some(other) => self.take(&mut life, other),
            }
        }
        self.stop(life).await;
    }

    fn begin(&mut self, kill: Option<(Step, u32)>, again: u64) -> Life {
        let lines: Vec<_> = (0..6).map(|line| (self.lines + line).to_string()).collect();
        self.lines += 6;
        let mut first: VecDeque<_> = self.record.unanswered().into_iter().map(Ask::Sale).collect();
        let acknowledged: Vec<_> =
            (0..self.record.sales.len()).filter(|sale| self.record.sales[*sale].acknowledged).collect();
        if again >= acknowledged.len() as u64 {
            first.extend(acknowledged.into_iter().map(Ask::Sale));
        } else {
            for _ in 0..again {
                first.push_back(Ask::Sale(*self.chance.pick(&acknowledged).unwrap()));
            }
        }
        Life {
            program: self.folder.start(kill, &lines),
            link: None,
            serving: false,
            calls: HashMap::new(),
            first,
            new: 0,
            window: usize::try_from(1 + self.chance.below(WINDOW)).unwrap(),
            answers: 0,
        }
    }

    /// Lets a life go on until it ends or is as it should be.
    async fn live(&mut self, life: &mut Life, done: impl Fn(&Life) -> bool) {
        while !done(life)
            && let Some(happening) = self.next(life).await
        {
            self.take(life, happening);
        }
    }

    async fn stop(&mut self, mut life: Life) {
        life.program.terminate();
        self.live(&mut life, |_| false).await;
        assert_eq!(life.program.exit_code(), Some(0), "{}: {}", self.whoami(), self.folder.last_log());
    }

    /// The next thing that happens; `None` when the program has ended.
    async fn next(&mut self, life: &mut Life) -> Option<Happening> {
        let patience = Instant::now() + SOON;
        loop {
            let peer = &mut self.peer;
            let (program, link) = (&mut life.program, &mut life.link);
            let ended = async {
                while !program.has_ended() {
                    sleep(Duration::from_millis(2)).await;
                }
            };
            let happening = async {
                match link {
                    Some(link) => Some(link.turn(peer).await),
                    None => {
                        *link = peer.accept().await;
                        if let Some(link) = link {
                            link.subscribe(TOPIC);
                        }
                        None
                    }
                }
            };
            tokio::select! {
                biased;
                // What the program has said counts, even when it has ended since.
                happening = happening => match happening {
                    // It may have been a connection of the program's last life.
                    Some(Happening::Lost) => life.link = None,
                    Some(happening) => return Some(happening),
                    None => {}
                },
                () = ended => return None,
                () = sleep_until(patience) => {
                    panic!("it stands still, {}: {}", self.whoami(), self.folder.last_log())
                }
            }
        }
    }

    fn take(&mut self, life: &mut Life, happening: Happening) {
        match happening {
            Happening::Offered => life.serving = true,
            Happening::Published(key_id, ciphertext) => {
                self.events.insert(key_id, ciphertext);
            }
            Happening::Answered(call, answer) => {
                let ask = life.calls.remove(&call).expect("an answer to what was asked");
                let payload = answer.unwrap_or_else(|error| {
                    panic!("{ask:?} is refused, {}: {error:?} {}", self.whoami(), self.folder.last_log())
                });
                life.answers += 1;
                self.answered(ask, &payload.args);
            }
            Happening::Lost => {}
        }
        if life.serving {
            self.fill(life);
        }
    }

    /// Keeps the window full: first what is to be repeated, in order, then what is new.
    fn fill(&mut self, life: &mut Life) {
        while life.calls.len() < life.window {
            let ask = match life.first.pop_front() {
                Some(ask) => ask,
                None if life.new > 0 => {
                    life.new -= 1;
                    let keys: Vec<_> = self.peer.offers.keys().copied().collect();
                    let key_id = *self.chance.pick(&keys).unwrap();
                    self.buy(key_id)
                }
                None => return,
            };
            let (procedure, args) = match ask {
                Ask::Sale(sale) => (self.peer.sell_procedure(), self.record.sales[sale].request.to_args()),
                Ask::Close => (self.peer.close_procedure(), self.peer.close().to_args()),
            };
            let Some(link) = &mut life.link else { return };
            life.calls.insert(link.call(procedure, args), ask);
        }
    }

    fn buy(&mut self, key_id: KeyId) -> Ask {
        let request = self.peer.buy(key_id, sealed_box_public_key(&BUYER));
        Ask::Sale(self.record.add(request))
    }

    fn answered(&mut self, ask: Ask, args: &[Value]) {
        match ask {
            Ask::Sale(sale) => {
                let receipt = SellReceipt::parse(args).unwrap();
                self.guard.sold(&self.peer.terms, &receipt);
                self.check_key(&receipt);
                if self.record.acknowledge(sale, args) {
                    self.figures.acknowledged += 1;
                } else {
                    self.figures.repeated += 1;
                }
            }
            Ask::Close => {
                let receipt = CloseReceipt::parse(args).unwrap();
                self.guard.closed(&self.peer.terms, &receipt);
                let bytes = xbr_core::cbor::encode(&args[0]);
                let first = self.close.get_or_insert_with(|| bytes.clone());
                assert_eq!(*first, bytes, "the same close, another answer, seed {}", self.seed);
            }
        }
    }

    /// What was bought opens, is the same key whenever it is bought, and decrypts what was published under
    /// it.
    fn check_key(&mut self, receipt: &SellReceipt) {
        let key = sealed_box_open(&BUYER, &receipt.sealed_key).expect("sealed to the buyer");
        let first = self.keys.entry(receipt.key_id).or_insert_with(|| key.to_vec());
        assert_eq!(*first, *key, "another key under the same id");
        if let Some(ciphertext) = self.events.get(&receipt.key_id) {
            let key = DataKey::from_bytes(key[..].try_into().unwrap());
            key.decrypt(ciphertext).expect("the key that the event was encrypted with");
        }
    }

    fn whoami(&self) -> String {
        format!("seed {}, {}", self.seed, self.folder.path().display())
    }
}

impl Life {
    fn is_idle(&self) -> bool {
        self.serving && self.first.is_empty() && self.calls.is_empty()
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
