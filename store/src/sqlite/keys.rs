//! The archive of data keys.
//!
//! The connection that writes keeps the rows that it has just added: most of these keys are noted as offered a moment
//! later, which changes one column, and the code over all. They are forgotten when a transaction is rolled back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU64;

use rusqlite::params;
use rusqlite::types::Value;
use xbr_core::{ApiId, KeyId};

use super::columns::{self, Columns};
use super::database::Database;
use super::rows::corrupt;
use crate::operation::refused;
use crate::{KeyFilter, KeyInfo, KeyLookup, KeyRecord, StoreError};

/// So many rows are kept at most, about 600 bytes each: many more than are added before the first is offered.
const MOST: usize = 1024;

/// Rows that were added, and not changed since, with their numbers and without their codes.
#[derive(Debug, Default)]
pub(super) struct NewKeys(RefCell<HashMap<KeyId, (i64, Columns)>>);

impl NewKeys {
    /// Those that nobody offers make room for all others.
    fn put(&self, key_id: KeyId, id: i64, row: Columns) {
        let mut rows = self.0.borrow_mut();
        if rows.len() >= MOST {
            rows.clear();
        }
        rows.insert(key_id, (id, row));
    }

    fn take(&self, key_id: KeyId) -> Option<(i64, Columns)> {
        self.0.borrow_mut().remove(&key_id)
    }

    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Database {
    pub(super) fn key(&self, key_id: KeyId) -> Result<KeyLookup, StoreError> {
        let found = self.one(
            "SELECT * FROM data_key WHERE key_id = ?1",
            params![key_id.as_bytes()],
            "data_key",
            |row| row.key(key_id, &self.vault),
        )?;
        Ok(self.unless_lost(found)?.unwrap_or(KeyLookup::Unknown))
    }

    pub(super) fn keys(
        &self,
        api_id: ApiId,
        filter: KeyFilter,
        limit: usize,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let api = api_id.as_bytes();
        match filter {
            KeyFilter::Unoffered { now_ns } => self.all(
                "SELECT * FROM data_key
                 WHERE api_id = ?1 AND sealed_key IS NOT NULL AND offered_ns IS NULL
                     AND (expires_ns IS NULL OR expires_ns > ?2)
                 ORDER BY created_ns, key_id LIMIT ?3",
                params![api, columns::integer(now_ns)?, limit],
                "data_key",
                |row| row.key_info(),
            ),
            KeyFilter::Old { now_ns, made_before_ns, keep } => {
                let newest_ns = keep.map_or(Ok(0), |keep| self.nth_newest_key_ns(api_id, keep))?;
                self.all(
                    "SELECT * FROM data_key
                     WHERE api_id = ?1 AND sealed_key IS NOT NULL AND created_ns < ?2
                         AND (expires_ns IS NULL OR expires_ns <= ?3)
                     ORDER BY created_ns, key_id LIMIT ?4",
                    params![
                        api,
                        columns::integer(made_before_ns.max(newest_ns))?,
                        columns::integer(now_ns)?,
                        limit
                    ],
                    "data_key",
                    |row| row.key_info(),
                )
            }
        }
    }

    /// When the `n`th newest key of an API was made, Unix time in ns; 0 when there are fewer.
    fn nth_newest_key_ns(&self, api_id: ApiId, n: NonZeroU64) -> Result<u64, StoreError> {
        // Found in the index: the rows that are passed are not looked at.
        let created_ns = self.one(
            "SELECT * FROM data_key WHERE id = (
                 SELECT id FROM data_key WHERE api_id = ?1 AND sealed_key IS NOT NULL
                 ORDER BY created_ns DESC, key_id DESC LIMIT 1 OFFSET ?2)",
            params![api_id.as_bytes(), i64::try_from(n.get() - 1).unwrap_or(i64::MAX)],
            "data_key",
            |row| row.created_ns(),
        )?;
        Ok(created_ns.unwrap_or(0))
    }

    pub(super) fn insert_key(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let row = columns::key(record, self.vault.seal(record.key_id, &record.key))?;
        match self.insert("data_key", row.clone(), "ON CONFLICT (key_id) DO NOTHING")? {
            0 => Err(refused("the data key is in the archive already")),
            _ => {
                self.new_keys.put(record.key_id, self.last_number(), row);
                Ok(())
            }
        }
    }

    /// Unless it is noted already.
    pub(super) fn mark_offered(&self, key_id: KeyId, offered_ns: u64) -> Result<(), StoreError> {
        let now = Value::Integer(columns::integer(offered_ns)?);
        self.change_key(key_id, "offered_ns", |offered| {
            if *offered == Value::Null {
                *offered = now;
            }
        })
    }

    pub(super) fn retire_key(&self, key_id: KeyId) -> Result<(), StoreError> {
        self.change_key(key_id, "sealed_key", |key| *key = Value::Null)
    }

    /// Changes one column of a data key. The statement names no other: SQLite would renew their indexes.
    fn change_key(
        &self,
        key_id: KeyId,
        column: &'static str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), StoreError> {
        let (id, mut row) = match self.new_keys.take(key_id) {
            Some(row) => row,
            None => self.key_row(key_id)?.ok_or_else(|| refused("the data key is not in the archive"))?,
        };
        if let Some((_, value)) = row.iter_mut().find(|(name, _)| name == column) {
            change(value);
        }
        self.authenticate("data_key", &mut row);
        row.retain(|(name, _)| name == "mac" || name == column);
        row.insert(0, ("id".into(), Value::Integer(id)));
        match self.replace("data_key", column, row)? {
            0 => Err(corrupt(format!("table data_key, row {id}: is missing"))),
            _ => Ok(()),
        }
    }

    fn key_row(&self, key_id: KeyId) -> Result<Option<(i64, Columns)>, StoreError> {
        let (sql, params) = ("SELECT * FROM data_key WHERE key_id = ?1", params![key_id.as_bytes()]);
        self.one(sql, params, "data_key", |row| Ok((row.number()?, row.columns()?)))
    }
}
