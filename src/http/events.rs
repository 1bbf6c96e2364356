//! What happens, told as it happens: server-sent events.
//!
//! A task of its own, the hub, hears of everything, numbers it and passes it on. What it keeps is bounded: the latest
//! events, for readers that come back, and a number of them for each reader. A reader that falls behind is left, and
//! comes back with the id of the last event that it saw. Nothing here survives a restart.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use xbr_actors::{Event, Observer, SellerHandle, SellerState};
use xbr_core::ApiId;

use super::App;
use super::happening::view;
use super::problem::Problem;
use super::shape::ChannelView;
use crate::feed::{FeedStatus, Feeds};

/// How many events wait for the hub.
const BACKLOG: usize = 4096;
/// How many events are kept for readers that come back.
const KEPT: usize = 1024;
/// How many events may wait for a reader.
const READER_BACKLOG: usize = 256;
/// How often it is looked for changes of which no event tells.
const LOOK: Duration = Duration::from_secs(1);
/// A comment goes out so often, so that a reader that has gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where a seller's events come in: one end for the seller, the other for the hub.
pub(super) fn channel() -> (Watcher, Watched) {
    let (happened, heard) = mpsc::channel(BACKLOG);
    let lost = Arc::new(AtomicBool::new(false));
    (Watcher { happened, lost: lost.clone() }, Watched { heard, lost })
}

/// Passes a seller's events on, and waits for nobody.
#[derive(Debug)]
pub struct Watcher {
    happened: mpsc::Sender<Event>,
    lost: Arc<AtomicBool>,
}

