//! What the benchmarks share with the tests of the actors: who takes part, and a market maker that is an actor.

#![allow(dead_code, missing_docs, missing_debug_implementations, reason = "a module of tests")]

#[path = "../../tests/support/fake_market.rs"]
pub mod fake_market;
#[path = "../../tests/support/parties.rs"]
pub mod parties;

pub use parties::*;
