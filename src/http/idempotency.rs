//! Repeats of a publication: the same `Idempotency-Key` with the same request gets the first answer again, also while
//! the first is still under way. A bounded number of keys is remembered for a day, in memory: a restart forgets them.
//!
//! Only what succeeded is remembered. After a failure, and where it is not known whether the event went out, a repeat
//! publishes: at least once, then.

use std::future::Future;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use xbr_core::KeyId;

use super::problem::{Kind, Problem};

/// For how long a key is remembered.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest key, in characters.
const MAX_KEY_LEN: usize = 255;

/// What a request is told apart by: a hash of all that it says.
pub(super) type Fingerprint = [u8; 32];

/// What a publication comes to: the key that the event is encrypted with.
pub(super) type Published = Result<KeyId, Problem>;

/// The keys, as seen by the requests. A task of its own owns them.
#[derive(Debug, Clone)]
pub(super) struct Idempotency(mpsc::Sender<Enter>);

/// The key of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// From the header.
    pub(super) fn new(text: &str) -> Result<Self, Problem> {
        if text.is_empty() || text.len() > MAX_KEY_LEN || !text.bytes().all(|c| c.is_ascii_graphic()) {
            let detail = format!("Idempotency-Key must be 1 to {MAX_KEY_LEN} visible ASCII characters");
            return Err(Problem::invalid(detail));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A request asks for its part.
#[derive(Debug)]
struct Enter {
    key: IdempotencyKey,
    fingerprint: Fingerprint,
    reply: oneshot::Sender<Part>,
}

/// What a request has to do.
#[derive(Debug)]
enum Part {
    /// Do it, and say what came of it.
    First(watch::Sender<Option<Published>>),
    /// Wait for what comes of the first.
    Again(watch::Receiver<Option<Published>>),
    /// It is another request with the same key.
    Other,
}

impl Idempotency {
    /// Starts the task, which remembers so many keys, the latest used, and ends when the last of those who may ask has
    /// gone.
    pub(super) fn spawn(max_keys: NonZeroUsize) -> Self {
        let (ask, mut asked) = mpsc::channel::<Enter>(256);
        tokio::spawn(async move {
            let mut table = Table(LruCache::new(max_keys));
            while let Some(Enter { key, fingerprint, reply }) = asked.recv().await {
                // Whoever asked may have gone.
                let _ = reply.send(table.enter(key, fingerprint));
            }
        });
        Self(ask)
    }

    /// Does the work, or waits for whoever does it already. The work goes on when the request is given up meanwhile, so
    /// that a repeat of it finds out.
    pub(super) async fn once(
        &self,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
        work: impl Future<Output = Published> + Send + 'static,
    ) -> Published {
        let lost = || Problem::new(Kind::OutcomeUnknown, "the publication was lost; repeat it");
        let (reply, part) = oneshot::channel();
        self.0.send(Enter { key, fingerprint, reply }).await.map_err(|_| lost())?;
        let mut outcome = match part.await.map_err(|_| lost())? {
            Part::First(done) => {
                let outcome = done.subscribe();
                tokio::spawn(async move { done.send_replace(Some(work.await)) });
                outcome
            }
            Part::Again(outcome) => outcome,
            Part::Other => {
                let detail =
                    "a request with another body, URI or API had this Idempotency-Key; use a new one";
                return Err(Problem::new(Kind::KeyReused, detail));
            }
        };
        let outcome = outcome.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or_else(|| Err(lost()))
    }
}

/// The keys that are remembered.
struct Table(LruCache<IdempotencyKey, Entry>);

struct Entry {
    fingerprint: Fingerprint,
    made: Instant,
    outcome: watch::Receiver<Option<Published>>,
}

impl Entry {
    /// Whether it counts no more: it is over, or came to nothing.
    fn is_void(&self) -> bool {
        let is_lost = self.outcome.has_changed().is_err() && self.outcome.borrow().is_none();
        is_lost || self.made.elapsed() >= WINDOW || matches!(&*self.outcome.borrow(), Some(Err(_)))
    }
}

impl Table {
    fn enter(&mut self, key: IdempotencyKey, fingerprint: Fingerprint) -> Part {
        if let Some(entry) = self.0.get(&key).filter(|entry| !entry.is_void()) {
            if entry.fingerprint != fingerprint {
                return Part::Other;
            }
            return Part::Again(entry.outcome.clone());
        }
        let (done, outcome) = watch::channel(None);
        self.0.put(key, Entry { fingerprint, made: Instant::now(), outcome });
        Part::First(done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct World {
        idempotency: Idempotency,
        done: Arc<AtomicU32>,
    }

    impl World {
        fn new() -> Self {
            Self {
                idempotency: Idempotency::spawn(NonZeroUsize::MIN.saturating_add(1)),
                done: Arc::default(),
            }
        }

        /// A publication that takes a second.
        async fn once(&self, key: &str, body: u8, result: Result<u8, Kind>) -> Published {
            let done = self.done.clone();
            let work = async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                done.fetch_add(1, Ordering::Relaxed);
                result.map(|id| KeyId::new([id; 16])).map_err(|kind| Problem::new(kind, "on purpose"))
            };
            self.idempotency.once(IdempotencyKey::new(key).unwrap(), [body; 32], work).await
        }

        fn done(&self) -> u32 {
            self.done.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_gets_the_first_answer_also_while_the_first_is_under_way() {
        let world = World::new();
        let (first, second) = tokio::join!(world.once("a", 1, Ok(1)), world.once("a", 1, Ok(2)));
        assert_eq!((first, second), (Ok(KeyId::new([1; 16])), Ok(KeyId::new([1; 16]))));
        assert_eq!(world.once("a", 1, Ok(3)).await, Ok(KeyId::new([1; 16])));
        assert_eq!(world.once("b", 1, Ok(4)).await, Ok(KeyId::new([4; 16])));
        assert_eq!(world.done(), 2);
        tokio::time::advance(WINDOW).await;
        assert_eq!(world.once("a", 1, Ok(5)).await, Ok(KeyId::new([5; 16])), "a day is over");
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_keys_are_remembered() {
        let world = World::new();
        for key in ["a", "b", "a", "c"] {
            world.once(key, 1, Ok(1)).await.unwrap();
        }
        assert_eq!(world.done(), 3);
        world.once("a", 1, Ok(2)).await.unwrap();
        assert_eq!(world.done(), 3, "it was used after the other one");
        world.once("b", 1, Ok(2)).await.unwrap();
        assert_eq!(world.done(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn another_request_with_the_same_key_is_refused() {
        let world = World::new();
        world.once("a", 1, Ok(1)).await.unwrap();
        let other = world.once("a", 2, Ok(2)).await.unwrap_err();
        assert_eq!(other.kind(), Kind::KeyReused);
        assert_eq!(world.done(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_done_again() {
        let world = World::new();
        let repeats = tokio::join!(world.once("a", 1, Err(Kind::OutcomeUnknown)), world.once("a", 1, Ok(1)),);
        assert!(repeats.0.is_err() && repeats.1.is_err(), "those who waited hear of it as well");
        assert_eq!(world.once("a", 1, Ok(2)).await, Ok(KeyId::new([2; 16])));
        assert_eq!(world.done(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_is_done_all_the_same() {
        let world = World::new();
        let given_up = tokio::time::timeout(Duration::from_millis(500), world.once("a", 1, Ok(1))).await;
        assert!(given_up.is_err());
        assert_eq!(world.once("a", 1, Ok(2)).await, Ok(KeyId::new([1; 16])));
        assert_eq!(world.done(), 1);
    }

    #[tokio::test]
    async fn a_key_is_visible_ascii() {
        for bad in ["", "a b", "é", &"a".repeat(256)] {
            assert!(IdempotencyKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(IdempotencyKey::new(&"a".repeat(255)).is_ok());
    }
}
