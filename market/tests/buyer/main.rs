//! The buyer: its wallet as tables and properties, its store, and the actor against a market maker that is an
//! actor.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod actor;
mod failures;
mod restart;
mod store;
mod stream;
mod support;
mod wallet;
