//! A connection with the statements of a store. Whoever owns one decides on its transactions.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Params, params, params_from_iter};
use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::{ChannelId, ChannelSeq};

use super::books::Books;
use super::check::{self, Verdict};
use super::columns::{self, Columns};
use super::keys::NewKeys;
use super::rows::{StrictRow, corrupt, database_error};
use super::vault::Vault;
use crate::kill_point::Step;
use crate::operation::{channel_problem, standing, takes_close};
use crate::{Evidence, StoreError, Write};

#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    pub(super) vault: Vault,
    verdict: Verdict,
    pub(super) books: Books,
    pub(super) new_keys: NewKeys,
    /// Statements that write a row, by table and by what they do: each is put together once.
    statements: RefCell<HashMap<(&'static str, &'static str), String>>,
}

/// What a statement does that replaces a row.
const REPLACE: &str = "UPDATE";

impl Database {
    pub(super) fn new(connection: Connection, vault: Vault, verdict: Verdict) -> Self {
        let (books, new_keys, statements) = (Books::default(), NewKeys::default(), RefCell::default());
        Self { connection, vault, verdict, books, new_keys, statements }
    }

    /// Forgets what is kept of the tables beside them: after a transaction was rolled back, they have the last word.
    pub(super) fn forget(&self) {
        self.books.forget();
        self.new_keys.forget();
    }

    /// Whether no transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Runs a statement without parameters and results, such as `COMMIT`.
    pub(super) fn control(&self, sql: &str) -> Result<(), StoreError> {
        self.execute(sql, []).map(|_| ())
    }

