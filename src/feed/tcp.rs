//! Lines of whoever connects from this machine. Each connection is read no faster than its lines are
//! published, and its writer can have the outcome of each line: without, a line may be lost with either
//! process, with, the writer sends what was not acknowledged again. Nothing survives a restart.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::lines::LineCutter;
use super::source::{AHEAD, BadItem, Content, Item, Outcome, Source};
use super::status::FeedMeter;
use crate::config::TcpConfig;

/// How many bytes are read at once.
const CHUNK: usize = 16 << 10;
/// How many lines of a connection may wait for their outcome.
const MAX_UNTOLD: usize = 1024;
/// How long writers have to take the last outcomes.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long to wait when nobody can be let in.
const RETRY: Duration = Duration::from_millis(100);

/// A line whose writer waits for its outcome.
type Untold = (u64, oneshot::Receiver<Outcome>);

/// Starts to listen.
///
/// # Errors
/// What the operating system says.
pub(super) fn open(config: &TcpConfig, max_line_bytes: usize, meter: &Arc<FeedMeter>) -> io::Result<Source> {
    let listener = std::net::TcpListener::bind(config.address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tracing::info!(feed = meter.feed(), address = %listener.local_addr()?, "the feed takes lines");
    let (items, receiver) = mpsc::channel(AHEAD);
    let server = Server { config: config.clone(), max_line_bytes, items, meter: meter.clone() };
    let serving = tokio::spawn(server.run(listener));
    let finish = Box::pin(async move {
        // One that panicked has nothing left to say.
        let _ = serving.await;
    });
    Ok(Source { items: receiver, finish })
}

struct Server {
    config: TcpConfig,
    max_line_bytes: usize,
    items: mpsc::Sender<io::Result<Item>>,
    meter: Arc<FeedMeter>,
}

impl Server {
    /// Lets writers in until the feed ends; those beyond the limit wait in the operating system's queue.
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            self.meter.set_connections(connections.len());
            tokio::select! {
                () = self.items.closed() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if connections.len() < self.config.max_connections => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(self.connection().run(stream, self.config.acknowledge));
                        }
                        Err(error) => {
                            tracing::warn!(feed = self.meter.feed(), %error, "cannot let a writer in");
                            sleep(RETRY).await;
                        }
                    }
                }
            }
        }
        drop(listener);
        let rest = async { while connections.join_next().await.is_some() {} };
        // A writer that takes no outcomes does not hold the stop up.
        let _ = timeout(FAREWELL, rest).await;
        self.meter.set_connections(0);
    }

    fn connection(&self) -> Connection {
        Connection { cutter: LineCutter::new(self.max_line_bytes), items: self.items.clone(), number: 0 }
    }
}

/// The lines of one writer, numbered from 1.
struct Connection {
    cutter: LineCutter,
    items: mpsc::Sender<io::Result<Item>>,
    number: u64,
}

impl Connection {
    async fn run(self, stream: TcpStream, acknowledge: bool) {
        // Outcomes are short and waited for; where this fails they come a little later.
        let _ = stream.set_nodelay(true);
        let (input, output) = stream.into_split();
        if !acknowledge {
            return self.read(input, None).await;
        }
        let (untold, waiting) = mpsc::channel(MAX_UNTOLD);
        tokio::join!(self.read(input, Some(untold)), tell(waiting, output));
    }

    /// Reads to the end of the connection, or of the feed.
    async fn read(mut self, mut input: OwnedReadHalf, untold: Option<mpsc::Sender<Untold>>) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = tokio::select! {
                () = self.items.closed() => return,
                read = input.read(&mut buffer) => read,
            };
            // A connection that was cut has ended as well.
            let Some(mut rest) = read.ok().and_then(|count| buffer.get(..count)) else { break };
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let (taken, text) = self.cutter.push(rest);
                rest = rest.get(taken..).unwrap_or_default();
                let Some(text) = text else { break };
                let content = text.map(Content::Line).map_err(BadItem::from);
                if !self.pass_on(content, untold.as_ref()).await {
                    return;
                }
            }
        }
        // Half a number is a number, but not the one that was meant.
        if self.cutter.finish().is_some() {
            self.pass_on(Err(BadItem::Unended), untold.as_ref()).await;
        }
    }

    /// Whether there is still somebody who listens, on both sides.
    async fn pass_on(
        &mut self,
        content: Result<Content, BadItem>,
        untold: Option<&mpsc::Sender<Untold>>,
    ) -> bool {
        self.number += 1;
        let mut item = Item { number: self.number, content, topic: None, receipt: None };
        if let Some(untold) = untold {
            let (receipt, outcome) = oneshot::channel();
            item.receipt = Some(receipt);
            if untold.send((self.number, outcome)).await.is_err() {
                return false;
            }
        }
        self.items.send(Ok(item)).await.is_ok()
    }
}

/// Tells a writer what became of its lines, in their order: `ok NUMBER` or `error NUMBER: REASON`. A line
/// whose outcome will not be known any more ends it.
async fn tell(mut waiting: mpsc::Receiver<Untold>, mut output: OwnedWriteHalf) {
    while let Some((number, outcome)) = waiting.recv().await {
        let line = match outcome.await {
            Ok(Ok(())) => format!("ok {number}\n"),
            Ok(Err(reason)) => format!("error {number}: {}\n", reason.replace(['\r', '\n'], " ")),
            Err(_) => return,
        };
        if output.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
