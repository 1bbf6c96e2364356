//! Times of day as operators read and write them: RFC 3339, in UTC. The store counts Unix ns.

use std::time::{Duration, UNIX_EPOCH};

use thiserror::Error;
use xbr_store::{Clock, SystemClock};

/// A text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "must be a time such as 2026-11-27T10:00:00Z, a day such as 2026-11-27, or how long ago, such as 24h"
)]
pub struct WhenError;

/// A time in Unix ns as RFC 3339 in UTC, with as many decimals as it needs.
pub fn rfc_3339(ns: u64) -> String {
    humantime::format_rfc3339(UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
}

/// A time in Unix ns as people read it: to the second.
pub fn to_the_second(ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
}

/// The time now, Unix ns.
pub fn now_ns() -> u64 {
    SystemClock.now_ns()
}

/// Reads RFC 3339 in UTC, exactly as [`rfc_3339`] writes it; in Unix ns.
///
/// # Errors
/// [`WhenError`] for anything else.
pub fn parse_rfc_3339(text: &str) -> Result<u64, WhenError> {
    let time = humantime::parse_rfc3339(text).map_err(|_| WhenError)?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| WhenError)?;
    u64::try_from(since.as_nanos()).map_err(|_| WhenError)
}

/// Reads a time of the command line: RFC 3339, a day, or how long ago; in Unix ns.
///
/// # Errors
/// [`WhenError`] for anything else.
pub fn parse(text: &str) -> Result<u64, WhenError> {
    let day = || parse_rfc_3339(&format!("{text}T00:00:00Z"));
    let ago = || {
        let ago = humantime::parse_duration(text).map_err(|_| WhenError)?;
        let ago = u64::try_from(ago.as_nanos()).map_err(|_| WhenError)?;
        Ok(now_ns().saturating_sub(ago))
    };
    parse_rfc_3339(text).or_else(|_| day()).or_else(|_| ago())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for ns in [0, 1, 1_700_000_000_000_000_000, 1_700_000_000_123_456_789] {
            assert_eq!(parse_rfc_3339(&rfc_3339(ns)), Ok(ns));
            assert_eq!(parse(&rfc_3339(ns)), Ok(ns));
        }
        assert_eq!(parse("2023-11-14"), Ok(1_699_920_000_000_000_000));
        assert!(parse("1h").unwrap() < now_ns() - 3_599_000_000_000);
        for bad in ["", "yesterday", "2023-13-14", "14.11.2023", "1900-01-01T00:00:00Z"] {
            assert_eq!(parse(bad), Err(WhenError), "{bad:?}");
        }
    }
}
