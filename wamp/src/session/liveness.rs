//! Whether the connection is alive: after a silence a ping goes out, and if nothing at all comes within its
//! time, the connection is dead, however well the operating system thinks of it.

use std::time::{Duration, Instant};

use super::later;

#[derive(Debug)]
pub(super) struct Liveness {
    interval: Option<Duration>,
    timeout: Duration,
    heard_at: Instant,
    pinged_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    Ping,
    Dead,
}

impl Liveness {
    pub(super) fn new(interval: Option<Duration>, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout, heard_at: now, pinged_at: None }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.pinged_at {
            Some(pinged_at) => Some(later(pinged_at, self.timeout)),
            None => self.interval.map(|interval| later(self.heard_at, interval)),
        }
    }

    pub(super) fn check(&mut self, now: Instant) -> Verdict {
        match self.deadline() {
            Some(deadline) if deadline <= now => {}
            _ => return Verdict::Alive,
        }
        match self.pinged_at.replace(now) {
            None => Verdict::Ping,
            Some(_) => Verdict::Dead,
        }
    }
}
