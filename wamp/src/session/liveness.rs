//! Whether a connection is alive: after a silence a ping goes out, and if nothing at all comes within its
//! time, the connection is dead, however well the operating system thinks of it.

use std::time::{Duration, Instant};

use super::later;

/// Watches one connection.
#[derive(Debug)]
pub struct Liveness {
    interval: Option<Duration>,
    timeout: Duration,
    heard_at: Instant,
    pinged_at: Option<Instant>,
}

/// What is to be done about a silence.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Alive,
    /// A ping is to go out now.
    Ping,
    /// The ping was not answered in time.
    Dead,
}

impl Liveness {
    /// Begins to watch; without an interval there are no pings.
    pub fn new(interval: Option<Duration>, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout, heard_at: now, pinged_at: None }
    }

    /// Something came.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// When to [`check`](Self::check) again; `None` for never.
    pub fn deadline(&self) -> Option<Instant> {
        match self.pinged_at {
            Some(pinged_at) => Some(later(pinged_at, self.timeout)),
            None => self.interval.map(|interval| later(self.heard_at, interval)),
        }
    }

    /// What the time that has passed means.
    pub fn check(&mut self, now: Instant) -> Verdict {
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
