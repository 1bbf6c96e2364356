//! The pump of a feed: takes items from its source in their order, encrypts and publishes them, a bounded
//! number ahead of their acknowledgement, and repeats what got no answer. Owned by the feed's task; nothing
//! of it survives, and whoever gave an item hears of its outcome once.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use xbr_actors::messages::MarketError;
use xbr_actors::{WrapError, Wrapped};
use xbr_core::Value;
use xbr_core::cbor::Limits;
use xbr_wamp::codec::json::parse_plain;

use super::outlet::Outlet;
use super::source::{BadItem, Content, Item, Outcome};
use super::status::{FeedMeter, FeedState};
use crate::config::FeedConfig;
use crate::in_order::begins_in_order;

/// How many encrypted bytes of a feed may wait for their acknowledgement, beside the first.
const MAX_BYTES_IN_FLIGHT: usize = 16 << 20;
/// How often an event is sent that gets no answer: one that costs the session each time must not do so for
/// ever.
const MAX_UNANSWERED: u32 = 5;
/// How often to look whether a paused API is resumed.
const PAUSED: Duration = Duration::from_millis(250);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

type Items = mpsc::Receiver<io::Result<Item>>;

/// An encrypted item.
#[derive(Debug)]
struct Event {
    ticket: Ticket,
    topic: Arc<str>,
    wrapped: Wrapped,
}

/// An item that has been taken and is not settled yet.
#[derive(Debug)]
struct Ticket {
    /// Its number in the log.
    line: u64,
    /// Which one it is of those that the pump took.
    id: u64,
    receipt: Option<oneshot::Sender<Outcome>>,
}

type Answered = (Event, Result<(), MarketError>);

pub(super) struct Pump<'a, O> {
    meter: &'a FeedMeter,
    outlet: O,
    topic: Arc<str>,
    limits: Limits,
    window: usize,
    /// In the order of the items.
    in_flight: FuturesOrdered<Pin<Box<dyn Future<Output = Answered> + Send>>>,
    bytes: usize,
    taken: u64,
    /// What is not settled yet, and since when, in Unix ns; the oldest first.
    pending: VecDeque<(u64, u64)>,
}

impl<'a, O: Outlet> Pump<'a, O> {
    pub(super) fn new(config: &FeedConfig, outlet: O, meter: &'a FeedMeter) -> Self {
        Self {
            meter,
            outlet,
            topic: config.uri.as_str().into(),
            limits: config.limits,
            window: config.in_flight,
            in_flight: FuturesOrdered::new(),
            bytes: 0,
            taken: 0,
            pending: VecDeque::new(),
        }
    }

    /// Publishes until the source ends and everything is settled.
    pub(super) async fn run(&mut self, items: &mut Items) -> FeedState {
        let mut end = None;
        while end.is_none() || !self.in_flight.is_empty() {
            let room = self.in_flight.len() < self.window && self.bytes < MAX_BYTES_IN_FLIGHT;
            tokio::select! {
                biased;
                Some(answered) = self.in_flight.next() => self.settle(answered).await,
                item = items.recv(), if room && end.is_none() => match item {
                    Some(Ok(item)) => self.take(item).await,
                    Some(Err(error)) => {
                        tracing::error!(feed = self.meter.feed(), %error, "cannot read the feed");
                        self.meter.set_error(Some(error.to_string()));
                        end = Some(FeedState::Failed);
                    }
                    None => end = Some(FeedState::Ended),
                },
            }
        }
        end.unwrap_or(FeedState::Ended)
    }

    /// Waits for what is in flight, without another attempt.
    pub(super) async fn settle_all(&mut self) {
        while let Some((event, result)) = self.in_flight.next().await {
            // A failed one counts as unpublished.
            let _ = self.note(event, result);
        }
    }

    /// Parses, encrypts and sends an item.
    async fn take(&mut self, item: Item) {
        let Item { number, content, topic, receipt } = item;
        let ticket = Ticket { line: number, id: self.taken, receipt };
        if matches!(&content, Ok(Content::Line(text)) if text.trim_ascii().is_empty()) {
            return ticket.settle(Ok(()));
        }
        self.taken += 1;
        self.meter.count_read();
        self.pending.push_back((ticket.id, self.meter.now_ns()));
        self.note_pending();
        let payload = content.and_then(|content| match content {
            Content::Line(text) => parse_plain(&text, &self.limits).map_err(BadItem::of),
            Content::Value(value) => Ok(value),
        });
        let topic = topic.map_or_else(|| self.topic.clone(), Arc::from);
        match payload {
            Ok(payload) => self.send(ticket, topic, &payload).await,
            Err(error) => self.skip(ticket, &error),
        }
    }

    async fn send(&mut self, ticket: Ticket, topic: Arc<str>, payload: &Value) {
        let wrapped = match self.wrap(ticket.line, &topic, payload).await {
            Ok(wrapped) => wrapped,
            Err(error) => return self.skip(ticket, &error),
        };
        self.bytes += wrapped.ciphertext.len();
        let outlet = self.outlet.clone();
        let event = Event { ticket, topic, wrapped };
        self.in_flight.push_back(Box::pin(begins_in_order(async move {
            let result = outlet.publish(&event.topic, event.wrapped.clone()).await;
            (event, result)
        })));
    }

