//! The till: one payment channel, and how a key is paid for out of it. Whoever owns it buys; since there is
//! one, there is one payment at a time. What it must not forget is in the store before it acts on it.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use xbr_core::channel::{ChannelState, ChannelTerms};
use xbr_core::wire::{BuyReceipt, ChannelInfo, ChannelStatus, ChannelType, MarketDomain};
use xbr_core::{Amount, ChannelId, DataKey, Eip712, KeyId};

use super::error::{BuyError, MarketError, StartError};
use super::messages::{
    BuyKey, FetchActiveChannel, FetchBalance, FetchConfig, FetchQuote, Join, MarketPort, SessionLost, ask,
};
use super::options::BuyerOptions;
use super::store::{BoughtKey, ReceiveKey, StoredKey};
use super::wallet::{End, Payment, PaymentReject, ReceiptFault, Settlement, Verdict, Wallet};

#[derive(Debug)]
pub(super) struct Till {
    options: Arc<BuyerOptions>,
    market: MarketPort,
    domain: MarketDomain,
    receive_key: ReceiveKey,
    wallet: Wallet,
    /// The market maker's figures may have moved: they are asked for before the next payment.
    unsure: bool,
    /// A write failed: the wallet is read again before the next payment.
    stale: bool,
}

impl Till {
    /// Joins, learns the market's configuration, finds the active payment channel and compares its figures
    /// with ours.
    pub(super) async fn open(
        options: Arc<BuyerOptions>,
        market: MarketPort,
        lost: Recipient<SessionLost>,
    ) -> Result<Self, StartError> {
        let receive_key = options.store.receive_key().await?;
        ask(&market.join, Join { lost }).await?;
        let config = ask(&market.fetch_config, FetchConfig).await?;
        if config.market_maker != options.market_maker {
            let (expected, actual) = (options.market_maker, config.market_maker);
            return Err(StartError::OtherMarketMaker { expected, actual });
        }
        let domain = config.domain();
        let wallet = attach(&options, &market, &domain).await?;
        // A payment that a crash or a lost session left behind is settled before the next one.
        let unsure = wallet.pending.is_some();
        Ok(Self { options, market, domain, receive_key, wallet, unsure, stale: false })
    }

    pub(super) fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Buys a key. When it fails, the next call first finds out where the channel stands.
    pub(super) async fn buy(&mut self, key_id: KeyId) -> Result<DataKey, BuyError> {
        self.reconcile().await?;
        // Settling the payment of before may have brought this very key.
        let StoredKey { key, written_off } = self.options.store.key(key_id).await?;
        if let Some(key) = key {
            return Ok(key);
        }
        let limit = self.options.limit(written_off);
        let quote = ask(&self.market.fetch_quote, FetchQuote { key_id }).await?;
        if quote.key_id != key_id {
            return Err(BuyError::OtherQuote);
        }
        let state = match self.wallet.propose(quote.price, limit) {
            Err(empty @ PaymentReject::InsufficientBalance { .. }) => {
                self.change_channel(empty).await?;
                self.wallet.propose(quote.price, limit)?
            }
            proposed => proposed?,
        };
        let signature = self.options.signer.sign_digest(&self.wallet.message(state).digest())?;
        let payment = Payment {
            channel_id: self.channel_id(),
            key_id,
            before: self.wallet.state,
            state,
            amount: quote.price,
            signature,
        };
        self.options.store.begin(payment.clone()).await.inspect_err(|_| self.stale = true)?;
        self.wallet.begin(payment);
        self.pursue(limit, false).await
    }

    /// Finds out where the channel stands, if that is in doubt, and settles a payment that is pending.
    pub(super) async fn reconcile(&mut self) -> Result<(), BuyError> {
        if self.stale {
            let wallet = self.options.store.wallet(self.channel_id()).await?;
            self.wallet = wallet.ok_or(xbr_store::StoreError::Conflict)?;
            (self.stale, self.unsure) = (false, true);
        }
        let pending = self.wallet.pending.as_ref().map(|payment| payment.key_id);
        if pending.is_none() && !self.unsure {
            return Ok(());
        }
        let limit = match pending {
            Some(key_id) => self.limit(key_id).await?,
            None => Amount::ZERO,
        };
        let remote = self.remote().await?;
        match (self.wallet.judge_balance(remote, limit), pending) {
            (Verdict::Halt(drift), _) => return Err(drift.into()),
            (Verdict::Follow(settlement), _) => self.commit(settlement, None).await?,
            // It may have arrived or not: the same once more is safe, signing another is not.
            (Verdict::Equal | Verdict::Taken, Some(key_id)) => {
                if let Err(error) = self.pursue(limit, true).await {
                    if self.wallet.pending.is_some() || self.stale {
                        return Err(error);
                    }
                    tracing::warn!(%key_id, "an earlier payment brought no key: {error}");
                }
            }
            (Verdict::Equal | Verdict::Taken, None) => {}
        }
        self.unsure = false;
        Ok(())
    }

