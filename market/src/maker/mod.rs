//! The market maker: it sells the keys of sellers to buyers, on a realm of any WAMP router. A buyer pays it
//! out of a payment channel, and it pays the seller out of a paying channel; both sign each state with it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`book`] | channels, offers and purchases as a state machine |
//! | [`account`], [`offer`], [`purchase`] | what the books are made of |
//! | [`lane`] | which call of a seller goes out next |
//! | [`outcome`] | what a seller's answer means: certainly not sold, or nobody knows |
//! | [`reject`] | why a call is refused, and the WAMP error URIs |
//! | [`procedures`] | the procedures, their arguments read |
//! | [`store`] | the books, durable |
//! | [`messages`] | the way to the realm's session |
//!
//! An embedder holds a [`MakerHandle`]: [`spawn`](MakerHandle::spawn) it, then
//! [`start`](MakerHandle::start). The procedures, their arguments, results, errors and events are those of
//! the reference's market maker.
//!
//! # Differences from the reference
//!
//! * A failed sale gives the money back in both channels, and leaves no gap in their sequence numbers where
//!   none has to be.
//! * Nothing is answered that is not durable, and an identical repeat of `buy_key` gets the same receipt.
//! * What a seller did not answer for certain is asked again until it is certain, also after a restart.
//! * An exhausted paying channel is closed, and the sale goes on over another one.
//! * Offers are signed, unless [`OfferPolicy::Any`] says otherwise; they expire, run out and can be revoked,
//!   by whoever placed them as far as the router discloses callers.
//!
//! # What is trusted
//!
//! There is no blockchain: `get_config` names chain 0 and no contracts, a close is final at once, and
//! nothing but the signed states says who owns what. Buyers trust the market maker with what they put into
//! their payment channels, sellers with what they earned; each of them holds the market maker's signature
//! over the last state. Nobody trusts the router: whatever moves money is signed. Channels are opened by the
//! operator, through [`MakerOptions::channels`], [`MakerHandle::open_channel`], or `open_channel` with a
//! signature of the market maker's own key.

pub mod account;
mod actor;
pub mod book;
mod handle;
pub mod lane;
pub mod messages;
pub mod offer;
mod options;
pub mod outcome;
pub mod procedures;
pub mod purchase;
pub mod reject;
mod session;
mod signing;
pub mod store;

pub use actor::{ChannelReport, Maker, MakerState, MakerStatus, Observe, OpenOne, Start, StartError, Stop};
pub use handle::{MakerHandle, SpawnError};
pub use options::{ChannelGrant, MakerOptions, OfferPolicy};
pub use session::RealmSession;
pub use store::{MakerStore, MemoryMakerStore, SqliteMakerStore};
