//! The task of a realm: the one owner of its [`Realm`]. It hears connections through one queue, and never
//! waits for any of them: what they are to be sent is put into a bounded queue for each. Nothing of it
//! survives the router.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Sleep, sleep_until};
use tracing::{debug, warn};
use xbr_wamp::Serializer;
use xbr_wamp::message::Message;

use super::options::{RealmOptions, RouterOptions};
use super::realm::{Delivery, Hindrance, Newcomer, Realm, RealmStatus, Undelivered};
use super::status::Counters;

/// How many messages of all connections may wait for the realm.
const MAILBOX: usize = 256;

/// How much time passes at most until the timer is looked at again.
const FAR: std::time::Duration = std::time::Duration::from_secs(3600);

/// What the realm is told.
#[derive(Debug)]
pub(super) enum ToRealm {
    /// Somebody was let in.
    Join { newcomer: Newcomer, outlet: Outlet },
    /// Somebody said something.
    Message { session: u64, message: Message },
    /// Somebody is gone.
    Leave { session: u64 },
    /// Somebody wants to know.
    Observe { reply: oneshot::Sender<RealmStatus> },
}

/// The way to a connection. When it is dropped, the connection ends as soon as all is sent.
#[derive(Debug)]
pub(super) struct Outlet {
    serializer: Serializer,
    queue: mpsc::Sender<Bytes>,
    gauge: Arc<Gauge>,
}

/// The connection's end of an [`Outlet`].
#[derive(Debug)]
pub(super) struct Inlet {
    queue: mpsc::Receiver<Bytes>,
    pub(super) gauge: Arc<Gauge>,
}

/// What both ends of an outlet look at.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    queued_bytes: AtomicUsize,
    /// The connection is to end at once.
    pub(super) killed: Notify,
}

impl Outlet {
    pub(super) fn new(serializer: Serializer, capacity: usize) -> (Self, Inlet) {
        let (sender, receiver) = mpsc::channel(capacity);
        let gauge = Arc::new(Gauge::default());
        let inlet = Inlet { queue: receiver, gauge: Arc::clone(&gauge) };
        (Self { serializer, queue: sender, gauge }, inlet)
    }

    fn queued_bytes(&self) -> usize {
        self.gauge.queued_bytes.load(Ordering::Relaxed)
    }

    /// Returns whether there was a place.
    fn put(&self, bytes: Bytes) -> bool {
        let size = bytes.len();
        // Counted first, so that the other end never takes out more than was counted.
        self.gauge.queued_bytes.fetch_add(size, Ordering::Relaxed);
        let is_put = self.queue.try_send(bytes).is_ok();
        if !is_put {
            self.gauge.queued_bytes.fetch_sub(size, Ordering::Relaxed);
        }
        is_put
    }
}

impl Inlet {
    /// The next message to send; `None` when there will be no more. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let bytes = self.queue.recv().await;
        self.taken(bytes)
    }

    /// The next one if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Bytes> {
        let bytes = self.queue.try_recv().ok();
        self.taken(bytes)
    }

    fn taken(&self, bytes: Option<Bytes>) -> Option<Bytes> {
        let size = bytes.as_ref().map_or(0, Bytes::len);
        self.gauge.queued_bytes.fetch_sub(size, Ordering::Relaxed);
        bytes
    }
}

/// See the module.
pub(super) struct RealmTask {
    realm: Realm,
    outlets: HashMap<u64, Outlet>,
    counters: Arc<Counters>,
    /// How many places are left in a queue when only what the session asked for is put into it.
    spared_places: usize,
    max_queued_bytes: usize,
}

impl RealmTask {
    /// Makes a realm; what it is told comes through the mailbox, and it ends with that.
    pub(super) fn new(options: &RouterOptions, realm: &RealmOptions, counters: Arc<Counters>) -> Self {
        Self {
            realm: Realm::new(realm, options.bounds),
            outlets: HashMap::new(),
            counters,
            spared_places: options.max_queued_messages.saturating_sub(options.max_queued_unasked),
            max_queued_bytes: options.max_queued_bytes,
        }
    }

