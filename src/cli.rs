//! The command line: what there is, and the help that teaches it.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use xbr_core::{Address, Amount, ChannelId};

use crate::config::{DemoHttp, Member};

mod operations;

pub use operations::{
    BackupArgs, CompletionsArgs, DoctorArgs, EarningsArgs, ExportArgs, FormArgs, KeysArgs, ManArgs,
    RestoreArgs, SalesArgs, SalesCommand, StatusArgs, Step, VerifyArgs,
};

/// What the help ends with.
const EPILOGUE: &str = "\
Examples:
  xbr-seller demo                          see a whole data market at work
  xbr-seller bench                         see how fast this machine sells
  xbr-seller keygen --out seller.key       make the key that you sell with, buy with, or make a market with
  xbr-seller config check seller.toml      see what is wrong before it matters
  xbr-seller run --config seller.toml      sell, until SIGTERM or SIGINT
  xbr-seller channels --config seller.toml  see what was earned, also while it runs
  xbr-seller close --config seller.toml    close a channel on the chain, when it is stopped
  tail -f prices.jsonl | xbr-seller run --config seller.toml
                                           sell what another program writes, a JSON value a line
  xbr-seller buy --config buyer.toml | jq .payload
                                           buy what others sell, a JSON value a line
  xbr-seller market --config market.toml   let others sell and buy

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
    /// See a whole data market at work, in this process and with nothing else installed
    Demo(DemoArgs),
    /// Measure how many keys a second are sold, and how long each takes, by this machine or a running seller
    Bench(Box<BenchArgs>),
    /// Buy, and print decrypted events as JSON, one a line, until SIGTERM or SIGINT
    Buy(BuyArgs),
    /// Tell what the store holds of every paying channel, also while the service runs
    Channels(ChannelsArgs),
    /// Tell how the running service does; exit code 0 when it is ready, 1 when not, 3 when it does not answer
    Status(StatusArgs),
    /// List what was sold, also while the service runs; export and check receipts
    Sales(SalesArgs),
    /// List data keys and what they were sold for, also while the service runs
    Keys(KeysArgs),
    /// Copy the store into a new file, also while the service runs
    Backup(BackupArgs),
    /// Put a backup into the place of the store; the service must be stopped
    Restore(RestoreArgs),
    /// Close a paying channel on the chain, for good; the service must be stopped
    Close(CloseArgs),
    /// Serve a market, that is a router and a market maker, until SIGTERM or SIGINT
    Market(MarketArgs),
    /// Make a key in a new file that only you can read
    Keygen(KeygenArgs),
    /// Look at everything that a seller needs, and say what is wrong and what to do; changes nothing
    Doctor(DoctorArgs),
    /// Write a script that completes this command line in a shell
    Completions(CompletionsArgs),
    /// Write manual pages for man
    Man(ManArgs),
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

/// What the help of `demo` ends with.
const DEMO_EPILOGUE: &str = "\
Examples:
  xbr-seller demo                          watch it here and in a browser; Ctrl-C shows the accounts
  xbr-seller demo --feed prices.jsonl      sell the lines of a file of yours as well
  xbr-seller demo --dir market             keep keys and stores: the next time everybody goes on from there
  xbr-seller demo --sales 10000 --json     how fast is it? one JSON object at the end

Everybody keeps books of their own: the buyers of what they spent, the market maker of what it received and
paid, the seller of what it earned. At the end they must agree to the last unit of 10^-18 XBR.

Exit codes: 0 the accounts agree, 1 they differ or something failed, 2 bad configuration or command line.";

/// `demo`
#[derive(Debug, Args)]
#[command(after_help = DEMO_EPILOGUE)]
pub struct DemoArgs {
    /// A configuration file; config/demo.toml is the one that is built in
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sell the lines of this file as well, a JSON value each
    #[arg(long, value_name = "FILE")]
    pub feed: Option<PathBuf>,
    /// Keep keys and stores in this folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the dashboard is: an address of this machine, auto or off [default: as configured; auto is
    /// 127.0.0.1:7070 or a free port, and only with a screen]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<DemoHttp>,
    /// End after so many sales, made as fast as they can be: each event has a key of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sales: Option<u64>,
    /// How many purchases may be in flight, that is how many buyers there are [default: as configured, and
    /// 64 with --sales]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub in_flight: Option<u16>,
    /// Show nothing, and print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Let so many of a thousand purchases fail: bad buyer keys, unknown keys, a seller that restarts
    #[arg(long, value_name = "PERMILLE", default_value_t = 0, hide = true,
          value_parser = clap::value_parser!(u16).range(..=900))]
    pub fail: u16,
}

/// What the help of `bench` ends with.
const BENCH_EPILOGUE: &str = "\
Examples:
  xbr-seller bench                         how fast is this machine? a few seconds, and nothing else needed
  xbr-seller bench --svg latency.svg       draw the latencies as well
  xbr-seller bench --dir /data             the same on the disk of that folder
  xbr-seller bench --in-flight 64 --rate 1000 --duration 30s
                                           can it take 1000 a second, and with which latency?
  xbr-seller bench --url ws://router.example/ws --realm bench --key-file market.key
                                           measure a seller that runs, over the router that it uses

