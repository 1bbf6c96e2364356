//! The command line: what there is, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use xbr_core::ChannelId;

/// What the help ends with.
const EPILOGUE: &str = "\
Examples:
  xbr-seller keygen --out seller.key       make the key that you sell with
  xbr-seller config check seller.toml      see what is wrong before it matters
  xbr-seller run --config seller.toml      sell, until SIGTERM or SIGINT
  xbr-seller channels --config seller.toml  see what was earned, also while it runs
  xbr-seller close --config seller.toml    close a channel on the chain, when it is stopped
  tail -f prices.jsonl | xbr-seller run --config seller.toml
                                           sell what another program writes, a JSON value a line

Every key of the configuration can be overridden by the environment:
  XBR_SELLER__MARKET__URL=wss://market.example/ws xbr-seller run --config seller.toml

Exit codes: 0 clean stop, 2 bad configuration or command line, 3 failed start, 1 anything else;
128 + signal number when a second signal cuts a stop short.";

/// Sells the keys of encrypted payloads in an XBR data market.
#[derive(Debug, Parser)]
#[command(name = "xbr-seller", version, about, after_help = EPILOGUE, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do: a module of [`commands`](crate::commands) each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sell, until SIGTERM or SIGINT
    Run(RunArgs),
    /// Tell what the store holds of every paying channel, also while the service runs
    Channels(ChannelsArgs),
    /// Close a paying channel on the chain, for good; the service must be stopped
    Close(CloseArgs),
    /// Make a key in a new file that only you can read
    Keygen(KeygenArgs),
    /// Look into a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
}

/// `channels`
#[derive(Debug, Args)]
pub struct ChannelsArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// Print one JSON document; amounts are exact decimal XBR, as strings
    #[arg(long)]
    pub json: bool,
}

/// `close`
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// The channel; needed when there are several
    #[arg(long, value_name = "OID")]
    pub channel: Option<ChannelId>,
    /// Sign for seller.close_at, as the market maker does off the chain, which a living chain refuses
    #[arg(long, conflicts_with = "at_block")]
    pub cooperative: bool,
    /// Sign for this block instead of the newest one; at most 1,440 blocks old
    #[arg(long, value_name = "N")]
    pub at_block: Option<u64>,
    /// Check everything and say what would be signed; sign and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `keygen`
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// The file to make; one that exists is never overwritten [default: seller.key or cryptosign.key]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Make an Ed25519 key to authenticate to the router with, instead of the secp256k1 key to sell with
    #[arg(long)]
    pub cryptosign: bool,
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with a configuration, and with the files that it names
    Check {
        /// The configuration file
        #[arg(value_name = "FILE", env = "XBR_SELLER_CONFIG")]
        file: PathBuf,
    },
}
