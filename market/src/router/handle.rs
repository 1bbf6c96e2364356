//! What an embedder holds: a [`RouterHandle`], usable from any thread and any tokio runtime.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{debug, warn};
use xbr_wamp::reading::max_frame_bytes;
use xbr_wamp::transport::{self, Connection, duplex};
use xbr_wamp::{ClientOptions, Dial, Serializer, connect_over};

use super::connection::serve;
use super::options::{Identity, OptionsError, RouterOptions};
use super::realm_task::{RealmTask, ToRealm};
use super::status::{Counters, RouterStatus};
use super::tasks::{Phase, Shared, Tasks};

/// How many frames of a session within the process may be under way in each direction.
const LOCAL_FRAMES: usize = 64;

/// How long to wait after the system had no connection to give, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The router could not be made.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// See there.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// There can be no thread or runtime.
    #[error("cannot start the router's thread: {0}")]
    Thread(#[from] io::Error),
}

/// One router. Clones are the same router; when the last is dropped, its connections end
/// ([`shutdown`](Self::shutdown) first to do it in order).
#[derive(Debug, Clone)]
pub struct RouterHandle {
    shared: Arc<Shared>,
    phase: Arc<watch::Sender<Phase>>,
    runtime: Handle,
    _thread: Option<Arc<Thread>>,
}

/// The router's thread goes when this does.
#[derive(Debug)]
struct Thread {
    _end: oneshot::Sender<()>,
}

impl RouterHandle {
    /// Makes a router on a thread of its own.
    ///
    /// # Errors
    /// [`SpawnError`] when the options make no router, or there can be no thread.
    pub fn spawn(options: RouterOptions) -> Result<Self, SpawnError> {
        options.check()?;
        let (ready, made) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("xbr-router".into()).spawn(move || {
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    // Whoever spawned may have gone; then the thread ends at once.
                    let _ = ready.send(Ok(runtime.handle().clone()));
                    // An error means that nobody is left to tell the router anything.
                    let _ = runtime.block_on(ended);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        let runtime = made.recv().map_err(|_| io::Error::other("the thread ended at once"))??;
        Ok(Self { _thread: Some(Arc::new(Thread { _end: end })), ..Self::on(options, runtime) })
    }

    /// Makes a router on the current tokio runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    /// [`OptionsError`] when the options make no router.
    ///
    /// # Panics
    /// When there is no tokio runtime on this thread.
    pub fn here(options: RouterOptions) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self::on(options, Handle::current()))
    }

    fn on(mut options: RouterOptions, runtime: Handle) -> Self {
        let realms: Vec<_> = std::mem::take(&mut options.realms).into_iter().map(Arc::new).collect();
        let counters = Arc::new(Counters::default());
        let mailboxes = realms.iter().map(|realm| {
            let (mailbox, told) = RealmTask::mailbox();
            runtime.spawn(RealmTask::new(&options, realm, Arc::clone(&counters)).run(told));
            (realm.name.clone(), mailbox)
        });
        let shared = Shared {
            mailboxes: mailboxes.collect(),
            realms: realms.as_slice().into(),
            places: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
            counters,
            options,
        };
        let phase = Arc::new(watch::Sender::new(Phase::Running));
        Self { shared: Arc::new(shared), phase, runtime, _thread: None }
    }

