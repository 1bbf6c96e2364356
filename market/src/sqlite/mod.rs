//! What the stores of this crate have in common: a SQLite file of one owner, a thread that commits in
//! groups, and rows that are read strictly.

use std::fs::File;
use std::path::Path;

use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row};
use xbr_core::channel::ChannelState;
use xbr_core::{Amount, ChannelSeq};
use xbr_store::StoreError;

mod file;
mod worker;

pub(crate) use worker::Worker;

/// What an error of SQLite's means before a commit: damage, or refused.
pub(crate) fn database_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => corrupt(error.to_string()),
        _ => StoreError::Refused { reason: error.to_string() },
    }
}

pub(crate) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { what: what.into() }
}

/// Opens a file, or makes it, and locks it against others for as long as the lock is held.
pub(crate) fn open<D>(
    path: &Path,
    prepare: impl FnOnce(Connection) -> Result<D, StoreError>,
) -> Result<(D, File), StoreError> {
    // Absolute, so that SQLite takes no name such as `:memory:` for something else than a file.
    let path = std::path::absolute(path).map_err(|error| file::open_error(path, error.to_string()))?;
    let lock = file::claim(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(&path, flags).map_err(database_error).and_then(prepare);
    let database = database.map_err(|error| match error {
        StoreError::Refused { reason } => file::open_error(&path, reason),
        other => other,
    })?;
    Ok((database, lock))
}

/// Whose database it is.
pub(crate) struct Schema {
    /// Says of a SQLite file that it is a store of one kind of this program.
    pub(crate) application_id: i64,
    /// The version that is known.
    pub(crate) version: u32,
    /// What makes the tables of that version.
    pub(crate) sql: &'static str,
}

impl Schema {
    /// Whether a database is still to be made.
    pub(crate) fn is_new(&self, connection: &Connection) -> Result<bool, StoreError> {
        let integer =
            |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(database_error);
        let (application, version) = (integer("PRAGMA application_id")?, integer("PRAGMA user_version")?);
        match (application, version) {
            (0, 0) if integer("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(true),
            (id, version) if id == self.application_id && version == i64::from(self.version) => Ok(false),
            (id, version) if id == self.application_id => {
                let actual = u32::try_from(version).unwrap_or(u32::MAX);
                Err(StoreError::Schema { supported: self.version, actual })
            }
            _ => {
                let reason = "it is a database of another program; choose another path".to_owned();
                Err(StoreError::Refused { reason })
            }
        }
    }

    /// Makes the tables, and what else belongs into a new database, all or nothing.
    pub(crate) fn create(
        &self,
        connection: &Connection,
        fill: impl FnOnce(&Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = connection.unchecked_transaction().map_err(database_error)?;
        transaction.execute_batch(self.sql).map_err(database_error)?;
        fill(&transaction)?;
        transaction.pragma_update(None, "application_id", self.application_id).map_err(database_error)?;
        transaction.pragma_update(None, "user_version", self.version).map_err(database_error)?;
        transaction.commit().map_err(database_error)
    }
}

/// FULL syncs the log at every commit, which is the whole promise.
pub(crate) fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        )
        .map_err(database_error)
}

/// Reads a small table whole, to find damage before it is used.
pub(crate) fn check(connection: &Connection, table: &str) -> Result<(), StoreError> {
    let verdict: String = connection
        .query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))
        .map_err(database_error)?;
    if verdict == "ok" { Ok(()) } else { Err(corrupt(verdict)) }
}

pub(crate) fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(database_error)
}

pub(crate) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    parse: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(database_error)?;
    statement.query_row(params, |row| Ok(parse(row))).optional().map_err(database_error)?.transpose()
}

pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    parse: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(database_error)?;
    let mut rows = statement.query(params).map_err(database_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(database_error)? {
        found.push(parse(row)?);
    }
    Ok(found)
}

pub(crate) fn get<T: FromSql>(row: &Row<'_>, column: &'static str) -> Result<T, StoreError> {
    row.get(column).map_err(|error| corrupt(format!("column {column}: {error}")))
}

pub(crate) fn id<T: From<[u8; N]>, const N: usize>(
    row: &Row<'_>,
    column: &'static str,
) -> Result<T, StoreError> {
    get::<[u8; N]>(row, column).map(T::from)
}

pub(crate) fn amount(row: &Row<'_>, column: &'static str) -> Result<Amount, StoreError> {
    get(row, column).map(Amount::from_be_bytes)
}

/// A number that is not negative.
pub(crate) fn natural(row: &Row<'_>, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| corrupt(format!("column {column} is negative")))
}

pub(crate) fn state(
    row: &Row<'_>,
    seq: &'static str,
    balance: &'static str,
) -> Result<ChannelState, StoreError> {
    Ok(ChannelState { seq: ChannelSeq::new(get(row, seq)?), balance: amount(row, balance)? })
}
