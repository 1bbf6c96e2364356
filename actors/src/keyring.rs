//! The current key of a series, where every thread can use it without a lock and without asking the actor.
//!
//! The [`KeySeries`](crate::key_series::KeySeries) actor alone decides which key is current: it links the next key to
//! the current one when that is ready, and moves on when the interval has passed. The count of a key is an atomic that
//! hands out exactly N uses; a caller who finds none left follows the link. Nothing here survives a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::WeakRecipient;
use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::Notify;
use xbr_core::payload::DataKey;
use xbr_core::{Amount, KeyId};
use xbr_store::KeyRecord;

use crate::key_series::Advance;

/// A key that payloads are, or will be, encrypted with.
#[derive(Debug)]
pub(crate) struct LiveKey {
    pub(crate) key_id: KeyId,
    pub(crate) key: DataKey,
    /// What it is sold for.
    pub(crate) price: Amount,
    /// When it was made, Unix time in ns.
    pub(crate) created_ns: u64,
    /// How many uses it was made for; `None` for no limit.
    count: Option<u64>,
    /// How many are left. Where there is no limit so many are counted down that they cannot be used up: so the uses
    /// of every key are counted, at no cost.
    uses_left: AtomicU64,
    /// The key that follows, once it is durable and its offer was tried.
    next: ArcSwapOption<LiveKey>,
    /// Where its uses are added when it goes.
    used_before: Arc<AtomicU64>,
}

impl LiveKey {
    fn new(record: KeyRecord, count: Option<u64>, used_before: Arc<AtomicU64>) -> Self {
        let KeyRecord { key_id, key, price, created_ns, .. } = record;
        let uses_left = AtomicU64::new(count.unwrap_or(u64::MAX));
        Self { key_id, key, price, created_ns, count, uses_left, next: ArcSwapOption::empty(), used_before }
    }

    /// Takes one use; `None` when there is none left, else how many are left after it.
    fn take_use(&self) -> Option<u64> {
        let take = |left: u64| left.checked_sub(1);
        let before = self.uses_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        take(before)
    }

    /// How many uses are left; `None` for no limit.
    pub(crate) fn uses_left(&self) -> Option<u64> {
        self.count.map(|_| self.uses_left.load(Ordering::Relaxed))
    }

    fn used(&self) -> u64 {
        self.count.unwrap_or(u64::MAX).saturating_sub(self.uses_left.load(Ordering::Relaxed))
    }
}

impl Drop for LiveKey {
    fn drop(&mut self) {
        self.used_before.fetch_add(self.used(), Ordering::Relaxed);
    }
}

/// The series' chain of keys, shared by the actor and everybody who wraps.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    current: ArcSwapOption<LiveKey>,
    stopped: AtomicBool,
    /// Nobody takes a key, and none is made, until the pause is over. A successor of the series finds it here.
    paused: AtomicBool,
    /// Wakes those who found no use left and no next key.
    changed: Notify,
    /// The series that makes the keys now: a successor takes its predecessor's place, also for wrappers that were made
    /// before.
    series: ArcSwapOption<WeakRecipient<Advance>>,
    /// How many uses the keys had that have gone.
    used_before: Arc<AtomicU64>,
}

impl Keyring {
    /// The current key.
    pub(crate) fn current(&self) -> Option<Arc<LiveKey>> {
        self.current.load_full()
    }

    /// Takes a use of the current key, or of the next one when the current is used up, for something that is done with
    /// it at once: `using` is given the key, and whether the actor should be told that one has come to its end. `None`
    /// when the next key is not ready. Callers on many threads share one counter and nothing else.
    pub(crate) fn take<R>(&self, using: impl Fn(&LiveKey, bool) -> R) -> Option<R> {
        let mut exhausted = false;
        loop {
            let current = self.current.load();
            let key = Option::as_ref(&current)?;
            if let Some(left) = key.take_use() {
                return Some(using(key, exhausted || left == 0));
            }
            exhausted = true;
            let next = key.next.load_full()?;
            self.advance(&current, next);
        }
    }

