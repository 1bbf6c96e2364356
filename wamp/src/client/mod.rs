//! The client: dials a router, runs the session engine in one task, and hands out what applications work
//! with.
//!
//! [`Session`] is a handle that can be cloned and sent anywhere; [`Incoming`] is where invocations and
//! events come out, in the order of the wire. Everything a handle asks for goes through one queue, so that
//! frames leave in the order in which they were asked for. The task ends with the connection; nothing is
//! dialled again by itself.

mod dial;
mod driver;
mod incoming;
mod options;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

pub use dial::Dial;
pub use incoming::{Event, Incoming, IncomingEvent, Invocation, Responder};
pub use options::ClientOptions;

use crate::error::{CallError, CloseReason, ConnectError};
use crate::reading::max_frame_bytes;
use crate::request::{
    Answer, Call, CallResult, PublicationId, Publish, RegisterOptions, RegistrationId, SubscriptionId,
};
use crate::session::{Details, Engine, Reply};
use crate::statistics::Statistics;
use crate::transport::{self, Connection, Target};
use crate::uri::{self, Match};
use driver::{Driver, Outbox};
use incoming::Room;

/// How many requests of all handles may wait for the driver to take them.
const QUEUED_REQUESTS: usize = 256;

type ReplySender = oneshot::Sender<Result<Reply, CallError>>;

/// What a handle asks the driver to do.
#[derive(Debug)]
enum Command {
    Call { call: Call, progress: Option<mpsc::Sender<CallResult>>, reply: ReplySender },
    Register { procedure: String, options: RegisterOptions, reply: ReplySender },
    Unregister { registration: RegistrationId, reply: ReplySender },
    Subscribe { topic: String, matching: Match, reply: ReplySender },
    Unsubscribe { subscription: SubscriptionId, reply: ReplySender },
    Publish { publish: Publish, reply: ReplySender },
    Respond { request: u64, answer: Answer },
    Leave { left: oneshot::Sender<()> },
}

/// A command, with its place in the queue that is free again when the command was taken. Answers to
/// invocations take no place: they must never wait, and there cannot be more of them than invocations.
#[derive(Debug)]
struct Queued {
    command: Command,
    _place: Option<OwnedSemaphorePermit>,
}

/// What the driver tells `connect` once.
#[derive(Debug)]
struct Joined {
    details: Arc<Details>,
    statistics: Arc<Statistics>,
}

/// A joined session. Clones are handles of the same one; when all handles, [`Incoming`] and all responders
/// are gone, it says GOODBYE.
#[derive(Debug, Clone)]
pub struct Session {
    commands: mpsc::UnboundedSender<Queued>,
    places: Arc<Semaphore>,
    joined: Arc<Joined>,
}

/// Connects to a router and joins a realm. Needs a tokio runtime with I/O and time enabled, on which it
/// starts a task.
///
/// # Errors
/// [`ConnectError`], by what failed; [`ConnectError::is_permanent`] tells whether another attempt makes
/// sense.
pub async fn connect(options: ClientOptions) -> Result<(Session, Incoming), ConnectError> {
    if options.serializers.is_empty() {
        return Err(ConnectError::NoSerializer);
    }
    check_realm(&options.realm)?;
    let target = Target {
        url: &options.url,
        serializers: &options.serializers,
        roots: &options.roots,
        max_frame_bytes: max_frame_bytes(options.max_message_bytes),
    };
    let after = options.connect_timeout;
    let connection = timeout(after, transport::dial(&target)).await;
    join(connection.map_err(|_| ConnectError::Timeout { after })??, options).await
}

/// Joins a realm over a connection that is there already; what the options say of the way to the router does
/// not count. Needs a tokio runtime with time enabled, on which it starts a task.
///
/// # Errors
/// [`ConnectError`], as [`connect`] does after dialling.
pub async fn connect_over(
    connection: Connection,
    options: ClientOptions,
) -> Result<(Session, Incoming), ConnectError> {
    check_realm(&options.realm)?;
    join(connection, options).await
}

fn check_realm(realm: &str) -> Result<(), ConnectError> {
    match uri::is_valid(realm) {
        true => Ok(()),
        false => Err(ConnectError::InvalidRealm { realm: realm.chars().take(200).collect() }),
    }
}

async fn join(connection: Connection, options: ClientOptions) -> Result<(Session, Incoming), ConnectError> {
    let (events, received) = mpsc::channel(options.incoming_capacity.max(1));
    let room = Room::new(options.incoming_bytes);
    let (commands, queue) = mpsc::unbounded_channel();
    let (joined, has_joined) = oneshot::channel();
    let config = options.session_config(connection.serializer);
    let engine = Engine::new(config, Instant::now().into_std());
    let responders = commands.downgrade();
    let driver =
        Driver::new(engine, connection.transport, queue, responders, Outbox { events, room }, joined);
    tokio::spawn(driver.run());
    match has_joined.await {
        Ok(Ok(joined)) => {
            let places = Arc::new(Semaphore::new(QUEUED_REQUESTS));
            let incoming = Incoming::new(received, commands.clone());
            Ok((Session { commands, places, joined: Arc::new(joined) }, incoming))
        }
        Ok(Err(reason)) => Err(refusal(reason)),
        Err(_) => Err(ConnectError::Closed(CloseReason::Left)),
    }
}

