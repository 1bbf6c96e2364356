//! A data market to embed: router, market maker and buyer.
//!
//! | module | what it holds |
//! |---|---|
//! | [`buyer`] | the buyer: buys the keys of encrypted events and decrypts them |
//! | [`maker`] | the market maker: channels, offers and purchases |
//! | [`router`] | a WAMP router, which knows nothing of what it is used for |
#![forbid(unsafe_code)]

pub mod buyer;
pub mod maker;
pub mod router;
mod sqlite;
