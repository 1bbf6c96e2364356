//! The life of the service as the outside sees it, through the real program: health, metrics and traces, the service
//! manager, and a configuration that changes while it runs. The router is the test's own, so that it can go away
//! without the market maker, and the other way round.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers fail a test by panicking"
)]

mod health;
mod manager;
#[path = "../support/programs.rs"]
mod programs;
mod reload;
mod traces;
mod world;
