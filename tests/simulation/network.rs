//! The network between the parties: a router that passes calls on, and everything that may go wrong on the
//! way.
//!
//! It is as good as WAMP says, and no better: the calls of a session reach a callee in the order in which
//! they were made; calls of different sessions, and all answers, overtake each other. Beyond that calls and
//! answers get lost, are late, come twice, and sessions end at any moment, with the calls that they had made.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;
use futures_util::future::LocalBoxFuture;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use xbr_actors::messages as seller;
use xbr_core::{ChannelId, ChannelSeq, KeyId};
use xbr_market::buyer::messages as buyer;
use xbr_market::maker::messages as maker;

use crate::audit::Audit;
use crate::stores::Cut;
use crate::support::chance::Chance;

/// Who is on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Party {
    Seller,
    Maker,
    Buyer(usize),
}

/// How often something goes wrong, in a thousand times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// A call or an answer is lost.
    pub(crate) lost: u64,
    /// A call comes twice.
    pub(crate) twice: u64,
    /// It takes many seconds.
    pub(crate) late: u64,
    /// The buyer's key in a call is none.
    pub(crate) spoilt: u64,
    /// The router cannot be reached.
    pub(crate) unreachable: u64,
}

impl Weather {
    pub(crate) const CALM: Self = Self { lost: 0, twice: 0, late: 0, spoilt: 0, unreachable: 0 };
    pub(crate) const ROUGH: Self = Self { lost: 30, twice: 50, late: 30, spoilt: 30, unreachable: 50 };
    pub(crate) const STORM: Self = Self { lost: 150, twice: 150, late: 150, spoilt: 50, unreachable: 300 };
}

/// How a party is reached over its session.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    Seller { lost: Recipient<seller::SessionLost>, served: Option<seller::Serve> },
    Maker { lost: Recipient<maker::SessionLost>, answers: Recipient<maker::Asked> },
    Buyer { lost: Recipient<buyer::SessionLost> },
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The caller has no session: nothing was sent.
    NotJoined,
    /// The router knows nobody who answers for it: nothing was passed on.
    NotReached,
    /// The callee has gone before it answered.
    Canceled,
    /// Nothing came.
    Unanswered(&'static str),
}

struct Session {
    number: u64,
    role: Role,
    /// Closed with the session. Those who wait for that hear of it in the order in which they began to.
    alive: broadcast::Sender<()>,
}

/// What becomes of a call.
struct Passage {
    /// When the call reaches the callee; `None`: never.
    arrival: Option<Instant>,
    twice: bool,
    /// How long the answer takes; `None`: it never comes.
    back: Option<Duration>,
}

struct State {
    chance: Chance,
    weather: Weather,
    sessions: BTreeMap<Party, Session>,
    numbers: u64,
    /// When the last call of a session reaches a callee.
    last: BTreeMap<(u64, Party), Instant>,
    /// The states that were sent.
    seen: BTreeSet<(ChannelId, ChannelSeq, KeyId)>,
    trace: DefaultHasher,
    began: Instant,
}

/// The router; see the module.
pub(crate) struct Network {
    state: RefCell<State>,
    pub(crate) audit: RefCell<Audit>,
    /// Whether what happens is told.
    verbose: bool,
}

impl Network {
    pub(crate) fn new(seed: u64, verbose: bool) -> Rc<Self> {
        let state = State {
            chance: Chance(seed),
            weather: Weather::CALM,
            sessions: BTreeMap::new(),
            numbers: 0,
            last: BTreeMap::new(),
            seen: BTreeSet::new(),
            trace: DefaultHasher::new(),
            began: Instant::now(),
        };
        Rc::new(Self { state: RefCell::new(state), audit: RefCell::default(), verbose })
    }

