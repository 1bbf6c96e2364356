//! What a seller that sells watches: channels that are opened meanwhile, and a market maker that comes back.

use futures_util::future::join_all;
use xbr_core::channel::Reconciliation;
use xbr_core::wire::ChannelInfo;

use super::sales::ChannelAttached;
use super::*;
use crate::channel_ledger::{Attach, SetLowBalance};
use crate::key_series::{AttachMarket, KeysRetired, SetBounds};
use crate::messages::{FetchBalance, FetchChannel, FetchChannels, MarketMakerBack};
use crate::options::SellerLimits;
use crate::start::{check_channel, terms_of};

/// How long after the market maker's word keys are offered again: whoever repeats that word makes no more of it.
const REOFFER_PAUSE: Duration = Duration::from_secs(1);

/// What a look at the market maker's channels needs.
struct Look {
    options: Arc<SellerOptions>,
    domain: MarketDomain,
    known: Vec<ChannelId>,
    market: MarketPort,
    ledger: Addr<ChannelLedger>,
    seller: Addr<Seller>,
}

impl Look {
    /// Adopts the channels that are not known yet. Gives the number of those that are open.
    async fn run(self) -> Result<usize, MarketError> {
        let delegate = self.options.signer.address();
        let open = ask(&self.market.fetch_channels, FetchChannels { delegate }).await?;
        for channel_id in open.iter().filter(|open| !self.known.contains(open)) {
            let channel_id = *channel_id;
            let channel = ask(&self.market.fetch_channel, FetchChannel { channel_id }).await?;
            match check_channel(&channel, &self.options, &self.domain) {
                Ok(()) => self.adopt(&channel).await?,
                Err(problem) => tracing::warn!(channel = %channel_id, problem, "channel passed over"),
            }
        }
        Ok(open.len())
    }

    /// With a sale under way the market maker's figures include it already: then the sale itself tells where the
    /// channel began.
    async fn adopt(&self, channel: &ChannelInfo) -> Result<(), MarketError> {
        let channel_id = channel.channel_id;
        let balance = ask(&self.market.fetch_balance, FetchBalance { channel_id }).await?;
        if !balance.inflight.is_zero() {
            return Ok(());
        }
        let (terms, theirs) = (terms_of(channel, &self.options, &self.domain), balance.state());
        let attach = Attach { terms: terms.clone(), theirs, compare: false };
        match self.ledger.send(attach).await {
            Ok(Ok(_)) => {
                tracing::info!(
                    channel = %channel_id, seq = theirs.seq.value(), remaining = %theirs.balance,
                    "a new channel was opened, and adopted"
                );
                self.options.observers.tell(|| Event::Reconciled {
                    channel_id,
                    is_new: true,
                    reconciliation: Reconciliation::Equal,
                });
                // Only to have it at hand: its first sale would find it again.
                let _ = self.seller.try_send(ChannelAttached(Arc::new(terms)));
            }
            failed => tracing::error!(channel = %channel_id, ?failed, "cannot attach a new channel"),
        }
        Ok(())
    }
}

impl Seller {
    pub(super) fn arm_channel_poll(&mut self, ctx: &mut Context<Self>) {
        self.poll_generation += 1;
        let generation = self.poll_generation;
        let Some(interval) = self.options.channel_poll else { return };
        let delay = backoff::about(interval, self.options.signer.address().as_bytes(), generation);
        ctx.run_later(delay, move |seller, ctx| {
            if seller.poll_generation == generation {
                seller.look_for_channels(ctx);
                seller.arm_channel_poll(ctx);
            }
        });
    }

    fn look_for_channels(&mut self, ctx: &mut Context<Self>) {
        let (Some(children), Some(domain), true) = (&self.children, self.domain, self.serving) else {
            return;
        };
        let look = Look {
            options: self.options.clone(),
            domain,
            known: self.terms.keys().copied().collect(),
            market: children.market.clone(),
            ledger: children.ledger.clone(),
            seller: ctx.address(),
        };
        ctx.spawn(look.run().into_actor(self).map(|result, seller, _| match result {
            Ok(open) => {
                if open == 0 && !seller.is_told_dry {
                    tracing::warn!("no paying channel is open any more, waiting for a new one");
                }
                seller.is_told_dry = open == 0;
            }
            Err(error) => tracing::warn!(%error, "cannot look for new channels"),
        }));
    }
}

impl Handler<SetLimits> for Seller {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: SetLimits, ctx: &mut Self::Context) -> Self::Result {
        let SellerLimits { low_balance, channel_poll, offline_keys, retention } = message.0;
        let options = Arc::make_mut(&mut self.options);
        (options.low_balance, options.channel_poll) = (low_balance, channel_poll);
        (options.offline_keys, options.retention) = (offline_keys, retention);
        if self.current_state() == SellerState::Started {
            self.arm_channel_poll(ctx);
        }
        for api in self.apis.values_mut() {
            (api.options.offline_keys, api.options.retention) = (offline_keys, retention);
        }
        let ledger = self.children.as_ref().map(|children| children.ledger.send(SetLowBalance(low_balance)));
        let bounds = SetBounds { offline_keys, retention };
        let series: Vec<_> = self.apis.values().map(|api| api.series.send(bounds)).collect();
        Box::pin(async move {
            // Whoever has died is made again from the new options.
            if let Some(ledger) = ledger {
                let _ = ledger.await;
            }
            join_all(series).await;
        })
    }
}

impl Handler<MarketMakerBack> for Seller {
    type Result = ();

    fn handle(&mut self, _: MarketMakerBack, ctx: &mut Self::Context) {
        if std::mem::replace(&mut self.reoffer_armed, true) {
            return;
        }
        ctx.run_later(REOFFER_PAUSE, |seller, ctx| {
            seller.reoffer_armed = false;
            let Some(port) = seller.offer_port() else { return };
            tracing::info!("the market maker says that it runs, offering what is live again");
            let series: Vec<_> = seller.apis.values().map(|api| api.series.clone()).collect();
            let offered = async move {
                // A series that has died is replaced, and its successor attached, by the seller.
                join_all(series.iter().map(|series| series.send(AttachMarket(port.clone())))).await;
            };
            ctx.spawn(offered.into_actor(seller));
            seller.look_for_channels(ctx);
        });
    }
}

impl Handler<KeysRetired> for Seller {
    type Result = ();

    fn handle(&mut self, message: KeysRetired, _: &mut Self::Context) {
        for key_id in message.0 {
            self.keys_at_hand.pop(&key_id);
        }
    }
}
