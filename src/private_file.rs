//! Secrets in files: made with mode 0600 and never over an existing file, refused when others than their
//! owner have access to them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use thiserror::Error;
use xbr_store::private_file;
use zeroize::Zeroizing;

/// A longer file holds no secret of ours.
const MAX_LEN: u64 = 4096;

/// Why a secret cannot be read or written. Never says what the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretFileError {
    /// Others than its owner have access to it.
    #[error("{path} is accessible to others (mode {mode:03o}); run chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
        /// The permission bits that others have.
        mode: u32,
    },
    /// The operating system says no.
    #[error("cannot use {path}: {reason}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Reads a secret.
///
/// # Errors
/// [`SecretFileError`].
pub fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let mode = private_file::foreign_mode(&file).map_err(|error| failed(path, &error))?;
    if mode != 0 {
        return Err(SecretFileError::Exposed { path: path.display().to_string(), mode });
    }
    // Room for all, so that no copy of a part stays behind in memory.
    let mut text = Zeroizing::new(String::with_capacity(MAX_LEN as usize + 1));
    let length = file.take(MAX_LEN + 1).read_to_string(&mut text).map_err(|error| failed(path, &error))?;
    if length > MAX_LEN as usize {
        let reason = format!("it is longer than {MAX_LEN} bytes");
        return Err(SecretFileError::Io { path: path.display().to_string(), reason });
    }
    Ok(text)
}

/// Writes 32 secret bytes in hex to a new file, durably.
///
/// # Errors
/// [`SecretFileError`]; a file that is there already stays as it is.
pub fn create(path: &Path, secret: &[u8; 32]) -> Result<(), SecretFileError> {
    let write = || {
        let mut file = private_file::create(path)?;
        let mut text = Zeroizing::new([0; 64]);
        hex::encode_to_slice(secret, text.as_mut()).map_err(io::Error::other)?;
        file.write_all(text.as_ref())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        private_file::sync_directory_of(path)
    };
    write().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> SecretFileError {
    let reason = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "it exists already, and is left as it is; choose another path".to_owned()
        }
        io::ErrorKind::InvalidData => "it is not text".to_owned(),
        _ => error.to_string(),
    };
    SecretFileError::Io { path: path.display().to_string(), reason }
}
