//! When the payloads of the demo are published: as often as they are to, or as often as the buyers keep up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::feed::Item;

/// How many payloads may be published ahead of the buyer that has taken the most.
const AHEAD: u64 = 16;

/// When the next payload is due.
#[derive(Debug, Clone)]
pub enum Pace {
    /// As often as the configuration says.
    Steady,
    /// As soon as a buyer is ready for it.
    OnDemand(Demand),
}

/// How many events the buyers are ready for.
#[derive(Debug, Clone)]
pub struct Demand {
    published: Arc<AtomicU64>,
    taken: watch::Sender<u64>,
}

impl Pace {
    /// Gives lines at this pace: as long as there are any, and somebody takes them.
    pub fn limit(
        self,
        mut lines: mpsc::Receiver<io::Result<Item>>,
        every: Duration,
    ) -> mpsc::Receiver<io::Result<Item>> {
        let (out, paced) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                self.turn(every).await;
                if out.send(line).await.is_err() {
                    break;
                }
            }
        });
        paced
    }

    async fn turn(&self, every: Duration) {
        match self {
            Self::Steady => sleep(every).await,
            Self::OnDemand(demand) => {
                let published = demand.published.fetch_add(1, Ordering::Relaxed);
                let mut taken = demand.taken.subscribe();
                tokio::select! {
                    _ = taken.wait_for(|taken| published < taken.saturating_add(AHEAD)) => {}
                    // Events that were left out on their way are not taken by anybody.
                    () = sleep(every) => {}
                }
            }
        }
    }

    /// A buyer is ready for its next event, having taken so many.
    pub fn taken(&self, count: u64) {
        if let Self::OnDemand(demand) = self {
            demand.taken.send_if_modified(|most| {
                let more = count > *most;
                *most = count.max(*most);
                more
            });
        }
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self { published: Arc::default(), taken: watch::Sender::new(0) }
    }
}
