//! What is read from texts: identifiers, amounts and durations in bodies.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Something that has to be there.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// A duration such as `10s`, which may be there.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let parse = |text: String| {
        let wrong = |error| format!("must be a duration such as 10s or 1m 30s: {error}");
        humantime::parse_duration(&text).map_err(wrong)
    };
    text.map(parse).transpose().map_err(de::Error::custom)
}
