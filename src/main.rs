//! The `xbr-seller` program.

use std::process::ExitCode;

use clap::Parser;
use xbr_seller::{cli::Cli, commands};

fn main() -> ExitCode {
    match commands::execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}