Keys are bought as the market maker buys them: each sale pays with a signed state of a channel, is on disk when
it is answered, and its receipt must be countersigned and bring the data key. States are signed before a
measurement, and receipts checked after it. For a whole market, buyers included: xbr-seller demo --sales 10000.

A seller that runs must trust that key: its seller.market_maker is the key's address. The load generator joins
the realm in the market maker's place, so that no other may be there; start it, then the seller, which one that
runs already does by itself. The channel is backed by nothing: give that seller a store of its own for this.

Without --rate a sale begins when another has ended (closed loop): a seller that stalls is asked less meanwhile,
and latencies look better than independent buyers would find them (coordinated omission). With --rate sales
begin at that rate, however the seller does, and latency counts from when a sale was due, to a millisecond.

Exit codes: 0 all sales were made, 1 some failed, and the report counts them by error, 2 bad configuration or
command line, 3 no router or no seller.";

/// `bench`. Values are judged together with the configuration.
#[derive(Debug, Args)]
#[command(after_help = BENCH_EPILOGUE)]
pub struct BenchArgs {
    /// A configuration file; config/bench.toml is the one that is built in
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Measure a seller that runs, over this router [default: one of its own]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The realm there
    #[arg(long, value_name = "REALM")]
    pub realm: Option<String>,
    /// The key of the market maker that the seller trusts
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The provider id of the seller [default: of whoever first offers a key]
    #[arg(long, value_name = "ID")]
    pub provider: Option<String>,
    /// What the paying channel holds [default: 1000000000]
    #[arg(long, value_name = "XBR")]
    pub amount: Option<String>,
    /// How long to wait for an offer [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub patience: Option<String>,
    /// How many sales are in flight, a measurement for each [default: 1,16,64]
    #[arg(long, value_name = "LIST")]
    pub in_flight: Option<String>,
    /// How long a measurement takes [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub duration: Option<String>,
    /// How many sales a measurement has [default: as many as there is time for]
    #[arg(long, value_name = "N")]
    pub sales: Option<String>,
    /// How many sales there are before each, which do not count [default: 200]
    #[arg(long, value_name = "N")]
    pub warm_up: Option<String>,
    /// Begin so many sales a second, whatever became of those before (open loop) [default: closed loop]
    #[arg(long, value_name = "N")]
    pub rate: Option<String>,
    /// Make the store of one's own seller in this folder [default: the system's for such files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print one JSON object; latencies are in microseconds
    #[arg(long)]
    pub json: bool,
    /// Draw the latencies by percentile
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// `buy`
#[derive(Debug, Args)]
pub struct BuyArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG")]
    pub config: PathBuf,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
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

/// What the help of `market` ends with.
const MARKET_EPILOGUE: &str = "\
Examples:
  xbr-seller keygen --out market.key       make the market maker's key
  xbr-seller market --config market.toml   serve the market
  xbr-seller market channel open --config market.toml --buyer 0x1234… --amount 1000
                                           open a channel in the running market; --seller for one to a seller
  xbr-seller market channel list --config market.toml
                                           where the channels of the configuration stand

There is no blockchain behind it: what a channel holds is what the operator says, and who owns what is in the
states that both sides have signed.";

/// `market`
#[derive(Debug, Args)]
#[command(after_help = MARKET_EPILOGUE)]
pub struct MarketArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "XBR_SELLER_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// What to do with a market that runs; nothing: serve one.
    #[command(subcommand)]
    pub command: Option<MarketCommand>,
}

/// `market …`
#[derive(Debug, Subcommand)]
pub enum MarketCommand {
    /// Open, list and close the channels of the running market
    #[command(subcommand)]
    Channel(ChannelCommand),
}

/// `market channel …`
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Open a channel: money that a buyer can spend, or that a seller can be paid with
    #[command(group = ArgGroup::new("who").required(true).args(["buyer", "seller"]))]
    Open {
        /// For whom.
        #[command(flatten)]
        member: MemberArgs,
        /// What is put into it, in XBR
        #[arg(long, value_name = "XBR")]
        amount: Amount,
    },
    /// List the channels of somebody, or of everybody whom the configuration names
    List {
        /// Whose.
        #[command(flatten)]
        member: MemberArgs,
    },
    /// Close a channel at the state at which it stands, for its delegate
    Close {
        /// The channel
        #[arg(long, value_name = "UUID")]
        channel: ChannelId,
        /// The delegate's key
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
}

/// Whose channels.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct MemberArgs {
    /// A buyer's delegate
    #[arg(long, value_name = "ADDRESS")]
    pub buyer: Option<Address>,
    /// A seller's delegate
    #[arg(long, value_name = "ADDRESS")]
    pub seller: Option<Address>,
}

impl MemberArgs {
    /// Whose channels; `None` when nobody is named.
    pub fn member(&self) -> Option<Member> {
        self.buyer.map(Member::Buyer).or(self.seller.map(Member::Seller))
    }
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
