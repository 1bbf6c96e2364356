//! A WAMP client that knows nothing of what it is used for, and what a router shares with it: messages, codecs
//! and transports.
//!
//! | module | what it holds |
//! |---|---|
//! | [`client`] | [`connect`], [`Session`] and [`Incoming`]: what applications work with |
//! | [`session`] | the engine: the protocol without I/O, clock or runtime |
//! | [`transport`] | WebSocket, plain and over TLS, from either side; connections within the process |
//! | [`message`], [`codec`], [`reading`] | messages, and their form in CBOR, MessagePack and JSON |
//! | [`request`], [`error`] | what can be asked, and how it can fail |
//! | [`auth`], [`uri`], [`statistics`] | who we are, what a URI is, what was left out |
//!
//! What a peer sends is bounded in size, nesting and number of values. A message that cannot be read costs
//! its sender an error, and ends the session only when nobody can be told.
#![forbid(unsafe_code)]

pub mod auth;
pub mod client;
pub mod codec;
pub mod error;
pub mod message;
pub mod reading;
pub mod request;
pub mod session;
pub mod statistics;
pub mod transport;
pub mod uri;

pub use auth::{Auth, CryptosignKey};
pub use client::{
    ClientOptions, Dial, Event, Incoming, IncomingEvent, Invocation, Responder, Session, connect,
    connect_over,
};
pub use codec::Serializer;
pub use error::{CallError, CloseReason, ConnectError};
pub use message::Dict;
pub use request::{Call, CallResult, Invoke, Publish, RegisterOptions};
pub use transport::Roots;
pub use uri::Match;
