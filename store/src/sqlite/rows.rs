//! Rows of the database read strictly: a column of the wrong type or length is damage, and so are figures
//! that contradict each other. Nothing is guessed.

use std::borrow::Cow;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{ErrorCode, Row};
use xbr_core::channel::{
    Channel, ChannelState, ChannelTerms, CloseRecord, OwnClose, Reconciliation, SaleRecord,
};
use xbr_core::wire::{CloseRequest, SellRequest};
use xbr_core::{Amount, ChannelSeq, KeyId};

use super::columns::Columns;
use super::vault::{MAC_LEN, SEALED_LEN, Vault};
use crate::operation::{channel_problem, close_problem, refused, sale_problem};
use crate::{Evidence, EvidenceRequest, KeyEntry, KeyInfo, KeyLookup, KeyRecord, KeyState, StoreError};

/// [`StoreError::Corrupt`] for this reason.
pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt { what: what.into() }
}

/// What an error of SQLite's means for an operation that has not come to its commit: damage, or refused.
pub(super) fn database_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => corrupt(error.to_string()),
        // Only what closes the store cuts anything short.
        Some(ErrorCode::OperationInterrupted) => StoreError::Closed,
        _ => refused(error.to_string()),
    }
}

/// A row with its table, for the error. The query must select the column `id`.
pub(super) struct StrictRow<'a> {
    table: &'a str,
    row: &'a Row<'a>,
}

impl<'a> StrictRow<'a> {
    pub(super) fn new(table: &'a str, row: &'a Row<'a>) -> Self {
        Self { table, row }
    }

    /// Says of a column of this row what is wrong with it.
    pub(super) fn corrupt(&self, column: &str, problem: &str) -> StoreError {
        let id = self.row.get::<_, i64>("id").map_or_else(|_| "?".to_owned(), |id| id.to_string());
        corrupt(format!("table {}, row {id}: {column} {problem}", self.table))
    }

