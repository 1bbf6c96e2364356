//! The operator's commands through the real program, beside a market of real processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a panic"
)]

mod backup;
mod doctor;
mod guide;
mod help;
mod sales;
mod world;
