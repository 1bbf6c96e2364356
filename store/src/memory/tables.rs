//! What a [`MemoryStore`](super::MemoryStore) holds, and what each write does to it: the same as in a
//! database. By itself it is a store without a thread, for tests that need millions of writes.

use std::collections::BTreeMap;

use xbr_core::channel::{Channel, CloseRecord, Reconciliation, SaleRecord};
use xbr_core::{ChannelId, ChannelSeq, KeyId};

use crate::operation::{compare, refused};
use crate::{Evidence, KeyLookup, KeyRecord, StoreError, Write};

/// The contents of a store, and its rules. Nothing of it is durable.
#[derive(Debug, Default)]
pub struct Tables {
    channels: BTreeMap<ChannelId, Channel>,
    sales: BTreeMap<(ChannelId, ChannelSeq), SaleRecord>,
    evidence: Vec<Evidence>,
    /// `None`: retired.
    keys: BTreeMap<KeyId, Option<KeyRecord>>,
}

impl Tables {
    /// As [`Store::channels`](crate::Store::channels).
    pub fn channels(&self) -> Vec<Channel> {
        self.channels.values().cloned().collect()
    }

    /// As [`Store::sale`](crate::Store::sale).
    pub fn sale(&self, channel_id: ChannelId, seq: ChannelSeq) -> Option<SaleRecord> {
        self.sales.get(&(channel_id, seq)).cloned()
    }

    /// As [`Store::evidence`](crate::Store::evidence).
    pub fn evidence(&self) -> Vec<Evidence> {
        self.evidence.clone()
    }

    /// As [`Store::key`](crate::Store::key).
    pub fn key(&self, key_id: KeyId) -> KeyLookup {
        match self.keys.get(&key_id) {
            None => KeyLookup::Unknown,
            Some(None) => KeyLookup::Retired,
            Some(Some(record)) => KeyLookup::Found(record.clone()),
        }
    }

    /// Executes a write, all of it or nothing.
    ///
    /// # Errors
    /// Those of the method of [`Store`](crate::Store) that the write is of; never [`StoreError::Unknown`].
    pub fn apply(&mut self, write: &Write) -> Result<(), StoreError> {
        write.check()?;
        match write {
            Write::AttachChannel(channel) => self.attach_channel(channel),
            Write::CommitSale(record) => self.commit_sale(record)?,
            Write::CommitClose(record) => self.commit_close(record)?,
            Write::KeepEvidence(evidence) => self.evidence.push(evidence.clone()),
            Write::InsertKey(record) => self.insert_key(record)?,
            Write::MarkOffered { key_id, offered_ns } => {
                if let Some(record) = self.known_key(*key_id)? {
                    record.offered_ns.get_or_insert(*offered_ns);
                }
            }
            Write::RetireKey(key_id) => *self.known_key(*key_id)? = None,
        }
        Ok(())
    }

    fn attach_channel(&mut self, channel: &Channel) {
        self.channels
            .entry(channel.terms.channel_id)
            .or_insert_with(|| Channel { reconciliation: Reconciliation::Equal, ..channel.clone() });
    }

    fn commit_sale(&mut self, record: &SaleRecord) -> Result<(), StoreError> {
        let mut channel = compare(self.channels.get(&record.channel_id).cloned(), record.before)?;
        channel.apply_sale(record);
        self.channels.insert(record.channel_id, channel);
        self.sales.insert((record.channel_id, record.state.seq), record.clone());
        Ok(())
    }

    fn commit_close(&mut self, record: &CloseRecord) -> Result<(), StoreError> {
        let mut channel = compare(self.channels.get(&record.channel_id).cloned(), record.before)?;
        channel.apply_close(record);
        self.channels.insert(record.channel_id, channel);
        Ok(())
    }

    fn insert_key(&mut self, record: &KeyRecord) -> Result<(), StoreError> {
        if self.keys.contains_key(&record.key_id) {
            return Err(refused("the data key is in the archive already"));
        }
        self.keys.insert(record.key_id, Some(record.clone()));
        Ok(())
    }

    fn known_key(&mut self, key_id: KeyId) -> Result<&mut Option<KeyRecord>, StoreError> {
        self.keys.get_mut(&key_id).ok_or_else(|| refused("the data key is not in the archive"))
    }
}
