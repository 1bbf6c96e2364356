//! What a [`MemoryStore`](super::MemoryStore) holds, and what each write does to it: the same as in a
//! database.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use xbr_core::channel::{Channel, ChannelState, CloseRecord, Reconciliation, SaleRecord};
use xbr_core::{ApiId, ChannelId, ChannelSeq, KeyId};

use crate::operation::{refused, takes_close, takes_sale};
use crate::{Evidence, KeyFilter, KeyInfo, KeyLookup, KeyRecord, StoreError, Write};

#[derive(Default)]
pub(super) struct Tables {
    channels: BTreeMap<ChannelId, Channel>,
    sales: BTreeMap<(ChannelId, ChannelSeq), SaleRecord>,
    evidence: Vec<Evidence>,
    /// `None`: retired.
    keys: BTreeMap<KeyId, Option<KeyRecord>>,
}

impl Tables {
    pub(super) fn channels(&self) -> Vec<Channel> {
        self.channels.values().cloned().collect()
    }

    pub(super) fn sale(&self, channel_id: ChannelId, seq: ChannelSeq) -> Option<SaleRecord> {
        self.sales.get(&(channel_id, seq)).cloned()
    }

    pub(super) fn evidence(&self) -> Vec<Evidence> {
        self.evidence.clone()
    }

    pub(super) fn key(&self, key_id: KeyId) -> KeyLookup {
        match self.keys.get(&key_id) {
            None => KeyLookup::Unknown,
            Some(None) => KeyLookup::Retired,
            Some(Some(record)) => KeyLookup::Found(record.clone()),
        }
    }

    pub(super) fn keys(&self, api_id: ApiId, filter: KeyFilter, limit: usize) -> Vec<KeyInfo> {
        let mut keys: Vec<_> = self.keys.values().flatten().filter(|key| key.api_id == api_id).collect();
        keys.sort_by_key(|key| (key.created_ns, key.key_id));
        let nth_newest = |n: NonZeroU64| keys.iter().rev().nth(usize::try_from(n.get() - 1).ok()?);
        let (unoffered, before_ns, expired, now_ns) = match filter {
            KeyFilter::Unoffered { now_ns } => (true, u64::MAX, false, now_ns),
            KeyFilter::Old { now_ns, made_before_ns, keep } => {
                let newest_ns = keep.and_then(nth_newest).map_or(0, |key| key.created_ns);
                (false, made_before_ns.max(newest_ns), true, now_ns)
            }
        };
        let picked = keys.into_iter().filter(|key| {
            key.created_ns < before_ns
                && (!unoffered || key.offered_ns.is_none())
                && key.expires_ns.is_none_or(|expires_ns| (expires_ns <= now_ns) == expired)
        });
        picked.take(limit).map(KeyInfo::from).collect()
    }

    pub(super) fn apply(&mut self, write: &Write) -> Result<(), StoreError> {
        write.check()?;
        match write {
            Write::AttachChannel(channel) => self.attach_channel(channel),
            Write::CommitSale(record) => self.commit_sale(record)?,
            Write::CommitClose(record) => self.commit_close(record)?,
            Write::CommitOwnClose(close) => {
                self.standing(close.channel_id, close.state)?.apply_own_close(close)
            }
            Write::NoteComparison { channel_id, ours, theirs } => {
                self.standing(*channel_id, *ours)?.reconcile(*theirs);
            }
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
        let mut channel = takes_sale(self.channels.get(&record.channel_id).cloned(), record)?;
        channel.apply_sale(record);
        self.channels.insert(record.channel_id, channel);
        self.sales.insert((record.channel_id, record.state.seq), record.clone());
        Ok(())
    }

    fn commit_close(&mut self, record: &CloseRecord) -> Result<(), StoreError> {
        let mut channel = takes_close(self.channels.get(&record.channel_id).cloned(), record)?;
        channel.apply_close(record);
        self.channels.insert(record.channel_id, channel);
        Ok(())
    }

    fn standing(&mut self, channel_id: ChannelId, state: ChannelState) -> Result<&mut Channel, StoreError> {
        let channel = self.channels.get_mut(&channel_id);
        channel.filter(|channel| channel.state == state).ok_or(StoreError::Conflict)
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
