//! The market maker: its books as tables and properties, its store, and the actor between sellers and buyers
//! that err on request.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

mod actor;
mod books;
mod fake_realm;
mod faults;
mod rejects;
mod store;
mod support;
mod whole;
