//! What can be asked of a store, as data: the trait's methods, one variant each. Both stores run on these, so
//! that order, checks and faults mean the same in both.

use std::hash::{DefaultHasher, Hash, Hasher};

use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::payload::SEALED_KEY_LEN;
use xbr_core::{Amount, ApiId, ChannelId, ChannelSeq, KeyId};

use crate::{Evidence, KeyFilter, KeyRecord, StoreError};

/// The greatest number that a column of a database holds: as a Unix time in ns it is in the year 2262.
const MAX_INTEGER: u64 = i64::MAX as u64;

/// An operation on a store, as a journal keeps it.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a journal of a test is mostly writes, and matches on them")]
pub enum Operation {
    /// One that changes something.
    Write(Write),
    /// One that changes nothing.
    Read(Read),
}

/// A write: the arguments of the [`Store`](crate::Store) method of the same name.
#[derive(Debug, Clone)]
pub enum Write {
    /// `attach_channel`.
    AttachChannel(Box<Channel>),
    /// `commit_sale`.
    CommitSale(SaleRecord),
    /// `commit_close`.
    CommitClose(CloseRecord),
    /// `commit_own_close`.
    CommitOwnClose(OwnClose),
    /// `note_comparison`.
    NoteComparison {
        /// The channel.
        channel_id: ChannelId,
        /// Where it stood.
        ours: ChannelState,
        /// Where the market maker said that it stood.
        theirs: ChannelState,
    },
    /// `keep_evidence`.
    KeepEvidence(Evidence),
    /// `insert_key`.
    InsertKey(KeyRecord),
    /// `mark_offered`.
    MarkOffered {
        /// The key.
        key_id: KeyId,
        /// Since when, Unix time in ns.
        offered_ns: u64,
    },
    /// `retire_key`.
    RetireKey(KeyId),
}

/// A read: the arguments of the [`Store`](crate::Store) method of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// `channels`.
    Channels,
    /// `sale`.
    Sale(ChannelId, ChannelSeq),
    /// `evidence`.
    Evidence,
    /// `key`.
    Key(KeyId),
    /// `keys`.
    Keys(ApiId, KeyFilter),
    /// `flush`.
    Flush,
}

/// The one row that a look-up is about. A look-up need not wait for writes of other rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Key(KeyId),
    Sale(ChannelId, ChannelSeq),
}

impl Subject {
    /// A number that is the same for the same subject, and seldom for two.
    pub(crate) fn hash(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(&self, &mut hasher);
        hasher.finish()
    }
}

impl Write {
    /// The row whose look-up has to wait for this write, if it can be looked up by itself.
    pub(crate) fn subject(&self) -> Option<Subject> {
        match self {
            Self::CommitSale(record) => Some(Subject::Sale(record.channel_id, record.state.seq)),
            Self::InsertKey(record) => Some(Subject::Key(record.key_id)),
            Self::MarkOffered { key_id, .. } | Self::RetireKey(key_id) => Some(Subject::Key(*key_id)),
            Self::AttachChannel(_)
            | Self::CommitClose(_)
            | Self::CommitOwnClose(_)
            | Self::NoteComparison { .. }
            | Self::KeepEvidence(_) => None,
        }
    }

    /// Whether it is called ahead of the time when anybody needs it.
    pub(crate) fn is_patient(&self) -> bool {
        matches!(self, Self::InsertKey(_) | Self::MarkOffered { .. })
    }

    /// Whether its figures contradict each other or do not fit the columns of a database.
    ///
    /// # Errors
    /// [`StoreError::Refused`], saying what is wrong.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let problem = match self {
            Self::AttachChannel(channel) => channel_problem(channel),
            Self::CommitSale(record) => sale_problem(record),
            Self::CommitClose(record) => close_problem(record),
            Self::KeepEvidence(evidence) => number_problem([Some(evidence.received_ns)]),
            Self::InsertKey(key) => number_problem([Some(key.created_ns), key.expires_ns, key.offered_ns]),
            Self::MarkOffered { offered_ns, .. } => number_problem([Some(*offered_ns)]),
            Self::CommitOwnClose(_) | Self::NoteComparison { .. } | Self::RetireKey(_) => None,
        };
        problem.map_or(Ok(()), |problem| Err(refused(problem)))
    }
}

