//! What is fuzzed: the state machine of a paying channel, and the decoders.

#[path = "../../tests/support/guard.rs"]
mod guard;

pub mod channel;
pub mod decoders;
mod rules;
