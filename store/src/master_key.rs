//! The master key, under which a store keeps its data keys: 32 bytes in a file of 64 hex digits that only its
//! owner can read, or in a text that the caller has from elsewhere, such as an environment variable.
//!
//! Without it the data keys of a store are lost for good. So one is made only together with a new store: see
//! [`MasterKey::load_or_create`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use thiserror::Error;
use xbr_core::crypto::{Entropy, UserspaceEntropy};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::private_file;

/// A file longer than this is no key file.
const MAX_FILE_LEN: u64 = 4096;

/// 32 random bytes, the key of data keys. Erased when dropped; never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

/// Why there is no master key. Never says what a file or text held.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MasterKeyError {
    /// There is no such file, and nothing was to be made.
    #[error("there is no master key file at {path}; create one, or correct the path")]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// There is no such file, but a store whose keys only it opens.
    #[error(
        "the master key file {path} of an existing store is missing; restore it from a backup, a new one \
         could not open the data keys of the store"
    )]
    Lost {
        /// Where it should be.
        path: String,
    },
    /// One was to be made where there is a file already.
    #[error("{path} exists already and is left as it is; load it, or choose another path")]
    Exists {
        /// Where it is.
        path: String,
    },
    /// Others than its owner have access to the file.
    #[error("the master key file {path} is accessible to others (mode {mode:03o}); run chmod 600 {path}")]
    Exposed {
        /// Where it is.
        path: String,
        /// The permission bits of group and world, in octal.
        mode: u32,
    },
    /// The file is empty, as a crash at the very first start leaves it.
    #[error("the master key file {path} is empty; restore it, or delete it if there is no store yet")]
    Empty {
        /// Where it is.
        path: String,
    },
    /// Something else than 64 hex digits.
    #[error("the master key in {place} must be 64 hex digits, got {actual} characters or other digits")]
    Syntax {
        /// The path of the file, or what the text was.
        place: String,
        /// How many characters there were.
        actual: usize,
    },
    /// The operating system says no.
    #[error("cannot use the master key file {path}: {reason}")]
    Io {
        /// Where it is.
        path: String,
        /// What the operating system says.
        reason: String,
    },
}

impl MasterKey {
    /// From 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From a text of 64 hex digits, white space around it left aside. `place` says in errors where it came
    /// from, such as the name of an environment variable.
    ///
    /// # Errors
    /// [`MasterKeyError::Syntax`] for anything else.
    pub fn from_hex(place: &str, text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let mut key = Self([0; 32]);
        hex::decode_to_slice(text, &mut key.0)
            .map_err(|_| MasterKeyError::Syntax { place: place.to_owned(), actual: text.chars().count() })?;
        Ok(key)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`MasterKeyError`]: missing, accessible to others, empty, not 64 hex digits, or unreadable.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, MasterKeyError> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => MasterKeyError::Missing { path: shown.clone() },
            _ => io_error(path, &error),
        })?;
        let mode = private_file::foreign_mode(&file).map_err(|error| io_error(path, &error))?;
        if mode != 0 {
            return Err(MasterKeyError::Exposed { path: shown, mode });
        }
        let mut text = Zeroizing::new(String::with_capacity(128));
        file.take(MAX_FILE_LEN).read_to_string(&mut text).map_err(|error| io_error(path, &error))?;
        if text.trim().is_empty() {
            return Err(MasterKeyError::Empty { path: shown });
        }
        Self::from_hex(&shown, &text)
    }

    /// Makes a random key and writes it to a new file with mode 0600, durably.
    ///
    /// # Errors
    /// [`MasterKeyError::Exists`] when there is a file already, or [`MasterKeyError::Io`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, MasterKeyError> {
        let path = path.as_ref();
        let mut key = Self([0; 32]);
        UserspaceEntropy.fill(&mut key.0);
        key.write(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => MasterKeyError::Exists { path: path.display().to_string() },
            _ => io_error(path, &error),
        })?;
        Ok(key)
    }

    /// Reads a key file, or makes it when there is neither it nor a store; `store_exists` is what
    /// [`SqliteStore::exists`](crate::SqliteStore::exists) says.
    ///
    /// # Errors
    /// [`MasterKeyError::Lost`] when there is a store but no key file; else as [`load`](Self::load) and
    /// [`create`](Self::create).
    pub fn load_or_create(path: impl AsRef<Path>, store_exists: bool) -> Result<Self, MasterKeyError> {
        match Self::load(&path) {
            Err(MasterKeyError::Missing { path }) if store_exists => Err(MasterKeyError::Lost { path }),
            Err(MasterKeyError::Missing { .. }) => Self::create(path),
            other => other,
        }
    }

    /// The secret itself, for other stores that keep theirs under a master key.
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.0
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let text = Zeroizing::new(hex::encode(self.0));
        // Whole or not at all: a crash must not leave an empty key file, which would keep the next start from
        // making one.
        let mut file = NamedTempFile::new_in(private_file::directory_of(path))?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        private_file::sync_directory_of(path)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn io_error(path: &Path, error: &io::Error) -> MasterKeyError {
    MasterKeyError::Io { path: path.display().to_string(), reason: error.to_string() }
}
