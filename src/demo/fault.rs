//! What can go wrong, by chance: purchases with a bad key of the buyer, of a key that the seller does not
//! have, and a seller that restarts in between. Whatever it is, the accounts must agree.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use thiserror::Error;
use tokio::sync::Notify;
use xbr_actors::{Clock, SystemClock};
use xbr_core::crypto::{Entropy, SignError, UserspaceEntropy};
use xbr_core::offer::OfferTerms;
use xbr_core::wire::{BuyRequest, MarketDomain, UnsignedOffer, uri};
use xbr_core::{Amount, BuyerKey, DelegateKey, Eip712, KeyId, ProviderId, Signer};
use xbr_market::buyer::BuyerHandle;
use xbr_wamp::{Call, CallError, ConnectError, Dial, Session};

/// Why nothing can be made to fail.
#[derive(Debug, Error)]
pub enum FaultError {
    /// There is no session to do it over.
    #[error("no session for what is to fail: {0}")]
    Connect(#[from] ConnectError),
    /// The offer of a key that there is not was refused.
    #[error("no offer for what is to fail: {0}")]
    Offer(#[from] CallError),
    /// A request cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Makes so many of a thousand purchases fail. Clones fail by the same rule, each by its own chance.
#[derive(Debug, Clone)]
pub struct Faults {
    permille: u16,
    random: StdRng,
    session: Session,
    /// A key that is offered, and that the seller does not have.
    phantom: KeyId,
    price: Amount,
    restart: Arc<Notify>,
}

impl Faults {
    /// Offers a key that there is not, for a price, in the name of the seller.
    ///
    /// # Errors
    /// [`FaultError`].
    pub async fn prepare(
        permille: u16,
        dial: &Dial,
        domain: &MarketDomain,
        seller: &DelegateKey,
        terms: &OfferTerms,
    ) -> Result<Self, FaultError> {
        let (session, mut incoming) = dial.connect().await?;
        // What nobody listens to would end the session.
        tokio::spawn(async move { while incoming.next().await.is_some() {} });
        let mut phantom = [0; 16];
        UserspaceEntropy.fill(&mut phantom);
        let phantom = KeyId::new(phantom);
        let offer = UnsignedOffer {
            offer: terms.offer(phantom, SystemClock.now_ns()),
            delegate: seller.address(),
            provider_id: ProviderId::from_public_key(&seller.public_key()),
        };
        let offer = offer.sign(domain, seller)?;
        let call = Call::new(uri::PLACE_OFFER).args(offer.to_args()).kwargs(offer.to_kwargs());
        session.call(call).await?;
        Ok(Self {
            permille,
            random: StdRng::seed_from_u64(0),
            session,
            phantom,
            price: terms.price,
            restart: Arc::default(),
        })
    }

    /// The same with another chance.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), ..self.clone() }
    }

    /// Resolves when the seller is to be restarted.
    pub async fn restart_due(&self) {
        self.restart.notified().await;
    }

    /// Whether the next purchase is to fail; then it has, when this resolves.
    pub async fn strike(&mut self, buyer: &BuyerHandle, key: &DelegateKey) -> bool {
        if self.random.random_range(0..1000) >= self.permille {
            return false;
        }
        match self.random.random_range(0..20) {
            0 => self.restart.notify_one(),
            1..10 => {
                // That it fails is the point.
                let _ = buyer.key(self.phantom).await;
            }
            _ => self.buy_with_a_bad_key(buyer, key).await,
        }
        true
    }

    /// Pays as the buyer would, but for a key to which anybody could open what is sealed to it.
    async fn buy_with_a_bad_key(&self, buyer: &BuyerHandle, key: &DelegateKey) {
        let Some(wallet) = buyer.observe().await.and_then(|status| status.wallet) else { return };
        let Ok(state) = wallet.propose(self.price, self.price) else { return };
        let Ok(signature) = wallet.message(state).sign(key) else { return };
        let request = BuyRequest {
            delegate: buyer.address(),
            buyer_key: BuyerKey::new([0; 32]),
            key_id: self.phantom,
            channel_id: wallet.terms.channel_id,
            channel_seq: state.seq,
            amount: self.price,
            balance: state.balance,
            signature,
        };
        let _ = self.session.call(Call::new(uri::BUY_KEY).args(request.to_args())).await;
    }
}
