//! Measures one scenario and prints its figures as a line of JSON. `scripts/compare` sets them beside the reference's.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool that ends with its first failure")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use serde_json::json;
use xbr_benches::{archive, bare, rotate, sell, wrap};

/// That of the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures one scenario and prints its figures as a line of JSON.
#[derive(Debug, Parser)]
#[command(name = "xbr-figures", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Wrap payloads of 64 B to 1 MiB: one caller, many callers, batches
    Wrap {
        /// How many rounds the medians are of
        #[arg(long, default_value_t = 15)]
        rounds: usize,
    },
    /// Sell in process: memory and SQLite, 64 in flight and one at a time
    Sell {
        /// How many rounds the medians are of
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// How many sales a round has
        #[arg(long, default_value_t = 5000)]
        sales: u32,
        /// Only SQLite with 64 in flight, for a profile of it
        #[arg(long)]
        durable: bool,
    },
    /// Let key series rotate every second
    Rotate {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        series: u32,
        /// For how many seconds
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Offers are not signed
        #[arg(long)]
        unsigned: bool,
    },
    /// What a sale and a rotation cannot do without, without actors
    Bare {
        /// How many rounds the medians are of
        #[arg(long, default_value_t = 7)]
        rounds: usize,
        /// How many sales a round has on each core
        #[arg(long, default_value_t = 2500)]
        sales: u32,
        /// How many series rotate
        #[arg(long, default_value_t = 10_000)]
        series: u32,
    },
    /// Sell from an archive
    Archive {
        /// How many keys it has
        #[arg(long)]
        keys: u64,
        /// Where it is
        #[arg(long)]
        folder: PathBuf,
        /// How many sales one at a time; ten times as many follow with 64 in flight
        #[arg(long, default_value_t = 500)]
        sales: u32,
        /// Only make it, and die by SIGKILL
        #[arg(long)]
        make: bool,
    },
}

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let figures = match Cli::parse().scenario {
        Scenario::Wrap { rounds } => json!({ "wrap": wrap::run(rounds, cores) }),
        Scenario::Sell { rounds, sales, durable } => {
            let (primitives, rows) = sell::run(rounds, sales, durable);
            json!({ "primitives": primitives, "sell": rows })
        }
        Scenario::Rotate { series, seconds, unsigned } => {
            json!({ "rotate": rotate::run(series, Duration::from_secs(seconds), !unsigned) })
        }
        Scenario::Bare { rounds, sales, series } => {
            let sale = bare::sales(rounds, sales, cores);
            json!({ "sale": sale, "rotation_us": bare::rotation(rounds, series) })
        }
        Scenario::Archive { keys, folder, make: true, .. } => archive::make(&folder, keys),
        Scenario::Archive { keys, folder, sales, .. } => {
            json!({ "archive": archive::run(&folder, keys, sales) })
        }
    };
    println!("{figures}");
}
