//! How a parent learns that a child has died: actix restarts no actor whose handler panicked, and says nothing.

use std::fmt;

use actix::prelude::SendError;
use actix::{Message, Recipient};
use actix_rt::Arbiter;
use xbr_core::ApiId;

/// Which child it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    /// Of this API; the number tells it from its predecessors.
    Series(ApiId, u64),
    Ledger,
    Market,
}

/// A child has died, by panic or otherwise.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct ChildDied(pub(crate) Child);

/// A field of the child: its drop tells the parent, whatever made the child go.
pub(crate) struct DeathWatch {
    child: Child,
    parent: Recipient<ChildDied>,
}

impl DeathWatch {
    pub(crate) fn new(child: Child, parent: Recipient<ChildDied>) -> Self {
        Self { child, parent }
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        // A parent that has gone before needs no news; one whose mailbox is full gets it when there is room.
        if let Err(SendError::Full(news)) = self.parent.try_send(ChildDied(self.child))
            && Arbiter::try_current().is_some()
        {
            let parent = self.parent.clone();
            actix_rt::spawn(async move { parent.send(news).await });
        }
    }
}

impl fmt::Debug for DeathWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeathWatch").field(&self.child).finish()
    }
}
