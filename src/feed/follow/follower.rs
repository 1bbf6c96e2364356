//! The reader of a followed file, one step at a time. It knows the file by what it has read: a file that
//! was renamed is read to its end before the new one is begun, and one that was cut is looked for among the
//! former ones, for what had not been read.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::folder::{Age, Entry, Folder, Role};
use super::position::{Before, FileId, Mark, Position, modified_ns, read_at};
use crate::feed::lines::{LineCutter, LineError};

/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;

/// What comes out of a followed file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A file is read from its start.
    Begun(Arc<Position>),
    /// A line, and the place behind it.
    Line {
        /// The place.
        position: Arc<Position>,
        /// The line, without its end.
        text: Result<String, LineError>,
    },
    /// There is no more for now.
    Idle,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Follower {
    folder: Folder,
    max: usize,
    /// Where to go on, before the first file is open.
    mark: Option<Mark>,
    /// Whether it was told that the file to go on with is not there.
    is_lost: bool,
    open: Option<Open>,
}

impl Follower {
    /// Goes on behind the mark, or else at the start of the file.
    pub(super) fn new(path: &Path, max: usize, mark: Option<Mark>) -> Self {
        Self { folder: Folder::new(path), max, mark, is_lost: false, open: None }
    }

    /// How long the file that is being read is, in bytes, as far as it was looked at.
    pub(super) fn end(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.length)
    }

    /// Takes a step. After an error the next one tries again.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        loop {
            let Some(open) = &mut self.open else { return self.begin() };
            if let Some(line) = open.cut() {
                return Ok(line);
            }
            match open.fill()? {
                Fill::More => {}
                Fill::End => match self.successor()? {
                    Some(successor) => {
                        if let Some(step) = self.advance(successor)? {
                            return Ok(step);
                        }
                    }
                    None => return Ok(Step::Idle),
                },
                Fill::Rewritten => {
                    if let Some(step) = self.recover()? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    /// Opens the first file.
    fn begin(&mut self) -> io::Result<Step> {
        let Some(mark) = &self.mark else {
            return match self.folder.current()? {
                Some(entry) => self.begin_at_start(Some(entry)),
                None => Ok(Step::Idle),
            };
        };
        let Some(entries) = self.folder.list()? else { return Ok(Step::Idle) };
        if let Some(open) = Open::find(&entries, mark, self.max)? {
            self.open = Some(open);
            return self.step();
        }
        if !std::mem::replace(&mut self.is_lost, true) {
            let line = mark.line;
            tracing::warn!(
                line,
                "the file with the last line that was settled is gone, and with it what followed there; what came \
                 after it is read from its start"
            );
        }
        let next = following(&entries, Age::at(mark.modified_ns), None);
        self.begin_at_start(next)
    }

    /// Opens a file at its start, if it still is the one.
    fn begin_at_start(&mut self, entry: Option<Entry>) -> io::Result<Step> {
        let Some(open) = entry.map(|entry| Open::start(&entry, self.max)).transpose()?.flatten() else {
            return Ok(Step::Idle);
        };
        let begun = open.position();
        self.mark = None;
        self.open = Some(open);
        Ok(Step::Begun(begun))
    }

    /// The file to be read after this one, once something is in it: until then whoever writes may still
    /// write to this one.
    fn successor(&self) -> io::Result<Option<Entry>> {
        let Some(open) = &self.open else { return Ok(None) };
        if self.folder.current()?.is_some_and(|current| current.id == open.id) {
            return Ok(None);
        }
        let Some(entries) = self.folder.list()? else { return Ok(None) };
        let ours = entries.iter().find(|entry| entry.id == open.id).map(|entry| entry.age);
        Ok(following(&entries, ours.unwrap_or(Age::at(open.modified_ns)), Some(open.id)))
    }

    /// Goes on to the next file, unless something was written to this one meanwhile. A last line without an
    /// end counts as one: nobody will end it any more.
    fn advance(&mut self, successor: Entry) -> io::Result<Option<Step>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        if open.fill()? != Fill::End {
            return Ok(None);
        }
        if let Some(line) = open.finish() {
            return Ok(Some(line));
        }
        let file = successor.path.display().to_string();
        let step = self.begin_at_start(Some(successor))?;
        if step != Step::Idle {
            tracing::info!(file, "the file was rotated, reading the next one");
        }
        Ok(Some(step))
    }

    /// The file is not what it was. What had not been read may be in a copy.
    fn recover(&mut self) -> io::Result<Option<Step>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(entries) = self.folder.list()? else { return Ok(Some(Step::Idle)) };
        let (mark, id) = (open.position().mark(), open.id);
        for entry in entries.iter().rev().filter(|entry| entry.role == Role::Former && entry.id != id) {
            if open.move_to(entry, &mark)? {
                let file = entry.path.display();
                tracing::info!(%file, "the file was copied and cut, reading the rest of the copy");
                return Ok(None);
            }
        }
        tracing::warn!("the file was cut and is read from its start; what had not been read of it is lost");
        let current = entries.into_iter().find(|entry| entry.role == Role::Current);
        if current.is_none() {
            (self.open, self.mark) = (None, None);
        }
        self.begin_at_start(current).map(Some)
    }
}

/// Where the mark may be, the likeliest first: in the file with that number, or else in one with that
/// content.
fn candidates<'a>(entries: &'a [Entry], mark: &'a Mark) -> impl Iterator<Item = &'a Entry> {
    // Where nothing but the number can tell, it may have been given to a file of others.
    let same = entries
        .iter()
        .filter(|entry| entry.id == mark.file && (mark.has_content() || entry.role != Role::Other));
    let alike = |role| move |entry: &&Entry| mark.has_content() && entry.role == role;
    let current = entries.iter().filter(alike(Role::Current));
    same.chain(current).chain(entries.iter().rev().filter(alike(Role::Former)))
}

