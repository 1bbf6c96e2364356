//! `xbr-seller buy`: a buyer as a process, with its events on standard output.

use std::io;

use super::Failure;
use crate::cli::BuyArgs;
use crate::config::{BuyConfig, Environment};
use crate::consumer::{self, Printer};
use crate::{logging, process};

pub(super) fn execute(args: &BuyArgs) -> Result<(), Failure> {
    let (config, secrets) = BuyConfig::load(&args.config, &Environment::of_process())?;
    logging::begin(&config.log)?;
    let printer = Printer::new(io::stdout())?;
    Ok(process::run(|stop| consumer::run(config, secrets, printer, args.count, stop))??)
}
