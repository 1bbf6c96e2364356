//! `xbr-seller completions` and `man`: the command line, for shells and for `man`.

use std::fs;
use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;

use super::Failure;
use super::rows::unless_nobody_reads;
use crate::cli::{Cli, CompletionsArgs, ManArgs};

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator takes a pipe that was closed for a reason to panic.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "xbr-seller", &mut script);
    // The generator writes the hyphen of the program's name in two ways in a script for bash, which then never gets
    // beyond the first word.
    let script = String::from_utf8_lossy(&script).replace("xbr__subcmd__seller", "xbr__seller");
    unless_nobody_reads(io::stdout().write_all(script.as_bytes()).map_err(Failure::from))
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let Some(folder) = &args.out else {
        return unless_nobody_reads(
            Man::new(Cli::command()).render(&mut io::stdout()).map_err(Failure::from),
        );
    };
    let write = || {
        fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().map_err(|error| Failure::File { path: folder.display().to_string(), error })
}
