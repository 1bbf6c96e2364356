//! Steps of a sale or close at which a process can be made to kill itself, so that tests see what survives.
//! Nobody owns them, and nothing of them survives: with the feature `kill-points` a counter is kept, without
//! it passing a step compiles to nothing.
//!
//! With the feature, and `XBR_SELLER_KILL=step` or `step:count` in the environment, the process ends by
//! `SIGKILL` the first or `count`th time that it passes that step. Without the variable nothing happens.
//! The module is here because the deepest step is.

/// The environment variable that names the step, and which of its passings is the last.
pub const VARIABLE: &str = "XBR_SELLER_KILL";

/// A step of a sale or close, in the order in which one passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The invocation has come.
    Received,
    /// The cheap checks are passed: the market maker, and whether there is a ledger.
    Checked,
    /// The data key is sealed to the buyer; a close has no such step.
    Sealed,
    /// The seller's signature is made.
    Signed,
    /// It is judged, and the channel in memory has advanced by it.
    Applied,
    /// Its rows are written, in a transaction that is not committed yet.
    Written,
    /// The transaction is committed and synced to disk.
    Fsynced,
    /// The answer is handed to the session.
    Replied,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::Checked,
        Self::Sealed,
        Self::Signed,
        Self::Applied,
        Self::Written,
        Self::Fsynced,
        Self::Replied,
    ];

    /// What it is called in [`VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Checked => "checked",
            Self::Sealed => "sealed",
            Self::Signed => "signed",
            Self::Applied => "applied",
            Self::Written => "written",
            Self::Fsynced => "fsynced",
            Self::Replied => "replied",
        }
    }

    /// Says that the step is passed, which nobody may survive.
    #[inline]
    pub fn pass(self) {
        #[cfg(feature = "kill-points")]
        plan::pass(self);
    }
}

#[cfg(feature = "kill-points")]
mod plan {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Step, VARIABLE};

    /// At which step the process ends, and after how many more passings.
    struct Plan {
        step: Step,
        left: AtomicU32,
    }

    pub(super) fn pass(step: Step) {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        let Some(plan) = PLAN.get_or_init(|| std::env::var(VARIABLE).ok().and_then(|text| parse(&text)))
        else {
            return;
        };
        if plan.step == step
            && plan.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1))
                == Ok(1)
            && let Err(error) = kill_process(getpid(), Signal::KILL)
        {
            tracing::error!(%error, "cannot end this process");
        }
    }

    fn parse(text: &str) -> Option<Plan> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let step = Step::ALL.into_iter().find(|step| step.name() == name);
        let count = count.parse().ok().filter(|count| *count > 0);
        let plan = step.zip(count).map(|(step, count)| Plan { step, left: AtomicU32::new(count) });
        if plan.is_none() {
            tracing::error!("{VARIABLE} is not understood: a step, or a step, a colon and a count");
        }
        plan
    }
}
