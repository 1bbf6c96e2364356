//! What is shown of a market that runs: counts, rates of the last minute, and what happened last. Pure: time
//! comes as what has passed since the start.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use xbr_actors::ApiOptions;
use xbr_core::{Amount, ApiId, KeyId};

use super::accounts::Totals;

/// For how many seconds rates are kept.
const MINUTE: usize = 60;
/// How many events are kept.
const RECENT: usize = 64;

/// What is shown.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// How long it has run.
    pub elapsed: Duration,
    /// How many buy.
    pub buyers: usize,
    /// Where the dashboard is, if there is one.
    pub dashboard: Option<SocketAddr>,
    /// What is sold.
    pub apis: Vec<ApiBoard>,
    /// Keys that were sold.
    pub sales: Meter,
    /// Events that were decrypted.
    pub events: Meter,
    /// Purchases that failed.
    pub refused: u64,
    /// Offers that can be bought now.
    pub offers: usize,
    /// The events that were decrypted last, the newest first.
    pub recent: VecDeque<RecentEvent>,
    /// Where the money is, by everybody's own books.
    pub money: Totals,
}

/// What is shown of an API.
#[derive(Debug, Clone)]
pub struct ApiBoard {
    /// Its id.
    pub api_id: ApiId,
    /// The prefix of its URIs.
    pub prefix: String,
    /// What a key costs.
    pub price: Amount,
    /// How long a key is used, if time limits it.
    pub interval: Option<Duration>,
    /// The key that is used now, and since when.
    pub key: Option<(KeyId, Duration)>,
    /// How many keys there have been.
    pub rotations: u64,
    /// How many of its keys were sold.
    pub sold: u64,
}

/// An event that was decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentEvent {
    /// When.
    pub at: Duration,
    /// The topic.
    pub topic: Arc<str>,
    /// The key.
    pub key_id: KeyId,
    /// The payload, as JSON.
    pub payload: String,
    /// By how many buyers.
    pub buyers: u64,
}

/// Something that is counted, in all and for each of the last sixty seconds.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    total: u64,
    /// The newest second is the last.
    seconds: VecDeque<u64>,
    now_s: u64,
}

impl Meter {
    /// Counts so many at a time.
    pub fn add(&mut self, elapsed: Duration, count: u64) {
        self.advance(elapsed);
        self.total += count;
        if let Some(second) = self.seconds.back_mut() {
            *second += count;
        }
    }

    /// Begins the seconds up to a time.
    pub fn advance(&mut self, elapsed: Duration) {
        let now_s = elapsed.as_secs();
        let begun = (now_s + 1).saturating_sub(if self.seconds.is_empty() { 0 } else { self.now_s + 1 });
        for _ in 0..begun.min(MINUTE as u64) {
            self.seconds.push_back(0);
        }
        self.seconds.drain(..self.seconds.len().saturating_sub(MINUTE));
        self.now_s = self.now_s.max(now_s);
    }

    /// All that were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many there were a second in the last five that are over, with one decimal.
    pub fn rate(&self) -> String {
        let history = self.history(5);
        let seconds = u64::try_from(history.len()).unwrap_or_default().max(1);
        let tenths = history.iter().sum::<u64>() * 10 / seconds;
        format!("{}.{}", tenths / 10, tenths % 10)
    }

    /// How many there were in each second that is over, the newest last; at most `count`.
    pub fn history(&self, count: usize) -> Vec<u64> {
        let over = self.seconds.len().saturating_sub(1);
        self.seconds.iter().take(over).skip(over.saturating_sub(count)).copied().collect()
    }
}

impl fmt::Display for Board {
    /// One line, for where there is no screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sales, events, offers, refused) = (&self.sales, &self.events, self.offers, self.refused);
        let Totals { spent, received, earned, .. } = self.money;
        write!(f, "{} s: {} keys sold ({}/s), ", self.elapsed.as_secs(), sales.total(), sales.rate())?;
        write!(f, "{} events ({}/s), {offers} offers, {refused} refused; ", events.total(), events.rate())?;
        write!(f, "spent {spent} XBR, received {received}, earned {earned}")
    }
}

impl Board {
    /// Lets time pass.
    pub fn advance(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        self.sales.advance(elapsed);
        self.events.advance(elapsed);
    }

    /// An event was decrypted by a buyer, perhaps by others before.
    pub fn decrypted(&mut self, event: RecentEvent) {
        self.events.add(event.at, event.buyers);
        let same = |other: &&mut RecentEvent| other.topic == event.topic && other.payload == event.payload;
        if let Some(other) = self.recent.iter_mut().find(same) {
            other.buyers += event.buyers;
            return;
        }
        self.recent.push_front(event);
        self.recent.truncate(RECENT);
    }