/// The oldest file after that one: a former one, or else the current one.
fn following(entries: &[Entry], age: Age, id: Option<FileId>) -> Option<Entry> {
    let younger = |entry: &&Entry| match entry.role {
        Role::Former => entry.age > age,
        Role::Current => true,
        Role::Other => false,
    };
    let mut next = entries.iter().filter(younger).filter(|entry| Some(entry.id) != id && !entry.is_empty);
    // The current one comes first in the list, and last in time.
    let first = next.next()?;
    Some(if first.role == Role::Current { next.next().unwrap_or(first) } else { first }.clone())
}

/// What there is behind what was read.
#[derive(Debug, PartialEq, Eq)]
enum Fill {
    More,
    End,
    /// The bytes before it are not what they were.
    Rewritten,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    modified_ns: i64,
    length: u64,
    cutter: LineCutter,
    /// What was read, and how much of it was cut into lines.
    buffer: Vec<u8>,
    cut: usize,
    /// Where the buffer ends in the file.
    offset: u64,
    /// The last bytes that were cut.
    before: Before,
    /// How many lines were cut.
    line: u64,
}

impl Open {
    /// A file from its start; `None` if it is another one by now.
    fn start(entry: &Entry, max: usize) -> io::Result<Option<Self>> {
        Self::at(entry, max, 0, 0, |_| Ok(Some(Before::default())))
    }

    /// The file with the mark, from there on, if one of these is it.
    fn find(entries: &[Entry], mark: &Mark, max: usize) -> io::Result<Option<Self>> {
        for entry in candidates(entries, mark) {
            let Some(open) = Self::resume(entry, mark, max)? else { continue };
            let (file, line) = (entry.path.display(), mark.line);
            tracing::info!(%file, line, "the file is read on behind the last line of before");
            return Ok(Some(open));
        }
        Ok(None)
    }

    /// A file from the mark on; `None` if there is no such place in it.
    fn resume(entry: &Entry, mark: &Mark, max: usize) -> io::Result<Option<Self>> {
        Self::at(entry, max, mark.offset, mark.line, |file| mark.find_in(file))
    }

    fn at(
        entry: &Entry,
        max: usize,
        offset: u64,
        line: u64,
        before: impl FnOnce(&File) -> io::Result<Option<Before>>,
    ) -> io::Result<Option<Self>> {
        let Some((file, metadata)) = open(entry)? else { return Ok(None) };
        let Some(before) = before(&file)? else { return Ok(None) };
        let (modified_ns, length) = (modified_ns(&metadata), metadata.len());
        let cutter = LineCutter::new(max);
        let (id, buffer, cut) = (entry.id, Vec::new(), 0);
        Ok(Some(Self { file, id, modified_ns, length, cutter, buffer, cut, offset, before, line }))
    }

    /// Goes on at the same place in a copy, if it is one.
    fn move_to(&mut self, entry: &Entry, mark: &Mark) -> io::Result<bool> {
        let Some((file, _)) = open(entry)? else { return Ok(false) };
        if !mark.has_content() || mark.find_in(&file)?.is_none() {
            return Ok(false);
        }
        self.file = file;
        self.id = entry.id;
        Ok(true)
    }

    /// Cuts the next line from what was read.
    fn cut(&mut self) -> Option<Step> {
        let rest = self.buffer.get(self.cut..).filter(|rest| !rest.is_empty())?;
        let (taken, text) = self.cutter.push(rest);
        self.before.push(rest.get(..taken).unwrap_or(rest));
        self.cut += taken;
        text.map(|text| self.line(text))
    }

    /// The line that has no end.
    fn finish(&mut self) -> Option<Step> {
        let text = self.cutter.finish()?;
        Some(self.line(text))
    }

    fn line(&mut self, text: Result<String, LineError>) -> Step {
        self.line += 1;
        Step::Line { position: self.position(), text }
    }

    /// The place behind what was cut.
    fn position(&self) -> Arc<Position> {
        let uncut = self.buffer.len().saturating_sub(self.cut);
        Arc::new(Position {
            file: self.id,
            modified_ns: self.modified_ns,
            offset: self.offset.saturating_sub(uncut as u64),
            line: self.line,
            before: self.before.clone(),
        })
    }

    /// Reads on, when all that was read is cut. The bytes before are read again with it: they tell whether
    /// this still is the same file, also when it was cut and has grown again.
    fn fill(&mut self) -> io::Result<Fill> {
        let known = self.before.bytes().len();
        let metadata = self.file.metadata()?;
        (self.modified_ns, self.length) = (modified_ns(&metadata), metadata.len());
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.resize(known + CHUNK, 0);
        self.cut = 0;
        let count = read_at(&self.file, &mut bytes, self.offset.saturating_sub(known as u64))?;
        bytes.truncate(count);
        if !bytes.starts_with(self.before.bytes()) {
            return Ok(Fill::Rewritten);
        }
        bytes.drain(..known);
        self.offset += bytes.len() as u64;
        self.buffer = bytes;
        Ok(if self.buffer.is_empty() { Fill::End } else { Fill::More })
    }
}

/// Opens the file of an entry; `None` if its name is another file's by now.
fn open(entry: &Entry) -> io::Result<Option<(File, std::fs::Metadata)>> {
    let file = match File::open(&entry.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let metadata = file.metadata()?;
    Ok((FileId::of(&metadata) == entry.id).then_some((file, metadata)))
}
