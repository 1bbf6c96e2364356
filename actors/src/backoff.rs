//! Delays between attempts, that grow and differ from one seller to the next, so that not all of them come back at once.
//! Nobody owns them, and nothing of them survives.

use std::time::Duration;

use backon::{BackoffBuilder, ConstantBuilder, ExponentialBackoff, ExponentialBuilder};

/// The longest delay.
const MAX: Duration = Duration::from_secs(30);

/// Without end: from `first` on, doubled each time up to 30 s, with a jitter that depends on whose delays they are.
pub(crate) fn growing(first: Duration, whose: &[u8]) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(MAX)
        .with_jitter()
        .with_jitter_seed(seed(whose))
        .without_max_times()
        .build()
}

/// One delay of one to two times `interval`, by whose and which it is.
pub(crate) fn about(interval: Duration, whose: &[u8], which: u64) -> Duration {
    let seed = seed(whose).wrapping_add(which);
    ConstantBuilder::new()
        .with_delay(interval)
        .with_jitter()
        .with_jitter_seed(seed)
        .build()
        .next()
        .unwrap_or(interval)
}

/// The first 8 bytes.
fn seed(whose: &[u8]) -> u64 {
    whose.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delays_of_two_differ_and_stay_within_their_bounds() {
        let first = Duration::from_millis(200);
        let [ours, theirs] =
            [[1; 20], [2; 20]].map(|whose| growing(first, &whose).take(20).collect::<Vec<_>>());
        assert!(ours.iter().zip(&theirs).all(|(one, other)| one != other), "{ours:?} {theirs:?}");
        assert!(ours.iter().all(|delay| (first..2 * MAX).contains(delay)), "{ours:?}");
        let polls = [1, 2].map(|which| about(MAX, &[1; 20], which));
        assert!(
            polls[0] != polls[1] && polls.iter().all(|delay| (MAX..2 * MAX).contains(delay)),
            "{polls:?}"
        );
    }
}
