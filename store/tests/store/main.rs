//! What every store promises, checked against each, and what is particular to the one in a file.

// The allowances for tests do not reach helper functions.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod backup;
mod conformance;
mod crash;
mod damage;
mod faults;
mod files;
mod inspection;
mod lists;
mod master_key;
mod properties;
mod support;
