//! The schema and its versions, and what is checked when a database is opened: quickly, whatever its size.

use std::cmp::Ordering;

use rusqlite::{Connection, params};
use tracing::info;
use xbr_core::crypto::keccak256;

use super::check;
use super::rows::{StrictRow, corrupt, database_error};
use super::vault::Vault;
use crate::StoreError;

/// `XBRS`: says of a SQLite file that it is a store of this program.
const APPLICATION_ID: i32 = 0x5842_5253;

/// Each brings the schema from the version before to the next; the first makes it. A published one never
/// changes.
const MIGRATIONS: &[&str] =
    &[include_str!("schema/v1.sql"), include_str!("schema/v2.sql"), include_str!("schema/v3.sql")];

/// Tables that are small however much is sold. They are checked whole before a store is open, the others row
/// by row as they are read, and whole in the background.
const SMALL_TABLES: &[&str] = &["store", "channel", "channel_close", "own_close", "comparison"];

/// Tells what a file is, sets the connection up, brings the schema up to date and looks for damage. Nothing
/// of a file that is not ours, too new, damaged or under another master key is changed.
pub(super) fn prepare(connection: &mut Connection, vault: &Vault) -> Result<(), StoreError> {
    let version = version(connection)?;
    if version > MIGRATIONS.len() {
        return Err(StoreError::Schema { supported: clamp(MIGRATIONS.len()), actual: clamp(version) });
    }
    if version > 0 {
        check_master_key(connection, vault)?;
    }
    configure_writer(connection)?;
    migrate(connection, version, MIGRATIONS, vault)?;
    if version < MIGRATIONS.len() {
        info!(from = version, to = MIGRATIONS.len(), "migrated the schema of the store");
    }
    check_schema(connection, vault)?;
    check_small_tables(connection)
}

/// Whether a store can be read as it is: it is ours, of this version, and under this master key. Nothing is changed.
pub(super) fn check(connection: &Connection, vault: &Vault) -> Result<(), StoreError> {
    let (version, supported) = (version(connection)?, MIGRATIONS.len());
    match version.cmp(&supported) {
        Ordering::Greater => Err(StoreError::Schema { supported: clamp(supported), actual: clamp(version) }),
        Ordering::Less => Err(crate::operation::refused(
            "it was written by an older version of this program; run this version once, which brings it up to date",
        )),
        Ordering::Equal => check_master_key(connection, vault),
    }
}

/// What every connection needs: patience with a checkpoint, and strictness with what it finds.
pub(super) fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .busy_timeout(std::time::Duration::from_secs(5))
        .and_then(|()| {
            connection.execute_batch(
                "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -8192;",
            )
        })
        .map_err(database_error)
}

/// What a connection needs that only reads.
pub(super) fn configure_reader(connection: &Connection) -> Result<(), StoreError> {
    configure(connection)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(database_error)
}

/// FULL syncs the log at every commit, which is the whole promise; a retired key is overwritten, not just
/// unlinked.
fn configure_writer(connection: &Connection) -> Result<(), StoreError> {
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(database_error)?;
    if mode != "wal" {
        return Err(crate::operation::refused(format!(
            "write-ahead logging is not possible here, only {mode}"
        )));
    }
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(database_error)
}

/// The schema version; 0 for an empty file.
fn version(connection: &Connection) -> Result<usize, StoreError> {
    let integer = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(database_error);
    let application_id = integer("PRAGMA application_id")?;
    let version = integer("PRAGMA user_version")?;
    let objects = integer("SELECT count(*) FROM sqlite_schema")?;
    match (application_id, version) {
        (0, 0) if objects == 0 => Ok(0),
        (id, 1..) if id == i64::from(APPLICATION_ID) => Ok(usize::try_from(version).unwrap_or(usize::MAX)),
        _ => Err(crate::operation::refused("it is a database of another program; choose another path")),
    }
}