impl Read {
    /// The row that is looked up, when it is one.
    pub(crate) fn subject(self) -> Option<Subject> {
        match self {
            Self::Sale(channel_id, seq) => Some(Subject::Sale(channel_id, seq)),
            Self::Key(key_id) => Some(Subject::Key(key_id)),
            Self::Channels | Self::Evidence | Self::Keys(..) | Self::Flush => None,
        }
    }
}

/// [`StoreError::Refused`] for this reason.
pub(crate) fn refused(reason: impl Into<String>) -> StoreError {
    StoreError::Refused { reason: reason.into() }
}

/// What is wrong with a channel, if anything.
pub(crate) fn channel_problem(channel: &Channel) -> Option<&'static str> {
    let parts = [channel.state.balance, channel.earned, channel.surplus];
    if !adds_up(channel.adopted.balance, &parts) {
        return Some("a channel's balance, earnings and surplus do not add up to what it was adopted with");
    }
    let closed = channel.closed.as_ref();
    if closed.is_some_and(|closed| {
        !closed.is_final || closed.channel_id != channel.terms.channel_id || closed.state != channel.state
    }) {
        return Some("a channel's final close is not one of its last state");
    }
    if channel
        .own_close
        .is_some_and(|own| own.channel_id != channel.terms.channel_id || own.state != channel.state)
    {
        return Some("a channel's own close is not one of its last state");
    }
    closed.and_then(close_problem).or_else(|| number_problem([Some(channel.sales)]))
}

/// What is wrong with a sale, if anything.
pub(crate) fn sale_problem(record: &SaleRecord) -> Option<&'static str> {
    if record.sealed_key.len() != SEALED_KEY_LEN {
        Some("a sale's sealed key is not 80 bytes")
    } else if record.state.seq <= record.before.seq {
        Some("a sale's sequence number does not rise")
    } else if !adds_up(record.before.balance, &[record.state.balance, record.amount, record.surplus]) {
        Some("a sale's amount and surplus are not the difference of the balances")
    } else {
        number_problem([Some(record.sold_ns)])
    }
}

/// What is wrong with a close, if anything.
pub(crate) fn close_problem(record: &CloseRecord) -> Option<&'static str> {
    if record.state.seq < record.before.seq {
        Some("a close's sequence number falls")
    } else if !adds_up(record.before.balance, &[record.state.balance, record.surplus]) {
        Some("a close's surplus is not the difference of the balances")
    } else {
        None
    }
}

/// The channel that a sale may be booked on.
///
/// # Errors
/// [`StoreError::Conflict`] when it is closed, or does not stand where the sale was decided upon.
pub(crate) fn takes_sale(channel: Option<Channel>, record: &SaleRecord) -> Result<Channel, StoreError> {
    standing(channel, record.before).filter(|channel| !channel.is_closed()).ok_or(StoreError::Conflict)
}

/// The channel that a close may be booked on. After an own close only the same end is one.
///
/// # Errors
/// [`StoreError::Conflict`] when it is closed, or does not stand where the close was decided upon.
pub(crate) fn takes_close(channel: Option<Channel>, record: &CloseRecord) -> Result<Channel, StoreError> {
    let same_end = |own: OwnClose| record.is_final && record.state == own.state;
    standing(channel, record.before)
        .filter(|channel| channel.closed.is_none() && channel.own_close.is_none_or(same_end))
        .ok_or(StoreError::Conflict)
}

/// The channel, if it stands at this state.
pub(crate) fn standing(channel: Option<Channel>, state: ChannelState) -> Option<Channel> {
    channel.filter(|channel| channel.state == state)
}

fn adds_up(whole: Amount, parts: &[Amount]) -> bool {
    let sum = parts.iter().try_fold(Amount::ZERO, |sum, part| sum.checked_add(*part));
    sum == Some(whole)
}

fn number_problem<const N: usize>(numbers: [Option<u64>; N]) -> Option<&'static str> {
    let fits = numbers.into_iter().flatten().all(|number| number <= MAX_INTEGER);
    (!fits).then_some("a number or time is above 2^63 - 1")
}