    /// Sends the pending payment until it is settled, or until patience ends: then it stays pending.
    async fn pursue(&mut self, limit: Amount, mut repeated: bool) -> Result<DataKey, BuyError> {
        let mut delays = Delays::new(self.options.repeats, self.options.repeat_delay);
        loop {
            let payment = self.wallet.pending.as_ref().ok_or(ReceiptFault::NoPayment)?;
            let request = payment.request(&self.wallet.terms, self.receive_key.public());
            let error = match ask(&self.market.buy_key, BuyKey { request }).await {
                Ok(receipt) => return self.accept(&receipt, repeated, limit).await,
                Err(error) => error,
            };
            self.unsure = true;
            let Ok(remote) = self.remote().await else { return Err(error.into()) };
            match self.wallet.judge_balance(remote, limit) {
                Verdict::Halt(drift) => return Err(drift.into()),
                Verdict::Follow(settlement) => return Err(self.end_without_key(settlement, error).await?),
                Verdict::Equal if error.is_refusal() => {
                    return Err(self.end_without_key(self.wallet.give_up(), error).await?);
                }
                Verdict::Taken if error.is_refusal() && repeated => {
                    return Err(self.end_without_key(self.wallet.write_off(remote), error).await?);
                }
                Verdict::Equal | Verdict::Taken => {}
            }
            let Some(delay) = delays.next() else { return Err(error.into()) };
            tracing::warn!(%error, "a payment was not answered, sending the same again");
            tokio::time::sleep(delay).await;
            repeated = true;
        }
    }

    /// Settles a payment that brings no key; gives what to tell those who wait for it.
    async fn end_without_key(
        &mut self,
        settlement: Settlement,
        error: MarketError,
    ) -> Result<BuyError, BuyError> {
        self.commit(settlement, None).await?;
        if settlement.end != End::WrittenOff {
            return Ok(error.into());
        }
        let paid = settlement.before.balance.checked_sub(settlement.state.balance).unwrap_or_default();
        Ok(BuyError::TakenWithoutKey { paid, error })
    }

    async fn accept(
        &mut self,
        receipt: &BuyReceipt,
        repeated: bool,
        limit: Amount,
    ) -> Result<DataKey, BuyError> {
        let signer = self.wallet.message(receipt.state()).recover(&receipt.signature);
        let signed = signer.is_ok_and(|signer| signer == self.wallet.terms.market_maker);
        let judged = self
            .wallet
            .judge_receipt(receipt, self.receive_key.public(), signed, repeated, limit)
            .and_then(|settlement| {
                let key = self.receive_key.open(&receipt.sealed_key).map_err(|_| ReceiptFault::SealedKey)?;
                Ok((settlement, key))
            });
        match judged {
            Ok((settlement, key)) => {
                let bought = BoughtKey { key_id: receipt.key_id, key: key.clone() };
                self.commit(settlement, Some(bought)).await?;
                Ok(key)
            }
            Err(fault) => self.reject(fault, limit).await,
        }
    }

    /// After a receipt that does not hold: the same payment would bring the same, so it is settled by the
    /// market maker's figures.
    async fn reject(&mut self, fault: ReceiptFault, limit: Amount) -> Result<DataKey, BuyError> {
        tracing::error!("the market maker's receipt does not hold: {fault}");
        self.unsure = true;
        let remote = self.remote().await?;
        let settlement = match self.wallet.judge_balance(remote, limit) {
            Verdict::Halt(drift) => return Err(drift.into()),
            Verdict::Follow(settlement) => settlement,
            Verdict::Equal => self.wallet.give_up(),
            Verdict::Taken => self.wallet.write_off(remote),
        };
        self.commit(settlement, None).await?;
        Err(fault.into())
    }

    async fn commit(&mut self, settlement: Settlement, bought: Option<BoughtKey>) -> Result<(), BuyError> {
        let settled = self.options.store.settle(self.channel_id(), settlement, bought).await;
        settled.inspect_err(|_| self.stale = true)?;
        self.wallet.apply(&settlement);
        self.unsure = false;
        Ok(())
    }

