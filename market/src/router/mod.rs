//! A WAMP router to embed, for demos, tests and self-hosting: a data market needs no other program then.
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`] | realms, who may join them, bounds |
//! | [`permissions`] | what a role may do with which URIs |
//! | [`realm`] | the routing of a realm, without I/O: registrations, calls, subscriptions, events |
//!
//! An embedder holds a [`RouterHandle`]: [`listen`](RouterHandle::listen) lets clients in over WebSocket (or
//! [`listen_tls`](RouterHandle::listen_tls)), [`dial`](RouterHandle::dial) lets sessions in this process in without a socket.
//!
//! # What is trusted
//!
//! Nobody: what a client can take up is bounded, and one that breaks the protocol or does not read what it is
//! sent is disconnected, without the others noticing. A client may do what its role's rules allow, and
//! nothing without a rule.

mod connection;
mod handle;
mod handshake;
pub mod options;
pub mod permissions;
pub mod realm;
mod realm_task;
mod status;
mod tasks;

pub use handle::{RouterHandle, SpawnError};
pub use options::{Bounds, Credential, Identity, OptionsError, Principal, RealmOptions, RouterOptions};
pub use permissions::{Action, Role, Rule};
pub use status::RouterStatus;