    /// Like [`take`](Self::take), but waits for the next key; `None` when the series is stopped or paused. `ask` is
    /// called before waiting, so that the actor knows.
    pub(crate) async fn take_or_wait<R>(
        &self,
        mut ask: impl FnMut(),
        using: impl Fn(&LiveKey, bool) -> R,
    ) -> Option<R> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if self.is_closed() {
                return None;
            }
            if let Some(used) = self.take(&using) {
                return Some(used);
            }
            ask();
            changed.await;
        }
    }

    /// Waits until there is a key, or the series is stopped or paused.
    pub(crate) async fn first(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_closed() || self.current.load().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Puts a key that is stored at the end of the chain, for so many uses; `None`: without limit. Only the actor calls it.
    pub(crate) fn link(&self, record: KeyRecord, count: Option<u64>) {
        let key = Arc::new(LiveKey::new(record, count, self.used_before.clone()));
        match self.last() {
            Some(last) => last.next.store(Some(key)),
            None => self.current.store(Some(key)),
        }
        self.changed.notify_waiters();
    }

    /// Moves on to the last key of the chain, whatever is used up or not. Only the actor calls it.
    pub(crate) fn rotate(&self) {
        let last = self.last();
        // Whoever waits is woken by news only: woken by none it would ask again at once, and so on.
        if self.current().map(|key| key.key_id) != last.as_ref().map(|key| key.key_id) {
            self.current.store(last);
            self.changed.notify_waiters();
        }
    }

    fn last(&self) -> Option<Arc<LiveKey>> {
        let mut last = self.current()?;
        while let Some(next) = last.next.load_full() {
            last = next;
        }
        Some(last)
    }

    /// Names the series that hears when a key is used up. Only the actor calls it.
    pub(crate) fn owned_by(&self, series: WeakRecipient<Advance>) {
        self.series.store(Some(Arc::new(series)));
    }

    /// A hint to the series that may get lost in a full mailbox: the next caller who needs the next key gives it again.
    pub(crate) fn tell(&self) {
        if let Some(series) = self.series.load_full().and_then(|series| series.upgrade()) {
            let _ = series.try_send(Advance);
        }
    }

    /// How many uses were taken of all keys. Those of a key that is no longer current, and still in somebody's hands,
    /// are missing for that moment.
    pub(crate) fn used(&self) -> u64 {
        let current = self.current().map_or(0, |key| key.used());
        self.used_before.load(Ordering::Relaxed).saturating_add(current)
    }

    /// The key that follows the current one, when it is made already.
    pub(crate) fn next(&self) -> Option<Arc<LiveKey>> {
        self.current()?.next.load_full()
    }

    /// Whether the current key has no use left.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.current().is_some_and(|key| key.uses_left() == Some(0))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Nobody takes a key from now on, and nobody waits.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Whether nobody may take a key now.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_stopped() || self.is_paused()
    }

    /// Begins or ends a pause. Whoever waits for a key hears of it.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Forgets all keys and serves again. Only the actor calls it.
    pub(crate) fn reset(&self) {
        self.current.store(None);
        self.stopped.store(false, Ordering::Release);
    }

    /// A compare-and-swap: whoever comes late finds that it was done.
    fn advance(&self, from: &Guard<Option<Arc<LiveKey>>>, to: Arc<LiveKey>) {
        self.current.compare_and_swap(from, Some(to));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use xbr_core::ApiId;
    use xbr_core::crypto::UserspaceEntropy;

    use super::*;

    fn link(keyring: &Keyring, count: Option<u64>) -> KeyId {
        let key_id = KeyId::random();
        let record = KeyRecord {
            key_id,
            api_id: ApiId::new([1; 16]),
            key: DataKey::generate(&UserspaceEntropy),
            price: Amount::ZERO,
            created_ns: 0,
            expires_ns: None,
            offered_ns: None,
        };
        keyring.link(record, count);
        key_id
    }

    #[test]
    fn a_count_of_n_is_exactly_n_uses_from_many_threads() {
        const COUNT: u64 = 1000;
        let keyring = Keyring::default();
        for _ in 0..8 {
            link(&keyring, Some(COUNT));
        }
        let uses = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut uses: HashMap<KeyId, u64> = HashMap::new();
                        while let Some(key_id) = keyring.take(|key, _| key.key_id) {
                            *uses.entry(key_id).or_default() += 1;
                        }
                        uses
                    })
                })
                .collect();
            let mut total: HashMap<KeyId, u64> = HashMap::new();
            for thread in threads {
                for (key, uses) in thread.join().unwrap() {
                    *total.entry(key).or_default() += uses;
                }
            }
            total
        });
        assert_eq!(uses.len(), 8);
        assert!(uses.values().all(|uses| *uses == COUNT), "{uses:?}");
        assert_eq!(keyring.used(), 8 * COUNT);
    }

    #[test]
    fn a_rotation_needs_a_next_key() {
        let keyring = Keyring::default();
        keyring.rotate();
        assert_eq!(keyring.take(|key, _| key.key_id), None);
        let first = link(&keyring, None);
        keyring.rotate();
        assert_eq!(keyring.current().unwrap().key_id, first);
        let next = link(&keyring, None);
        assert_eq!(keyring.current().unwrap().key_id, first);
        keyring.rotate();
        assert_eq!(keyring.current().unwrap().key_id, next);
    }

    #[test]
    fn uses_are_counted_without_a_limit_and_across_keys() {
        let keyring = Keyring::default();
        for (count, uses) in [(None, 3), (Some(5), 2), (None, 1)] {
            link(&keyring, count);
            keyring.rotate();
            for _ in 0..uses {
                let limited = keyring.take(|key, _| key.uses_left().is_some());
                assert_eq!(limited, Some(count.is_some()));
            }
        }
        assert_eq!(keyring.used(), 6);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_next_key_and_by_stop() {
        let keyring = Keyring::default();
        let mut asked = 0;
        let exhausted = |_: &LiveKey, exhausted| exhausted;
        let (taken, ()) = tokio::join!(keyring.take_or_wait(|| asked += 1, exhausted), async {
            link(&keyring, Some(1));
        });
        assert_eq!(taken, Some(true));
        let (none, ()) =
            tokio::join!(keyring.take_or_wait(|| asked += 1, exhausted), async { keyring.stop() });
        assert_eq!(none, None);
        assert_eq!(asked, 2);
    }
}
