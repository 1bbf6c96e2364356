//! The `xbr-seller` program.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use xbr_seller::{cli::Cli, commands};

/// What one thread allocates and another frees, as every message between actors, is cheap with it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match commands::execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}
