//! The router: its routing as tables and properties, and the whole of it against clients over sockets and in
//! the process, well-behaved and not.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod bad_peers;
mod calls;
mod chance;
mod events;
mod floor;
mod making;
mod raw;
mod sessions;
mod support;
