//! The commands of an operator: what was sold, what is in the store, copies of it, and how the service does.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use xbr_core::{Address, ApiId, ChannelId, KeyId};
use xbr_store::KeyState;

use crate::receipts::Format;
use crate::when;

/// How a list is printed.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub struct FormArgs {
    /// Print a JSON object a line; amounts are exact decimal XBR, as strings
    #[arg(long)]
    pub json: bool,
    /// Print CSV with a header
    #[arg(long)]
    pub csv: bool,
}

/// What the help of `sales` ends with.
const SALES_EPILOGUE: &str = "\
Examples:
  xbr-seller sales --config seller.toml                  the last hundred sales
  xbr-seller sales --config seller.toml --follow         and those to come
  xbr-seller sales --config seller.toml --since 24h --csv > sales.csv
  xbr-seller sales earnings --config seller.toml --by day
  xbr-seller sales export --config seller.toml --out receipts.csv
  xbr-seller sales verify receipts.csv                   checks every signature; needs nothing else";

/// `sales`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = SALES_EPILOGUE
)]
pub struct SalesArgs {
    /// The configuration file
    // A subcommand has its own.
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG", required = true)]
    pub config: Option<PathBuf>,
    /// Only sales of keys of this API
    #[arg(long, value_name = "UUID")]
    pub api: Option<ApiId>,
    /// Only sales over this channel
    #[arg(long, value_name = "UUID")]
    pub channel: Option<ChannelId>,
    /// Only sales of this key
    #[arg(long, value_name = "UUID")]
    pub key: Option<KeyId>,
    /// Only sales from then on: a time such as 2026-11-27T10:00:00Z, a day, or how long ago, such as 24h
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub since: Option<u64>,
    /// Only sales before then
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub until: Option<u64>,
    /// The last so many; `export` writes all
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Go on with those to come, until it is stopped
    #[arg(long, conflicts_with = "until")]
    pub follow: bool,
    /// In which form.
    #[command(flatten)]
    pub form: FormArgs,
    /// What else there is to do with sales; nothing: list them.
    #[command(subcommand)]
    pub command: Option<SalesCommand>,
}

/// `sales …`
#[derive(Debug, Subcommand)]
pub enum SalesCommand {
    /// Tell what was earned, by hours or days
    Earnings(EarningsArgs),
    /// Write receipts with the signatures of both sides, for `verify` and for whoever audits
    Export(ExportArgs),
    /// Check a file of receipts: every signature, and that nothing is missing
    Verify(VerifyArgs),
}

/// `sales earnings`
#[derive(Debug, Args)]
pub struct EarningsArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// How long a step of time is; days begin at midnight UTC
    #[arg(long, value_enum, default_value_t = Step::Day)]
    pub by: Step,
    /// Only by keys of this API
    #[arg(long, value_name = "UUID")]
    pub api: Option<ApiId>,
    /// From then on: a time such as 2026-11-27T10:00:00Z, a day, or how long ago
    #[arg(long, value_name = "TIME", value_parser = when::parse, default_value = "30days")]
    pub since: u64,
    /// Before then [default: now]
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub until: Option<u64>,
    /// In which form.
    #[command(flatten)]
    pub form: FormArgs,
}

/// A step of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "they say it")]
pub enum Step {
    Hour,
    Day,
}

/// `sales export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// The form of the file
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
    /// The file to make, which only you can read; one that exists is never overwritten [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Only the receipts of this channel
    #[arg(long, value_name = "UUID")]
    pub channel: Option<ChannelId>,
}

/// `sales verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A file that `sales export` has made, CSV or JSON
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Who must be the market maker [default: whoever the file names, which is told]
    #[arg(long, value_name = "ADDRESS")]
    pub market_maker: Option<Address>,
    /// Who must be the seller [default: whoever the file names, which is told]
    #[arg(long, value_name = "ADDRESS")]
    pub seller: Option<Address>,
}

/// `keys`
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// Only keys of this API
    #[arg(long, value_name = "UUID")]
    pub api: Option<ApiId>,
    /// Only keys in this state: unoffered, offered, expired or retired
    #[arg(long, value_name = "STATE")]
    pub state: Option<KeyState>,
    /// The last so many that were made
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// In which form.
    #[command(flatten)]
    pub form: FormArgs,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The configuration file of the service
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// The file to make, which only you can read; one that exists is never overwritten
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// A file that `backup` has made
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Put the backup in the place of a store that is there, which is kept with .old behind its name
    #[arg(long)]
    pub force: bool,
    /// Answer for it that nothing was sold after the backup was made: sell on even where the market maker is ahead
    #[arg(long)]
    pub newest: bool,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, which is made if need be [default: one page to standard output]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
