//! The commands, a module each.

use std::io::{self, Write};
use std::path::Path;

use thiserror::Error;
use xbr_actors::CloseError;
use xbr_core::crypto::KeyError;
use xbr_store::{MasterKeyError, ReadOnlyStore, SqliteStore, StoreError};

use crate::bench::BenchError;
use crate::cli::{Cli, Command, ConfigCommand};
use crate::config::{Config, ConfigError, Environment};
use crate::consumer::ConsumerError;
use crate::demo::DemoError;
use crate::host::HostError;
use crate::host::operator::OperatorError;
use crate::http::client::AskError;
use crate::logging::LogError;
use crate::private_file::SecretFileError;
use crate::receipts::{ExportError, VerifyError};
use crate::service::ServiceError;

mod backup;
mod bench;
mod buy;
mod channels;
mod check;
mod close;
mod demo;
mod doctor;
mod help;
mod keygen;
mod keys;
mod market;
mod receipts;
mod rows;
mod run;
mod sales;
mod status;

/// Why a command failed, and with that its exit code.
#[derive(Debug, Error)]
pub enum Failure {
    /// The configuration is bad.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The service did not start, or ended by itself.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The buyer did not start, or ended by itself.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The master key cannot be had.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Receipts cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A file of receipts cannot be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A file of receipts is not right.
    #[error("the receipts are not right: {wrong} findings")]
    WrongReceipts {
        /// How much is wrong.
        wrong: u64,
    },
    /// Something is wrong with the seller.
    #[error("{failed} checks failed; the lines above say what to do")]
    Unhealthy {
        /// How many.
        failed: usize,
    },
    /// The service cannot be asked.
    #[error(
        "the configuration has no section [http], over which the service is asked; add one and restart it"
    )]
    NoInterface,
    /// The service does not say how it does.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The service runs, and does not sell.
    #[error("the seller is not ready")]
    NotReady,
    /// A file cannot be made, read or written.
    #[error("cannot use {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A channel was not closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// It was asked whether to go on, and not answered with yes.
    #[error("nothing was signed or sent: it was not confirmed; answer with y, or pass --yes")]
    NotConfirmed,
    /// The market did not start, or ended by itself.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The operator of a market cannot do something.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A file holds no key.
    #[error("{path} holds no key: {error}")]
    NoKey {
        /// The file.
        path: String,
        /// Why.
        error: KeyError,
    },
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The accounts of a demo differ.
    #[error("the accounts differ in {0} points")]
    Disagree(usize),
    /// Nothing was measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Some sales of a measurement failed.
    #[error("{0} sales failed; the report says by what")]
    SalesFailed(u64),
    /// A key cannot be written.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// A key cannot be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] xbr_wamp::auth::AuthError),
    /// Nothing can be logged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The process lacks something that it needs.
    #[error("cannot use the terminal, signals or threads: {0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// 2 for a bad configuration, 3 for a failed start, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Service(error) if error.is_failed_start() => 3,
            Self::Consumer(error) if error.is_failed_start() => 3,
            Self::Host(error) if error.is_failed_start() => 3,
            Self::Bench(error) if error.is_failed_start() => 3,
            Self::Ask(_) => 3,
            _ => 1,
        }
    }

    /// Tells the operator: in the log when it has begun, else in plain words on standard error.
    pub fn report(&self) {
        match self {
            Self::Service(error) => tracing::error!(advice = error.advice(), "cannot sell: {error}"),
            Self::Consumer(error) => tracing::error!(advice = error.advice(), "cannot buy: {error}"),
            Self::Host(error) => tracing::error!(advice = error.advice(), "cannot serve: {error}"),
            // Whoever closed standard error does not want to know.
            other => drop(writeln!(io::stderr(), "xbr-seller: {other}")),
        }
    }
}

/// A command that looks at the store does not make one.
fn require_store(path: &Path) -> Result<(), StoreError> {
    if SqliteStore::exists(path) {
        return Ok(());
    }
    let reason = "it does not exist yet; the service makes it at its first start".to_owned();
    Err(StoreError::Open { path: path.display().to_string(), reason })
}

/// The store of a configuration, to be read; the service may be running.
fn open_store(config: &Path) -> Result<ReadOnlyStore, Failure> {
    let (config, secrets) = Config::load(config, &Environment::of_process())?;
    require_store(&config.store.path)?;
    let master_key = config.store.master_key(secrets.master_key)?;
    Ok(ReadOnlyStore::open(&config.store.path, master_key)?)
}

/// Does what the command line says.
///
/// # Errors
/// [`Failure`].
pub fn execute(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run::execute(&args),
        Command::Bench(args) => bench::execute(&args),
        Command::Buy(args) => buy::execute(&args),
        Command::Channels(args) => channels::execute(&args),
        Command::Status(args) => status::execute(&args),
        Command::Sales(args) => sales::execute(&args),
        Command::Keys(args) => keys::execute(&args),
        Command::Backup(args) => backup::back_up(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Doctor(args) => doctor::execute(&args),
        Command::Completions(args) => help::completions(&args),
        Command::Man(args) => help::man(&args),
        Command::Close(args) => close::execute(&args),
        Command::Demo(args) => demo::execute(&args),
        Command::Market(args) => market::execute(&args),
        Command::Keygen(args) => keygen::execute(&args),
        Command::Config(ConfigCommand::Check { file }) => check::execute(&file),
    }
}