    pub(super) fn mailbox() -> (mpsc::Sender<ToRealm>, mpsc::Receiver<ToRealm>) {
        mpsc::channel(MAILBOX)
    }

    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<ToRealm>) {
        let mut timer = Box::pin(sleep_until(tokio::time::Instant::now() + FAR));
        loop {
            tokio::select! {
                told = mailbox.recv() => match told {
                    Some(told) => self.hear(told),
                    None => return,
                },
                () = timer.as_mut() => {
                    timer.as_mut().reset(tokio::time::Instant::now() + FAR);
                    self.realm.handle_timeout(now());
                }
            }
            self.deliver();
            self.arm(timer.as_mut());
        }
    }

    fn hear(&mut self, told: ToRealm) {
        match told {
            ToRealm::Join { newcomer, outlet } => {
                let session = newcomer.session;
                // Otherwise the outlet is dropped, which ends the connection.
                if self.realm.join(newcomer) {
                    self.outlets.insert(session, outlet);
                }
            }
            ToRealm::Message { session, message } => self.realm.handle(now(), session, message),
            ToRealm::Leave { session } => {
                self.outlets.remove(&session);
                self.realm.leave(session);
            }
            // Who asked may be gone.
            ToRealm::Observe { reply } => drop(reply.send(self.realm.status())),
        }
    }

    /// Moves the timer to an earlier deadline. It may also fire too early, as calls end before their time.
    fn arm(&self, timer: Pin<&mut Sleep>) {
        if let Some(deadline) = self.realm.poll_timeout().map(tokio::time::Instant::from_std)
            && deadline < timer.deadline()
        {
            timer.reset(deadline);
        }
    }

    fn deliver(&mut self) {
        while let Some(delivery) = self.realm.poll_delivery() {
            match delivery {
                Delivery::Message { to, message } => self.send(to, message),
                Delivery::Event { to, message } => self.send_event(&to, &message),
                Delivery::Expel { session, message } => self.expel(session, message),
            }
        }
    }

    fn send(&mut self, to: u64, message: Message) {
        let Some(outlet) = self.outlets.get(&to) else { return };
        let undelivered = Undelivered::of(&message);
        if is_unasked(&message) && !self.has_room(outlet) {
            return self.undeliverable(to, undelivered, Hindrance::Room);
        }
        match outlet.serializer.encode(message.into_elements()) {
            Ok(bytes) => {
                if outlet.queued_bytes() > self.max_queued_bytes || !outlet.put(bytes.into()) {
                    self.drop_session(to);
                }
            }
            Err(error) => {
                debug!(to, %error, "a message cannot be carried");
                self.undeliverable(to, undelivered, Hindrance::Form);
            }
        }
    }

    fn undeliverable(&mut self, to: u64, undelivered: Option<Undelivered>, hindrance: Hindrance) {
        if let Some(undelivered) = undelivered {
            self.realm.undeliverable(to, undelivered, hindrance);
        }
    }

    /// A session cannot keep up with what it asked for, or its connection has died.
    fn drop_session(&mut self, session: u64) {
        let Some(outlet) = self.outlets.remove(&session) else { return };
        if !outlet.queue.is_closed() {
            warn!(session, "a session does not read what it is sent, and is ended");
            self.counters.expelled.count();
        }
        outlet.gauge.killed.notify_one();
        self.realm.leave(session);
    }

    /// An event is serialized once for each serializer, however many subscribers there are.
    fn send_event(&self, to: &[u64], message: &Message) {
        for serializer in Serializer::ALL {
            let outlets = to.iter().filter_map(|session| self.outlets.get(session));
            let mut outlets = outlets.filter(|outlet| outlet.serializer == serializer).peekable();
            if outlets.peek().is_none() {
                continue;
            }
            let bytes = serializer.encode(message.clone().into_elements()).map(Bytes::from);
            for outlet in outlets {
                match &bytes {
                    Ok(bytes) if self.has_room(outlet) && outlet.put(bytes.clone()) => {}
                    _ => self.counters.dropped_events.count(),
                }
            }
        }
    }

    /// Whether there is room for what the session did not ask for.
    fn has_room(&self, outlet: &Outlet) -> bool {
        outlet.queue.capacity() > self.spared_places && outlet.queued_bytes() <= self.max_queued_bytes / 2
    }

    fn expel(&mut self, session: u64, message: Message) {
        let Some(outlet) = self.outlets.remove(&session) else { return };
        debug!(session, ?message, "a session broke the protocol, and is ended");
        self.counters.expelled.count();
        if let Ok(bytes) = outlet.serializer.encode(message.into_elements()) {
            // Who doesn't read will see the connection end.
            outlet.put(bytes.into());
        }
    }
}

/// Whether a message comes from others, who could end a session by it if it were owed.
fn is_unasked(message: &Message) -> bool {
    match message {
        Message::Invocation { .. } | Message::Interrupt { .. } => true,
        // Only parts have details.
        Message::Result { details, .. } => !details.is_empty(),
        _ => false,
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
