//! What can be wrong with a configuration, and how an operator is told: each problem with its place, the path
//! of its key, and what to do.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// An option of the command line.
    Option(&'static str),
    /// Nowhere: it is a default.
    Default,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The path of its key, such as `api[0].price`.
    pub key: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProblemKind {
    /// There is no such key.
    #[error("unknown key; {}", advise(suggestion.as_deref(), known))]
    Unknown {
        /// The key that was probably meant.
        suggestion: Option<&'static str>,
        /// The keys that there are.
        known: Vec<&'static str>,
    },
    /// The key must be there.
    #[error("missing; it must be {expected}")]
    Missing {
        /// What it must be.
        expected: &'static str,
    },
    /// The value has another type.
    #[error("must be {expected}, got {actual}")]
    Type {
        /// What it must be.
        expected: &'static str,
        /// The type that it has.
        actual: &'static str,
    },
    /// The value has the right type, but cannot be used.
    #[error("{reason}")]
    Value {
        /// Why.
        reason: String,
    },
    /// A list has no such entry, nor can it be the next one.
    #[error("there are {count} entries; only an existing one, or the next, can be set")]
    Index {
        /// How many entries there are.
        count: usize,
    },
    /// Others than its owner have access to a secret.
    #[error("{path} is accessible to others (mode {mode:03o}); run chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be used.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// It is not TOML.
    #[error("{}: line {line}, column {column}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// It is not a usable configuration.
    #[error("{}: {}", path.display(), list(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Option(name) => write!(f, "option {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.kind)
    }
}

impl ProblemKind {
    /// A value that cannot be used, for the reason that its parser gives.
    pub(super) fn value(reason: impl fmt::Display) -> Self {
        Self::Value { reason: reason.to_string() }
    }
}

fn advise(suggestion: Option<&str>, known: &[&str]) -> String {
    match suggestion {
        Some(suggestion) => format!("did you mean {suggestion}?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        _ => {
            let lines = problems.iter().map(|problem| format!("\n  {problem}"));
            format!("{} problems{}", problems.len(), lines.collect::<String>())
        }
    }
}
