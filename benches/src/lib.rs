//! Measures the seller, for `docs/performance.md` and for those who change it.
//!
//! `cargo bench -p xbr-benches` runs the criterion benchmarks of each primitive and of each path. The program
//! `xbr-figures` measures one scenario and prints its figures as a line of JSON; `scripts/compare` runs it in turn with
//! the reference. Nothing here is a test: a figure says nothing without the machine that it was taken on.

#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "figures are no amounts, and a failure ends it"
)]

pub mod archive;
pub mod bare;
pub mod measure;
pub mod rotate;
pub mod sell;
pub mod support;
pub mod wrap;
