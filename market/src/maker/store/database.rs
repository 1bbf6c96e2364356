//! A connection with the statements of a market maker's store.

use std::borrow::Borrow;

use rusqlite::{Connection, params};
use xbr_core::{ChannelId, ChannelSeq, Value, cbor};
use xbr_store::StoreError;

use super::{Snapshot, rows};
use crate::maker::account::{Account, Market};
use crate::maker::book::Entry;
use crate::maker::offer::Offer;
use crate::maker::purchase::{Purchase, PurchaseId, Stage};
use crate::sqlite::{Schema, all, check, configure, corrupt, execute, natural, one};

/// `XBRM`: a market maker's store.
const SCHEMA: Schema = Schema { application_id: 0x5842_524d, version: 1, sql: include_str!("v1.sql") };

pub(super) struct Database(Connection);

impl Borrow<Connection> for Database {
    fn borrow(&self) -> &Connection {
        &self.0
    }
}

impl Database {
    /// Tells what a file is, and makes the schema in a new one.
    pub(super) fn prepare(connection: Connection) -> Result<Self, StoreError> {
        let is_new = SCHEMA.is_new(&connection)?;
        configure(&connection)?;
        if is_new {
            SCHEMA.create(&connection, |_| Ok(()))?;
        }
        check(&connection, "channel")?;
        Ok(Self(connection))
    }

    pub(super) fn load(&self, market: &Market) -> Result<Snapshot, StoreError> {
        match one(&self.0, "SELECT * FROM market", [], rows::market)? {
            Some(stored) if stored == *market => {}
            Some(_) => {
                let reason = "it has the books of another market or market maker".to_owned();
                return Err(StoreError::Refused { reason });
            }
            None => self.insert_market(market)?,
        }
        let last =
            one(&self.0, "SELECT coalesce(max(id), 0) AS id FROM purchase", [], |row| natural(row, "id"))?;
        let purchases = "SELECT * FROM purchase WHERE stage = 'reserved' ORDER BY id";
        Ok(Snapshot {
            entry: Entry {
                accounts: all(&self.0, "SELECT * FROM channel ORDER BY id", [], rows::account)?,
                offers: all(&self.0, "SELECT * FROM offer ORDER BY id", [], rows::offer)?,
                purchases: all(&self.0, purchases, [], rows::purchase)?,
                forgotten: Vec::new(),
            },
            last_purchase: last.unwrap_or_default(),
        })
    }

    pub(super) fn commit(&self, entry: &Entry) -> Result<(), StoreError> {
        entry.accounts.iter().try_for_each(|account| self.put_account(account))?;
        entry.offers.iter().try_for_each(|offer| self.put_offer(offer))?;
        for key_id in &entry.forgotten {
            execute(&self.0, "DELETE FROM offer WHERE key_id = ?1", params![key_id.as_bytes()])?;
        }
        entry.purchases.iter().try_for_each(|purchase| self.put_purchase(purchase))
    }

    pub(super) fn purchase(
        &self,
        channel_id: ChannelId,
        seq: ChannelSeq,
    ) -> Result<Option<Purchase>, StoreError> {
        let sql = "SELECT * FROM purchase
             WHERE payment_channel = ?1 AND payment_seq = ?2 AND stage <> 'refused'";
        one(&self.0, sql, params![channel_id.as_bytes(), seq.value()], rows::purchase)
    }

    pub(super) fn purchases(&self, after: PurchaseId, limit: u32) -> Result<Vec<Purchase>, StoreError> {
        let sql = "SELECT * FROM purchase WHERE id > ?1 ORDER BY id LIMIT ?2";
        all(&self.0, sql, params![signed(after)?, limit], rows::purchase)
    }

    fn insert_market(&self, market: &Market) -> Result<(), StoreError> {
        let sql = "INSERT INTO market (id, market_id, market_maker, chain_id, verifying_contract, close_at)
             VALUES (1, ?1, ?2, ?3, ?4, ?5)";
        let values = params![
            market.domain.market_id.as_bytes(),
            market.market_maker.as_bytes(),
            market.domain.chain_id.to_be_bytes(),
            market.domain.verifying_contract.as_bytes(),
            market.close_at.to_be_bytes(),
        ];
        execute(&self.0, sql, values).map(drop)
    }

