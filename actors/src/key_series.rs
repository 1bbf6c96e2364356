//! The [`KeySeries`] actor: one per API. It makes data keys, stores and offers each before it is used, and rotates
//! them by time, by count, or both.
//!
//! It owns the current key, the next one and the rotation timer; the supervisor creates it anew when it dies. What
//! survives a restart is the archive of keys in the store; a new series begins with a new key.
//!
//! The reference's `KeySeries` has `key_id`, `encrypt`, `encrypt_key`, `start`, `stop`, `_rotate` and `on_rotate`;
//! here they are [`Observe`], [`Encrypt`], [`SealKey`], [`Resume`], [`Halt`], [`RotateNow`] and [`Subscribe`]. [`Pause`],
//! [`Unpause`] and [`SetPrice`] have no counterpart there.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use backon::ExponentialBackoff;
use tokio::sync::oneshot;
use tokio::time::Instant;
use xbr_core::KeyId;
use xbr_core::offer::KeyOffer;
use xbr_core::payload::DataKey;
use xbr_store::{KeyRecord, StoreError};

use crate::keyring::{Keyring, LiveKey};
use crate::messages::MarketError;
use crate::observer::Event;
use crate::watch::DeathWatch;
use crate::wrapper::{WrapError, Wrapper};

mod handlers;
mod messages;
mod offering;
mod retiring;

pub(crate) use messages::Advance;
pub use messages::{
    AttachMarket, DetachMarket, Encrypt, EncryptBatch, Halt, KeyRotated, KeysRetired, Observe, OfferPort,
    Pause, Resume, RotateNow, Rotation, SealKey, SealKeyError, SeriesOptions, SeriesStatus, SetBounds,
    SetPrice, Subscribe, Unpause,
};
use offering::{LiveOffer, backoff, place};
use retiring::FIRST_LOOK;

/// The next key is made, stored and offered this long before it is due, or a quarter of the interval if that is less.
const MAX_LEAD: Duration = Duration::from_secs(5);
/// How long before it is due the next key is made when only time counts.
pub(crate) fn lead(interval: Duration) -> Duration {
    MAX_LEAD.min(interval / 4)
}

/// How many messages may wait for a series.
const MAILBOX: usize = 256;

/// The actor; see the module.
#[derive(Debug)]
pub struct KeySeries {
    options: SeriesOptions,
    keyring: Arc<Keyring>,
    market: Option<OfferPort>,
    /// Of the current and the next key, and of others that are not offered yet, those of an earlier life among them.
    offers: Vec<LiveOffer>,
    current: Option<KeyId>,
    subscribers: Vec<Recipient<KeyRotated>>,
    waiters: Vec<oneshot::Sender<Result<KeyId, WrapError>>>,
    /// The key that was made last.
    newest: Option<KeyId>,
    failed_offers: u64,
    retired: u64,
    /// A key was wanted when too many waited for their offers.
    is_wanted: bool,
    rotations: u64,
    /// When the current key is to be replaced, by the clock.
    due_at: Option<Instant>,
    last_error: Option<String>,
    preparing: bool,
    has_next: bool,
    /// A rotation is wanted as soon as the next key is ready.
    due: bool,
    /// When the interval of the current key is over, Unix time in ns.
    rotates_ns: Option<u64>,
    /// Timers of an earlier generation are void: each key has its own.
    generation: u64,
    /// Keys that were under way in an earlier epoch are void: halting begins a new one.
    epoch: u64,
    backoff: ExponentialBackoff,
    retry_armed: bool,
    _death_watch: Option<DeathWatch>,
}

impl KeySeries {
    /// A series that makes its first key as soon as it starts. `keyring` is what its wrappers share: a series that
    /// takes over from one that died goes on with it.
    pub(crate) fn new(
        options: SeriesOptions,
        keyring: Arc<Keyring>,
        market: Option<OfferPort>,
        death_watch: Option<DeathWatch>,
    ) -> Self {
        let current = keyring.current().map(|key| key.key_id);
        Self {
            backoff: backoff(options.terms.api_id),
            options,
            keyring,
            market,
            offers: Vec::new(),
            // What a predecessor left behind is replaced as soon as there is a key of this series' own.
            due: current.is_some(),
            current,
            subscribers: Vec::new(),
            waiters: Vec::new(),
            newest: None,
            failed_offers: 0,
            retired: 0,
            is_wanted: false,
            rotations: 0,
            due_at: None,
            last_error: None,
            preparing: false,
            has_next: false,
            rotates_ns: None,
            generation: 0,
            epoch: 0,
            retry_armed: false,
            _death_watch: death_watch,
        }
    }

    /// Starts a series that stands alone, and gives the wrapper of its payloads, which does not keep the series alive.
    pub fn spawn(options: SeriesOptions) -> (Addr<Self>, Wrapper) {
        let keyring = Arc::new(Keyring::default());
        let series = Self::new(options.clone(), keyring.clone(), None, None).start();
        let wrapper = Self::wrapper_of(&options, keyring);
        (series, wrapper)
    }

    pub(crate) fn wrapper_of(options: &SeriesOptions, keyring: Arc<Keyring>) -> Wrapper {
        let terms = &options.terms;
        let (prefix, entropy) = (terms.prefix.clone(), options.entropy.clone());
        Wrapper::new(terms.api_id, prefix, keyring, entropy, options.patience)
    }