    /// Accepts WebSocket connections at this address, port 0 for any; the address comes back. There may be
    /// several.
    ///
    /// # Errors
    /// [`io::Error`] when the address cannot be had, or the router has been shut down.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        if *self.phase.borrow() != Phase::Running {
            return Err(io::Error::other("the router has been shut down"));
        }
        let bound = self.runtime.spawn(TcpListener::bind(address)).await;
        let listener = bound.map_err(io::Error::other)??;
        let address = listener.local_addr()?;
        let tasks = self.tasks();
        tasks.run(accept(tasks.clone(), listener));
        Ok(address)
    }

    /// How sessions in this process join a realm: without a socket, and without a proof. They fail when the
    /// router has gone.
    pub fn dial(&self, realm: &str, identity: Identity) -> Dial {
        let mut options = ClientOptions::new("", realm);
        options.ping_interval = None;
        let (shared, runtime) = (Arc::clone(&self.shared), self.runtime.clone());
        let phase = Arc::downgrade(&self.phase);
        Dial::new(move || {
            let (near, far) = duplex(Serializer::Cbor, LOCAL_FRAMES);
            // Without a router the far end is dropped, which ends the connection.
            if let Some(phase) = phase.upgrade() {
                let (shared, runtime, phase) = (Arc::clone(&shared), runtime.clone(), phase.subscribe());
                let tasks = Tasks { shared, phase, runtime };
                tasks.run(welcome(tasks.clone(), far, identity.clone()));
            }
            connect_over(near, options.clone())
        })
    }

    /// What the router looks like now; `None` when it has gone.
    pub async fn observe(&self) -> Option<RouterStatus> {
        let Shared { options, counters, places, mailboxes, .. } = self.shared.as_ref();
        let mut status = RouterStatus {
            connections: options.max_connections.saturating_sub(places.available_permits()),
            dropped_events: counters.dropped_events.read(),
            refused: counters.refused.read(),
            expelled: counters.expelled.read(),
            ..RouterStatus::default()
        };
        for mailbox in mailboxes.values() {
            let (reply, answer) = oneshot::channel();
            mailbox.send(ToRealm::Observe { reply }).await.ok()?;
            let realm = answer.await.ok()?;
            status.sessions += realm.sessions;
            status.registrations += realm.registrations;
            status.subscriptions += realm.subscriptions;
            status.calls += realm.calls;
        }
        Some(status)
    }

    /// Accepts nobody any more and says GOODBYE to all clients; those that do not leave within the grace
    /// period are disconnected.
    pub async fn shutdown(&self, grace: Duration) {
        self.phase.send_if_modified(|phase| {
            let runs = *phase == Phase::Running;
            if runs {
                *phase = Phase::Leaving;
            }
            runs
        });
        if timeout(grace, self.phase.closed()).await.is_err() {
            debug!("clients that did not leave are disconnected");
        }
        self.phase.send_replace(Phase::Ended);
        self.phase.closed().await;
    }

    fn tasks(&self) -> Tasks {
        let (shared, runtime) = (Arc::clone(&self.shared), self.runtime.clone());
        Tasks { shared, phase: self.phase.subscribe(), runtime }
    }
}

async fn accept(mut tasks: Tasks, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = tasks.phase.wait_for(|phase| *phase != Phase::Running) => return,
        };
        match (accepted, Arc::clone(&tasks.shared.places).try_acquire_owned()) {
            (Ok((tcp, _)), Ok(place)) => tasks.run(greet(tasks.clone(), tcp, place)),
            (Ok(_), Err(_)) => tasks.shared.counters.refused.count(),
            (Err(error), _) => {
                warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a client in this process.
async fn welcome(tasks: Tasks, connection: Connection, identity: Identity) {
    let deadline = tasks.handshake_deadline();
    serve(tasks, connection, Some(identity), deadline).await;
}

/// Answers the handshake of the transport, then serves the client. The place is free again after that.
async fn greet(tasks: Tasks, tcp: TcpStream, _place: OwnedSemaphorePermit) {
    let deadline = tasks.handshake_deadline();
    let options = &tasks.shared.options;
    // Without it small messages are late, and nothing else.
    let _ = tcp.set_nodelay(true);
    let accepting = transport::accept(tcp, &options.serializers, max_frame_bytes(options.max_message_bytes));
    match timeout_at(deadline, accepting).await {
        Ok(Ok(connection)) => serve(tasks, connection, None, deadline).await,
        Ok(Err(error)) => {
            debug!(%error, "a connection was not let in");
            tasks.shared.counters.refused.count();
        }
        Err(_) => tasks.shared.counters.refused.count(),
    }
}
