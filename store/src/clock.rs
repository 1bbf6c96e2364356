//! Time of day, as the owners of a store see it: the one place that asks the operating system.

use std::fmt;
use std::time::UNIX_EPOCH;

/// Tells the time of day. Tests pass a clock of their own; everything else [`SystemClock`].
///
/// Timers do not use it: they run on the async runtime's clock, which tests pause.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Unix time in ns.
    fn now_ns(&self) -> u64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now_ns(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
    }
}