/// Applies the migrations that are missing, all or none of them. The verifier of the master key comes with
/// the first.
pub(super) fn migrate(
    connection: &mut Connection,
    version: usize,
    migrations: &[&str],
    vault: &Vault,
) -> Result<(), StoreError> {
    let missing = migrations.get(version..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction().map_err(database_error)?;
    // What is authenticated anew below must be what was written.
    for table in authenticated(&transaction)? {
        each_row(&transaction, &table, |row| row.check_mac(vault))?;
    }
    for migration in missing {
        transaction.execute_batch(migration).map_err(database_error)?;
    }
    for table in authenticated(&transaction)? {
        let sql = format!("UPDATE {table} SET mac = ?2 WHERE id = ?1");
        each_row(&transaction, &table, |row| {
            let (id, mac) = (row.number()?, row.mac(vault));
            transaction
                .prepare_cached(&sql)
                .and_then(|mut set| set.execute(params![id, mac]))
                .map_err(database_error)?;
            Ok(())
        })?;
    }
    if version == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(database_error)?;
        let verifier = vault.seal_verifier();
        transaction
            .execute(
                "INSERT INTO store (id, verifier, verifier_hash) VALUES (1, ?1, ?2)",
                params![verifier, keccak256(&verifier)],
            )
            .map_err(database_error)?;
    }
    transaction.pragma_update(None, "user_version", clamp(migrations.len())).map_err(database_error)?;
    transaction.commit().map_err(database_error)?;
    Ok(())
}

/// The tables whose rows have a code.
fn authenticated(connection: &Connection) -> Result<Vec<String>, StoreError> {
    connection
        .prepare(
            "SELECT name FROM sqlite_schema AS object
             WHERE type = 'table' AND 'mac' IN (SELECT name FROM pragma_table_info(object.name))",
        )
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(database_error)
}

/// Does something with each row of a table, which may change what is in no index.
fn each_row(
    connection: &Connection,
    table: &str,
    mut act: impl FnMut(&StrictRow<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).map_err(database_error)?;
    let mut rows = statement.query([]).map_err(database_error)?;
    while let Some(row) = rows.next().map_err(database_error)? {
        act(&StrictRow::new(table, row))?;
    }
    Ok(())
}

/// The verifier opens with the right master key only. Its hash tells a wrong key from a damaged row.
fn check_master_key(connection: &Connection, vault: &Vault) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare("SELECT id, verifier, verifier_hash FROM store WHERE id = 1")
        .map_err(database_error)?;
    let mut rows = statement.query([]).map_err(database_error)?;
    let row = rows.next().map_err(database_error)?.ok_or_else(|| corrupt("table store has no row"))?;
    let row = StrictRow::new("store", row);
    let verifier = row.blob("verifier")?;
    if row.bytes("verifier_hash")? != keccak256(verifier) {
        return Err(row.corrupt("verifier", "does not have its hash"));
    }
    if vault.verifies(verifier) { Ok(()) } else { Err(StoreError::WrongMasterKey) }
}

/// Every table and index must be exactly as the migrations make it; what somebody added is left alone.
fn check_schema(connection: &Connection, vault: &Vault) -> Result<(), StoreError> {
    let mut fresh = Connection::open_in_memory().map_err(database_error)?;
    migrate(&mut fresh, 0, MIGRATIONS, vault)?;
    let actual = objects(connection)?;
    match objects(&fresh)?.into_iter().find(|object| !actual.contains(object)) {
        None => Ok(()),
        Some((name, _)) => Err(corrupt(format!("the definition of {name} is not as it was made"))),
    }
}

fn objects(connection: &Connection) -> Result<Vec<(String, String)>, StoreError> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        .and_then(|mut statement| statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(database_error)
}

fn check_small_tables(connection: &Connection) -> Result<(), StoreError> {
    for table in SMALL_TABLES {
        check::look(connection, &format!("PRAGMA integrity_check({table})"))?;
    }
    Ok(())
}

fn clamp(version: usize) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}
