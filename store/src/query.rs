//! Lists of what a store holds, a page at a time: what can be asked, and what is answered.
//!
//! A list has a fixed order, and a cursor says where in it a page ended. What is written meanwhile moves nothing
//! that a cursor has passed: walking through a list shows each row once.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;
use xbr_core::channel::SaleRecord;
use xbr_core::{Amount, ApiId, ChannelId, KeyId};

/// The most rows that a page has, whatever is asked for.
pub const MAX_PAGE: usize = 1000;

/// The most rows that [`Earnings`] are told in; more are refused.
pub const MAX_EARNINGS: usize = 10_000;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    /// Its rows.
    pub items: Vec<T>,
    /// Where it ended: the cursor of its last row; `None` when it is empty.
    pub last: Option<C>,
    /// Whether the list went on after it.
    pub more: bool,
}

impl<T, C: Copy> Page<T, C> {
    /// Where the next page begins; `None` when this was the last one.
    pub fn next(&self) -> Option<C> {
        self.last.filter(|_| self.more)
    }
}

/// Which sales, in the order of their times, and of their commits where those are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SalesQuery {
    /// Those of keys of this API.
    pub api_id: Option<ApiId>,
    /// Those over this channel.
    pub channel_id: Option<ChannelId>,
    /// Those of this key.
    pub key_id: Option<KeyId>,
    /// Those from this Unix time in ns on. Sales whose time was not kept count as of time 0.
    pub from_ns: u64,
    /// Those before this Unix time in ns; `None`: without end.
    pub to_ns: Option<u64>,
    /// Whether the latest come first.
    pub newest_first: bool,
    /// Those behind this place in the list.
    pub after: Option<SalesCursor>,
    /// At most so many, and at most [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for SalesQuery {
    /// All of them, the oldest first, 100 to a page.
    fn default() -> Self {
        Self {
            api_id: None,
            channel_id: None,
            key_id: None,
            from_ns: 0,
            to_ns: None,
            newest_first: false,
            after: None,
            limit: 100,
        }
    }
}

/// A page of sales.
pub type SalesPage = Page<SaleRecord, SalesCursor>;

/// A place in a list of sales. As text, two numbers with a hyphen between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SalesCursor {
    pub(crate) sold_ns: u64,
    pub(crate) row: i64,
}

/// Which keys, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyQuery {
    /// Those of this API.
    pub api_id: Option<ApiId>,
    /// Those in this state.
    pub state: Option<KeyState>,
    /// The time, Unix ns: it decides on what has expired.
    pub now_ns: u64,
    /// Whether the latest come first.
    pub newest_first: bool,
    /// Those behind this place in the list.
    pub after: Option<KeyCursor>,
    /// At most so many, and at most [`MAX_PAGE`].
    pub limit: usize,
}

impl KeyQuery {
    /// All of them at a Unix time in ns, the oldest first, 100 to a page.
    pub fn at(now_ns: u64) -> Self {
        Self { api_id: None, state: None, now_ns, newest_first: false, after: None, limit: 100 }
    }
}

/// A page of keys.
pub type KeyPage = Page<KeyEntry, KeyCursor>;

/// A place in a list of keys. As text, a number and the key's id with a hyphen between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyCursor {
    pub(crate) created_ns: u64,
    pub(crate) key_id: KeyId,
}

/// What can become of a key. Each is in one state at a time; the last one that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// The market maker has not taken its offer yet.
    Unoffered,
    /// It can be bought.
    Offered,
    /// Its offer has expired.
    Expired,
    /// It has left the archive.
    Retired,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unoffered, Self::Offered, Self::Expired, Self::Retired];

    /// Its name: `unoffered`, `offered`, `expired`, `retired`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unoffered => "unoffered",
            Self::Offered => "offered",
            Self::Expired => "expired",
            Self::Retired => "retired",
        }
    }
}

/// A key of a list, and what it was sold for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key's id.
    pub key_id: KeyId,
    /// The API whose payloads it encrypts.
    pub api_id: ApiId,
    /// The price it is offered for.
    pub price: Amount,
    /// When it was made, Unix time in ns.
    pub created_ns: u64,
    /// Until when its offer is valid, Unix time in ns; `None`: for ever.
    pub expires_ns: Option<u64>,
    /// When the market maker took its offer, Unix time in ns; `None`: not yet.
    pub offered_ns: Option<u64>,
    /// Its state at the time of the query.
    pub state: KeyState,
    /// How often it was sold.
    pub sales: u64,
    /// For how much altogether.
    pub earned: Amount,
}

/// What was earned in a span of time, by steps of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarningsQuery {
    /// By keys of this API; `None`: of each one.
    pub api_id: Option<ApiId>,
    /// From this Unix time in ns on.
    pub from_ns: u64,
    /// Before this Unix time in ns.
    pub to_ns: u64,
    /// How long a step is, in ns. Steps begin at multiples of it since 1970: those of an hour at full hours,
    /// those of a day at midnight, UTC.
    pub step_ns: NonZeroU64,
}

/// What the keys of an API earned in a step of time. Steps in which nothing was sold are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earnings {
    /// When the step begins, Unix time in ns.
    pub start_ns: u64,
    /// The API; `None` for sales whose API is not known.
    pub api_id: Option<ApiId>,
    /// How many sales.
    pub sales: u64,
    /// The sum of their amounts.
    pub amount: Amount,
}

/// A text is no state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be one of unoffered, offered, expired, retired")]
pub struct KeyStateError;

/// A text is no cursor of such a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is no cursor of this list; take the one that came with a page")]
pub struct CursorError;

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyState {
    type Err = KeyStateError;

    fn from_str(text: &str) -> Result<Self, KeyStateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(KeyStateError)
    }
}

impl fmt::Display for SalesCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sold_ns, self.row)
    }
}

impl FromStr for SalesCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (sold_ns, row) = text.split_once('-').ok_or(CursorError)?;
        Ok(Self { sold_ns: number(sold_ns)?, row: row.parse().map_err(|_| CursorError)? })
    }
}

impl fmt::Display for KeyCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_ns, self.key_id)
    }
}

impl FromStr for KeyCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (created_ns, key_id) = text.split_once('-').ok_or(CursorError)?;
        let key_id = key_id.parse().map_err(|_| CursorError)?;
        Ok(Self { created_ns: number(created_ns)?, key_id })
    }
}

fn number(text: &str) -> Result<u64, CursorError> {
    text.parse().map_err(|_| CursorError)
}
