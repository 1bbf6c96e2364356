//! Closing a channel from the seller's side: one final state, signed for a block of the chain, stored, then sent.
//!
//! Sent once, it cannot be taken back, and the market maker takes it once. So what can be known is judged before it is
//! signed, and from then on nothing is sold: a later sale would be worth nothing beside the final state.

use super::{Channel, ChannelState, ChannelTerms, Reconciliation};
use crate::amount::Amount;
use crate::eip712::ChannelClose;
use crate::ids::{ChannelId, Signature};
use crate::reject::OwnCloseReject;

/// A final close that the seller signs by itself: what is stored, and what is sent to the market maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnClose {
    /// The channel.
    pub channel_id: ChannelId,
    /// The state that the channel is closed at: the last one that both sides have signed.
    pub state: ChannelState,
    /// The block that it is signed for (`closeAt`): the contract takes only a recent one.
    pub close_at: Amount,
    /// The seller's signature over this final state for this block.
    pub signature: Signature,
}

/// What the ledger does with a close from the seller's side that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnCloseDecision {
    /// Store, apply, send.
    Commit,
    /// It was signed before: send it again.
    Replay,
}

impl ChannelTerms {
    /// The message that is signed to close the channel for good at a state, for a block of the chain.
    pub fn final_state(&self, state: ChannelState, close_at: Amount) -> ChannelClose {
        ChannelClose { close_at, ..self.state(state.seq, state.balance, true) }
    }
}

impl Channel {
    /// Whether a final close is signed, by whichever side it was asked for: nothing is sold any more.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some() || self.own_close.is_some()
    }

    /// Judges a close from the seller's side. `theirs` are the market maker's figures: ahead of the ledger, they hold
    /// sales that failed, to which the seller has no claim; behind it, they contradict what was signed.
    ///
    /// A channel that is closed already can be closed again at the same state for another block: the earlier one may
    /// have become too old for the contract.
    ///
    /// # Errors
    /// The first [`OwnCloseReject`] that applies, in the order of that type.
    pub fn decide_own_close(
        &self,
        close: &OwnClose,
        theirs: ChannelState,
    ) -> Result<OwnCloseDecision, OwnCloseReject> {
        if close.state != self.state {
            return Err(OwnCloseReject::MovedOn { expected: self.state, actual: close.state });
        }
        match self.compare(theirs) {
            Reconciliation::Equal | Reconciliation::Ahead { .. } => {}
            Reconciliation::Behind { ours, theirs } => {
                return Err(OwnCloseReject::RolledBack { expected: ours, actual: theirs });
            }
            Reconciliation::Outdated { ours, theirs } => {
                return Err(OwnCloseReject::Outdated { expected: theirs, actual: ours });
            }
        }
        let before = self.own_close.filter(|own| own == close);
        Ok(if before.is_some() { OwnCloseDecision::Replay } else { OwnCloseDecision::Commit })
    }

    /// Books a close that was decided upon this very state and is durable.
    pub fn apply_own_close(&mut self, close: &OwnClose) {
        self.own_close = Some(*close);
    }
}
