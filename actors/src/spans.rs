//! The spans of a sale, for whoever collects traces: `sale`, and below it a span for each of its steps. They have a
//! target of their own and the finest level, so that no log asks for them by chance; while nobody collects, a span
//! costs the look at a flag.
//!
//! ```text
//! sale          from the invocation to the answer: api, channel, seq, outcome
//! ├ decode      from the call's arguments to the request
//! ├ check       the cheap checks, and what is needed to prepare it
//! ├ crypto      on a worker thread
//! │ ├ seal      the data key to the buyer
//! │ ├ digest    the EIP-712 hash of the state
//! │ ├ sign      our signature over it
//! │ └ recover   whose the market maker's signature is
//! ├ decide      the ledger's rules, in the order of arrival
//! ├ commit      from the decision until it is on disk
//! └ reply       the receipt, encoded and handed to the session
//! ```

use tracing::Span;

/// The target of all spans here, to filter by.
pub const TARGET: &str = "xbr_sale";

/// A sale that begins. What is not known yet is recorded later.
pub(crate) fn sale() -> Span {
    tracing::trace_span!(
        target: TARGET,
        parent: None,
        "sale",
        api = tracing::field::Empty,
        channel = tracing::field::Empty,
        seq = tracing::field::Empty,
        outcome = tracing::field::Empty,
    )
}

/// A step of a sale, below the given span; none where that is none.
macro_rules! step {
    ($parent:expr, $name:literal) => {
        match $parent {
            parent if parent.is_none() => tracing::Span::none(),
            parent => tracing::trace_span!(target: $crate::spans::TARGET, parent: parent, $name),
        }
    };
}

pub(crate) use step;