    /// Makes the next key: stored, then offered, then linked.
    fn prepare(&mut self, ctx: &mut Context<Self>) {
        if self.preparing || self.has_next || self.keyring.is_closed() {
            return;
        }
        self.is_wanted = self.has_too_many_unoffered();
        if self.is_wanted {
            return;
        }
        self.preparing = true;
        let now_ns = self.options.clock.now_ns();
        let key_id = KeyId::made_at(now_ns, &*self.options.entropy);
        let offer = self.options.terms.offer(key_id, now_ns);
        let record = KeyRecord {
            key_id,
            api_id: offer.api_id,
            key: DataKey::generate(&*self.options.entropy),
            price: offer.price,
            created_ns: now_ns,
            expires_ns: offer.expires_ns,
            offered_ns: None,
        };
        let stored = self.options.store.insert_key(record.clone());
        let epoch = self.epoch;
        let work = stored.into_actor(self).then(move |stored, series, _| {
            // The market maker that is there when the key is durable: it may have come, or gone, meanwhile.
            let market = series.market.clone().filter(|_| series.epoch == epoch);
            let offering = async move {
                stored?;
                let offered = match market {
                    Some(market) => place(&market, offer.clone()).await,
                    None => Err(MarketError::NotJoined),
                };
                Ok((offer, offered))
            };
            offering.into_actor(series)
        });
        let done = work.map(move |result, series, ctx| {
            if series.epoch == epoch {
                series.prepared(record, result, ctx);
            }
        });
        ctx.spawn(done);
    }

    fn prepared(
        &mut self,
        record: KeyRecord,
        result: Result<(KeyOffer, Result<(), MarketError>), StoreError>,
        ctx: &mut Context<Self>,
    ) {
        self.preparing = false;
        match result {
            Ok((offer, offered)) => {
                self.newest = Some(record.key_id);
                // A market maker that came meanwhile has found it in the archive already.
                if self.offers.iter().all(|live| live.offer.key_id != record.key_id) {
                    self.offers.push(LiveOffer { offer, offered: false });
                }
                self.note_offer(record.key_id, offered, ctx);
                let count = self.options.rotation.count;
                self.keyring.link(record, count);
                self.has_next = self.current.is_some();
                self.settle(ctx);
            }
            Err(error) => {
                // Without a durable key there is nothing to rotate to: the current one serves on.
                self.report("cannot store a data key", &error);
                let delay = self.backoff.next().unwrap_or(MAX_LEAD);
                let epoch = self.epoch;
                ctx.run_later(delay, move |series, ctx| {
                    if series.epoch == epoch {
                        series.prepare(ctx);
                    }
                });
            }
        }
    }

    /// Brings the actor up to date with the keyring, which wrappers may have moved on.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        if (self.due || self.keyring.is_exhausted()) && !self.keyring.is_paused() {
            self.keyring.rotate();
        }
        let Some(current) = self.keyring.current() else { return };
        if self.current != Some(current.key_id) {
            self.rotated(&current, ctx);
        }
    }

    fn rotated(&mut self, current: &LiveKey, ctx: &mut Context<Self>) {
        let key_id = current.key_id;
        let previous = self.current.replace(key_id);
        self.due = false;
        self.has_next = false;
        self.rotations += 1;
        let offered = self.offers.iter().any(|live| live.offer.key_id == key_id && live.offered);
        let api_id = self.options.terms.api_id;
        let late = self.due_at.take().and_then(|due_at| Instant::now().checked_duration_since(due_at));
        self.arm(ctx);
        let (price, created_ns, rotates_ns) = (current.price, current.created_ns, self.rotates_ns);
        self.options.observers.tell(|| Event::Rotated {
            api_id,
            key_id,
            previous,
            price,
            created_ns,
            rotates_ns,
            offered,
            late,
        });
        let event = KeyRotated { api_id, key_id, previous, price, created_ns, rotates_ns, offered };
        tracing::debug!(api_id = %event.api_id, %key_id, offered, "key rotated");
        self.subscribers
            .retain(|subscriber| !matches!(subscriber.try_send(event.clone()), Err(SendError::Closed(_))));
        for waiter in self.waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(Ok(key_id));
        }
        self.forget_settled_offers();
        // When the end of a count comes is unknown, so the next key is made at once.
        if self.options.rotation.count.is_some() {
            self.prepare(ctx);
        }
    }

    /// Arms the timer of the current key: the next one is made when it has come, and then it waits until that is due.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        self.generation += 1;
        let generation = self.generation;
        let Some(interval) = self.options.rotation.interval else { return };
        let due_at = Instant::now() + interval;
        self.due_at = Some(due_at);
        let ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.rotates_ns = Some(self.options.clock.now_ns().saturating_add(ns));
        ctx.run_later(interval - lead(interval), move |series, ctx| {
            if series.generation == generation {
                series.prepare(ctx);
                match due_at.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => series.come_due(generation, ctx),
                    left => {
                        ctx.run_later(left, move |series, ctx| series.come_due(generation, ctx));
                    }
                }
            }
        });
    }

    /// The interval of a key of this generation is over.
    fn come_due(&mut self, generation: u64, ctx: &mut Context<Self>) {
        if self.generation == generation {
            self.due = true;
            self.prepare(ctx);
            self.settle(ctx);
        }
    }

    /// Forgets the keys that there are; the next one that is ready becomes current.
    fn begin_anew(&mut self, ctx: &mut Context<Self>) {
        self.keyring.reset();
        self.current = None;
        self.has_next = false;
        self.due = false;
        self.prepare(ctx);
    }

    fn report(&mut self, what: &'static str, error: &dyn std::fmt::Display) {
        let text = format!("{what}: {error}");
        tracing::warn!(api_id = %self.options.terms.api_id, "{text}");
        self.last_error = Some(text);
    }
}

impl Actor for KeySeries {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.keyring.owned_by(ctx.address().downgrade().recipient());
        self.prepare(ctx);
        self.arm_retention(FIRST_LOOK, ctx);
    }
}