    /// So many keys were sold for the events of a topic.
    pub fn sold(&mut self, at: Duration, topic: &str, count: u64) {
        self.sales.add(at, count);
        if let Some(api) = self.apis.iter_mut().find(|api| topic.starts_with(&api.prefix)) {
            api.sold += count;
        }
    }

    /// This is the key of an API now.
    pub fn rotated(&mut self, at: Duration, api_id: ApiId, key_id: Option<KeyId>, rotations: u64) {
        let Some(api) = self.apis.iter_mut().find(|api| api.api_id == api_id) else { return };
        api.rotations = rotations;
        if api.key.map(|(key_id, _)| key_id) != key_id {
            api.key = key_id.map(|key_id| (key_id, at));
        }
    }
}

impl ApiBoard {
    /// One that is not on sale yet.
    pub fn new(options: &ApiOptions) -> Self {
        Self {
            api_id: options.terms.api_id,
            prefix: options.terms.prefix.to_string(),
            price: options.terms.price,
            interval: options.rotation.interval.filter(|_| options.rotation.count.is_none()),
            key: None,
            rotations: 0,
            sold: 0,
        }
    }

    /// How long its key is still used, and how long a key is used.
    pub fn left(&self, elapsed: Duration) -> Option<(Duration, Duration)> {
        let (interval, (_, since)) = (self.interval?, self.key?);
        Some((interval.saturating_sub(elapsed.saturating_sub(since)), interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_meter_counts_each_second_and_forgets_those_of_more_than_a_minute_ago() {
        let mut meter = Meter::default();
        meter.add(S(0), 5);
        meter.add(S(0), 1);
        assert_eq!((meter.total(), meter.rate().as_str(), meter.history(9)), (6, "0.0", vec![]));
        meter.add(S(1), 3);
        assert_eq!((meter.rate().as_str(), meter.history(9)), ("6.0", vec![6]));
        meter.advance(S(4));
        assert_eq!((meter.rate().as_str(), meter.history(9)), ("2.2", vec![6, 3, 0, 0]));
        assert_eq!(meter.history(2), [0, 0]);
        meter.add(S(1000), 3);
        assert_eq!((meter.total(), meter.history(100)), (12, vec![0; 59]));
        // Time does not run backwards, whatever the caller says.
        meter.add(S(7), 1);
        assert_eq!(meter.history(100), [0; 59]);
    }

    #[test]
    fn an_event_that_several_buyers_decrypt_is_shown_once() {
        let mut board = Board::default();
        let event = |payload: &str| RecentEvent {
            at: S(0),
            topic: Arc::from("demo.wind"),
            key_id: KeyId::new([1; 16]),
            payload: payload.to_owned(),
            buyers: 1,
        };
        for payload in ["1", "2", "1", "1"] {
            board.decrypted(event(payload));
        }
        let shown: Vec<_> = board.recent.iter().map(|event| (event.payload.as_str(), event.buyers)).collect();
        assert_eq!((shown, board.events.total()), (vec![("2", 1), ("1", 3)], 4));
        for number in 0..1000 {
            board.decrypted(event(&number.to_string()));
        }
        assert_eq!(board.recent.len(), RECENT);
    }

    #[test]
    fn the_age_of_a_key_begins_with_its_first_use() {
        let (one, two) = (KeyId::new([1; 16]), KeyId::new([2; 16]));
        let api_id = ApiId::new([9; 16]);
        let api = ApiBoard {
            api_id,
            prefix: "demo.wind".into(),
            price: Amount::from_xbr(1),
            interval: Some(S(10)),
            key: None,
            rotations: 0,
            sold: 0,
        };
        let mut board = Board { apis: vec![api], ..Board::default() };
        assert_eq!(board.apis[0].left(S(0)), None);
        board.rotated(S(3), api_id, Some(one), 1);
        board.rotated(S(5), api_id, Some(one), 1);
        assert_eq!(board.apis[0].left(S(5)), Some((S(8), S(10))));
        assert_eq!(board.apis[0].left(S(50)), Some((S(0), S(10))));
        board.rotated(S(13), api_id, Some(two), 2);
        assert_eq!(board.apis[0].left(S(13)), Some((S(10), S(10))));
        board.sold(S(13), "demo.wind", 2);
        board.sold(S(13), "demo.weather", 1);
        assert_eq!((board.apis[0].sold, board.sales.total()), (2, 3));
    }
}
