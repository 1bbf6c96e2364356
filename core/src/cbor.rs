//! CBOR (RFC 8949) for payloads and WAMP messages: [`decode`] and [`encode`] dynamic values, [`to_vec`]
//! anything that serde can serialize.
//!
//! What a peer sent is read within [`Limits`]: nesting costs stack and many tiny items cost memory far beyond
//! their bytes, so both are bounded; how many bytes there may be is for the transport to say.

mod decode;
mod encode;
mod serialize;

use thiserror::Error;

pub use decode::{decode, decode_array_into};
pub use encode::{encode, encode_into, has_repeated_key};
pub use serialize::{to_vec, to_vec_into};

/// The greatest nesting that can be configured: beyond it the stack of a worker thread would be at risk.
pub const MAX_DEPTH: usize = 256;

/// How much structure is accepted from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays, maps and tags may nest; a flat array has depth 1. At most [`MAX_DEPTH`] counts.
    pub max_depth: usize,
    /// How many values there may be in all, containers, keys and tags included. One takes tens of bytes of
    /// memory.
    pub max_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 64, max_items: 1_000_000 }
    }
}

/// Why bytes are not the CBOR that is accepted here, or why a value has no CBOR form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CborError {
    /// The input ends within an item.
    #[error("cbor ends early")]
    Truncated,
    /// Something follows after the item.
    #[error("{count} bytes follow after the cbor item")]
    TrailingBytes {
        /// How many bytes follow.
        count: usize,
    },
    /// Nested deeper than [`Limits::max_depth`].
    #[error("cbor nests deeper than {max}")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// More values than [`Limits::max_items`].
    #[error("cbor has more than {max} items")]
    TooManyItems {
        /// The limit.
        max: usize,
    },
    /// A text that is not UTF-8.
    #[error("cbor text is not utf-8")]
    InvalidUtf8,
    /// A map with the same key twice.
    #[error("cbor map repeats a key")]
    RepeatedKey,
    /// A tag 2 or 3 (big integer) around something other than a byte string.
    #[error("cbor big integer is not a byte string")]
    InvalidBigInt,
    /// Bytes that no item begins with, such as reserved lengths.
    #[error("cbor is malformed at byte {offset}")]
    Malformed {
        /// Where, counted from the start of the input.
        offset: usize,
    },
    /// An array was expected at the top.
    #[error("cbor array expected")]
    NotAnArray,
    /// What `serde::Serialize` itself reported.
    #[error("cannot serialize: {message}")]
    Serialize {
        /// The text of the error.
        message: String,
    },
}

#[cfg(test)]
mod tests;