    /// Closes the connection; the last one to close empties the write-ahead log.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.connection.close().map_err(|(_, error)| database_error(error))
    }

    pub(super) fn channels(&self) -> Result<Vec<Channel>, StoreError> {
        let channels =
            self.all("SELECT * FROM channel ORDER BY channel_id", [], "channel", |row| row.channel())?;
        let channels: Vec<_> =
            channels.into_iter().map(|channel| self.whole(channel)).collect::<Result<_, _>>()?;
        channels.iter().try_for_each(|channel| self.is_last(channel))?;
        Ok(channels)
    }

    pub(super) fn sale(
        &self,
        channel_id: ChannelId,
        seq: ChannelSeq,
    ) -> Result<Option<SaleRecord>, StoreError> {
        let found = self.one(
            "SELECT * FROM sale WHERE channel_id = ?1 AND seq = ?2",
            params![channel_id.as_bytes(), seq.value()],
            "sale",
            |row| row.sale(),
        )?;
        self.unless_lost(found)
    }

    pub(super) fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        self.all("SELECT * FROM evidence ORDER BY id", [], "evidence", |row| row.evidence())
    }

    /// What was found; nothing only when nothing can have been lost.
    pub(super) fn unless_lost<T>(&self, found: Option<T>) -> Result<Option<T>, StoreError> {
        if found.is_none() {
            self.verdict.wait()?;
        }
        Ok(found)
    }

    /// Executes a write within the transaction that is open.
    pub(super) fn apply(&self, write: &Write) -> Result<(), StoreError> {
        write.check()?;
        match write {
            Write::AttachChannel(channel) => self.attach_channel(channel),
            Write::CommitSale(record) => self.commit_sale(record),
            Write::CommitClose(record) => self.commit_close(record),
            Write::CommitOwnClose(close) => self.commit_own_close(close),
            Write::NoteComparison { channel_id, ours, theirs } => {
                self.note_comparison(*channel_id, *ours, *theirs)
            }
            Write::KeepEvidence(evidence) => self.keep_evidence(evidence),
            Write::InsertKey(record) => self.insert_key(record),
            Write::MarkOffered { key_id, offered_ns } => self.mark_offered(*key_id, *offered_ns),
            Write::RetireKey(key_id) => self.retire_key(*key_id),
        }
    }

    /// A transaction of its own that changes nothing of weight. Once it is durable, its frames have taken the
    /// place of those that a failed commit may have left in the write-ahead log, which is thereby void.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.execute("UPDATE store SET settled = settled + 1", []).map(|_| ())
    }

    fn attach_channel(&self, channel: &Channel) -> Result<(), StoreError> {
        let added =
            self.insert("channel", columns::channel(channel)?, "ON CONFLICT (channel_id) DO NOTHING")?;
        if added > 0 {
            channel.closed.as_ref().map_or(Ok(()), |closed| self.insert_close(closed))?;
            channel.own_close.as_ref().map_or(Ok(()), |close| self.put_own_close(close))?;
        }
        Ok(())
    }

    fn commit_close(&self, record: &CloseRecord) -> Result<(), StoreError> {
        let mut channel = takes_close(self.channel(record.channel_id)?, record)?;
        channel.apply_close(record);
        self.insert_close(record)?;
        self.update_channel(&channel)
    }

    fn commit_own_close(&self, close: &OwnClose) -> Result<(), StoreError> {
        let channel = standing(self.channel(close.channel_id)?, close.state).ok_or(StoreError::Conflict)?;
        self.put_own_close(close)?;
        self.update_channel(&Channel { own_close: Some(*close), ..channel })
    }

    fn put_own_close(&self, close: &OwnClose) -> Result<(), StoreError> {
        self.put("own_close", columns::own_close(close))
    }

    fn note_comparison(
        &self,
        channel_id: ChannelId,
        ours: ChannelState,
        theirs: ChannelState,
    ) -> Result<(), StoreError> {
        standing(self.channel(channel_id)?, ours).ok_or(StoreError::Conflict)?;
        self.put("comparison", columns::comparison(channel_id, ours, theirs))
    }

    /// A close that is not final may come again at the same state; the first one stays.
    fn insert_close(&self, record: &CloseRecord) -> Result<(), StoreError> {
        let again = "ON CONFLICT (channel_id, seq, is_final) DO NOTHING";
        self.insert("channel_close", columns::close(record), again).map(|_| ())
    }

    pub(super) fn update_channel(&self, channel: &Channel) -> Result<(), StoreError> {
        self.update("channel", columns::channel(channel)?)?;
        Step::Written.pass();
        Ok(())
    }

    fn keep_evidence(&self, evidence: &Evidence) -> Result<(), StoreError> {
        self.insert("evidence", columns::evidence(evidence)?, "").map(|_| ())
    }

    pub(super) fn channel(&self, channel_id: ChannelId) -> Result<Option<Channel>, StoreError> {
        let sql = "SELECT * FROM channel WHERE channel_id = ?1";
        let channel = self.one(sql, params![channel_id.as_bytes()], "channel", |row| row.channel())?;
        channel.map(|channel| self.whole(channel)).transpose()
    }

    /// The channel with its closes and what the market maker showed.
    fn whole(&self, (mut channel, is_closed): (Channel, bool)) -> Result<Channel, StoreError> {
        let channel_id = channel.terms.channel_id;
        let id = params![channel_id.as_bytes()];
        channel.closed = self.one(
            "SELECT * FROM channel_close WHERE channel_id = ?1 AND is_final = 1",
            id,
            "channel_close",
            |row| row.close(),
        )?;
        channel.own_close =
            self.one("SELECT * FROM own_close WHERE channel_id = ?1", id, "own_close", |row| {
                row.own_close()
            })?;
        let comparison =
            self.one("SELECT * FROM comparison WHERE channel_id = ?1", id, "comparison", |row| {
                row.comparison()
            })?;
        if let Some((_, theirs)) = comparison.filter(|(ours, _)| *ours == channel.state) {
            channel.reconcile(theirs);
        }
        match channel_problem(&channel) {
            None if channel.is_closed() == is_closed => Ok(channel),
            None => {
                Err(corrupt(format!("channel {channel_id}: its final close is missing, or is none of its")))
            }
            Some(problem) => Err(corrupt(format!("channel {channel_id}: {problem}"))),
        }
    }

    /// Nothing is stored beyond the state of a channel, as it would be if the channel had gone back.
    fn is_last(&self, channel: &Channel) -> Result<(), StoreError> {
        let channel_id = channel.terms.channel_id;
        let beyond = "SELECT 1 FROM sale WHERE channel_id = ?1 AND seq > ?2
                      UNION ALL SELECT 1 FROM channel_close WHERE channel_id = ?1 AND seq > ?2 LIMIT 1";
        if self.any(beyond, params![channel_id.as_bytes(), channel.state.seq.value()])? {
            Err(corrupt(format!("channel {channel_id} is behind a sale or close of its")))
        } else {
            Ok(())
        }
    }

    /// Adds a row with its code; how many were added. `conflict` is the clause for one that is there already.
    pub(super) fn insert(
        &self,
        table: &'static str,
        mut row: Columns,
        conflict: &'static str,
    ) -> Result<usize, StoreError> {
        self.authenticate(table, &mut row);
        let mut statements = self.statements.borrow_mut();
        let sql = statements.entry((table, conflict)).or_insert_with(|| {
            let names: Vec<_> = row.iter().map(|(name, _)| name.as_ref()).collect();
            let marks: Vec<_> = (1..=row.len()).map(|number| format!("?{number}")).collect();
            let (names, marks) = (names.join(", "), marks.join(", "));
            format!("INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}")
        });
        self.execute(sql, params_from_iter(row.into_iter().map(|(_, value)| value)))
    }

    /// The number of the row that was added last.
    pub(super) fn last_number(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    /// Adds a row with its code, or replaces the one with the same first column.
    fn put(&self, table: &'static str, row: Columns) -> Result<(), StoreError> {
        match self.insert(table, row.clone(), "ON CONFLICT DO NOTHING")? {
            0 => self.update(table, row),
            _ => Ok(()),
        }
    }

    /// Replaces the row with the same first column, and its code.
    fn update(&self, table: &'static str, mut row: Columns) -> Result<(), StoreError> {
        self.authenticate(table, &mut row);
        self.replace(table, REPLACE, row).map(|_| ())
    }

    /// Replaces these columns in the row with the same first column; how many rows there were. `what` tells apart the
    /// statements of a table.
    pub(super) fn replace(
        &self,
        table: &'static str,
        what: &'static str,
        row: Columns,
    ) -> Result<usize, StoreError> {
        let Some((first, _)) = row.first() else { return Ok(0) };
        let mut statements = self.statements.borrow_mut();
        let sql = statements.entry((table, what)).or_insert_with(|| {
            let set =
                |(number, (name, _)): (usize, &(Cow<'_, str>, Value))| format!("{name} = ?{}", number + 1);
            let assignments: Vec<_> = row.iter().enumerate().skip(1).map(set).collect();
            format!("UPDATE {table} SET {} WHERE {first} = ?1", assignments.join(", "))
        });
        self.execute(sql, params_from_iter(row.into_iter().map(|(_, value)| value)))
    }

    pub(super) fn authenticate(&self, table: &str, row: &mut Columns) {
        let mac = self.vault.mac(table, row.iter().map(|(_, value)| ValueRef::from(value)));
        row.push((Cow::Borrowed("mac"), Value::Blob(mac.to_vec())));
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(database_error)
    }

    /// Whether a query finds anything.
    pub(super) fn any(&self, sql: &str, params: impl Params) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.exists(params))
            .map_err(database_error)
    }

    /// The structure of the whole database, as SQLite sees it.
    pub(super) fn check_structure(&self) -> Result<(), StoreError> {
        check::look(&self.connection, "PRAGMA integrity_check(1)")
    }

    /// Tells of each data key whether it is there, and opens then, or has left the archive.
    pub(super) fn each_key(&self, mut tell: impl FnMut(bool)) -> Result<(), StoreError> {
        let is_there = |row: &StrictRow<'_>| row.holds_key(&self.vault);
        self.each("SELECT * FROM data_key", [], "data_key", is_there, |is_there| {
            tell(is_there);
            Ok(())
        })
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        table: &'static str,
        parse: impl Fn(&StrictRow<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(database_error)?;
        let mut rows = statement.query(params).map_err(database_error)?;
        let row = rows.next().map_err(database_error)?;
        row.map(|row| self.read(&StrictRow::new(table, row), &parse)).transpose()
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        table: &'static str,
        parse: impl Fn(&StrictRow<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.each(sql, params, table, parse, |row| {
            all.push(row);
            Ok(())
        })?;
        Ok(all)
    }

    /// Does something with each row, one after the other.
    pub(super) fn each<T>(
        &self,
        sql: &str,
        params: impl Params,
        table: &'static str,
        parse: impl Fn(&StrictRow<'_>) -> Result<T, StoreError>,
        mut act: impl FnMut(T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(database_error)?;
        let mut rows = statement.query(params).map_err(database_error)?;
        while let Some(row) = rows.next().map_err(database_error)? {
            act(self.read(&StrictRow::new(table, row), &parse)?)?;
        }
        Ok(())
    }

    /// What is known to be damaged by now is not listed from.
    pub(super) fn sound_so_far(&self) -> Result<(), StoreError> {
        self.verdict.so_far()
    }

    /// Parses a row, and makes sure that it is as it was written.
    fn read<T>(
        &self,
        row: &StrictRow<'_>,
        parse: &impl Fn(&StrictRow<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let value = parse(row)?;
        row.check_mac(&self.vault)?;
        Ok(value)
    }
}
