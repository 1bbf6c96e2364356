//! The other side of a data market, to embed: the buyer and a WAMP router.
//!
//! | module | what it holds |
//! |---|---|
//! | [`buyer`] | the buyer: buys the keys of encrypted events and decrypts them |
//! | [`router`] | a WAMP router: realms, authentication, permissions, routing |
#![forbid(unsafe_code)]

pub mod buyer;
pub mod router;
