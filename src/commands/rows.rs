//! Lists on standard output: as text for people, JSON objects or CSV for programs.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write};

use serde::Serialize;

use super::Failure;
use crate::cli::FormArgs;

/// Prints rows, one after the other.
pub(super) enum Rows {
    Text(StdoutLock<'static>),
    Json(StdoutLock<'static>),
    Csv(Box<csv::Writer<StdoutLock<'static>>>),
}

impl Rows {
    pub(super) fn new(form: FormArgs) -> Self {
        let out = io::stdout().lock();
        match form {
            FormArgs { json: true, .. } => Self::Json(out),
            FormArgs { csv: true, .. } => Self::Csv(Box::new(csv::Writer::from_writer(out))),
            FormArgs { json: false, csv: false } => Self::Text(out),
        }
    }

    pub(super) fn print(&mut self, row: &(impl Serialize + Display)) -> io::Result<()> {
        match self {
            Self::Text(out) => writeln!(out, "{row}"),
            Self::Json(out) => {
                serde_json::to_writer(&mut *out, row)?;
                writeln!(out)
            }
            Self::Csv(csv) => csv.serialize(row).map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) => error,
                other => io::Error::other(format!("{other:?}")),
            }),
        }
    }

    /// Something that is for people only.
    pub(super) fn remark(&mut self, remark: impl Display) -> io::Result<()> {
        if let Self::Text(out) = self { writeln!(out, "{remark}") } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Text(out) | Self::Json(out) => out.flush(),
            Self::Csv(csv) => csv.flush(),
        }
    }
}

/// Whoever closed the pipe has seen enough.
pub(super) fn unless_nobody_reads(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
