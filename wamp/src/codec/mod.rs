//! Serializers: how the elements of a message become bytes and come back.
//!
//! All three read element by element, so that what came before a malformed element survives, and within
//! bounds of nesting and number of items.

pub mod json;
mod msgpack;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use xbr_core::Value;
use xbr_core::cbor::{self, CborError, Limits};

/// A serializer of WAMP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// CBOR: carries every value.
    Cbor,
    /// MessagePack: integers of at most 64 bits, and no tags.
    Msgpack,
    /// JSON: byte strings as text that begins with NUL, keys as text only.
    Json,
}

/// Why bytes are not the elements of a message, or why a value cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// See there.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The input ends within a value, or the message is no list.
    #[error("{serializer} is malformed: {reason}")]
    Malformed {
        /// Which serializer.
        serializer: Serializer,
        /// What is wrong.
        reason: &'static str,
    },
    /// `serde_json` did not accept the input.
    #[error("json is malformed at line {line} column {column}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Nested too deep.
    #[error("{serializer} nests deeper than {max}")]
    TooDeep {
        /// Which serializer.
        serializer: Serializer,
        /// The limit.
        max: usize,
    },
    /// Too many values.
    #[error("{serializer} has more than {max} items")]
    TooManyItems {
        /// Which serializer.
        serializer: Serializer,
        /// The limit.
        max: usize,
    },
    /// The serializer has no form for a value.
    #[error("{serializer} cannot carry {what}")]
    Unsupported {
        /// Which serializer.
        serializer: Serializer,
        /// The kind of value.
        what: &'static str,
    },
}

/// A text that names no serializer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("serializer must be cbor, msgpack or json, got {actual:?}")]
pub struct UnknownSerializer {
    /// The text there was.
    pub actual: String,
}

impl Serializer {
    /// All of them, the most capable first.
    pub const ALL: [Self; 3] = [Self::Cbor, Self::Msgpack, Self::Json];

    /// Its name: `cbor`, `msgpack` or `json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cbor => "cbor",
            Self::Msgpack => "msgpack",
            Self::Json => "json",
        }
    }

    /// The WebSocket sub-protocol that stands for it.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Cbor => "wamp.2.cbor",
            Self::Msgpack => "wamp.2.msgpack",
            Self::Json => "wamp.2.json",
        }
    }

    /// Whether its messages are text.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Json)
    }

    /// Reads the elements of a message, pushing each to `elements` as soon as it is complete: after an error,
    /// `elements` holds what came before the culprit. With `max_elements`, reading stops in front of the next
    /// one.
    ///
    /// # Errors
    /// [`CodecError`] when the input is not one well-formed list within the limits.
    pub fn decode(
        self,
        bytes: &[u8],
        limits: &Limits,
        max_elements: Option<usize>,
        elements: &mut Vec<Value>,
    ) -> Result<(), CodecError> {
        match self {
            Self::Cbor => Ok(cbor::decode_array_into(bytes, limits, max_elements, elements)?),
            Self::Msgpack => msgpack::decode_array_into(bytes, limits, max_elements, elements),
            Self::Json => json::decode_array_into(bytes, limits, max_elements, elements),
        }
    }

    /// Writes the elements of a message.
    ///
    /// # Errors
    /// [`CodecError::Unsupported`] for a value that this serializer cannot carry.
    pub fn encode(self, elements: Vec<Value>) -> Result<Vec<u8>, CodecError> {
        let message = Value::List(elements);
        match self {
            Self::Cbor => Ok(cbor::encode(&message)),
            Self::Msgpack => msgpack::to_vec(&message),
            Self::Json => json::to_vec(&message),
        }
    }

    fn malformed(self, reason: &'static str) -> CodecError {
        CodecError::Malformed { serializer: self, reason }
    }

    fn unsupported(self, what: &'static str) -> CodecError {
        CodecError::Unsupported { serializer: self, what }
    }
}

impl fmt::Display for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Serializer {
    type Err = UnknownSerializer;

    fn from_str(name: &str) -> Result<Self, UnknownSerializer> {
        let found = Self::ALL.into_iter().find(|serializer| serializer.name() == name);
        found.ok_or_else(|| UnknownSerializer { actual: name.chars().take(100).collect() })
    }
}

/// Counts nesting and values against [`Limits`].
struct Budget {
    serializer: Serializer,
    limits: Limits,
    depth: usize,
    items: usize,
}

impl Budget {
    fn new(serializer: Serializer, limits: &Limits) -> Self {
        let limits = Limits { max_depth: limits.max_depth.min(cbor::MAX_DEPTH), ..*limits };
        Self { serializer, limits, depth: 0, items: 0 }
    }

    fn item(&mut self) -> Result<(), CodecError> {
        self.items += 1;
        if self.items > self.limits.max_items {
            return Err(CodecError::TooManyItems { serializer: self.serializer, max: self.limits.max_items });
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), CodecError> {
        self.depth += 1;
        if self.depth > self.limits.max_depth {
            return Err(CodecError::TooDeep { serializer: self.serializer, max: self.limits.max_depth });
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

#[cfg(test)]
mod tests;
