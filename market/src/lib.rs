//! The other side of a data market, to embed: so far the buyer.
//!
//! | module | what it holds |
//! |---|---|
//! | [`buyer`] | the buyer: buys the keys of encrypted events and decrypts them |
#![forbid(unsafe_code)]

pub mod buyer;
pub mod maker;
mod sqlite;
