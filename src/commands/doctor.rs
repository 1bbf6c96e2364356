//! `xbr-seller doctor`: what is wrong, and what to do about it.

use std::io::{self, Write};

use super::Failure;
use crate::cli::DoctorArgs;
use crate::config::Environment;
use crate::doctor;

pub(super) fn execute(args: &DoctorArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(doctor::examine(&args.config, &Environment::of_process()));
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &found).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for check in &found.checks {
            writeln!(out, "{check}")?;
        }
    }
    match found.failed() {
        0 => Ok(()),
        failed => Err(Failure::Unhealthy { failed }),
    }
}
