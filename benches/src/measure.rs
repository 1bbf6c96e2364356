//! Stopwatches, medians and what this process uses.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// How long a slice of a round lasts: short, so that whatever else the machine does hits all slices alike.
pub const SLICE: Duration = Duration::from_millis(40);

/// Nanoseconds per call of `work`, over one [`SLICE`] at least. `work` is called in batches.
pub fn ns_per_call(batch: u32, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u64;
    while start.elapsed() < SLICE {
        for _ in 0..batch {
            work();
        }
        calls += u64::from(batch);
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

/// The median, which one disturbed round does not move.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Latencies of calls.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Half are at most so long, ms.
    pub p50_ms: f64,
    /// 99 in a hundred are at most so long, ms.
    pub p99_ms: f64,
    /// The longest, ms.
    pub max_ms: f64,
}

impl Latency {
    /// Of all calls.
    pub fn of(mut all: Vec<Duration>) -> Self {
        all.sort();
        let at = |hundredth: usize| {
            let found = all.get(all.len() * hundredth / 100).or(all.last());
            found.map_or(f64::NAN, |found| found.as_secs_f64() * 1e3)
        };
        Self { p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// The processor time that this process has used, all threads together.
pub fn cpu_time() -> Duration {
    used(ClockId::ProcessCPUTime)
}

/// The processor time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    used(ClockId::ThreadCPUTime)
}

fn used(clock: ClockId) -> Duration {
    let used = clock_gettime(clock);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or_default())
}

/// What this process has in memory, MB; Linux only.
pub fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
}
