//! The operator's commands through the real program, beside a market of real processes, and what the operator of that
//! market does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a panic"
)]

mod backup;
mod doctor;
mod help;
mod market;
#[path = "../support/programs.rs"]
mod programs;
mod sales;

/// A key for each payload, so that each is sold.
const ROTATION: &str = "count = 1\n";
