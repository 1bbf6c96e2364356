//! What a seller's answer means for a purchase: the one place that tells *certainly not sold* from *nobody
//! knows*. Pure.
//!
//! A sale of which nobody knows is repeated as it was until it is certain. A seller of this project answers
//! a repeat with the receipt of before; the reference's counts each sale that it was asked for in form, and
//! refuses a repeat for its sequence number. So that refusal, after an answer that was lost, says that the
//! seller counts the sale but will never deliver for it.

use thiserror::Error;
use xbr_core::reject::ArgumentError;

/// Why a seller's procedure gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// There is no session with the router; nothing was sent.
    #[error("not joined to the market's realm")]
    NotJoined,
    /// The call cannot be sent.
    #[error("the call cannot be sent: {reason}")]
    Unsendable {
        /// Why.
        reason: String,
    },
    /// The seller, or the router, answered with an error.
    #[error("{uri}: {text}")]
    Refused {
        /// The error.
        uri: String,
        /// Its text, cut to 500 characters.
        text: String,
    },
    /// No answer came; the call may have been executed.
    #[error("no answer: {reason}")]
    Unanswered {
        /// Why.
        reason: String,
    },
    /// The answer is not of the right form.
    #[error("the answer is out of form: {0}")]
    Malformed(#[from] ArgumentError),
    /// The answer is not what was asked for, or not signed by the seller.
    #[error("the answer does not hold: {problem}")]
    Invalid {
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What becomes of a purchase that the seller did not deliver for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was sold: the buyer gets its money back.
    NotSold,
    /// The same, but the seller counts the state all the same.
    Counted,
    /// Refused only because of a gap: it gets another state.
    Requeue,
    /// The seller has closed the channel: it gets another one.
    ChannelClosed,
    /// Nobody knows: the same is asked again.
    Unknown,
    /// It was not even sent: the same is asked again.
    NotSent,
}

/// Errors by which a router or a client says that a call was not passed on.
const NOT_PASSED_ON: [&str; 4] = [
    "wamp.error.no_such_procedure",
    "wamp.error.not_authorized",
    "wamp.error.authorization_failed",
    "wamp.error.invalid_uri",
];
/// Errors of a seller that finds itself at another state.
const OUT_OF_STEP: [&str; 2] = ["xbr.error.unexpected_channel_seq", "xbr.error.unexpected_channel_balance"];

/// Judges why a sale gave no receipt. `repeated` says that it had been asked before, without a certain
/// answer; `gap` that a state below its own does not count for the seller, or not yet.
pub fn judge(error: &ProviderError, repeated: bool, gap: bool) -> Verdict {
    let uri = match error {
        ProviderError::NotJoined => return Verdict::NotSent,
        ProviderError::Unsendable { .. } if repeated => return Verdict::Unknown,
        // Without a valid receipt the seller has nothing to show for what it was to deliver.
        ProviderError::Unsendable { .. } | ProviderError::Malformed(_) | ProviderError::Invalid { .. } => {
            return Verdict::NotSold;
        }
        ProviderError::Unanswered { .. } => return Verdict::Unknown,
        ProviderError::Refused { uri, .. } => uri.as_str(),
    };
    match uri {
        // Of an earlier call of the same it says nothing.
        uri if NOT_PASSED_ON.contains(&uri) => {
            if repeated {
                Verdict::Unknown
            } else {
                Verdict::NotSold
            }
        }
        uri if OUT_OF_STEP.contains(&uri) => match (gap, repeated) {
            (true, _) => Verdict::Requeue,
            (false, true) => Verdict::Counted,
            (false, false) => Verdict::NotSold,
        },
        "xbr.error.channel_closed" => Verdict::ChannelClosed,
        "wamp.error.invalid_argument" => Verdict::NotSold,
        uri if uri.starts_with("xbr.") || uri.starts_with("crossbar.") => Verdict::NotSold,
        _ => Verdict::Unknown,
    }
}
