//! The other side of a data market, to embed: the buyer, the market maker and a WAMP router.
//!
//! | module | what it holds |
//! |---|---|
//! | [`buyer`] | the buyer: buys the keys of encrypted events and decrypts them |
//! | [`maker`] | the market maker: pays sellers for the keys that buyers pay it for |
//! | [`router`] | a WAMP router: realms, authentication, permissions, routing |
#![forbid(unsafe_code)]

pub mod buyer;
pub mod maker;
mod memory;
pub mod router;
mod sqlite;
