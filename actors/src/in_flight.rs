//! Counts what is under way, and tells when nothing is. Nothing of it survives a restart.

use std::sync::Arc;

use tokio::sync::watch;

/// A count that is raised by [`enter`](InFlight::enter) and lowered when what that gave is dropped.
#[derive(Debug, Clone)]
pub(crate) struct InFlight(Arc<watch::Sender<usize>>);

/// One thing that is under way.
#[derive(Debug)]
pub(crate) struct Flight(InFlight);

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl InFlight {
    pub(crate) fn enter(&self) -> Flight {
        self.0.send_modify(|count| *count += 1);
        Flight(self.clone())
    }

    /// How many things are under way.
    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        // The sender is ours, so that it cannot close.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_waits_for_the_last() {
        let in_flight = InFlight::default();
        in_flight.idle().await;
        let (first, second) = (in_flight.enter(), in_flight.enter());
        let mut idle = std::pin::pin!(in_flight.idle());
        drop(first);
        assert!(futures_util::poll!(&mut idle).is_pending());
        drop(second);
        idle.await;
    }
}
