//! Where in a file a line ends, and how that place is found again: by the file's number, and by the bytes
//! before it, which tell a file that was cut or replaced from the one that was read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xbr_core::crypto::keccak256;
use xbr_store::private_file::sync_directory_of;

/// How many bytes before a place tell it from others.
const BEFORE: usize = 128;

const VERSION: u32 = 1;

/// Which file: its name may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// When a file was written last, in Unix ns.
pub(super) fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// The last bytes that were read, at most [`BEFORE`] of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Before(Vec<u8>);

impl Before {
    /// Those before a place in a file, as far as there are any.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Self> {
        let length = usize::try_from(offset).unwrap_or(usize::MAX).min(BEFORE);
        let mut bytes = vec![0; length];
        let count = read_at(file, &mut bytes, offset.saturating_sub(length as u64))?;
        bytes.truncate(count);
        Ok(Self(bytes))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let last = bytes.get(bytes.len().saturating_sub(BEFORE)..).unwrap_or_default();
        self.0.extend_from_slice(last);
        self.0.drain(..self.0.len().saturating_sub(BEFORE));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As many bytes as there are, up to the length of the buffer.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The place behind a line, or the start of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) file: FileId,
    /// When the file had been written last.
    pub(super) modified_ns: i64,
    /// In bytes.
    pub(super) offset: u64,
    /// How many lines are before it.
    pub(super) line: u64,
    pub(super) before: Before,
}

impl Position {
    /// How it is kept. What was published is not: of the bytes before it there is a hash only.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            version: VERSION,
            file: self.file,
            modified_ns: self.modified_ns,
            offset: self.offset,
            line: self.line,
            before_bytes: self.before.0.len() as u64,
            before_hash: hex::encode(keccak256(&self.before.0)),
        }
    }
}

/// A position as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    version: u32,
    pub(super) file: FileId,
    pub(super) modified_ns: i64,
    pub(super) offset: u64,
    pub(super) line: u64,
    before_bytes: u64,
    before_hash: String,
}

impl Mark {
    /// The bytes before this place in the file, if the file has such a place.
    pub(super) fn find_in(&self, file: &File) -> io::Result<Option<Before>> {
        let before = Before::read(file, self.offset)?;
        let kept = usize::try_from(self.before_bytes).ok();
        let same_length = kept == Some(before.0.len());
        Ok(Some(before).filter(|before| same_length && hex::encode(keccak256(&before.0)) == self.before_hash))
    }

    /// Whether anything but the file's number can tell the place.
    pub(super) fn has_content(&self) -> bool {
        self.before_bytes > 0
    }
}

/// Why there is a position that cannot be used.
#[derive(Debug, Error)]
pub(super) enum StateError {
    #[error("{path} holds no position ({reason}); remove it to have the file read from its start")]
    Malformed { path: PathBuf, reason: String },
    #[error("{path} was made by another version ({version}); remove it to have the file read from its start")]
    Version { path: PathBuf, version: u32 },
}

/// The file in which a position is kept: one JSON object, replaced as a whole.
#[derive(Debug, Clone)]
pub(super) struct StateFile(PathBuf);

impl StateFile {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What was kept, if anything was.
    pub(super) fn load(&self) -> io::Result<Option<Mark>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let path = self.0.clone();
        let text = match std::fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        match serde_json::from_str::<Mark>(&text) {
            Ok(Mark { version, .. }) if version != VERSION => {
                Err(invalid(StateError::Version { path, version }))
            }
            Ok(mark) => Ok(Some(mark)),
            Err(error) => Err(invalid(StateError::Malformed { path, reason: error.to_string() })),
        }
    }

    /// Keeps a position; durable when it returns. After an error the one of before is there.
    pub(super) fn store(&self, mark: &Mark) -> io::Result<()> {
        let mut name = self.0.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut text = serde_json::to_vec(mark)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.0)?;
        sync_directory_of(&self.0)
    }
}
