//! The folder of a followed file: which files are there, and which of them the file was before it was
//! rotated.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::position::{FileId, modified_ns};

/// How many digits the number of a former file has at most; with more it is a date.
const MAX_NUMBER_DIGITS: usize = 4;

/// A regular file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) age: Age,
    /// What it is to the followed file.
    pub(super) role: Role,
    pub(super) is_empty: bool,
}

/// What a file is to the followed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is the one.
    Current,
    /// By its name, it was the one.
    Former,
    /// It may have been the one if its number says so.
    Other,
}

/// The order in which files were written, the oldest first: by time, and where that is the same, by the
/// number or date that a former file ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age {
    modified_ns: i64,
    youth: i64,
}

impl Age {
    /// As if it were older than all others that were written last at that time.
    pub(super) fn at(modified_ns: i64) -> Self {
        Self { modified_ns, youth: i64::MIN }
    }
}

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of that file.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The followed file, if it is there.
    ///
    /// # Errors
    /// What the operating system says, or that it is no regular file.
    pub(super) fn current(&self) -> io::Result<Option<Entry>> {
        match metadata(&self.path)? {
            Some(metadata) if !metadata.is_file() => {
                let reason = "it is no regular file; only those can be followed";
                Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
            }
            metadata => {
                Ok(metadata.map(|metadata| entry(self.path.clone(), &metadata, Role::Current, i64::MAX)))
            }
        }
    }

    /// All files, the followed one first, then the oldest first; `None` while files are being renamed, when
    /// one could be overlooked.
    pub(super) fn list(&self) -> io::Result<Option<Vec<Entry>>> {
        let first = self.look()?;
        let names = |entries: &[Entry]| -> Vec<_> {
            entries.iter().map(|entry| (entry.path.clone(), entry.id)).collect()
        };
        let second = self.look()?;
        Ok(Some(second).filter(|second| names(second) == names(&first)))
    }

    fn look(&self) -> io::Result<Vec<Entry>> {
        let name = self.path.file_name().unwrap_or_default();
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut others = Vec::new();
        for found in fs::read_dir(folder)? {
            let found = found?;
            if found.file_name() == name {
                continue;
            }
            let path = found.path();
            // One that cannot be looked at is none that was written here.
            let Ok(Some(metadata)) = metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let (role, youth) = match former(name, &found.file_name()) {
                Some(youth) => (Role::Former, youth),
                None => (Role::Other, i64::MIN),
            };
            others.push(entry(path, &metadata, role, youth));
        }
        others.sort_by(|one, other| one.age.cmp(&other.age).then_with(|| one.path.cmp(&other.path)));
        Ok(self.current()?.into_iter().chain(others).collect())
    }
}

fn entry(path: PathBuf, metadata: &Metadata, role: Role, youth: i64) -> Entry {
    let age = Age { modified_ns: modified_ns(metadata), youth };
    Entry { path, id: FileId::of(metadata), age, role, is_empty: metadata.len() == 0 }
}

fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        // It was renamed or removed a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a name is that of a former file, such as `prices.jsonl.1` or `prices.jsonl-20261127`, and how
/// young its number makes it. Compressed ones cannot be read, and others, such as copies for safety, are
/// none.
fn former(name: &OsStr, other: &OsStr) -> Option<i64> {
    let suffix = other.as_bytes().strip_prefix(name.as_bytes())?;
    let suffix = suffix.strip_prefix(b".").or_else(|| suffix.strip_prefix(b"-"))?;
    let is_former = suffix.first().is_some_and(u8::is_ascii_digit)
        && suffix.iter().all(|byte| byte.is_ascii_digit() || b"-_.:TZ".contains(byte));
    let digits: String =
        suffix.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| *byte as char).collect();
    // Numbers grow as files get older, dates as they get younger.
    let number = digits.parse::<i64>().unwrap_or_default();
    is_former.then_some(if digits.len() <= MAX_NUMBER_DIGITS { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_files_are_known_by_their_names() {
        for (other, youth) in [
            ("prices.jsonl.1", Some(-1)),
            ("prices.jsonl.12", Some(-12)),
            ("prices.jsonl-20261127", Some(20_261_127)),
            ("prices.jsonl.2026-11-27T10:00:00Z", Some(20_261_127_100_000)),
            ("prices.jsonl", None),
            ("prices.jsonl.1.gz", None),
            ("prices.jsonl.bak", None),
            ("prices.jsonl.", None),
            ("prices.jsonl~", None),
            ("other.jsonl.1", None),
        ] {
            assert_eq!(former(OsStr::new("prices.jsonl"), OsStr::new(other)), youth, "{other}");
        }
    }
}
