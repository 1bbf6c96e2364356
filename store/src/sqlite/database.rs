//! A connection with the statements of a store. Whoever owns one decides on its transactions.

use std::num::NonZeroU64;

use rusqlite::{Connection, Params, params};
use xbr_core::channel::{Channel, ChannelState, CloseRecord, OwnClose, SaleRecord};
use xbr_core::{ApiId, ChannelId, ChannelSeq, KeyId};

use super::rows::{StrictRow, corrupt, database_error};
use super::vault::Vault;
use crate::operation::{channel_problem, refused, standing, takes_close, takes_sale};
use crate::{Evidence, EvidenceRequest, KeyFilter, KeyInfo, KeyLookup, KeyRecord, StoreError, Write};

#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    vault: Vault,
}

impl Database {
    pub(super) fn new(connection: Connection, vault: Vault) -> Self {
        Self { connection, vault }
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
        channels.into_iter().map(|channel| self.whole(channel)).collect()
    }

    pub(super) fn sale(
        &self,
        channel_id: ChannelId,
        seq: ChannelSeq,
    ) -> Result<Option<SaleRecord>, StoreError> {
        self.one(
            "SELECT * FROM sale WHERE channel_id = ?1 AND seq = ?2",
            params![channel_id.as_bytes(), seq.value()],
            "sale",
            |row| row.sale(),
        )
    }

