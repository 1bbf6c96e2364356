//! When an event came, by the time of day.

use std::time::Duration;

use tokio::time::Instant;

/// Where the clocks of a machine are further apart than they were, somebody has set one.
const SET: Duration = Duration::from_millis(100);

/// Tells the time of day of instants. It rises as they do: both clocks are compared once, and again only when the
/// time of day was set.
#[derive(Debug)]
pub(super) struct TimeOfDay {
    since: Instant,
    /// Unix time in ns.
    since_ns: u64,
}

impl TimeOfDay {
    /// Of a moment whose Unix time in ns is known.
    pub(super) fn new(now: Instant, now_ns: u64) -> Self {
        Self { since: now, since_ns: now_ns }
    }

    /// The Unix time in ns of an instant, `now` being the moment whose Unix time is `now_ns`.
    pub(super) fn at(&mut self, instant: Instant, now: Instant, now_ns: u64) -> u64 {
        if self.of(now).abs_diff(now_ns) > nanoseconds(SET) {
            *self = Self::new(now, now_ns);
        }
        self.of(instant)
    }

    fn of(&self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.since) {
            Some(after) => self.since_ns.saturating_add(nanoseconds(after)),
            None => self.since_ns.saturating_sub(nanoseconds(self.since.saturating_duration_since(instant))),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 1_700_000_000_000_000_000;

    #[test]
    fn it_rises_as_the_instants_do_however_the_clocks_are_read() {
        let start = Instant::now();
        let mut time = TimeOfDay::new(start, START_NS);
        let after = |ns| start + Duration::from_nanos(ns);
        // The time of day is read a little later each time, or a little earlier.
        for (came, read, told) in [(10, 5000, 5100), (11, 6000, 5900), (12, 7000, 90_000_000)] {
            assert_eq!(time.at(after(came), after(read), START_NS + told), START_NS + came);
        }
    }

    #[test]
    fn a_clock_that_is_set_counts_from_then_on_also_for_what_came_before() {
        let start = Instant::now();
        let mut time = TimeOfDay::new(start, START_NS);
        let second = Duration::from_secs(1);
        let hour_ns = 3_600_000_000_000;
        let (now, now_ns) = (start + second, START_NS + 1_000_000_000 - hour_ns);
        assert_eq!(time.at(start + second / 2, now, now_ns), now_ns - 500_000_000);
        assert_eq!(time.at(now + second, now + second, now_ns + 1_000_000_000), now_ns + 1_000_000_000);
    }
}
