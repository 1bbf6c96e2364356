//! What the tasks of a router are made with, and how they end: by themselves, or with the router.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use xbr_wamp::session::later;

use super::options::{RealmOptions, RouterOptions};
use super::realm_task::ToRealm;
use super::status::Counters;

/// How far the router has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Clients are served.
    Running,
    /// Clients are told to leave.
    Leaving,
    /// All ends at once.
    Ended,
}

/// What all connections share. Nothing of it changes but the counters.
#[derive(Debug)]
pub(super) struct Shared {
    /// Without the realms.
    pub(super) options: RouterOptions,
    pub(super) realms: Arc<[Arc<RealmOptions>]>,
    pub(super) mailboxes: HashMap<String, mpsc::Sender<ToRealm>>,
    pub(super) counters: Arc<Counters>,
    pub(super) places: Arc<Semaphore>,
}

/// What tasks are made with. Holds no router up.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    pub(super) shared: Arc<Shared>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) runtime: Handle,
}

impl Tasks {
    /// Runs a task until it ends or the router does.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut phase = self.phase.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                // An error means that nobody holds the router any more.
                _ = phase.wait_for(|phase| *phase == Phase::Ended) => {}
                () = task => {}
            }
        });
    }

    /// Until when a client that comes now has to have joined.
    pub(super) fn handshake_deadline(&self) -> Instant {
        let now = Instant::now().into_std();
        Instant::from_std(later(now, self.shared.options.handshake_timeout))
    }
}
