//! `xbr-seller run`: the seller's service as a process.

use super::Failure;
use crate::cli::RunArgs;
use crate::config::{Config, Environment};
use crate::{logging, process, service};

pub(super) fn execute(args: &RunArgs) -> Result<(), Failure> {
    let (config, secrets) = Config::load(&args.config, &Environment::of_process())?;
    logging::begin(&config.log)?;
    Ok(process::run(|stop| service::run(config, secrets, stop))??)
}
