//! `xbr-seller run`: the service as a process, which stops at the first signal and is gone at the second.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::cli::RunArgs;
use crate::config::{Config, Environment};
use crate::{logging, service};

/// What blocks when everything has ended, such as a look-up of a host name, is not waited for any longer.
const LEFT_OVER: Duration = Duration::from_millis(100);
/// A signal this soon after the first is the same one: shells and `timeout` signal a process and its group.
const ECHO: Duration = Duration::from_millis(500);

pub(super) fn execute(args: &RunArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    logging::begin(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let stop = async move {
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
        };
        Ok(service::run(config, secrets, stop).await?)
    });
    runtime.shutdown_timeout(LEFT_OVER);
    result
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
