//! A file that is followed: it is read as it grows, through rotations, and after a restart from behind the
//! last line that was settled, all lines before it being settled as well.
//!
//! Reading blocks, and has a thread of its own. It looks for more every [`POLL`]: that works on every file
//! system, where notifications miss what is written over a network or into a mounted folder, and costs two
//! system calls each time. The keeper, a task, hears of each line's outcome and keeps the position on disk:
//! at most once every [`SAVE_EVERY`], and in the end. What was settled since is repeated after a crash, and
//! nothing is ever left out.

mod folder;
mod follower;
mod position;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::source::{AHEAD, BadItem, Content, Item, Outcome, Source};
use super::status::FeedMeter;
use follower::{Follower, Step};
use position::{Position, StateFile};

/// How often to look for more.
const POLL: Duration = Duration::from_millis(100);
/// How often to look again where there was an error.
const RETRY: Duration = Duration::from_secs(1);
/// How often the position is kept.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How many lines may wait for their outcome; more than any feed has in flight.
const MAX_TRACKED: usize = 2048;

/// A line on its way, and where it ends.
#[derive(Debug)]
struct Tracked {
    position: Arc<Position>,
    outcome: oneshot::Receiver<Outcome>,
}

/// Starts to follow a file, from the position that is kept in the state file. Neither need exist yet.
///
/// # Errors
/// When the state file cannot be read, or there can be no thread.
pub(super) fn open(
    path: &Path,
    state: &Path,
    max_line_bytes: usize,
    meter: &Arc<FeedMeter>,
) -> io::Result<Source> {
    let state = StateFile::new(state);
    let mark = state.load()?;
    let saved = mark.is_some();
    let (items, receiver) = mpsc::channel(AHEAD);
    let (tracked, waiting) = mpsc::channel(MAX_TRACKED);
    let follower = Follower::new(path, max_line_bytes, mark);
    let reader = Reader { follower, items, tracked, meter: meter.clone() };
    std::thread::Builder::new().name("xbr-follow".to_owned()).spawn(move || reader.run())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let keeper = Keeper { waiting, first: None, settled: None, saved, state, meter: meter.clone() };
    let keeper = tokio::spawn(keeper.run(stopped));
    let finish = Box::pin(async move {
        drop(stop);
        // One that panicked leaves the position of before.
        let _ = keeper.await;
    });
    Ok(Source { items: receiver, finish })
}

struct Reader {
    follower: Follower,
    items: mpsc::Sender<io::Result<Item>>,
    tracked: mpsc::Sender<Tracked>,
    meter: Arc<FeedMeter>,
}

impl Reader {
    /// Reads until nobody listens any more.
    fn run(mut self) {
        let mut told = None;
        loop {
            let step = self.follower.step();
            self.meter.set_end(self.follower.end());
            let error = step.as_ref().err().map(ToString::to_string);
            if told != error {
                if let Some(error) = &error {
                    tracing::error!(feed = self.meter.feed(), error, "cannot read the file, trying again");
                }
                self.meter.set_error(error.clone());
                told = error;
            }
            let goes_on = match step {
                Ok(Step::Begun(position)) => self.begin(position),
                Ok(Step::Line { position, text }) => {
                    let number = position.line;
                    let content = text.map(Content::Line).map_err(BadItem::from);
                    self.pass_on(position, |receipt| Item { number, content, topic: None, receipt })
                }
                Ok(Step::Idle) => self.rest(POLL),
                Err(_) => self.rest(RETRY),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn pass_on(
        &self,
        position: Arc<Position>,
        item: impl FnOnce(Option<oneshot::Sender<Outcome>>) -> Item,
    ) -> bool {
        let (receipt, outcome) = oneshot::channel();
        self.tracked.blocking_send(Tracked { position, outcome }).is_ok()
            && self.items.blocking_send(Ok(item(Some(receipt)))).is_ok()
    }

    /// The start of a file is settled once everything before it is.
    fn begin(&self, position: Arc<Position>) -> bool {
        let (receipt, outcome) = oneshot::channel();
        // The other half is right here.
        let _ = receipt.send(Ok(()));
        self.tracked.blocking_send(Tracked { position, outcome }).is_ok()
    }

    fn rest(&self, time: Duration) -> bool {
        std::thread::sleep(time);
        !self.items.is_closed()
    }
}

/// Keeps the position up to which all is settled.
struct Keeper {
    waiting: mpsc::Receiver<Tracked>,
    /// The first whose outcome is not known.
    first: Option<Tracked>,
    /// What is settled, but not on disk.
    settled: Option<Arc<Position>>,
    /// Whether there is a position on disk.
    saved: bool,
    state: StateFile,
    meter: Arc<FeedMeter>,
}

impl Keeper {
    /// Goes on until a line's outcome will never be known, or there are no more lines; `stop` says that none
    /// will come.
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut stopping = false;
        let mut due = None;
        loop {
            tokio::select! {
                biased;
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    self.waiting.close();
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = self.save().await.err().map(|_| Instant::now() + SAVE_EVERY);
                }
                position = self.next() => {
                    let Some(position) = position else { break };
                    self.meter.set_position(position.offset);
                    self.settled = Some(position);
                    // Without a position on disk, a file that is rotated now would be passed over later.
                    let patience = if self.saved { SAVE_EVERY } else { Duration::ZERO };
                    due.get_or_insert_with(|| Instant::now() + patience);
                }
            }
        }
        // It is in the log; the lines since the position of before are repeated.
        let _ = self.save().await;
    }

    /// The next position that is settled. Safe to cancel.
    async fn next(&mut self) -> Option<Arc<Position>> {
        if self.first.is_none() {
            self.first = self.waiting.recv().await;
        }
        let first = self.first.as_mut()?;
        let outcome = (&mut first.outcome).await;
        let position = first.position.clone();
        self.first = None;
        // Without an outcome the line may have to be read again, and so may all that follow.
        outcome.ok().map(|_| position)
    }

    async fn save(&mut self) -> Result<(), ()> {
        let Some(position) = self.settled.clone() else { return Ok(()) };
        let state = self.state.clone();
        let saving = tokio::task::spawn_blocking(move || state.store(&position.mark()));
        let result = saving.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        result.map_err(|error| {
            let (feed, file) = (self.meter.feed(), self.state.path().display());
            tracing::error!(feed, %file, %error, "cannot keep the position; check the disk");
        })?;
        self.settled = None;
        self.saved = true;
        Ok(())
    }
}
