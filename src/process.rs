//! The process around a command that runs until it is told to stop: it stops at the first signal and is gone
//! at the second.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What blocks when everything has ended, such as a look-up of a host name, is not waited for any longer.
const LEFT_OVER: Duration = Duration::from_millis(100);
/// A signal this soon after the first is the same one: shells and `timeout` signal a process and its group.
const ECHO: Duration = Duration::from_millis(500);

/// Resolves at the first signal. From then on a second one ends the process at once, with 128 and its number.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the work to its end, on a runtime of its own, and tells it when to stop.
///
/// # Errors
/// What the operating system says when there can be no runtime or no signals.
pub fn run<T, F>(work: impl FnOnce(Stop) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        let signals = Signals::new()?;
        Ok(work(Box::pin(stop(signals))).await)
    });
    runtime.shutdown_timeout(LEFT_OVER);
    result
}

async fn stop(mut signals: Signals) {
    signals.next().await;
    tokio::spawn(async move {
        let first = Instant::now();
        loop {
            let number = signals.next().await;
            if first.elapsed() >= ECHO {
                tracing::warn!("a second signal, ending at once");
                std::process::exit(128 + number);
            }
        }
    });
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        tracing::info!(signal = kind.as_raw_value(), "signal received");
        kind.as_raw_value()
    }
}
