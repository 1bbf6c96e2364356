//! Events of another router, such as the provider's private one. They cannot be read again: what is
//! published there while the bridge is away, or lost with the process, is lost. While the market is away
//! nothing is read from the connection once a few events wait, and it is for that router to keep the rest.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio::time::sleep;
use xbr_core::Value;
use xbr_wamp::request::SubscriptionId;
use xbr_wamp::{Auth, CallError, ConnectError, Dial, Event, Incoming, IncomingEvent, Session};

use super::source::{AHEAD, BadItem, Content, Item, Source};
use super::status::FeedMeter;
use crate::config::{BridgeConfig, BridgeTopic};

/// How many events may wait beside those that the feed has taken.
const CAPACITY: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Starts to subscribe, and to come back whenever the session is lost.
pub(super) fn open(config: &BridgeConfig, auth: Auth, meter: &Arc<FeedMeter>) -> Source {
    let mut options = config.router.options(auth);
    options.incoming_capacity = CAPACITY;
    let (items, receiver) = mpsc::channel(AHEAD);
    let topics = config.topics.clone();
    let bridge = Bridge { dial: options.into(), topics, items, meter: meter.clone(), number: 0 };
    let running = tokio::spawn(bridge.run());
    let finish = Box::pin(async move {
        // One that panicked has left already.
        let _ = running.await;
    });
    Source { items: receiver, finish }
}

struct Bridge {
    dial: Dial,
    topics: Vec<BridgeTopic>,
    items: mpsc::Sender<io::Result<Item>>,
    meter: Arc<FeedMeter>,
    number: u64,
}

/// A session with its subscriptions.
struct Joined {
    session: Session,
    incoming: Incoming,
    /// The topic of each, by its place in the list.
    subscriptions: HashMap<SubscriptionId, usize>,
    /// How many events the session has lost, as far as they are counted.
    dropped: u64,
}

impl Bridge {
    /// Goes on until the feed ends.
    async fn run(mut self) {
        let mut delays = delays();
        while !self.items.is_closed() {
            self.meter.set_connections(0);
            let joined = tokio::select! {
                () = self.items.closed() => return,
                joined = self.join() => joined,
            };
            let lost = match joined {
                Ok(joined) => {
                    delays = self::delays();
                    self.relay(joined).await
                }
                Err(error) => error,
            };
            self.meter.set_connections(0);
            let after = delays.next().unwrap_or(LAST_RETRY);
            if !self.items.is_closed() {
                let feed = self.meter.feed();
                tracing::warn!(feed, error = lost, ?after, "the bridge is not joined, trying again");
                self.meter.set_error(Some(lost));
            }
            tokio::select! {
                () = self.items.closed() => {}
                () = sleep(after) => {}
            }
        }
    }

    async fn join(&self) -> Result<Joined, String> {
        let (session, incoming) =
            self.dial.connect().await.map_err(|error: ConnectError| error.to_string())?;
        let mut subscriptions = HashMap::new();
        for (index, topic) in self.topics.iter().enumerate() {
            let refused = |error: CallError| format!("cannot subscribe to {:?}: {error}", topic.uri);
            let subscription = session.subscribe(&topic.uri, topic.matching).await.map_err(refused)?;
            subscriptions.insert(subscription, index);
        }
        self.meter.set_connections(1);
        self.meter.set_error(None);
        tracing::info!(feed = self.meter.feed(), topics = self.topics.len(), "the bridge is joined");
        Ok(Joined { session, incoming, subscriptions, dropped: 0 })
    }

    /// Passes events on until the session or the feed ends. Returns why.
    async fn relay(&mut self, mut joined: Joined) -> String {
        let reason = loop {
            let event = tokio::select! {
                () = self.items.closed() => break "the feed has ended".to_owned(),
                event = joined.incoming.next() => event,
            };
            let dropped = joined.session.statistics().dropped_events();
            self.meter.count_dropped(dropped.saturating_sub(joined.dropped));
            joined.dropped = dropped;
            match event {
                Some(IncomingEvent::Event(event)) => {
                    let topic = joined.subscriptions.get(&event.subscription);
                    let Some(topic) = topic.and_then(|index| self.topics.get(*index)) else { continue };
                    self.number += 1;
                    let item = item(self.number, topic, event);
                    // Whether there is somebody is what `closed` tells.
                    let _ = self.items.send(Ok(item)).await;
                }
                Some(IncomingEvent::Closed(reason)) => break reason.to_string(),
                None => break "the session has ended".to_owned(),
                // A bridge registers nothing; the router is told so when the responder is dropped.
                Some(IncomingEvent::Invocation(_) | IncomingEvent::RegistrationRevoked { .. }) => {}
            }
        };
        joined.session.leave().await;
        reason
    }
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_RETRY)
        .with_max_delay(LAST_RETRY)
        .with_jitter()
        .with_jitter_seed(rand::random())
        .without_max_times()
        .build()
}

fn item(number: u64, topic: &BridgeTopic, event: Event) -> Item {
    let mapped = topic.map(&event.topic);
    let content = match mapped {
        Some(_) => Ok(Content::Value(payload(event.args, event.kwargs))),
        None => Err(BadItem::Topic { topic: event.topic.to_string() }),
    };
    Item { number, content, topic: mapped, receipt: None }
}

/// The payload of an event: its argument if it has just one, otherwise all of them as
/// `{"args": […], "kwargs": {…}}`.
fn payload(mut args: Vec<Value>, kwargs: Vec<(String, Value)>) -> Value {
    if kwargs.is_empty() && args.len() == 1 {
        return args.pop().unwrap_or(Value::Null);
    }
    let kwargs: Value = kwargs.into_iter().collect();
    [("args", Value::List(args)), ("kwargs", kwargs)].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_argument_is_the_payload_and_anything_else_is_named() {
        let one = || Value::from(1_u64);
        let whole = |args: Vec<Value>, kwargs: Value| -> Value {
            [("args", Value::List(args)), ("kwargs", kwargs)].into_iter().collect()
        };
        let none = || Value::Map(Vec::new());
        assert_eq!(payload(vec![one()], vec![]), one());
        assert_eq!(payload(vec![], vec![]), whole(vec![], none()));
        assert_eq!(payload(vec![one(), one()], vec![]), whole(vec![one(), one()], none()));
        let named: Value = [("unit", "C")].into_iter().collect();
        let kwargs = vec![("unit".to_owned(), "C".into())];
        assert_eq!(payload(vec![one()], kwargs), whole(vec![one()], named));
    }
}