    /// Encrypts, waiting for a key for as long as it takes.
    async fn wrap(&mut self, line: u64, topic: &str, payload: &Value) -> Result<Wrapped, WrapError> {
        loop {
            match self.outlet.wrap(topic, payload).await {
                Err(error @ WrapError::NoKey { .. }) => {
                    self.meter.set_state(FeedState::Held);
                    tracing::warn!(feed = self.meter.feed(), line, %error, "the feed waits for a key");
                }
                Err(error @ WrapError::Paused { .. }) => {
                    self.meter.set_state(FeedState::Held);
                    tracing::debug!(feed = self.meter.feed(), line, %error, "the feed waits for the end of a pause");
                    sleep(PAUSED).await;
                }
                Err(WrapError::Stopped) => {
                    self.meter.set_state(FeedState::Held);
                    sleep(FIRST_RETRY).await;
                    self.outlet.joined().await;
                }
                result => {
                    self.meter.set_state(FeedState::Running);
                    return result;
                }
            }
        }
    }

    /// Takes note of an acknowledgement. After a failure nothing new is sent until everything that failed is
    /// published, one after the other.
    async fn settle(&mut self, (event, result): Answered) {
        let Some(failed) = self.note(event, result) else { return };
        let mut failures = vec![failed];
        while let Some((event, result)) = self.in_flight.next().await {
            failures.extend(self.note(event, result));
        }
        let (feed, events) = (self.meter.feed(), failures.len());
        self.meter.set_state(FeedState::Held);
        tracing::warn!(feed, events, "publications failed, the feed waits for the session");
        for (event, error) in failures {
            self.repeat(event, error).await;
        }
        self.meter.set_state(FeedState::Running);
        tracing::info!(feed, "the feed goes on");
    }

    /// Gives a failed event back.
    fn note(&mut self, event: Event, result: Result<(), MarketError>) -> Option<(Event, MarketError)> {
        self.bytes = self.bytes.saturating_sub(event.wrapped.ciphertext.len());
        match result {
            Ok(()) => self.published(event),
            Err(error @ (MarketError::Refused { .. } | MarketError::Unsendable { .. })) => {
                self.refuse(event.ticket, &error);
            }
            Err(error) => return Some((event, error)),
        }
        None
    }

    async fn repeat(&mut self, event: Event, mut error: MarketError) {
        let mut delay = FIRST_RETRY;
        let mut unanswered = 0;
        loop {
            match &error {
                MarketError::Refused { .. } | MarketError::Unsendable { .. } => {
                    return self.refuse(event.ticket, &error);
                }
                MarketError::NotJoined => {}
                _ => unanswered += 1,
            }
            if unanswered == MAX_UNANSWERED {
                return self.give_up(event.ticket, &error);
            }
            sleep(delay).await;
            delay = LAST_RETRY.min(delay * 2);
            self.outlet.joined().await;
            match self.outlet.publish(&event.topic, event.wrapped.clone()).await {
                Ok(()) => return self.published(event),
                Err(again) => error = again,
            }
        }
    }

    fn published(&mut self, event: Event) {
        self.meter.count_published(event.wrapped.ciphertext.len());
        self.done(event.ticket, Ok(()));
    }

    fn skip(&mut self, ticket: Ticket, error: &dyn fmt::Display) {
        self.meter.count_skipped();
        let line = ticket.line;
        tracing::warn!(feed = self.meter.feed(), line, %error, "bad line skipped");
        self.done(ticket, Err(error));
    }

    fn refuse(&mut self, ticket: Ticket, error: &MarketError) {
        self.meter.count_refused();
        self.unpublished(ticket, error);
    }

    fn give_up(&mut self, ticket: Ticket, error: &MarketError) {
        self.meter.count_given_up();
        self.unpublished(ticket, error);
    }

    fn unpublished(&mut self, ticket: Ticket, error: &MarketError) {
        let line = ticket.line;
        tracing::error!(feed = self.meter.feed(), line, %error, "line not published");
        self.done(ticket, Err(error));
    }

    /// Nothing more will be done about an item.
    fn done(&mut self, ticket: Ticket, outcome: Result<(), &dyn fmt::Display>) {
        // What is settled is nearly always the oldest.
        if let Some(at) = self.pending.iter().position(|(id, _)| *id == ticket.id) {
            self.pending.remove(at);
        }
        self.note_pending();
        ticket.settle(outcome);
    }

    fn note_pending(&self) {
        self.meter.set_pending_since(self.pending.front().map(|(_, since_ns)| *since_ns));
    }
}

impl Ticket {
    /// Tells whoever gave the item.
    fn settle(self, outcome: Result<(), &dyn fmt::Display>) {
        if let Some(receipt) = self.receipt {
            // Whoever gave it may have gone.
            let _ = receipt.send(outcome.map_err(ToString::to_string));
        }
    }
}
