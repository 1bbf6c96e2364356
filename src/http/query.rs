//! What is read from texts: identifiers, amounts, times and durations in queries and bodies.

use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// The latest time that can be asked for: what a store can keep, Unix time in ns.
const MAX_NS: u64 = i64::MAX as u64;

/// A Unix time in ns, from RFC 3339 in UTC or from a number of ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) u64);

/// A text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a time such as 2026-01-31T12:00:00Z, or Unix time in nanoseconds")]
pub(super) struct TimeError;

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let ns = if text.bytes().all(|c| c.is_ascii_digit()) {
            text.parse().ok()
        } else {
            let time = humantime::parse_rfc3339(text).map_err(|_| TimeError)?;
            time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok())
        };
        ns.filter(|ns| *ns <= MAX_NS).map(Self).ok_or(TimeError)
    }
}

/// Whether the latest rows of a list come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    Asc,
    #[default]
    Desc,
}

/// Something that has to be there.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// Something that may be there.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_in_utc_or_nanoseconds() {
        let ns = |text: &str| text.parse::<Time>().map(|time| time.0);
        assert_eq!(ns("1970-01-01T00:00:01Z"), Ok(1_000_000_000));
        assert_eq!(ns("1970-01-01T00:00:00.000000001Z"), Ok(1));
        assert_eq!(ns("17"), Ok(17));
        for bad in
            ["", "yesterday", "1969-12-31T23:59:59Z", "9223372036854775808", "9999-12-31T23:59:59Z", "-1"]
        {
            assert_eq!(ns(bad), Err(TimeError), "{bad:?}");
        }
    }
}
