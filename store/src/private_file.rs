//! Files that only their owner may read: made with mode 0600, refused or tightened otherwise. Unix
//! permissions are dealt with here and nowhere else.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const OWNER_ONLY: u32 = 0o600;

/// Makes a new file with mode 0600 for writing; fails with `AlreadyExists` when there is one.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)
}

/// Opens a file for writing without changing it; makes it with mode 0600 when there is none.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(OWNER_ONLY).open(path)
}

/// Makes the names in a file's directory durable.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The permission bits that others than the owner have on an open file.
pub fn foreign_mode(file: &File) -> io::Result<u32> {
    file.metadata().map(|metadata| metadata.permissions().mode() & 0o077)
}

/// Takes every permission from others than the owner, where a file exists; says whether they had any.
pub fn tighten(path: &Path) -> io::Result<bool> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let mode = metadata.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o700)).map(|()| true)
}
