//! The pure part of XBR: everything that a seller has to know and compute, with no I/O, no clock, no async
//! runtime and no actor in it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | typed identifiers: bytes of the wrong length never get past the edge |
//! | [`amount`] | exact 256-bit token amounts |
//! | [`offer`] | the terms on which keys are sold |
//! | [`reject`] | why a sale or a close is refused, and the WAMP error URIs |
//! | [`channel`] | the paying channel as a state machine: judge a sale or a close, then book it |
//! | [`wire`] | every procedure and event of a data market, typed |
//! | [`crypto`] | secretbox, sealed box and signatures behind two backends; Keccak-256; entropy |
//! | [`eip712`] | the typed messages that are signed: channel states, logins, offers |
//! | [`signer`] | who signs: the trait, and the delegate's key in memory |
//! | [`payload`] | data keys: encrypting payloads, sealing a key to its buyer |
//! | [`value`], [`cbor`] | dynamic WAMP values and their CBOR form, with bounds |
#![forbid(unsafe_code)]

pub mod amount;
pub mod cbor;
pub mod channel;
pub mod crypto;
pub mod eip712;
pub mod ids;
pub mod offer;
pub mod payload;
pub mod reject;
pub mod signer;
pub mod value;
pub mod wire;

mod append;

pub use amount::Amount;
pub use eip712::Eip712;
pub use ids::{
    Address, ApiId, BuyerKey, CatalogId, ChannelId, ChannelSeq, KeyId, MarketId, ProviderId, Signature,
};
pub use payload::DataKey;
pub use signer::{DelegateKey, Signer};
pub use value::Value;
