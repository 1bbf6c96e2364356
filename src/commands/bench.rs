//! `xbr-seller bench`: how many keys a second, and how long each takes.

use std::convert::Infallible;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{self, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Failure;
use crate::bench::{self, Progress, chart};
use crate::cli::BenchArgs;
use crate::config::{BenchConfig, Environment};
use crate::{logging, process};

/// How often the progress is shown.
const FRAME: Duration = Duration::from_millis(100);
/// To the beginning of the line, which is cleared.
const CLEAR: &str = "\r\x1b[K";

pub(super) fn execute(args: &BenchArgs) -> Result<(), Failure> {
    let (config, secrets) = BenchConfig::load(args.config.as_deref(), &environment(args)?)?;
    logging::begin(&config.log)?;
    let progress = watch::Sender::new(Progress::Joining);
    let shown = progress.subscribe();
    let report = process::run(|stop| async move {
        tokio::select! {
            report = bench::run(&config, secrets, progress, stop) => report,
            never = show(shown) => match never {},
        }
    })??;
    if let (Some(path), Some(picture)) = (&args.svg, chart::draw(&report)) {
        fs::write(path, picture)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    let text = if args.json { report.to_json() } else { report.to_string() };
    writeln!(io::stdout(), "{text}")?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::SalesFailed(failed)),
    }
}

/// What the options say comes before the file; a path among them is relative to where one is.
fn environment(args: &BenchArgs) -> io::Result<Environment> {
    let path = |given: &Option<PathBuf>| {
        let absolute = given.as_ref().map(path::absolute).transpose()?;
        Ok::<_, io::Error>(absolute.map(|path| path.to_string_lossy().into_owned()))
    };
    Ok(Environment::of_process()
        .with_option("--url", "market.url", args.url.clone())
        .with_option("--realm", "market.realm", args.realm.clone())
        .with_option("--key-file", "bench.key_file", path(&args.key_file)?)
        .with_option("--provider", "bench.provider_id", args.provider.clone())
        .with_option("--amount", "bench.amount", args.amount.clone())
        .with_option("--patience", "bench.patience", args.patience.clone())
        .with_option("--in-flight", "bench.in_flight", args.in_flight.clone())
        .with_option("--duration", "bench.duration", args.duration.clone())
        .with_option("--sales", "bench.sales", args.sales.clone())
        .with_option("--warm-up", "bench.warm_up", args.warm_up.clone())
        .with_option("--rate", "bench.rate", args.rate.clone())
        .with_option("--dir", "bench.dir", path(&args.dir)?))
}

/// Shows what goes on, on a terminal, until it is dropped.
async fn show(mut progress: watch::Receiver<Progress>) -> Infallible {
    if io::stderr().is_terminal() {
        let line = Line;
        while progress.changed().await.is_ok() {
            let now = *progress.borrow_and_update();
            line.print(&now);
            sleep(FRAME).await;
        }
    }
    std::future::pending().await
}

/// The last line of the terminal, which is empty again afterwards.
struct Line;

impl Line {
    fn print(&self, progress: &Progress) {
        // Whoever closed standard error does not want to know.
        drop(write!(io::stderr(), "{CLEAR}{progress}"));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(write!(io::stderr(), "{CLEAR}"));
    }
}
