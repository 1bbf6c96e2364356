//! Lines from standard input, a file, a FIFO or a sensor, read on a thread of their own: reading may block
//! for as long as nobody writes, and the process must be able to end meanwhile. The thread is never more
//! than a few lines ahead, so that whoever writes is slowed down to the pace of the market.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileTypeExt;

use thiserror::Error;
use tokio::sync::mpsc;

use super::sensor::Sensor;
use crate::config::FeedSource;

/// How many lines may be read ahead.
const AHEAD: usize = 8;

/// A line, numbered from 1; a FIFO goes on counting when it is opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub number: u64,
    /// Its text, without the end of the line.
    pub text: Result<String, LineError>,
}

/// Why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// Too long; it was not kept.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// Not UTF-8.
    #[error("not UTF-8 at column {column}")]
    NotUtf8 {
        /// The column in bytes, from 1.
        column: usize,
    },
}

/// Starts reading. The receiver ends with the source; what ends the source before its time is the last that
/// comes.
///
/// # Errors
/// What the operating system says when there can be no thread.
pub fn read(source: FeedSource, max_line_bytes: usize) -> io::Result<mpsc::Receiver<io::Result<Line>>> {
    let (lines, receiver) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("xbr-feed".to_owned()).spawn(move || {
        let mut reader = LineReader { max: max_line_bytes, number: 0, lines };
        if let Err(error) = reader.read(&source) {
            // Nobody listens any more when the service stops.
            let _ = reader.lines.blocking_send(Err(error));
        }
    })?;
    Ok(receiver)
}

struct LineReader {
    max: usize,
    number: u64,
    lines: mpsc::Sender<io::Result<Line>>,
}

impl LineReader {
    fn read(&mut self, source: &FeedSource) -> io::Result<()> {
        match source {
            FeedSource::Stdin => self.pump(io::stdin().lock()),
            FeedSource::Sensor { kind, seed } => {
                Sensor::new(*kind, *seed).all(|text| self.pass_on(Ok(text)));
                Ok(())
            }
            FeedSource::Path(path) => {
                // Opening a FIFO waits for somebody who writes.
                let mut file = File::open(path)?;
                loop {
                    self.pump(BufReader::new(&file))?;
                    if self.lines.is_closed() || !file.metadata()?.file_type().is_fifo() {
                        return Ok(());
                    }
                    // The old one is closed after the new one is open: what is written in between stays in
                    // the pipe.
                    file = File::open(path)?;
                }
            }
        }
    }

    /// Reads to the end, or until nobody listens any more.
    fn pump(&mut self, mut source: impl BufRead) -> io::Result<()> {
        while let Some(text) = next_line(&mut source, self.max)? {
            if !self.pass_on(text) {
                break;
            }
        }
        Ok(())
    }

    /// Whether there is still somebody who listens.
    fn pass_on(&mut self, text: Result<String, LineError>) -> bool {
        self.number += 1;
        self.lines.blocking_send(Ok(Line { number: self.number, text })).is_ok()
    }
}

/// The next line, of which no more than `max` bytes are ever held; `None` at the end.
fn next_line(source: &mut impl BufRead, max: usize) -> io::Result<Option<Result<String, LineError>>> {
    let mut line = Vec::new();
    let (mut any, mut too_long) = (false, false);
    loop {
        let chunk = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if chunk.is_empty() && !any {
            return Ok(None);
        }
        any = true;
        let (part, end) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(at) => (chunk.get(..at).unwrap_or_default(), at + 1),
            None => (chunk, chunk.len()),
        };
        // One more for a carriage return that is not counted.
        too_long |= line.len() + part.len() > max + 1;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let ended = end > part.len() || chunk.is_empty();
        source.consume(end);
        if ended {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if too_long || line.len() > max {
        return Ok(Some(Err(LineError::TooLong { max })));
    }
    let text = String::from_utf8(line);
    Ok(Some(text.map_err(|error| LineError::NotUtf8 { column: error.utf8_error().valid_up_to() + 1 })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], capacity: usize, max: usize) -> Vec<Result<String, LineError>> {
        let mut source = BufReader::with_capacity(capacity, input);
        std::iter::from_fn(|| next_line(&mut source, max).unwrap()).collect()
    }

    #[test]
    fn lines_are_cut_at_their_ends_whatever_the_buffer() {
        for capacity in [1, 2, 3, 100] {
            let got = lines(b"one\n\ntwo\r\nlast", capacity, 10);
            assert_eq!(got, ["one", "", "two", "last"].map(|line| Ok(line.to_owned())), "{capacity}");
        }
        assert_eq!(lines(b"", 10, 10), []);
        assert_eq!(lines(b"\n", 10, 10), [Ok(String::new())]);
    }

    #[test]
    fn an_overlong_line_is_passed_over_and_the_next_one_is_whole() {
        for capacity in [1, 4, 100] {
            let got = lines(b"12345\n123456\n1234567\n12345\r\nok\n123456", capacity, 5);
            let long = || Err(LineError::TooLong { max: 5 });
            let good = |text: &str| Ok(text.to_owned());
            assert_eq!(got, [good("12345"), long(), long(), good("12345"), good("ok"), long()], "{capacity}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_told_by_its_column() {
        assert_eq!(
            lines(b"\"\xff\"\nok\n", 10, 10),
            [Err(LineError::NotUtf8 { column: 2 }), Ok("ok".into())]
        );
    }
}
