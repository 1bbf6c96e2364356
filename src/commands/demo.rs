//! `xbr-seller demo`: a whole data market in this process.

use std::io::{self, IsTerminal, Write};

use super::Failure;
use crate::cli::DemoArgs;
use crate::config::{DemoConfig, Environment};
use crate::demo::parties::Parties;
use crate::demo::screen::Screen;
use crate::demo::{self, DemoError, DemoOptions, Display};
use crate::{logging, process};

/// How many buy when as much as possible is to be sold.
const RUSH: u16 = 64;

pub(super) fn execute(args: &DemoArgs) -> Result<(), Failure> {
    let mut config = DemoConfig::load(args.config.as_deref(), &Environment::of_process())?;
    if let Some(http) = args.http {
        config.http = http;
    }
    if let Some(buyers) = args.in_flight.or(args.sales.map(|_| RUSH)) {
        config.buyers = buyers.into();
    }
    let display = match () {
        () if args.json => Display::Nothing,
        () if Screen::is_there() => Display::Screen,
        () => Display::Lines,
    };
    // The log has no place on the terminal that the screen is on.
    if display != Display::Screen || !io::stderr().is_terminal() {
        logging::begin(&config.log)?;
    }
    let options =
        DemoOptions { feed: args.feed.clone(), sales: args.sales, fail_permille: args.fail, display };
    let parties = Parties::gather(args.dir.as_deref(), config.buyers).map_err(DemoError::from)?;
    let summary = process::run(|stop| async { demo::run(&config, &options, &parties, stop).await })??;
    let text = if args.json { summary.to_json() } else { summary.to_string() };
    writeln!(io::stdout(), "{text}")?;
    match summary.differences.as_slice() {
        [] => Ok(()),
        differences => Err(Failure::Disagree(differences.len())),
    }
}
