//! The market maker: its books as tables and properties, its store, and the actor between sellers and buyers
//! that err on request.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod actor;
mod books;
mod fake_realm;
mod rejects;
mod store;
mod support;
mod whole;
