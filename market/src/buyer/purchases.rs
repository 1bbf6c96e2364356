//! Which keys are wanted, who waits for them, and which one is being bought: one purchase per key, one at a
//! time, and a pause for a key that could not be bought. Pure: it has no clock, and does not know what a
//! waiter is.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use xbr_core::KeyId;

/// How many failures are remembered.
const REMEMBERED_FAILURES: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");

/// Keys that are wanted, with their waiters `W`, and why others could not be bought: `E`.
#[derive(Debug)]
pub struct Purchases<W, E> {
    waiting: HashMap<KeyId, Vec<W>>,
    queue: VecDeque<KeyId>,
    failed: LruCache<KeyId, (Instant, E)>,
    waiters: usize,
    max_waiters: usize,
    pause: Duration,
}

/// What is to be done for somebody who wants a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Want<W, E> {
    /// Nothing: it waits with others.
    Joined,
    /// It is the first: see whether the key is there, else [`enqueue`](Purchases::enqueue) it.
    LookUp,
    /// It cannot wait: the key failed a moment ago.
    Failed(W, E),
    /// It cannot wait: too many do.
    Full(W),
}

impl<W, E: Clone> Purchases<W, E> {
    /// Nothing is wanted. At most `max_waiters` may wait in all; a key that failed is not bought again for
    /// `pause`.
    pub fn new(max_waiters: usize, pause: Duration) -> Self {
        Self {
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            failed: LruCache::new(REMEMBERED_FAILURES),
            waiters: 0,
            max_waiters,
            pause,
        }
    }

    /// Somebody wants a key.
    pub fn want(&mut self, key_id: KeyId, waiter: W, now: Instant) -> Want<W, E> {
        if let Some((until, error)) = self.failed.peek(&key_id) {
            if now < *until {
                return Want::Failed(waiter, error.clone());
            }
            self.failed.pop(&key_id);
        }
        if self.waiters >= self.max_waiters {
            return Want::Full(waiter);
        }
        self.waiters += 1;
        match self.waiting.get_mut(&key_id) {
            Some(waiters) => {
                waiters.push(waiter);
                Want::Joined
            }
            None => {
                self.waiting.insert(key_id, vec![waiter]);
                Want::LookUp
            }
        }
    }

    /// A key that is waited for has to be bought.
    pub fn enqueue(&mut self, key_id: KeyId) {
        if self.waiting.contains_key(&key_id) {
            self.queue.push_back(key_id);
        }
    }

    /// The next key to buy.
    pub fn next_key(&mut self) -> Option<KeyId> {
        while let Some(key_id) = self.queue.pop_front() {
            // Its waiters may have been told otherwise meanwhile.
            if self.waiting.contains_key(&key_id) {
                return Some(key_id);
            }
        }
        None
    }

    /// A key is there: who waited for it.
    pub fn done(&mut self, key_id: KeyId) -> Vec<W> {
        self.failed.pop(&key_id);
        let waiters = self.waiting.remove(&key_id).unwrap_or_default();
        self.waiters -= waiters.len();
        waiters
    }

    /// A key could not be bought: who waited for it. Whoever wants it during the pause gets the same error.
    pub fn failed(&mut self, key_id: KeyId, error: E, now: Instant) -> Vec<W> {
        let waiters = self.done(key_id);
        if let Some(until) = now.checked_add(self.pause).filter(|until| *until > now) {
            self.failed.put(key_id, (until, error));
        }
        waiters
    }

    /// Nothing is bought any more: everybody who waited.
    pub fn abandon(&mut self) -> Vec<W> {
        self.queue.clear();
        self.waiters = 0;
        self.waiting.drain().flat_map(|(_, waiters)| waiters).collect()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.waiters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId::new([1; 16]);
    const OTHER: KeyId = KeyId::new([2; 16]);
    const PAUSE: Duration = Duration::from_secs(1);

    fn purchases() -> Purchases<u32, &'static str> {
        Purchases::new(3, PAUSE)
    }

    #[test]
    fn many_wait_for_one_purchase_in_order() {
        let (mut purchases, now) = (purchases(), Instant::now());
        assert_eq!(purchases.want(KEY, 1, now), Want::LookUp);
        assert_eq!(purchases.want(KEY, 2, now), Want::Joined);
        assert_eq!(purchases.want(OTHER, 3, now), Want::LookUp);
        purchases.enqueue(KEY);
        purchases.enqueue(OTHER);
        assert_eq!(purchases.next_key(), Some(KEY));
        assert_eq!(purchases.done(KEY), [1, 2]);
        assert_eq!(purchases.next_key(), Some(OTHER));
        assert_eq!(purchases.next_key(), None);
        assert_eq!(purchases.waiters(), 1);
    }

    #[test]
    fn a_failed_key_pauses_and_only_then_is_tried_again() {
        let (mut purchases, now) = (purchases(), Instant::now());
        purchases.want(KEY, 1, now);
        assert_eq!(purchases.failed(KEY, "no", now), [1]);
        assert_eq!(purchases.want(KEY, 2, now), Want::Failed(2, "no"));
        assert_eq!(purchases.want(OTHER, 3, now), Want::LookUp);
        assert_eq!(purchases.want(KEY, 4, now + PAUSE), Want::LookUp);
    }

    #[test]
    fn waiters_are_bounded_and_counted_down() {
        let (mut purchases, now) = (purchases(), Instant::now());
        for waiter in 0..3 {
            purchases.want(KEY, waiter, now);
        }
        assert_eq!(purchases.want(KEY, 3, now), Want::Full(3));
        assert_eq!(purchases.want(OTHER, 4, now), Want::Full(4));
        assert_eq!(purchases.abandon(), [0, 1, 2]);
        assert_eq!(purchases.want(OTHER, 4, now), Want::LookUp);
    }

    #[test]
    fn what_was_abandoned_is_not_bought() {
        let (mut purchases, now) = (purchases(), Instant::now());
        purchases.want(KEY, 1, now);
        purchases.enqueue(KEY);
        assert_eq!(purchases.abandon(), [1]);
        purchases.enqueue(KEY);
        assert_eq!(purchases.next_key(), None);
    }
}