    fn value(&self, column: &'static str) -> Result<ValueRef<'_>, StoreError> {
        self.row.get_ref(column).map_err(|_| self.corrupt(column, "is missing"))
    }

    fn is_null(&self, column: &'static str) -> Result<bool, StoreError> {
        self.value(column).map(|value| matches!(value, ValueRef::Null))
    }

    pub(super) fn blob(&self, column: &'static str) -> Result<&[u8], StoreError> {
        match self.value(column)? {
            ValueRef::Blob(bytes) => Ok(bytes),
            _ => Err(self.corrupt(column, "is not a blob")),
        }
    }

    pub(super) fn bytes<const N: usize>(&self, column: &'static str) -> Result<[u8; N], StoreError> {
        let blob = self.blob(column)?;
        blob.try_into().map_err(|_| self.corrupt(column, &format!("has {} bytes instead of {N}", blob.len())))
    }

    fn id<T: From<[u8; N]>, const N: usize>(&self, column: &'static str) -> Result<T, StoreError> {
        self.bytes(column).map(T::from)
    }

    fn amount(&self, column: &'static str) -> Result<Amount, StoreError> {
        self.bytes(column).map(Amount::from_be_bytes)
    }

    fn integer(&self, column: &'static str) -> Result<u64, StoreError> {
        match self.value(column)? {
            ValueRef::Integer(integer) => {
                u64::try_from(integer).map_err(|_| self.corrupt(column, "is negative"))
            }
            _ => Err(self.corrupt(column, "is not an integer")),
        }
    }

    fn optional_integer(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        if self.is_null(column)? { Ok(None) } else { self.integer(column).map(Some) }
    }

    fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt(column, "is neither 0 nor 1")),
        }
    }

    fn text(&self, column: &'static str) -> Result<&str, StoreError> {
        match self.value(column)? {
            ValueRef::Text(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| self.corrupt(column, "is not UTF-8"))
            }
            _ => Err(self.corrupt(column, "is not a text")),
        }
    }

    fn seq(&self, column: &'static str) -> Result<ChannelSeq, StoreError> {
        u32::try_from(self.integer(column)?)
            .map(ChannelSeq::new)
            .map_err(|_| self.corrupt(column, "is above 2^32 - 1"))
    }

    fn state(&self, seq: &'static str, balance: &'static str) -> Result<ChannelState, StoreError> {
        Ok(ChannelState { seq: self.seq(seq)?, balance: self.amount(balance)? })
    }

    /// The value, when its figures do not contradict each other.
    fn sound<T>(&self, value: T, problem: fn(&T) -> Option<&'static str>) -> Result<T, StoreError> {
        match problem(&value) {
            None => Ok(value),
            Some(problem) => Err(self.corrupt("as a whole", &format!("is not sound: {problem}"))),
        }
    }

    /// All columns but the row's number and its code.
    pub(super) fn columns(&self) -> Result<Columns, StoreError> {
        let owned = |(name, value): (&'a str, ValueRef<'a>)| {
            let value = Value::try_from(value).map_err(|_| self.corrupt(name, "is not UTF-8"))?;
            Ok((Cow::Owned(name.to_owned()), value))
        };
        self.values().map(owned).collect()
    }

    /// Whether the row is as it was written.
    pub(super) fn check_mac(&self, vault: &Vault) -> Result<(), StoreError> {
        if self.mac(vault) == self.bytes("mac")? {
            Ok(())
        } else {
            Err(self.corrupt("as a whole", "is not as it was written"))
        }
    }

    /// The code that the row is to have.
    pub(super) fn mac(&self, vault: &Vault) -> [u8; MAC_LEN] {
        vault.mac(self.table, self.values().map(|(_, value)| value))
    }

    /// The row's number in its table.
    pub(super) fn number(&self) -> Result<i64, StoreError> {
        self.row.get("id").map_err(database_error)
    }

    fn values(&self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> {
        let names = self.row.as_ref().column_names().enumerate();
        names
            .filter(|(_, name)| !matches!(*name, "id" | "mac"))
            .filter_map(|(index, name)| Some((name, self.row.get_ref(index).ok()?)))
    }

    /// A channel, with no word on its closes and on what the market maker shows, and whether it is closed.
    pub(super) fn channel(&self) -> Result<(Channel, bool), StoreError> {
        let channel = Channel {
            terms: ChannelTerms {
                channel_id: self.id("channel_id")?,
                market_id: self.id("market_id")?,
                market_maker: self.id("market_maker")?,
                delegate: self.id("delegate")?,
                amount: self.amount("amount")?,
                chain_id: self.amount("chain_id")?,
                verifying_contract: self.id("verifying_contract")?,
                close_at: self.amount("close_at")?,
            },
            adopted: self.state("adopted_seq", "adopted_balance")?,
            state: self.state("seq", "balance")?,
            earned: self.amount("earned")?,
            surplus: self.amount("surplus")?,
            sales: self.integer("sales")?,
            closed: None,
            own_close: None,
            reconciliation: Reconciliation::Equal,
            restored: self.flag("is_restored")?,
        };
        Ok((self.sound(channel, channel_problem)?, self.flag("is_closed")?))
    }

    pub(super) fn sale(&self) -> Result<SaleRecord, StoreError> {
        let record = SaleRecord {
            channel_id: self.id("channel_id")?,
            key_id: self.id("key_id")?,
            buyer_key: self.id("buyer_key")?,
            before: self.state("before_seq", "before_balance")?,
            state: self.state("seq", "balance")?,
            amount: self.amount("amount")?,
            surplus: self.amount("surplus")?,
            sealed_key: self.blob("sealed_key")?.to_vec(),
            market_maker_signature: self.id("market_maker_signature")?,
            signature: self.id("signature")?,
            sold_ns: self.integer("sold_ns")?,
            api_id: if self.is_null("api_id")? { None } else { self.id("api_id").map(Some)? },
        };
        self.sound(record, sale_problem)
    }

    pub(super) fn close(&self) -> Result<CloseRecord, StoreError> {
        let record = CloseRecord {
            channel_id: self.id("channel_id")?,
            before: self.state("before_seq", "before_balance")?,
            state: self.state("seq", "balance")?,
            surplus: self.amount("surplus")?,
            is_final: self.flag("is_final")?,
            market_maker_signature: self.id("market_maker_signature")?,
            signature: self.id("signature")?,
        };
        self.sound(record, close_problem)
    }

    pub(super) fn own_close(&self) -> Result<OwnClose, StoreError> {
        Ok(OwnClose {
            channel_id: self.id("channel_id")?,
            state: self.state("seq", "balance")?,
            close_at: self.amount("close_at")?,
            signature: self.id("signature")?,
        })
    }

    /// Where a channel stood when it was compared, and where the market maker said that it stood.
    pub(super) fn comparison(&self) -> Result<(ChannelState, ChannelState), StoreError> {
        Ok((self.state("seq", "balance")?, self.state("their_seq", "their_balance")?))
    }

    pub(super) fn created_ns(&self) -> Result<u64, StoreError> {
        self.integer("created_ns")
    }

    pub(super) fn key_info(&self) -> Result<KeyInfo, StoreError> {
        Ok(KeyInfo {
            key_id: self.id("key_id")?,
            price: self.amount("price")?,
            created_ns: self.created_ns()?,
            expires_ns: self.optional_integer("expires_ns")?,
            offered_ns: self.optional_integer("offered_ns")?,
        })
    }

    /// What a list shows of a key at a Unix time in ns, with no word on its sales.
    pub(super) fn key_entry(&self, now_ns: u64) -> Result<KeyEntry, StoreError> {
        let KeyInfo { key_id, price, created_ns, expires_ns, offered_ns } = self.key_info()?;
        let state = if self.is_null("sealed_key")? {
            KeyState::Retired
        } else if expires_ns.is_some_and(|expires_ns| expires_ns <= now_ns) {
            KeyState::Expired
        } else if offered_ns.is_some() {
            KeyState::Offered
        } else {
            KeyState::Unoffered
        };
        let api_id = self.id("api_id")?;
        let (sales, earned) = (0, Amount::ZERO);
        Ok(KeyEntry { key_id, api_id, price, created_ns, expires_ns, offered_ns, state, sales, earned })
    }

    /// The data key that was looked up with this id.
    pub(super) fn key(&self, key_id: KeyId, vault: &Vault) -> Result<KeyLookup, StoreError> {
        let stored_id: KeyId = self.id("key_id")?;
        if stored_id != key_id {
            return Err(self.corrupt("key_id", "is not the one in the index"));
        }
        let record = |key| -> Result<KeyRecord, StoreError> {
            Ok(KeyRecord {
                key_id,
                api_id: self.id("api_id")?,
                key,
                price: self.amount("price")?,
                created_ns: self.integer("created_ns")?,
                expires_ns: self.optional_integer("expires_ns")?,
                offered_ns: self.optional_integer("offered_ns")?,
            })
        };
        if self.is_null("sealed_key")? {
            return Ok(KeyLookup::Retired);
        }
        let sealed = self.bytes::<SEALED_LEN>("sealed_key")?;
        let key = vault.open(key_id, &sealed).map_err(|problem| self.corrupt("sealed_key", problem))?;
        record(key).map(KeyLookup::Found)
    }

    /// Whether the data key is there, and opens then; false when it has left the archive.
    pub(super) fn holds_key(&self, vault: &Vault) -> Result<bool, StoreError> {
        let key_id = self.id("key_id")?;
        Ok(matches!(self.key(key_id, vault)?, KeyLookup::Found(_)))
    }

    pub(super) fn evidence(&self) -> Result<Evidence, StoreError> {
        let request = match self.text("kind")? {
            "sell" => EvidenceRequest::Sell(SellRequest {
                market_maker: self.id("market_maker")?,
                buyer_key: self.id("buyer_key")?,
                key_id: self.id("key_id")?,
                channel_id: self.id("channel_id")?,
                channel_seq: self.seq("seq")?,
                amount: self.amount("amount")?,
                balance: self.amount("balance")?,
                signature: self.id("signature")?,
            }),
            "close" => EvidenceRequest::Close(CloseRequest {
                market_maker: self.id("market_maker")?,
                channel_id: self.id("channel_id")?,
                channel_seq: self.seq("seq")?,
                balance: self.amount("balance")?,
                is_final: self.flag("is_final")?,
                signature: self.id("signature")?,
            }),
            _ => return Err(self.corrupt("kind", "is neither sell nor close")),
        };
        Ok(Evidence {
            received_ns: self.integer("received_ns")?,
            reject: self.text("reject")?.to_owned(),
            request,
        })
    }
}
