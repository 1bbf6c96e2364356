//! Dynamic values: what a WAMP message or a payload can carry, whatever the serializer.

mod decimal;

/// A dynamic value. Every CBOR item has one; MessagePack and JSON have some of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `undefined`, which only CBOR has.
    Undefined,
    /// A truth value.
    Bool(bool),
    /// An integer from -2^64 to 2^64 - 1.
    Int(i128),
    /// An integer outside that range (CBOR tags 2 and 3): the value is `magnitude`, or `-1 - magnitude` when
    /// `negative`. The magnitude is big-endian, without leading zeros.
    BigInt {
        /// Whether it is below zero.
        negative: bool,
        /// Big-endian bytes, without leading zeros.
        magnitude: Vec<u8>,
    },
    /// A floating-point number. Never an amount.
    Float(f64),
    /// A CBOR simple value other than false, true, null and undefined.
    Simple(u8),
    /// A text.
    Str(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map, in the order of the wire. Keys are compared as values; a repeated key is refused by the
    /// decoders.
    Map(Vec<(Value, Value)>),
    /// A CBOR tag other than 2 and 3, with what it stands for left to the reader.
    Tag(u64, Box<Value>),
}

impl Value {
    /// The kind of value, for error texts: `"a list"`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::BigInt { .. } => "a big integer",
            Self::Float(_) => "a float",
            Self::Simple(_) => "a simple value",
            Self::Str(_) => "a string",
            Self::Bytes(_) => "a byte string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Tag(..) => "a tagged value",
        }
    }

    /// An integer of any size from its magnitude in big-endian bytes, as [`Value::BigInt`] has it; the result
    /// is an [`Value::Int`] where one can hold it.
    pub fn from_magnitude(negative: bool, magnitude: &[u8]) -> Self {
        let significant = magnitude.iter().position(|byte| *byte != 0).unwrap_or(magnitude.len());
        let magnitude = magnitude.get(significant..).unwrap_or_default();
        if magnitude.len() > 8 {
            return Self::BigInt { negative, magnitude: magnitude.to_vec() };
        }
        let int = magnitude.iter().fold(0, |int: i128, byte| int << 8 | i128::from(*byte));
        Self::Int(if negative { -1 - int } else { int })
    }

    /// A number in the notation of JSON: exact when it is an integer (of at most 4,096 digits), else the
    /// nearest float. `None` when it is no such number, or too great for a float.
    pub fn from_json_number(text: &str) -> Option<Self> {
        if text.bytes().any(|c| matches!(c, b'.' | b'e' | b'E')) {
            return text.parse().ok().filter(|float: &f64| float.is_finite()).map(Self::Float);
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        decimal::parse(negative, digits)
    }

    /// The decimal digits of an integer of any size; `None` for other values and past 2,048 bytes of
    /// magnitude.
    pub fn to_decimal(&self) -> Option<String> {
        match self {
            Self::Int(int) => Some(int.to_string()),
            Self::BigInt { negative, magnitude } => decimal::format(*negative, magnitude),
            _ => None,
        }
    }

    /// The bytes, if it is a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one of at most 64 bits and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(int) => u64::try_from(*int).ok(),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs, if it is a map.
    pub fn as_map(&self) -> Option<&[(Value, Value)]> {
        match self {
            Self::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// What a map holds under a text key; `None` when it is no map or has no such key.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.as_map()?.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Self::List(value)
    }
}

impl<K: Into<Value>, V: Into<Value>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}
