//! A connection with the statements of a buyer's store. Rows are read strictly: what has the wrong type or
//! length, or does not add up, is damage.

use std::borrow::Borrow;

use rusqlite::{Connection, Row, params};
use xbr_core::channel::ChannelTerms;
use xbr_core::crypto::{Entropy, NONCE_LEN, UserspaceEntropy, secretbox_open, secretbox_seal};
use xbr_core::{Amount, ChannelId, DataKey, KeyId};
use xbr_store::{MasterKey, StoreError};
use zeroize::Zeroizing;

use super::{BoughtKey, ReceiveKey, StoredKey, check_figures};
use crate::buyer::wallet::{End, Payment, Settlement, Wallet};
use crate::sqlite::{Schema, all, amount, check, configure, corrupt, execute, get, id, natural, one, state};

/// `XBRB`: a buyer's store.
const SCHEMA: Schema = Schema { application_id: 0x5842_5242, version: 1, sql: include_str!("v1.sql") };
/// What a sealed receive key begins with, in the place of a key id.
const RECEIVE_KEY: &[u8; 16] = b"xbr-receive-key\0";

pub(super) struct Database {
    connection: Connection,
    master: MasterKey,
}

impl Borrow<Connection> for Database {
    fn borrow(&self) -> &Connection {
        &self.connection
    }
}

impl Database {
    /// Tells what a file is, and makes the schema and the receive key in a new one.
    pub(super) fn prepare(connection: Connection, master: MasterKey) -> Result<Self, StoreError> {
        let database = Self { connection, master };
        let is_new = SCHEMA.is_new(&database.connection)?;
        if !is_new {
            database.receive_key()?;
        }
        configure(&database.connection)?;
        if is_new {
            SCHEMA.create(&database.connection, |connection| {
                let sealed =
                    database.seal(RECEIVE_KEY, ReceiveKey::generate(&UserspaceEntropy).expose_secret());
                let sql = "INSERT INTO buyer (id, receive_key) VALUES (1, ?1)";
                execute(connection, sql, params![sealed]).map(drop)
            })?;
        }
        check(&database.connection, "channel")?;
        Ok(database)
    }

    pub(super) fn receive_key(&self) -> Result<ReceiveKey, StoreError> {
        let sealed = one(&self.connection, "SELECT * FROM buyer WHERE id = 1", [], |row| {
            get::<Vec<u8>>(row, "receive_key")
        })?;
        let sealed = sealed.ok_or_else(|| corrupt("table buyer has no row"))?;
        // Nothing else than another master key is likely: the row is written once and never again.
        let secret = self.open(RECEIVE_KEY, &sealed).map_err(|_| StoreError::WrongMasterKey)?;
        Ok(ReceiveKey::from_bytes(*secret))
    }

    pub(super) fn wallet(&self, channel_id: ChannelId) -> Result<Option<Wallet>, StoreError> {
        let sql = "SELECT * FROM channel WHERE channel_id = ?1";
        let Some(mut wallet) = one(&self.connection, sql, params![channel_id.as_bytes()], wallet)? else {
            return Ok(None);
        };
        let sql = "SELECT * FROM payment WHERE channel_id = ?1 AND state = 'pending'";
        wallet.pending = one(&self.connection, sql, params![channel_id.as_bytes()], payment)?;
        check_figures(&wallet)?;
        Ok(Some(wallet))
    }

    pub(super) fn unsettled(&self) -> Result<Vec<Wallet>, StoreError> {
        let sql = "SELECT channel_id FROM payment WHERE state = 'pending' ORDER BY id";
        let channels = all(&self.connection, sql, [], |row| id(row, "channel_id"))?;
        channels.into_iter().filter_map(|channel_id| self.wallet(channel_id).transpose()).collect()
    }