    /// Notes that something happened; what happens is the same for the same seed.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let mut state = self.state.borrow_mut();
        let at = state.began.elapsed();
        (at, what.to_string()).hash(&mut state.trace);
        if self.verbose {
            eprintln!("{at:>10.3?} {what}");
        }
    }

    /// Tells everything apart that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.state.borrow().trace.finish()
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.borrow_mut().weather = weather;
    }

    /// Whether the buyer's key in a call is to be spoilt: never when a state is sent again, since a router
    /// that spoils only the repeats makes one side believe that nothing was bought.
    pub(crate) fn spoils_first(&self, call: (ChannelId, ChannelSeq, KeyId)) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.seen.insert(call) && state.chance.permille(state.weather.spoilt)
    }

    /// Joins a party; a session that it had before ends. `None` when the router cannot be reached, or the
    /// party has crashed meanwhile.
    pub(crate) async fn join(&self, party: Party, cut: &Cut, role: Role) -> Option<u64> {
        let (delay, reached) = {
            let state = &mut *self.state.borrow_mut();
            (state.chance.below(20), !state.chance.permille(state.weather.unreachable))
        };
        sleep(Duration::from_millis(delay)).await;
        if cut.is_cut() {
            return None;
        }
        self.note(format_args!("{party:?} joins: {reached}"));
        if !reached {
            return None;
        }
        let mut state = self.state.borrow_mut();
        state.numbers += 1;
        let number = state.numbers;
        state.sessions.insert(party, Session { number, role, alive: broadcast::Sender::new(1) });
        Some(number)
    }

    /// The procedures that a seller registers.
    pub(crate) fn serve(&self, party: Party, number: u64, serve: Option<seller::Serve>) -> bool {
        let mut state = self.state.borrow_mut();
        match state.sessions.get_mut(&party) {
            Some(Session { number: now, role: Role::Seller { served, .. }, .. }) if *now == number => {
                *served = serve;
                true
            }
            _ => false,
        }
    }

    /// Ends a session, if it is still the party's.
    pub(crate) fn leave(&self, party: Party, number: Option<u64>) {
        let mut state = self.state.borrow_mut();
        if state.sessions.get(&party).is_some_and(|session| number.is_none_or(|it| it == session.number)) {
            state.sessions.remove(&party);
        }
    }

    /// Ends a party's session, and tells it.
    pub(crate) fn disconnect(&self, party: Party) {
        self.note(format_args!("{party:?} is disconnected"));
        let session = self.state.borrow_mut().sessions.remove(&party);
        let reason = "the connection broke".to_owned();
        // A full mailbox would be a flood that no party here can make.
        match session.map(|session| session.role) {
            Some(Role::Seller { lost, .. }) => lost.try_send(seller::SessionLost { reason }).unwrap(),
            Some(Role::Maker { lost, .. }) => lost.try_send(maker::SessionLost { reason }).unwrap(),
            Some(Role::Buyer { lost }) => lost.try_send(buyer::SessionLost { reason }).unwrap(),
            None => {}
        }
    }

    fn session(&self, party: Party) -> Option<(Role, broadcast::Receiver<()>)> {
        let state = self.state.borrow();
        let session = state.sessions.get(&party)?;
        Some((session.role.clone(), session.alive.subscribe()))
    }

    /// Decides what becomes of a call, and lets the caller's session end it.
    fn depart(
        &self,
        from: Party,
        number: Option<u64>,
        to: Party,
    ) -> Option<(Passage, broadcast::Receiver<()>)> {
        let state = &mut *self.state.borrow_mut();
        let session = state.sessions.get(&from).filter(|session| Some(session.number) == number)?;
        let alive = session.alive.subscribe();
        let leg = |chance: &mut Chance| {
            let late = chance.permille(state.weather.late);
            let delay = if late { 1000 + chance.below(14_000) } else { chance.below(40) };
            (!chance.permille(state.weather.lost)).then(|| Duration::from_millis(delay))
        };
        let (there, back) = (leg(&mut state.chance), leg(&mut state.chance));
        let twice = state.chance.permille(state.weather.twice);
        let arrival = there.map(|delay| {
            let last = state.last.entry((number?, to)).or_insert_with(Instant::now);
            // One ms apart, which is what timers can tell.
            *last = (Instant::now() + delay).max(*last + Duration::from_millis(1));
            Some(*last)
        });
        Some((Passage { arrival: arrival.flatten(), twice, back }, alive))
    }

    /// Carries a call to `to`, and its answer back. What is to be sent is decided before this returns; the
    /// call ends with the caller's session, or when its patience does.
    pub(crate) fn carry<T: 'static>(
        self: &Rc<Self>,
        (from, number): (Party, Option<u64>),
        to: Party,
        patience: Duration,
        what: String,
        deliver: impl Fn(&Role) -> Option<LocalBoxFuture<'static, T>> + 'static,
    ) -> LocalBoxFuture<'static, Result<T, Failure>> {
        let Some((passage, mut alive)) = self.depart(from, number, to) else {
            return Box::pin(std::future::ready(Err(Failure::NotJoined)));
        };
        let there = passage.arrival.map(|at| at - Instant::now());
        self.note(format_args!(
            "{from:?} calls {what}: there {there:?}, back {:?}, twice {}",
            passage.back, passage.twice
        ));
        let network = self.clone();
        Box::pin(async move {
            let journey = async {
                sleep_until(or_never(passage.arrival).await).await;
                let (role, mut callee) = network.session(to).ok_or(Failure::NotReached)?;
                let answer = deliver(&role).ok_or(Failure::NotReached)?;
                if passage.twice
                    && let Some(again) = deliver(&role)
                {
                    actix_rt::spawn(again);
                }
                let answer = tokio::select! {
                    biased;
                    answer = answer => Ok(answer),
                    _ = callee.recv() => Err(Failure::Canceled),
                };
                sleep(or_never(passage.back).await).await;
                answer
            };
            let ended = tokio::select! {
                biased;
                journey = timeout(patience, journey) => {
                    journey.unwrap_or(Err(Failure::Unanswered("it took too long")))
                }
                _ = alive.recv() => Err(Failure::Unanswered("the session was lost")),
            };
            if let Err(failure) = &ended {
                network.note(format_args!("{from:?} gets no answer to {what}: {failure:?}"));
            }
            ended
        })
    }
}

/// What is not there never comes.
async fn or_never<T>(it: Option<T>) -> T {
    match it {
        Some(it) => it,
        None => std::future::pending().await,
    }
}
