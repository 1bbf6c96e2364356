//! The calls of `sell` over one paying channel: which goes out next. Pure; nothing of it is stored, since
//! all that is not certain after a restart is repeated.
//!
//! New sales go out in the order of their states, without waiting for each other. Once the answer to one is
//! lost, nothing new goes out: what is in doubt is repeated, the lowest state first and one at a time, so
//! that no seller sees a later state before an earlier one that it may have missed.

use std::collections::BTreeMap;

use xbr_core::ChannelSeq;

/// The calls of one paying channel.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    calls: BTreeMap<ChannelSeq, Call>,
    /// After a failure nothing goes out before the next [`resume`](Self::resume).
    paused: bool,
    /// How often in a row it was paused.
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    progress: Progress,
    /// Whether it may have reached the seller before, without an answer.
    repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Its reservation is not durable, or its state not signed yet.
    Preparing,
    Ready,
    Calling,
}

impl Lane {
    /// A sale that was reserved now.
    pub fn prepare(&mut self, seq: ChannelSeq) {
        self.calls.insert(seq, Call { progress: Progress::Preparing, repeated: false });
    }

    /// A sale that was reserved before a restart: nobody knows whether it went out.
    pub fn restore(&mut self, seq: ChannelSeq) {
        self.calls.insert(seq, Call { progress: Progress::Preparing, repeated: true });
    }

    /// A sale that was prepared can go out.
    pub fn ready(&mut self, seq: ChannelSeq) {
        self.set(seq, Progress::Ready);
    }

    /// The sales that go out now, in this order.
    pub fn due(&mut self) -> Vec<ChannelSeq> {
        if self.paused {
            return Vec::new();
        }
        let at = |progress| move |(_, call): &(&ChannelSeq, &Call)| call.progress == progress;
        let due: Vec<_> = match self.calls.iter().find(|(_, call)| call.repeated) {
            Some(_) if self.calls.iter().any(|call| at(Progress::Calling)(&call)) => Vec::new(),
            Some((seq, call)) if call.progress == Progress::Ready => vec![*seq],
            Some(_) => Vec::new(),
            None => {
                let begun = self.calls.iter().skip_while(at(Progress::Calling));
                begun.take_while(at(Progress::Ready)).map(|(seq, _)| *seq).collect()
            }
        };
        for seq in &due {
            self.set(*seq, Progress::Calling);
        }
        due
    }

    /// Whether a call may have reached the seller before, without an answer.
    pub fn is_repeated(&self, seq: ChannelSeq) -> bool {
        self.calls.get(&seq).is_some_and(|call| call.repeated)
    }

    /// A sale has ended, one way or the other.
    pub fn end(&mut self, seq: ChannelSeq) {
        self.calls.remove(&seq);
        self.failures = 0;
    }

    /// No certain answer came. Gives how often that happened in a row.
    pub fn doubt(&mut self, seq: ChannelSeq) -> u32 {
        if let Some(call) = self.calls.get_mut(&seq) {
            *call = Call { progress: Progress::Ready, repeated: true };
        }
        self.pause()
    }

    /// It was not even sent. Gives how often nothing came of calls in a row.
    pub fn not_sent(&mut self, seq: ChannelSeq) -> u32 {
        self.set(seq, Progress::Ready);
        self.pause()
    }

    /// Goes on after a failure.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether the answer to a call is lost, so that nothing new may be begun.
    pub fn is_in_doubt(&self) -> bool {
        self.calls.values().any(|call| call.repeated)
    }

    /// Whether there are no calls.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    fn pause(&mut self) -> u32 {
        self.paused = true;
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    fn set(&mut self, seq: ChannelSeq, progress: Progress) {
        if let Some(call) = self.calls.get_mut(&seq) {
            call.progress = progress;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seq(n: u32) -> ChannelSeq {
        ChannelSeq::new(n)
    }

    fn lane(sales: u32) -> Lane {
        let mut lane = Lane::default();
        (1..=sales).for_each(|n| lane.prepare(seq(n)));
        lane
    }

    #[test]
    fn sales_go_out_in_order_however_they_become_ready() {
        let mut lane = lane(3);
        lane.ready(seq(2));
        assert_eq!(lane.due(), []);
        lane.ready(seq(1));
        assert_eq!(lane.due(), [seq(1), seq(2)]);
        assert_eq!(lane.due(), [], "each goes out once");
        lane.end(seq(2));
        lane.ready(seq(3));
        assert_eq!(lane.due(), [seq(3)]);
    }

    #[test]
    fn what_is_in_doubt_is_repeated_one_at_a_time_before_anything_new() {
        let mut lane = lane(4);
        (1..=3).for_each(|n| lane.ready(seq(n)));
        lane.due();
        assert_eq!(lane.doubt(seq(2)), 1);
        lane.ready(seq(4));
        assert_eq!(lane.due(), [], "nothing before its time");
        lane.resume();
        assert_eq!(lane.due(), [], "nothing while others are out");
        lane.doubt(seq(1));
        lane.end(seq(3));
        lane.resume();
        assert_eq!(lane.due(), [seq(1)]);
        assert!(lane.is_repeated(seq(1)) && lane.is_in_doubt());
        lane.end(seq(1));
        assert_eq!(lane.due(), [seq(2)]);
        lane.end(seq(2));
        assert!(!lane.is_in_doubt());
        assert_eq!(lane.due(), [seq(4)]);
    }

    #[test]
    fn what_was_not_sent_is_no_repeat_but_what_a_restart_finds_is() {
        let mut lane = lane(1);
        lane.ready(seq(1));
        lane.due();
        lane.not_sent(seq(1));
        lane.resume();
        assert_eq!(lane.due(), [seq(1)]);
        assert!(!lane.is_repeated(seq(1)));
        lane.restore(seq(2));
        lane.end(seq(1));
        assert_eq!(lane.due(), [], "not before it is signed");
        lane.ready(seq(2));
        assert_eq!(lane.due(), [seq(2)]);
        assert!(lane.is_repeated(seq(2)));
    }
}