impl Observer for Watcher {
    fn told(&self, event: &Event) {
        if self.happened.try_send(event.clone()).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

/// The hub's end.
#[derive(Debug)]
pub struct Watched {
    heard: mpsc::Receiver<Event>,
    /// Whether some found no room.
    lost: Arc<AtomicBool>,
}

/// The hub, as seen by the handlers.
#[derive(Debug, Clone)]
pub(super) struct Events {
    hub: mpsc::Sender<Ask>,
    reason: watch::Receiver<Option<String>>,
}

#[derive(Debug)]
enum Ask {
    /// A reader comes, or comes back.
    Read { last_id: Option<String>, reply: oneshot::Sender<Reading> },
    /// Something has been done, by way of this interface or beside it.
    Tell { kind: &'static str, data: Value },
}

/// What a reader gets: what it has missed, and then what follows.
#[derive(Debug)]
struct Reading {
    missed: Vec<Arc<Record>>,
    following: mpsc::Receiver<Arc<Record>>,
}

/// An event as it is sent.
#[derive(Debug)]
struct Record {
    number: u64,
    id: String,
    kind: &'static str,
    data: String,
}

/// What is asked, for the hub.
#[derive(Debug)]
pub(super) struct Asked {
    asks: mpsc::Receiver<Ask>,
    /// Why the session was lost, while it is away.
    reason: watch::Sender<Option<String>>,
}

impl Events {
    /// One end for those who ask, the other for the hub.
    pub(super) fn channel() -> (Self, Asked) {
        let (ask, asked) = mpsc::channel(64);
        let (reason, told_reason) = watch::channel(None);
        (Self { hub: ask, reason: told_reason }, Asked { asks: asked, reason })
    }

    /// Tells that somebody has changed an API, and what of it.
    pub(super) async fn tell_api(&self, api_id: ApiId, change: &str) {
        let data = json!({ "api_id": api_id.to_string(), "change": change });
        // Without a hub the service ends.
        let _ = self.hub.send(Ask::Tell { kind: "api", data }).await;
    }

    /// Why the session was lost, while it is away.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }
}

/// `GET /v1/events`.
pub(super) async fn events(State(app): State<App>, headers: HeaderMap) -> Result<impl IntoResponse, Problem> {
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let (reply, reading) = oneshot::channel();
    app.events.hub.send(Ask::Read { last_id, reply }).await.map_err(|_| Problem::gone())?;
    let reading = reading.await.map_err(|_| Problem::gone())?;
    Ok(Sse::new(sent(reading)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn sent(reading: Reading) -> impl Stream<Item = Result<Sent, Infallible>> {
    let following = stream::unfold(reading.following, |mut following| async move {
        following.recv().await.map(|record| (record, following))
    });
    let records = stream::iter(reading.missed).chain(following);
    let sent = records.map(|record| Sent::default().id(&record.id).event(record.kind).data(&record.data));
    let farewell = Sent::default().comment("too slow, or the service stops; come back with Last-Event-ID");
    sent.chain(stream::iter([farewell])).map(Ok)
}

/// The task that numbers the events and passes them on.
#[derive(Debug)]
pub(super) struct Hub {
    seller: SellerHandle,
    feeds: Feeds,
    watched: Watched,
    asked: Asked,
    /// Tells the events of this life from those of others.
    boot: String,
    /// How many events there were.
    told: u64,
    kept: VecDeque<Arc<Record>>,
    readers: Vec<mpsc::Sender<Arc<Record>>>,
    /// Whether the channels may have changed since they were told.
    is_stale: bool,
    /// As they were told.
    channels: Vec<ChannelView>,
    /// As it was told.
    feed_status: Vec<FeedStatus>,
}

impl Hub {
    /// Of a life that began at a Unix time in ns.
    pub(super) fn new(
        seller: SellerHandle,
        feeds: Feeds,
        watched: Watched,
        asked: Asked,
        boot_ns: u64,
    ) -> Self {
        Self {
            seller,
            feeds,
            watched,
            asked,
            boot: format!("{boot_ns:x}"),
            told: 0,
            kept: VecDeque::with_capacity(KEPT),
            readers: Vec::new(),
            is_stale: false,
            channels: Vec::new(),
            feed_status: Vec::new(),
        }
    }

    /// Runs until the seller or the handlers have gone.
    pub(super) async fn run(mut self) {
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.watched.heard.recv() => match event {
                    Some(event) => self.hear(&event),
                    None => return,
                },
                ask = self.asked.asks.recv() => match ask {
                    Some(Ask::Read { last_id, reply }) => self.admit(last_id.as_deref(), reply),
                    Some(Ask::Tell { kind, data }) => self.tell(kind, &data),
                    None => return,
                },
                _ = looks.tick() => self.look().await,
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        if self.watched.lost.swap(false, Ordering::Relaxed) {
            self.tell("reset", &json!({}));
        }
        self.is_stale |=
            !matches!(event, Event::TurnedAway { .. } | Event::Rotated { .. } | Event::Offer { .. });
        match event {
            Event::SessionLost { reason } | Event::NotBack { reason } => {
                self.asked.reason.send_replace(Some(reason.clone()));
            }
            Event::State(SellerState::Started) => {
                self.asked.reason.send_replace(None);
            }
            _ => {}
        }
        let (kind, data) = view(event);
        self.tell(kind, &data);
    }

    fn tell(&mut self, kind: &'static str, data: &Value) {
        self.told += 1;
        let id = format!("{}-{}", self.boot, self.told);
        let record = Arc::new(Record { number: self.told, id, kind, data: data.to_string() });
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(record.clone());
        // One that has no room is too slow, and one that is closed has gone.
        self.readers.retain(|reader| reader.try_send(record.clone()).is_ok());
    }

    fn admit(&mut self, last_id: Option<&str>, reply: oneshot::Sender<Reading>) {
        let missed = last_id.and_then(|id| self.after(id)).unwrap_or_else(|| {
            // What is known may be old: it is for the reader to look how things stand.
            let id = format!("{}-{}", self.boot, self.told);
            vec![Arc::new(Record { number: self.told, id, kind: "reset", data: "{}".to_owned() })]
        });
        let (reader, following) = mpsc::channel(READER_BACKLOG);
        if reply.send(Reading { missed, following }).is_ok() {
            self.readers.push(reader);
        }
    }

    /// What came after an event; `None` when that is not known any more.
    fn after(&self, id: &str) -> Option<Vec<Arc<Record>>> {
        let number: u64 = id.strip_prefix(&self.boot)?.strip_prefix('-')?.parse().ok()?;
        let oldest = self.kept.front().map_or(self.told + 1, |record| record.number);
        if number > self.told || number + 1 < oldest {
            return None;
        }
        Some(self.kept.iter().filter(|record| record.number > number).cloned().collect())
    }

    /// Looks for changes that no event tells of, as long as somebody reads.
    async fn look(&mut self) {
        self.readers.retain(|reader| !reader.is_closed());
        if self.readers.is_empty() {
            return;
        }
        let feeds = self.feeds.status();
        if feeds != self.feed_status {
            self.tell("feeds", &json!({ "feeds": feeds }));
            self.feed_status = feeds;
        }
        if !std::mem::replace(&mut self.is_stale, false) {
            return;
        }
        let Some(status) = self.seller.observe().await else { return };
        let channels: Vec<_> = status.channels.into_iter().map(ChannelView::from).collect();
        if channels != self.channels {
            self.tell("balance", &json!({ "channels": channels }));
            self.channels = channels;
        }
    }
}
