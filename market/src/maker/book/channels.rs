//! Channels: opened by the market maker's operator, closed by their delegates or when they are exhausted.

use xbr_core::wire::{ChannelClosing, ChannelType, MarketCloseRequest};
use xbr_core::{Address, Amount, ChannelId, Signature};

use super::{Book, Entry};
use crate::maker::account::{Account, Closing};
use crate::maker::reject::{CloseReject, OpenReject};

/// What becomes of a close that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// It is new: to be stored, then answered with [`Account::closing`].
    New(Entry),
    /// It was made before: this is the answer.
    Repeat(ChannelClosing),
}

impl Book {
    /// Judges the opening of a channel. `None` when it is open already, on the same terms.
    ///
    /// # Errors
    /// [`OpenReject::Exists`], [`OpenReject::Unavailable`].
    pub fn open(
        &self,
        channel_id: ChannelId,
        kind: ChannelType,
        parties: [Address; 3],
        amount: Amount,
        now_ns: u64,
    ) -> Result<Option<Entry>, OpenReject> {
        if let Some(account) = self.accounts.get(&channel_id) {
            let [actor, delegate, recipient] = parties;
            let same = (account.kind, account.amount) == (kind, amount)
                && (account.actor, account.delegate, account.recipient) == (actor, delegate, recipient);
            return if same { Ok(None) } else { Err(OpenReject::Exists) };
        }
        if self.accounts.len() >= self.limits.channels {
            return Err(OpenReject::Unavailable { reason: "there are too many channels" });
        }
        let account = Account::open(channel_id, kind, parties, amount, now_ns);
        Ok(Some(Entry { accounts: vec![account], ..Entry::default() }))
    }

    /// Judges a close by a channel's delegate; `signed` says whether it signed exactly this state.
    ///
    /// # Errors
    /// The first [`CloseReject`] that applies, in the order of that type.
    pub fn close(&self, request: &MarketCloseRequest, signed: bool) -> Result<Close, CloseReject> {
        let account = self.accounts.get(&request.channel_id).ok_or(CloseReject::NoSuchChannel)?;
        let domain = &self.market.domain;
        let chain_id = Amount::from_units(request.chain_id.into());
        if (chain_id, request.verifying_contract) != (domain.chain_id, domain.verifying_contract) {
            return Err(CloseReject::UnexpectedDomain);
        }
        if !signed {
            return Err(CloseReject::InvalidSignature);
        }
        let close_at = Amount::from_units(request.block_number.into());
        let (seq, balance) = (account.state.seq, account.state.balance);
        if let Some(closing) = account.closing {
            let same = (closing.close_at, seq, balance, true)
                == (close_at, request.seq, request.balance, request.is_final);
            return match same {
                true => Ok(Close::Repeat(account.closing(&self.market))),
                false => Err(CloseReject::ChannelNotOpen),
            };
        }
        if !request.is_final {
            return Err(CloseReject::NotFinal);
        }
        if self.is_in_use(account) {
            return Err(CloseReject::InFlight);
        }
        if request.seq != seq {
            return Err(CloseReject::UnexpectedSeq { expected: seq, actual: request.seq });
        }
        if request.balance != balance {
            return Err(CloseReject::UnexpectedBalance { expected: balance, actual: request.balance });
        }
        let closing = Closing { close_at, delegate_signature: request.signature };
        Ok(Close::New(self.closed(account, closing)))
    }

    /// Closes an exhausted paying channel where it stands, with its delegate's signature over that state.
    /// `None` when it is not open, or has sales in flight.
    pub fn close_exhausted(&self, channel_id: ChannelId, delegate_signature: Signature) -> Option<Entry> {
        let account = self.accounts.get(&channel_id).filter(|account| account.is_open())?;
        let closing = Closing { close_at: self.market.close_at, delegate_signature };
        (!self.is_in_use(account)).then(|| self.closed(account, closing))
    }

    /// Whether purchases are in flight over a channel.
    pub fn is_in_use(&self, account: &Account) -> bool {
        match account.kind {
            ChannelType::Paying => {
                self.sales(account.channel_id).next().is_some() || self.held.contains(&account.channel_id)
            }
            ChannelType::Payment => {
                self.purchases.values().any(|purchase| purchase.payment_channel == account.channel_id)
            }
        }
    }

    fn closed(&self, account: &Account, closing: Closing) -> Entry {
        let account = Account { closing: Some(closing), ..account.next() };
        Entry { accounts: vec![account], ..Entry::default() }
    }
}
