//! Lines on their way out, written on a thread of their own: whoever reads them may stop to, and the process
//! must be able to end meanwhile.

use std::io::{self, BufWriter, Write};

use tokio::sync::{mpsc, oneshot};

/// How many lines may wait to be written.
const AHEAD: usize = 64;

/// Writes lines in their order. What is written is flushed when no more lines wait.
#[derive(Debug)]
pub struct Printer {
    lines: mpsc::Sender<Vec<u8>>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    /// Writes there.
    ///
    /// # Errors
    /// What the operating system says when there can be no thread.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = mpsc::channel(AHEAD);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("xbr-printer".to_owned()).spawn(move || {
            let result = write(waiting, BufWriter::new(out));
            // Whoever printed may have gone.
            let _ = end.send(result);
        })?;
        Ok(Self { lines, ended })
    }

    /// Passes a line on. Waits while too many wait already; a line that nobody reads is dropped.
    pub async fn print(&self, line: Vec<u8>) {
        // Whether there is somebody is what `closed` tells.
        let _ = self.lines.send(line).await;
    }

    /// Resolves when there is nobody left to read.
    pub async fn closed(&self) {
        self.lines.closed().await;
    }

    /// Waits until everything is written, or nobody reads it any more.
    ///
    /// # Errors
    /// What the operating system says, but for a pipe that was closed.
    pub async fn finish(self) -> io::Result<()> {
        drop(self.lines);
        match self.ended.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

fn write(mut lines: mpsc::Receiver<Vec<u8>>, mut out: impl Write) -> io::Result<()> {
    while let Some(line) = lines.blocking_recv() {
        out.write_all(&line)?;
        if lines.is_empty() {
            out.flush()?;
        }
    }
    out.flush()
}
