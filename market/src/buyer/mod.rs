//! The buyer: it sees encrypted events, buys their keys through the market maker out of a payment channel,
//! and decrypts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wallet`] | the payment channel as a state machine: what is signed, and made of the answers |
//! | [`purchases`] | which keys are wanted, by whom, and which is to be bought next |
//! | [`store`] | payments, bought keys and the receive key, durable |
//! | [`messages`] | the way to the market's session |
//! | [`error`] | what can go wrong, one enum per operation |
//!
//! An embedder holds a [`BuyerHandle`]: [`start`](BuyerHandle::start), then
//! [`subscribe`](BuyerHandle::subscribe) or [`unwrap`](BuyerHandle::unwrap).
//!
//! # What is trusted
//!
//! A payment is signed before the key comes: a market maker can keep the price of one key. It cannot take
//! more: a state that gives more than the maximum price for a key is never signed, what was lost on a key
//! counts, and figures that the signed states do not bear out stop the buying. The market maker's figures are
//! taken on trust once, when a channel is seen for the first time.

mod actor;
pub mod error;
mod handle;
pub mod messages;
mod options;
pub mod purchases;
mod session;
pub mod store;
mod stream;
mod till;
pub mod wallet;

pub use actor::{Balance, BalanceReport, Buyer, BuyerState, BuyerStatus, Observe, Obtain, Start, Stop};
pub use error::{BuyError, MarketError, StartError, UnwrapError};
pub use handle::{BuyerHandle, SpawnError};
pub use options::BuyerOptions;
pub use session::MarketSession;
pub use store::{BuyerStore, MemoryBuyerStore, SqliteBuyerStore};
pub use stream::{Decrypted, DecryptedEvent};