    /// The channel is too low: goes on with another one, if the market maker has opened one.
    async fn change_channel(&mut self, empty: PaymentReject) -> Result<(), BuyError> {
        match attach(&self.options, &self.market, &self.domain).await {
            Ok(wallet) if wallet.terms.channel_id != self.channel_id() => {
                let channel = wallet.terms.channel_id;
                tracing::info!(%channel, "the payment channel is too low, using another");
                (self.unsure, self.wallet) = (wallet.pending.is_some(), wallet);
                self.reconcile().await
            }
            Ok(_) | Err(_) => Err(empty.into()),
        }
    }

    /// What may still be given for a key: what was written off for it counts.
    async fn limit(&self, key_id: KeyId) -> Result<Amount, BuyError> {
        let stored = self.options.store.key(key_id).await?;
        Ok(self.options.limit(stored.written_off))
    }

    async fn remote(&self) -> Result<ChannelState, MarketError> {
        let channel_id = self.channel_id();
        ask(&self.market.fetch_balance, FetchBalance { channel_id }).await.map(|balance| balance.state())
    }

    fn channel_id(&self) -> ChannelId {
        self.wallet.terms.channel_id
    }
}

/// The payment channel to go on with: one with a payment that was left behind, or else the active one; as the
/// store has it or adopted now, and with the market maker's figures followed where they may be.
async fn attach(
    options: &BuyerOptions,
    market: &MarketPort,
    domain: &MarketDomain,
) -> Result<Wallet, StartError> {
    let delegate = options.signer.address();
    let terms_of = |channel_id, amount| ChannelTerms {
        channel_id,
        market_id: domain.market_id,
        market_maker: options.market_maker,
        delegate,
        amount,
        chain_id: domain.chain_id,
        verifying_contract: domain.verifying_contract,
        close_at: options.close_at,
    };
    // A payment may have emptied its channel, which is active no more.
    for wallet in options.store.unsettled().await? {
        let channel_id = wallet.terms.channel_id;
        if wallet.terms != terms_of(channel_id, wallet.terms.amount) {
            continue;
        }
        match ask(&market.fetch_balance, FetchBalance { channel_id }).await {
            Ok(remote) => return follow(options, wallet, remote.state()).await,
            Err(error) if error.is_refusal() => {
                tracing::error!(channel = %channel_id, "a payment cannot be settled: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let active = ask(&market.fetch_active_channel, FetchActiveChannel { delegate }).await?;
    let active = active.ok_or(StartError::NoPaymentChannel { delegate })?;
    let channel_id = active.channel_id;
    let unusable = |problem| StartError::Channel { channel_id, problem };
    check_channel(&active, options, domain).map_err(unusable)?;
    let terms = terms_of(channel_id, active.amount);
    let remote = ask(&market.fetch_balance, FetchBalance { channel_id }).await?.state();
    match options.store.wallet(channel_id).await? {
        Some(wallet) if wallet.terms == terms => follow(options, wallet, remote).await,
        Some(_) => Err(unusable("its terms are not those of before")),
        None if remote.balance > terms.amount => Err(unusable("more remains than was put into it")),
        None => {
            let wallet = Wallet::adopt(terms, remote);
            options.store.attach(wallet.clone()).await?;
            Ok(wallet)
        }
    }
}

/// Follows the market maker's figures, where they may be.
async fn follow(
    options: &BuyerOptions,
    mut wallet: Wallet,
    remote: ChannelState,
) -> Result<Wallet, StartError> {
    let channel_id = wallet.terms.channel_id;
    let limit = match &wallet.pending {
        Some(payment) => options.limit(options.store.key(payment.key_id).await?.written_off),
        None => Amount::ZERO,
    };
    match wallet.judge_balance(remote, limit) {
        Verdict::Halt(drift) => return Err(StartError::Drift { channel_id, drift }),
        Verdict::Follow(settlement) => {
            options.store.settle(channel_id, settlement, None).await?;
            wallet.apply(&settlement);
        }
        Verdict::Equal | Verdict::Taken => {}
    }
    Ok(wallet)
}

fn check_channel(
    channel: &ChannelInfo,
    options: &BuyerOptions,
    domain: &MarketDomain,
) -> Result<(), &'static str> {
    match () {
        () if channel.channel_type != ChannelType::Payment => Err("it is not a payment channel"),
        () if channel.market_id != domain.market_id => Err("it belongs to another market"),
        () if channel.market_maker != options.market_maker => Err("it has another market maker"),
        () if channel.delegate != options.signer.address() => Err("it has another delegate"),
        () if channel.state != ChannelStatus::Open => Err("it is not open"),
        () => Ok(()),
    }
}

/// How long to wait before each repeat.
struct Delays {
    left: u32,
    delay: Duration,
}

impl Delays {
    fn new(left: u32, delay: Duration) -> Self {
        Self { left, delay }
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let delay = self.delay;
        self.delay = delay.saturating_mul(2);
        Some(delay)
    }
}
