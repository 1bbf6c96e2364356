//! Looking into a store without opening it for use: one consistent view, while another process may be writing.

use std::path::Path;

use rusqlite::OpenFlags;
use xbr_core::channel::Channel;

use super::database::Database;
use super::vault::Vault;
use super::{connect_to, not_opened, schema};
use crate::{Evidence, MasterKey, StoreError};

/// What a store held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Every channel, open or closed, in the order of their ids.
    pub channels: Vec<Channel>,
    /// All proofs, in the order in which they were kept.
    pub evidence: Vec<Evidence>,
}

/// Reads the channels and proofs of a store. Nothing is changed, and nobody who uses the store is held up. Blocks while
/// it reads from disk.
///
/// # Errors
/// As [`SqliteStore::open`](super::SqliteStore::open); a store of an older schema version is not read.
pub fn inspect(path: impl AsRef<Path>, master_key: MasterKey) -> Result<Inspection, StoreError> {
    let path = path.as_ref();
    read(path, Vault::new(master_key)).map_err(|error| not_opened(path, error))
}

fn read(path: &Path, vault: Vault) -> Result<Inspection, StoreError> {
    let path = std::path::absolute(path).map_err(super::io_refused)?;
    let connection = connect_to(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::configure_reader(&connection)?;
    schema::check(&connection, &vault)?;
    let database = Database::new(connection, vault);
    // Both lists are of one moment.
    database.control("BEGIN")?;
    let inspection = Inspection { channels: database.channels()?, evidence: database.evidence()? };
    database.control("COMMIT")?;
    Ok(inspection)
}
