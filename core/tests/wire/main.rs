//! The wire types: each request and result there and back, each malformed input with its exact error, and no
//! input that panics.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod arbitrary;
mod requests;
mod results;
mod samples;
