//! The HTTP interface of a seller that sells over a market: three processes, as an operator has them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a panic here"
)]

mod access;
mod apis;
mod client;
mod dashboard;
mod description;
mod errors;
mod events;
mod lists;
mod payloads;
#[path = "../support/programs.rs"]
mod programs;
mod world;
