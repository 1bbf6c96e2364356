//! What the harness counts.

use std::collections::BTreeMap;
use std::fmt;

use xbr_store::kill_point::Step;

/// How the program was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// By itself, at a step.
    At(Step),
    /// From outside, at some moment.
    Moment,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) kills: BTreeMap<Cause, u64>,
    /// Sales that were acknowledged, each counted once.
    pub(crate) acknowledged: u64,
    /// Sales without an answer when the program was killed, and of these those that were stored all the same.
    pub(crate) unanswered: u64,
    pub(crate) stored_unanswered: u64,
    /// Acknowledged sales that were asked for once more.
    pub(crate) repeated: u64,
    pub(crate) keys: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Self) {
        for (cause, count) in other.kills {
            *self.kills.entry(cause).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.unanswered += other.unanswered;
        self.stored_unanswered += other.stored_unanswered;
        self.repeated += other.repeated;
        self.keys += other.keys;
    }

    /// Whether every step was reached, and every kind of aftermath seen.
    pub(crate) fn is_complete(&self) -> bool {
        let reached = |cause| self.kills.contains_key(&cause);
        Step::ALL.into_iter().all(|step| reached(Cause::At(step)))
            && reached(Cause::Moment)
            && self.stored_unanswered > 0
            && self.unanswered > self.stored_unanswered
            && self.repeated > 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} kills", self.kills.values().sum::<u64>())?;
        for (cause, count) in &self.kills {
            match cause {
                Cause::At(step) => writeln!(f, "{count:8} at {}", step.name())?,
                Cause::Moment => writeln!(f, "{count:8} at a random moment")?,
            }
        }
        writeln!(f, "{} sales acknowledged, of {} keys", self.acknowledged, self.keys)?;
        writeln!(
            f,
            "{} without an answer when killed, {} of them stored; all answered when repeated",
            self.unanswered, self.stored_unanswered
        )?;
        write!(f, "{} acknowledged sales repeated, all answered with the same bytes", self.repeated)
    }
}