fn refusal(reason: CloseReason) -> ConnectError {
    match reason {
        CloseReason::Aborted { uri, message } | CloseReason::Goodbye { uri, message } => {
            ConnectError::Refused { uri, message }
        }
        CloseReason::Auth(error) => ConnectError::Auth(error),
        CloseReason::Transport(error) => ConnectError::Transport(error),
        CloseReason::JoinTimeout { after } => ConnectError::Timeout { after },
        other => ConnectError::Closed(other),
    }
}

impl Session {
    /// Calls a procedure. Dropping the future does not cancel the call.
    ///
    /// # Errors
    /// [`CallError`]; see [`CallError::is_outcome_unknown`] for when the procedure may have run in spite of
    /// it.
    pub async fn call(&self, call: Call) -> Result<CallResult, CallError> {
        self.call_inner(call, None).await
    }

    /// Calls a procedure that may return its result in parts. The parts go to `progress`, or are left out
    /// when it is full; the last one is returned.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_with_progress(
        &self,
        call: Call,
        progress: mpsc::Sender<CallResult>,
    ) -> Result<CallResult, CallError> {
        self.call_inner(call, Some(progress)).await
    }

    async fn call_inner(
        &self,
        call: Call,
        progress: Option<mpsc::Sender<CallResult>>,
    ) -> Result<CallResult, CallError> {
        match self.request(|reply| Command::Call { call, progress, reply }).await? {
            Reply::Result(result) => Ok(result),
            _ => Err(CallError::Lost),
        }
    }

    /// Registers a procedure; its invocations come out of [`Incoming`].
    ///
    /// # Errors
    /// [`CallError`]; `wamp.error.procedure_already_exists` when somebody else holds it.
    pub async fn register(
        &self,
        procedure: &str,
        options: RegisterOptions,
    ) -> Result<RegistrationId, CallError> {
        let procedure = procedure.to_owned();
        match self.request(|reply| Command::Register { procedure, options, reply }).await? {
            Reply::Registered(registration) => Ok(registration),
            _ => Err(CallError::Lost),
        }
    }

    /// Undoes a registration.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unregister(&self, registration: RegistrationId) -> Result<(), CallError> {
        self.request(|reply| Command::Unregister { registration, reply }).await.map(drop)
    }

    /// Subscribes to a topic; its events come out of [`Incoming`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn subscribe(&self, topic: &str, matching: Match) -> Result<SubscriptionId, CallError> {
        let topic = topic.to_owned();
        match self.request(|reply| Command::Subscribe { topic, matching, reply }).await? {
            Reply::Subscribed(subscription) => Ok(subscription),
            _ => Err(CallError::Lost),
        }
    }

    /// Undoes a subscription.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unsubscribe(&self, subscription: SubscriptionId) -> Result<(), CallError> {
        self.request(|reply| Command::Unsubscribe { subscription, reply }).await.map(drop)
    }

    /// Publishes an event. The id comes back if it is acknowledged; otherwise it returns as soon as the
    /// event is queued.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn publish(&self, publish: Publish) -> Result<Option<PublicationId>, CallError> {
        match self.request(|reply| Command::Publish { publish, reply }).await? {
            Reply::Published(publication) => Ok(publication),
            _ => Err(CallError::Lost),
        }
    }

    /// Says GOODBYE and waits until the session is over, which takes no longer than the configured time.
    /// Requests that still wait for an answer fail.
    pub async fn leave(&self) {
        let (left, has_left) = oneshot::channel();
        let queued = Queued { command: Command::Leave { left }, _place: None };
        if self.commands.send(queued).is_ok() {
            // An error means that the session is over, which is what was asked for.
            let _ = has_left.await;
        }
    }

    /// What the router told when the session began.
    pub fn details(&self) -> &Details {
        &self.joined.details
    }

    /// What had to be left out or refused so far.
    pub fn statistics(&self) -> &Statistics {
        &self.joined.statistics
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    async fn request(&self, command: impl FnOnce(ReplySender) -> Command) -> Result<Reply, CallError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| CallError::Closed)?;
        let (reply, outcome) = oneshot::channel();
        let queued = Queued { command: command(reply), _place: Some(place) };
        self.commands.send(queued).map_err(|_| CallError::Closed)?;
        // Nobody answers if the driver's task was killed: whether the request went out is not known then.
        outcome.await.unwrap_or(Err(CallError::Lost))
    }
}