    pub(super) fn attach(&self, wallet: &Wallet) -> Result<(), StoreError> {
        let terms = &wallet.terms;
        self.execute(
            "INSERT INTO channel (channel_id, market_id, market_maker, delegate, amount, chain_id,
                 verifying_contract, close_at, adopted_seq, adopted_balance, seq, balance, spent, lost,
                 regained, purchases)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
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
                wallet.adopted.seq.value(),
                wallet.adopted.balance.to_be_bytes(),
                wallet.state.seq.value(),
                wallet.state.balance.to_be_bytes(),
                wallet.spent.to_be_bytes(),
                wallet.lost.to_be_bytes(),
                wallet.regained.to_be_bytes(),
                i64::try_from(wallet.purchases).map_err(|_| StoreError::Conflict)?,
            ],
        )
        .map(|_| ())
    }

    pub(super) fn begin(&self, payment: &Payment) -> Result<(), StoreError> {
        let wallet = self.wallet(payment.channel_id)?.ok_or(StoreError::Conflict)?;
        if wallet.state != payment.before || wallet.pending.is_some() {
            return Err(StoreError::Conflict);
        }
        self.execute(
            "INSERT INTO payment (channel_id, key_id, before_seq, before_balance, seq, balance, amount,
                 signature, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending')",
            params![
                payment.channel_id.as_bytes(),
                payment.key_id.as_bytes(),
                payment.before.seq.value(),
                payment.before.balance.to_be_bytes(),
                payment.state.seq.value(),
                payment.state.balance.to_be_bytes(),
                payment.amount.to_be_bytes(),
                payment.signature.as_bytes(),
            ],
        )
        .map(|_| ())
    }

    pub(super) fn settle(
        &self,
        channel_id: ChannelId,
        settlement: &Settlement,
        bought: Option<&BoughtKey>,
    ) -> Result<(), StoreError> {
        let mut wallet = self.wallet(channel_id)?.ok_or(StoreError::Conflict)?;
        if wallet.state != settlement.before {
            return Err(StoreError::Conflict);
        }
        let (state, signature) = match settlement.end {
            End::Bought { signature } => (Some("bought"), Some(signature)),
            End::GivenUp => (Some("given_up"), None),
            End::WrittenOff => (Some("written_off"), None),
            End::Moved => (None, None),
        };
        if state.is_some() != wallet.pending.is_some() {
            return Err(StoreError::Conflict);
        }
        wallet.apply(settlement);
        self.execute(
            "UPDATE channel SET seq = ?2, balance = ?3, spent = ?4, lost = ?5, regained = ?6, purchases = ?7
             WHERE channel_id = ?1",
            params![
                channel_id.as_bytes(),
                wallet.state.seq.value(),
                wallet.state.balance.to_be_bytes(),
                wallet.spent.to_be_bytes(),
                wallet.lost.to_be_bytes(),
                wallet.regained.to_be_bytes(),
                i64::try_from(wallet.purchases).map_err(|_| StoreError::Conflict)?,
            ],
        )?;
        if let Some(state) = state {
            self.execute(
                "UPDATE payment SET state = ?2, settled_seq = ?3, settled_balance = ?4,
                     market_maker_signature = ?5
                 WHERE channel_id = ?1 AND state = 'pending'",
                params![
                    channel_id.as_bytes(),
                    state,
                    settlement.state.seq.value(),
                    settlement.state.balance.to_be_bytes(),
                    signature.as_ref().map(|signature| signature.as_bytes().as_slice()),
                ],
            )?;
        }
        bought.map_or(Ok(()), |bought| self.insert_key(bought))
    }

    fn insert_key(&self, bought: &BoughtKey) -> Result<(), StoreError> {
        let sealed = self.seal(bought.key_id.as_bytes(), bought.key.expose_secret());
        self.execute(
            "INSERT INTO data_key (key_id, sealed_key) VALUES (?1, ?2)
             ON CONFLICT (key_id) DO UPDATE SET sealed_key = excluded.sealed_key",
            params![bought.key_id.as_bytes(), sealed],
        )
        .map(|_| ())
    }

    fn written_off(&self, key_id: KeyId) -> Result<Amount, StoreError> {
        let sql = "SELECT before_balance, settled_balance FROM payment
             WHERE key_id = ?1 AND state = 'written_off'";
        let taken = all(&self.connection, sql, params![key_id.as_bytes()], |row| {
            let taken = amount(row, "before_balance")?.checked_sub(amount(row, "settled_balance")?);
            taken.ok_or_else(|| corrupt("a payment that was written off does not add up"))
        })?;
        let sum = taken.into_iter().try_fold(Amount::ZERO, Amount::checked_add);
        sum.ok_or_else(|| corrupt("what was written off does not add up"))
    }

    pub(super) fn key(&self, key_id: KeyId) -> Result<StoredKey, StoreError> {
        let sealed = one(
            &self.connection,
            "SELECT * FROM data_key WHERE key_id = ?1",
            params![key_id.as_bytes()],
            |row| get::<Vec<u8>>(row, "sealed_key"),
        )?;
        let open = |sealed: Vec<u8>| self.open(key_id.as_bytes(), &sealed);
        let key = sealed.map(open).transpose()?.map(|secret| DataKey::from_bytes(*secret));
        Ok(StoredKey { key, written_off: self.written_off(key_id)? })
    }

    /// Together with what it belongs to, so that no row's secret passes for another's.
    fn seal(&self, owner: &[u8; 16], secret: &[u8; 32]) -> Vec<u8> {
        let mut plaintext = Zeroizing::new([0; 48]);
        let (id, rest) = plaintext.split_at_mut(16);
        id.copy_from_slice(owner);
        rest.copy_from_slice(secret);
        let mut nonce = [0; NONCE_LEN];
        UserspaceEntropy.fill(&mut nonce);
        secretbox_seal(self.master.expose_secret(), &nonce, plaintext.as_slice())
    }

    fn open(&self, owner: &[u8; 16], sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let damaged = || corrupt("a sealed key does not open with the master key, or is that of another row");
        let plaintext =
            secretbox_open(self.master.expose_secret(), sealed).map(Zeroizing::new).map_err(|_| damaged())?;
        match plaintext.split_first_chunk::<16>() {
            Some((id, secret)) if id == owner => secret.try_into().map(Zeroizing::new).map_err(|_| damaged()),
            _ => Err(damaged()),
        }
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        execute(&self.connection, sql, params)
    }
}

fn wallet(row: &Row<'_>) -> Result<Wallet, StoreError> {
    Ok(Wallet {
        terms: ChannelTerms {
            channel_id: id(row, "channel_id")?,
            market_id: id(row, "market_id")?,
            market_maker: id(row, "market_maker")?,
            delegate: id(row, "delegate")?,
            amount: amount(row, "amount")?,
            chain_id: amount(row, "chain_id")?,
            verifying_contract: id(row, "verifying_contract")?,
            close_at: amount(row, "close_at")?,
        },
        adopted: state(row, "adopted_seq", "adopted_balance")?,
        state: state(row, "seq", "balance")?,
        spent: amount(row, "spent")?,
        lost: amount(row, "lost")?,
        regained: amount(row, "regained")?,
        purchases: natural(row, "purchases")?,
        pending: None,
    })
}

fn payment(row: &Row<'_>) -> Result<Payment, StoreError> {
    Ok(Payment {
        channel_id: id(row, "channel_id")?,
        key_id: id(row, "key_id")?,
        before: state(row, "before_seq", "before_balance")?,
        state: state(row, "seq", "balance")?,
        amount: amount(row, "amount")?,
        signature: id(row, "signature")?,
    })
}
