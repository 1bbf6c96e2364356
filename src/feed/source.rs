//! What a feed is read from, as the feed sees it: items in their order, each of which may want to hear what
//! became of it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use xbr_core::Value;
use xbr_wamp::codec::CodecError;

use super::lines::LineError;

/// How many items may be read ahead.
pub(super) const AHEAD: usize = 8;

/// What became of an item: nothing more will be done about it, for the reason given if it was not published.
pub type Outcome = Result<(), String>;

/// Something to be published.
#[derive(Debug)]
pub struct Item {
    /// Its number, from 1, for the log.
    pub number: u64,
    /// What it holds.
    pub content: Result<Content, BadItem>,
    /// The topic, if it is another than the feed's.
    pub topic: Option<String>,
    /// Hears of the outcome. It is dropped unused when the feed ends first.
    pub receipt: Option<oneshot::Sender<Outcome>>,
}

/// The content of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A JSON value, as text, or nothing but white space.
    Line(String),
    /// A value.
    Value(Value),
}

/// Why an item is skipped. Never says what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadItem {
    /// It could not be read.
    #[error(transparent)]
    Unreadable(#[from] LineError),
    /// It has no end, and may not be all that was meant.
    #[error("the connection ended before the line did")]
    Unended,
    /// There is no URI to republish it under.
    #[error("there is no URI to republish an event of {topic} under")]
    Topic {
        /// The topic of the event.
        topic: String,
    },
    /// It is not JSON.
    #[error("malformed JSON at column {column}")]
    Json {
        /// The column in bytes, from 1.
        column: usize,
    },
    /// It is JSON, but too much of it, or has no one meaning.
    #[error(transparent)]
    Value(CodecError),
}

impl BadItem {
    pub(super) fn of(error: CodecError) -> Self {
        match error {
            CodecError::Json { column, .. } => Self::Json { column },
            other => Self::Value(other),
        }
    }
}

impl Item {
    /// A line of the feed's own topic, whose outcome nobody waits for.
    pub fn line(number: u64, text: Result<String, LineError>) -> Self {
        Self { number, content: text.map(Content::Line).map_err(BadItem::from), topic: None, receipt: None }
    }
}

/// Items that are being read.
pub struct Source {
    /// Where they come out. It ends with the source; what ends the source before its time is the last that
    /// comes. Dropping it ends the reading.
    pub items: mpsc::Receiver<io::Result<Item>>,
    /// What is left to do when no outcome is to come any more, such as to remember how far the feed got.
    pub finish: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Source {
    /// A source that leaves nothing to do.
    pub fn new(items: mpsc::Receiver<io::Result<Item>>) -> Self {
        Self { items, finish: Box::pin(async {}) }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("items", &self.items).finish_non_exhaustive()
    }
}
