//! The README and the guides are true: every command that they show works, in its order, as somebody has it who copies
//! it; so do configurations, and what the text names is there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a panic"
)]

mod http;
mod named;
mod operations;
mod pages;
#[path = "../support/programs.rs"]
mod programs;
mod reader;
mod shown;
