//! The load: sales that are signed already go out in the order of their states, so many in flight at once,
//! and how long each takes is noted.
//!
//! Without a rate the loop is closed: a sale begins when another has ended, so that a seller that stalls is
//! asked less meanwhile, and the stall is in the latency of those in flight only (coordinated omission). With
//! one it is open: latency counts from when a sale was due, whether or not it could begin then.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use xbr_core::wire::{SellReceipt, SellRequest};
use xbr_wamp::{Call, CallError, Session};

use super::maker::Standing;
use super::{BenchError, Progress};
use crate::in_order::begins_in_order;

/// Progress is told once in so many sales.
const TOLD_EVERY: usize = 64;

/// How sales are made.
#[derive(Debug)]
pub(super) struct Load<'a> {
    pub(super) session: &'a Session,
    /// The seller's procedure.
    pub(super) procedure: &'a str,
    pub(super) standing: &'a watch::Sender<Standing>,
    pub(super) in_flight: usize,
    /// The time from one sale to the next; `None`: as soon as there is room.
    pub(super) interval: Option<Duration>,
    /// After so long no sale is begun any more.
    pub(super) time: Option<Duration>,
}

/// Sales that were made.
#[derive(Debug)]
pub(super) struct Flown {
    /// From the first call to the last answer.
    pub(super) elapsed: Duration,
    /// In the order of their answers.
    pub(super) flights: Vec<Flight>,
}

/// A sale that was made.
#[derive(Debug)]
pub(super) struct Flight {
    /// Which of the requests.
    pub(super) index: usize,
    pub(super) latency: Duration,
    /// The receipt, or what the errors of its kind are counted under.
    pub(super) receipt: Result<SellReceipt, String>,
}

impl Load<'_> {
    /// Makes the sales, or as many as there is time for.
    pub(super) async fn drive(
        &self,
        requests: &[SellRequest],
        told: impl Fn(usize) -> Progress,
        progress: &watch::Sender<Progress>,
    ) -> Result<Flown, BenchError> {
        let begun = Instant::now();
        let mut flown = Vec::with_capacity(requests.len());
        let mut in_flight = FuturesUnordered::new();
        let mut waiting = requests.iter().enumerate().peekable();
        loop {
            // Those that are due, in their order: what is pushed first is polled, and so sent, first.
            let mut next_due = None;
            while in_flight.len() < self.in_flight
                && let Some((index, _)) = waiting.peek()
                && self.time.is_none_or(|time| begun.elapsed() < time)
            {
                let now = Instant::now();
                let due = self.due(begun, *index).unwrap_or(now);
                if due > now {
                    next_due = Some(due);
                    break;
                }
                if let Some((index, request)) = waiting.next() {
                    in_flight.push(begins_in_order(self.fly(index, request, due)));
                }
            }
            tokio::select! {
                Some(flight) = in_flight.next() => {
                    let flight = flight?;
                    if let (Ok(_), Some(request)) = (&flight.receipt, requests.get(flight.index)) {
                        self.settle(request);
                    }
                    flown.push(flight);
                    if flown.len().is_multiple_of(TOLD_EVERY) {
                        progress.send_replace(told(flown.len()));
                    }
                }
                () = sleep_until(next_due.unwrap_or(begun)), if next_due.is_some() => {}
                else => break,
            }
        }
        Ok(Flown { elapsed: begun.elapsed(), flights: flown })
    }

    /// The channel stands where the newest sale is that was answered: one in flight is not settled, and a
    /// seller that asks before its first sale would take the channel over after it.
    fn settle(&self, request: &SellRequest) {
        self.standing.send_if_modified(|standing| {
            let is_newer = standing.is_none_or(|(channel_id, state)| {
                channel_id != request.channel_id || state.seq < request.channel_seq
            });
            if is_newer {
                *standing = Some((request.channel_id, request.state()));
            }
            is_newer
        });
    }

    /// When a sale is to begin, by the rate.
    fn due(&self, begun: Instant, index: usize) -> Option<Instant> {
        let after = self.interval?.checked_mul(u32::try_from(index).ok()?)?;
        begun.checked_add(after)
    }

    async fn fly(&self, index: usize, request: &SellRequest, since: Instant) -> Result<Flight, BenchError> {
        let call = Call::new(self.procedure).args(request.to_args());
        let answer = self.session.call(call).await;
        let latency = since.elapsed();
        let receipt = match answer {
            Ok(result) => SellReceipt::parse(&result.args).map_err(|error| format!("bad receipt: {error}")),
            Err(CallError::Application { uri, .. }) => Err(uri),
            Err(CallError::Closed | CallError::Lost) => return Err(BenchError::Lost),
            Err(error) => Err(error.to_string()),
        };
        Ok(Flight { index, latency, receipt })
    }
}
