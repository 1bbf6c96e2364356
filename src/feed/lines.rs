//! Lines from standard input, a file, a FIFO or a sensor, read on a thread of their own: reading may block
//! for as long as nobody writes, and the process must be able to end meanwhile. The thread is never more
//! than a few lines ahead, so that whoever writes is slowed down to the pace of the market.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use thiserror::Error;
use tokio::sync::mpsc;

use super::sensor::Sensor;
use super::source::{AHEAD, Item};

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

/// Lines being read, numbered from 1.
type Items = mpsc::Receiver<io::Result<Item>>;

/// Reads standard input to its end.
///
/// # Errors
/// What the operating system says when there can be no thread; so do the others.
pub(super) fn of_stdin(max_line_bytes: usize) -> io::Result<Items> {
    read(max_line_bytes, |reader| reader.pump(io::stdin().lock()))
}

/// Reads a file to its end, or a FIFO, which is opened again and counted on whenever its writers have
/// closed it.
pub(super) fn of_path(path: PathBuf, max_line_bytes: usize) -> io::Result<Items> {
    read(max_line_bytes, move |reader| {
        // Opening a FIFO waits for somebody who writes.
        let mut file = File::open(&path)?;
        loop {
            reader.pump(BufReader::new(&file))?;
            if reader.items.is_closed() || !file.metadata()?.file_type().is_fifo() {
                return Ok(());
            }
            // The old one is closed after the new one is open: what is written in between stays in the pipe.
            file = File::open(&path)?;
        }
    })
}

/// Measures without end.
pub(super) fn of_sensor(mut sensor: Sensor) -> io::Result<Items> {
    read(usize::MAX, move |reader| {
        sensor.all(|text| reader.pass_on(Ok(text)));
        Ok(())
    })
}

fn read(
    max_line_bytes: usize,
    work: impl FnOnce(&mut LineReader) -> io::Result<()> + Send + 'static,
) -> io::Result<Items> {
    let (items, receiver) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("xbr-feed".to_owned()).spawn(move || {
        let mut reader = LineReader { cutter: LineCutter::new(max_line_bytes), number: 0, items };
        if let Err(error) = work(&mut reader) {
            // Nobody listens any more when the service stops.
            let _ = reader.items.blocking_send(Err(error));
        }
    })?;
    Ok(receiver)
}

struct LineReader {
    cutter: LineCutter,
    number: u64,
    items: mpsc::Sender<io::Result<Item>>,
}

impl LineReader {
    /// Reads to the end, or until nobody listens any more.
    fn pump(&mut self, mut source: impl BufRead) -> io::Result<()> {
        while let Some(text) = next_line(&mut source, &mut self.cutter)? {
            if !self.pass_on(text) {
                break;
            }
        }
        Ok(())
    }

    /// Whether there is still somebody who listens.
    fn pass_on(&mut self, text: Result<String, LineError>) -> bool {
        self.number += 1;
        self.items.blocking_send(Ok(Item::line(self.number, text))).is_ok()
    }
}

/// The next line; `None` at the end.
fn next_line(
    source: &mut impl BufRead,
    cutter: &mut LineCutter,
) -> io::Result<Option<Result<String, LineError>>> {
    loop {
        let chunk = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if chunk.is_empty() {
            return Ok(cutter.finish());
        }
        let (taken, line) = cutter.push(chunk);
        source.consume(taken);
        if line.is_some() {
            return Ok(line);
        }
    }
}

/// Cuts bytes into lines, of which no more than a maximum is ever held.
#[derive(Debug)]
pub(super) struct LineCutter {
    max: usize,
    line: Vec<u8>,
    begun: bool,
    too_long: bool,
}

impl LineCutter {
    /// Between two lines.
    pub(super) fn new(max: usize) -> Self {
        Self { max, line: Vec::new(), begun: false, too_long: false }
    }

    /// Takes bytes up to the end of the line. Returns how many, and the line without its end if that is
    /// there.
    pub(super) fn push(&mut self, chunk: &[u8]) -> (usize, Option<Result<String, LineError>>) {
        let (part, taken) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(at) => (chunk.get(..at).unwrap_or_default(), at + 1),
            None => (chunk, chunk.len()),
        };
        self.begun |= taken > 0;
        // One more for a carriage return that is not counted.
        self.too_long |= self.line.len() + part.len() > self.max.saturating_add(1);
        if self.too_long {
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
        let ended = taken > part.len();
        (taken, if ended { self.finish() } else { None })
    }

    /// The line that has begun, if any, as if it had ended.
    pub(super) fn finish(&mut self) -> Option<Result<String, LineError>> {
        if !std::mem::take(&mut self.begun) {
            return None;
        }
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.too_long) || line.len() > self.max {
            return Some(Err(LineError::TooLong { max: self.max }));
        }
        let text = String::from_utf8(line);
        Some(text.map_err(|error| LineError::NotUtf8 { column: error.utf8_error().valid_up_to() + 1 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], capacity: usize, max: usize) -> Vec<Result<String, LineError>> {
        let mut source = BufReader::with_capacity(capacity, input);
        let mut cutter = LineCutter::new(max);
        std::iter::from_fn(|| next_line(&mut source, &mut cutter).unwrap()).collect()
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