    pub(super) fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        self.all("SELECT * FROM evidence ORDER BY id", [], "evidence", |row| row.evidence())
    }

    pub(super) fn key(&self, key_id: KeyId) -> Result<KeyLookup, StoreError> {
        let found = self.one(
            "SELECT * FROM data_key WHERE key_id = ?1",
            params![key_id.as_bytes()],
            "data_key",
            |row| row.key(key_id, &self.vault),
        )?;
        Ok(found.unwrap_or(KeyLookup::Unknown))
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
                params![api, integer(now_ns)?, limit],
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
                    params![api, integer(made_before_ns.max(newest_ns))?, integer(now_ns)?, limit],
                    "data_key",
                    |row| row.key_info(),
                )
            }
        }
    }

    /// When the `n`th newest key of an API was made, Unix time in ns; 0 when there are fewer.
    fn nth_newest_key_ns(&self, api_id: ApiId, n: NonZeroU64) -> Result<u64, StoreError> {
        // All in the index: the rows that are passed are not looked at.
        let created_ns = self.one(
            "SELECT id, created_ns FROM data_key WHERE api_id = ?1 AND sealed_key IS NOT NULL
             ORDER BY created_ns DESC, key_id DESC LIMIT 1 OFFSET ?2",
            params![api_id.as_bytes(), i64::try_from(n.get() - 1).unwrap_or(i64::MAX)],
            "data_key",
            |row| row.created_ns(),
        )?;
        Ok(created_ns.unwrap_or(0))
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
            Write::MarkOffered { key_id, offered_ns } => self.change_key(
                "UPDATE data_key SET offered_ns = coalesce(offered_ns, ?2) WHERE key_id = ?1",
                params![key_id.as_bytes(), integer(*offered_ns)?],
            ),
            Write::RetireKey(key_id) => self.change_key(
                "UPDATE data_key SET sealed_key = NULL WHERE key_id = ?1",
                params![key_id.as_bytes()],
            ),
        }
    }

    /// A transaction of its own that changes nothing of weight. Once it is durable, its frames have taken the
    /// place of those that a failed commit may have left in the write-ahead log, which is thereby void.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.execute("UPDATE store SET settled = settled + 1", []).map(|_| ())
    }

    fn attach_channel(&self, channel: &Channel) -> Result<(), StoreError> {
        let terms = &channel.terms;
        let added = self.execute(
            "INSERT INTO channel (channel_id, market_id, market_maker, delegate, amount, chain_id,
                 verifying_contract, close_at, adopted_seq, adopted_balance, seq, balance, earned, surplus,
                 sales)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (channel_id) DO NOTHING",
            params![
                terms.channel_id.as_bytes(),
                terms.market_id.as_bytes(),
                terms.market_maker.as_bytes(),
                terms.delegate.as_bytes(),
                terms.amount.to_be_bytes(),
                terms.chain_id.to_be_bytes(),
                terms.verifying_contract.as_bytes(),
                terms.close_at.to_be_bytes(),
                channel.adopted.seq.value(),
                channel.adopted.balance.to_be_bytes(),
                channel.state.seq.value(),
                channel.state.balance.to_be_bytes(),
                channel.earned.to_be_bytes(),
                channel.surplus.to_be_bytes(),
                integer(channel.sales)?,
            ],
        )?;
        if added > 0 {
            channel.closed.as_ref().map_or(Ok(()), |closed| self.insert_close(closed))?;
            channel.own_close.as_ref().map_or(Ok(()), |close| self.insert_own_close(close))?;
        }
        Ok(())
    }

    fn commit_sale(&self, record: &SaleRecord) -> Result<(), StoreError> {
        let mut channel = takes_sale(self.channel(record.channel_id)?, record)?;
        channel.apply_sale(record);
        self.execute(
            "INSERT INTO sale (channel_id, seq, balance, before_seq, before_balance, key_id, buyer_key,
                 amount, surplus, sealed_key, market_maker_signature, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                record.channel_id.as_bytes(),
                record.state.seq.value(),
                record.state.balance.to_be_bytes(),
                record.before.seq.value(),
                record.before.balance.to_be_bytes(),
                record.key_id.as_bytes(),
                record.buyer_key.as_bytes(),
                record.amount.to_be_bytes(),
                record.surplus.to_be_bytes(),
                record.sealed_key,
                record.market_maker_signature.as_bytes(),
                record.signature.as_bytes(),
            ],
        )?;
        self.update_channel(&channel)
    }

    fn commit_close(&self, record: &CloseRecord) -> Result<(), StoreError> {
        let mut channel = takes_close(self.channel(record.channel_id)?, record)?;
        channel.apply_close(record);
        self.insert_close(record)?;
        self.update_channel(&channel)
    }

    fn commit_own_close(&self, close: &OwnClose) -> Result<(), StoreError> {
        standing(self.channel(close.channel_id)?, close.state).ok_or(StoreError::Conflict)?;
        self.insert_own_close(close)
    }

    fn insert_own_close(&self, close: &OwnClose) -> Result<(), StoreError> {
        self.execute(
            "INSERT OR REPLACE INTO own_close (channel_id, seq, balance, close_at, signature)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                close.channel_id.as_bytes(),
                close.state.seq.value(),
                close.state.balance.to_be_bytes(),
                close.close_at.to_be_bytes(),
                close.signature.as_bytes(),
            ],
        )
        .map(|_| ())
    }

    fn note_comparison(
        &self,
        channel_id: ChannelId,
        ours: ChannelState,
        theirs: ChannelState,
    ) -> Result<(), StoreError> {
        standing(self.channel(channel_id)?, ours).ok_or(StoreError::Conflict)?;
        self.execute(
            "INSERT OR REPLACE INTO comparison (channel_id, seq, balance, their_seq, their_balance)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                channel_id.as_bytes(),
                ours.seq.value(),
                ours.balance.to_be_bytes(),
                theirs.seq.value(),
                theirs.balance.to_be_bytes(),
            ],
        )
        .map(|_| ())
    }

    /// A close that is not final may come again at the same state; the first one stays.
    fn insert_close(&self, record: &CloseRecord) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO channel_close (channel_id, seq, balance, before_seq, before_balance, surplus,
                 is_final, market_maker_signature, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (channel_id, seq, is_final) DO NOTHING",
            params![
                record.channel_id.as_bytes(),
                record.state.seq.value(),
                record.state.balance.to_be_bytes(),
                record.before.seq.value(),
                record.before.balance.to_be_bytes(),
                record.surplus.to_be_bytes(),
                record.is_final,
                record.market_maker_signature.as_bytes(),
                record.signature.as_bytes(),
            ],
        )
        .map(|_| ())
    }

    fn update_channel(&self, channel: &Channel) -> Result<(), StoreError> {
        self.execute(
            "UPDATE channel SET seq = ?2, balance = ?3, earned = ?4, surplus = ?5, sales = ?6
             WHERE channel_id = ?1",
            params![
                channel.terms.channel_id.as_bytes(),
                channel.state.seq.value(),
                channel.state.balance.to_be_bytes(),
                channel.earned.to_be_bytes(),
                channel.surplus.to_be_bytes(),
                integer(channel.sales)?,
            ],
        )
        .map(|_| ())
    }

    fn keep_evidence(&self, evidence: &Evidence) -> Result<(), StoreError> {
        let received_ns = integer(evidence.received_ns)?;
        let reject = &evidence.reject;
        let added = match &evidence.request {
            EvidenceRequest::Sell(request) => self.execute(
                "INSERT INTO evidence (received_ns, reject, kind, market_maker, channel_id, seq, balance,
                     signature, buyer_key, key_id, amount)
                 VALUES (?1, ?2, 'sell', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    received_ns,
                    reject,
                    request.market_maker.as_bytes(),
                    request.channel_id.as_bytes(),
                    request.channel_seq.value(),
                    request.balance.to_be_bytes(),
                    request.signature.as_bytes(),
                    request.buyer_key.as_bytes(),
                    request.key_id.as_bytes(),
                    request.amount.to_be_bytes(),
                ],
            ),
            EvidenceRequest::Close(request) => self.execute(
                "INSERT INTO evidence (received_ns, reject, kind, market_maker, channel_id, seq, balance,
                     signature, is_final)
                 VALUES (?1, ?2, 'close', ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    received_ns,
                    reject,
                    request.market_maker.as_bytes(),
                    request.channel_id.as_bytes(),
                    request.channel_seq.value(),
                    request.balance.to_be_bytes(),
                    request.signature.as_bytes(),
                    request.is_final,
                ],
            ),
        };
        added.map(|_| ())
    }

    fn insert_key(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let added = self.execute(
            "INSERT INTO data_key (key_id, api_id, sealed_key, price, created_ns, expires_ns, offered_ns)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (key_id) DO NOTHING",
            params![
                record.key_id.as_bytes(),
                record.api_id.as_bytes(),
                self.vault.seal(record.key_id, &record.key),
                record.price.to_be_bytes(),
                integer(record.created_ns)?,
                record.expires_ns.map(integer).transpose()?,
                record.offered_ns.map(integer).transpose()?,
            ],
        )?;
        if added > 0 { Ok(()) } else { Err(refused("the data key is in the archive already")) }
    }

    fn change_key(&self, sql: &str, params: impl Params) -> Result<(), StoreError> {
        if self.execute(sql, params)? > 0 {
            Ok(())
        } else {
            Err(refused("the data key is not in the archive"))
        }
    }

    fn channel(&self, channel_id: ChannelId) -> Result<Option<Channel>, StoreError> {
        let sql = "SELECT * FROM channel WHERE channel_id = ?1";
        let channel = self.one(sql, params![channel_id.as_bytes()], "channel", |row| row.channel())?;
        channel.map(|channel| self.whole(channel)).transpose()
    }

    /// The channel with its closes and what the market maker showed.
    fn whole(&self, mut channel: Channel) -> Result<Channel, StoreError> {
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
            None => Ok(channel),
            Some(problem) => Err(corrupt(format!("channel {channel_id}: {problem}"))),
        }
    }

    fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(database_error)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        table: &'static str,
        parse: impl Fn(&StrictRow<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(database_error)?;
        let mut rows = statement.query(params).map_err(database_error)?;
        let row = rows.next().map_err(database_error)?;
        row.map(|row| parse(&StrictRow::new(table, row))).transpose()
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        table: &'static str,
        parse: impl Fn(&StrictRow<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(database_error)?;
        let mut rows = statement.query(params).map_err(database_error)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(database_error)? {
            all.push(parse(&StrictRow::new(table, row))?);
        }
        Ok(all)
    }
}

/// A number as a column holds it.
fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| refused("a number or time is above 2^63 - 1"))
}