    /// A new channel is at version 1, and each later version replaces the one before it.
    fn put_account(&self, account: &Account) -> Result<(), StoreError> {
        if let Some(problem) = account.problem() {
            return Err(StoreError::Refused { reason: problem.to_owned() });
        }
        let sql =
            "INSERT INTO channel (channel_id, kind, actor, delegate, recipient, amount, opened_ns, version,
                 seq, balance, agreed_seq, agreed_balance, settled, conceded, close_at, delegate_signature)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
             WHERE ?8 = 1 OR EXISTS (SELECT 1 FROM channel WHERE channel_id = ?1)
             ON CONFLICT (channel_id) DO UPDATE SET version = excluded.version, seq = excluded.seq,
                 balance = excluded.balance, agreed_seq = excluded.agreed_seq,
                 agreed_balance = excluded.agreed_balance, settled = excluded.settled,
                 conceded = excluded.conceded, close_at = excluded.close_at,
                 delegate_signature = excluded.delegate_signature
             WHERE version = excluded.version - 1";
        let values = params![
            account.channel_id.as_bytes(),
            account.kind.number(),
            account.actor.as_bytes(),
            account.delegate.as_bytes(),
            account.recipient.as_bytes(),
            account.amount.to_be_bytes(),
            signed(account.opened_ns)?,
            signed(account.version)?,
            account.state.seq.value(),
            account.state.balance.to_be_bytes(),
            account.agreed.seq.value(),
            account.agreed.balance.to_be_bytes(),
            account.settled.to_be_bytes(),
            account.conceded.to_be_bytes(),
            account.closing.map(|closing| closing.close_at.to_be_bytes()),
            account.closing.map(|closing| *closing.delegate_signature.as_bytes()),
        ];
        match execute(&self.0, sql, values)? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }

    fn put_offer(&self, offer: &Offer) -> Result<(), StoreError> {
        let sql = "INSERT INTO offer (key_id, offer_id, api_id, uri, seller, provider_id, price, categories,
                 placed_ns, valid_from_ns, expires_ns, copies, copies_left, signature, session, authid,
                 revoked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT (key_id) DO UPDATE SET expires_ns = excluded.expires_ns,
                 copies_left = excluded.copies_left, revoked = excluded.revoked";
        let categories: Value = offer.categories.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let values = params![
            offer.key_id.as_bytes(),
            offer.offer_id.as_bytes(),
            offer.api_id.as_bytes(),
            offer.uri.as_str(),
            offer.seller.as_bytes(),
            offer.provider_id.as_str(),
            offer.price.to_be_bytes(),
            cbor::encode(&categories),
            signed(offer.placed_ns)?,
            offer.valid_from_ns.cast_signed(),
            offer.expires_ns.map(u64::cast_signed),
            offer.copies.map(u64::cast_signed),
            offer.copies_left.map(u64::cast_signed),
            offer.signature.as_bytes(),
            offer.placed_by.session.map(u64::cast_signed),
            offer.placed_by.authid,
            offer.revoked,
        ];
        execute(&self.0, sql, values).map(drop)
    }

    fn put_purchase(&self, purchase: &Purchase) -> Result<(), StoreError> {
        let sql = "INSERT INTO purchase (id, key_id, buyer_key, buyer, price, payment_channel, payment_seq,
                 payment_balance, payment_signature, offer_id, seller, provider_id, reserved_ns, sale_channel,
                 sale_seq, sale_balance, stage, ended_ns, refusal, sealed_key, seller_signature, signature,
                 inflight)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
                 ?20, ?21, ?22, ?23)
             ON CONFLICT (id) DO UPDATE SET sale_channel = excluded.sale_channel,
                 sale_seq = excluded.sale_seq, sale_balance = excluded.sale_balance, stage = excluded.stage, ended_ns = excluded.ended_ns,
                 refusal = excluded.refusal, sealed_key = excluded.sealed_key,
                 seller_signature = excluded.seller_signature, signature = excluded.signature,
                 inflight = excluded.inflight
             WHERE stage = 'reserved'";
        let (stage, ended_ns, refusal, settled) = match &purchase.stage {
            Stage::Reserved => ("reserved", None, None, None),
            Stage::Settled(settled) => ("settled", Some(settled.settled_ns), None, Some(settled)),
            Stage::Refused { uri, refused_ns } => ("refused", Some(*refused_ns), Some(uri), None),
        };
        let values = params![
            signed(purchase.id)?,
            purchase.key_id.as_bytes(),
            purchase.buyer_key.as_bytes(),
            purchase.buyer.as_bytes(),
            purchase.price.to_be_bytes(),
            purchase.payment_channel.as_bytes(),
            purchase.payment.seq.value(),
            purchase.payment.balance.to_be_bytes(),
            purchase.payment_signature.as_bytes(),
            purchase.offer_id.as_bytes(),
            purchase.seller.as_bytes(),
            purchase.provider_id.as_str(),
            signed(purchase.reserved_ns)?,
            purchase.sale.map(|sale| *sale.channel_id.as_bytes()),
            purchase.sale.map(|sale| sale.state.seq.value()),
            purchase.sale.map(|sale| sale.state.balance.to_be_bytes()),
            stage,
            ended_ns.map(signed).transpose()?,
            refusal,
            settled.map(|settled| settled.sealed_key.as_slice()),
            settled.map(|settled| settled.seller_signature.as_bytes()),
            settled.map(|settled| settled.signature.as_bytes()),
            settled.map(|settled| settled.inflight.to_be_bytes()),
        ];
        match execute(&self.0, sql, values)? {
            1 => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }
}

/// A time or number as SQLite holds it.
fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| corrupt("a number is beyond 2^63"))
}
