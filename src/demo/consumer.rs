//! A buyer of the demo: it takes one event after the other, buys the key if it is new, and tells what came
//! of it.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use xbr_core::{DelegateKey, KeyId};
use xbr_market::buyer::{BuyerHandle, Decrypted, DecryptedEvent};
use xbr_wamp::codec::json;

use super::fault::Faults;
use super::source::Pace;

/// What a buyer tells.
#[derive(Debug)]
pub enum News {
    /// An event was decrypted.
    Decrypted {
        /// The topic.
        topic: Arc<str>,
        /// The key.
        key_id: KeyId,
        /// The payload in JSON.
        payload: String,
        /// How many keys were bought meanwhile: its own, and one that a purchase of before was still due.
        bought: u64,
    },
    /// A purchase failed.
    Refused,
}

/// A buyer of the demo.
#[derive(Debug)]
pub struct Consumer {
    /// The buyer.
    pub buyer: BuyerHandle,
    /// Its delegate's key, for what is to fail.
    pub key: Arc<DelegateKey>,
    /// Its events.
    pub events: Decrypted,
    /// How many keys all buyers together may still buy.
    pub budget: Arc<Semaphore>,
    /// What it tells others of its pace.
    pub pace: Pace,
    /// What fails by chance.
    pub faults: Option<Faults>,
    /// Where its news go.
    pub news: mpsc::Sender<News>,
}

impl Consumer {
    /// Buys until it is told to stop, nothing more may be bought, or nobody wants its news.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = self.consume() => {}
        }
    }

    async fn consume(&mut self) {
        let budget = self.budget.clone();
        let (mut taken, mut owned) = (0, purchases(&self.buyer).await);
        // The budget is closed when the demo ends.
        while let Ok(purchase) = budget.acquire().await {
            let news = if self.strike().await {
                News::Refused
            } else {
                self.pace.taken(taken);
                taken += 1;
                let Some(event) = self.events.next().await else { return };
                let before = std::mem::replace(&mut owned, purchases(&self.buyer).await);
                let bought = owned.saturating_sub(before);
                if bought > 0 {
                    purchase.forget();
                }
                told(event, bought)
            };
            if self.news.send(news).await.is_err() {
                return;
            }
        }
    }

    async fn strike(&mut self) -> bool {
        match &mut self.faults {
            Some(faults) => faults.strike(&self.buyer, &self.key).await,
            None => false,
        }
    }
}

/// Resolves when it is time to stop.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so and has gone wants it as well.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn purchases(buyer: &BuyerHandle) -> u64 {
    let wallet = buyer.observe().await.and_then(|status| status.wallet);
    wallet.map_or(0, |wallet| wallet.purchases)
}

fn told(event: DecryptedEvent, bought: u64) -> News {
    let DecryptedEvent { topic, key_id, payload, .. } = event;
    match (key_id, payload) {
        (Some(key_id), Ok(payload)) => {
            let payload = json::to_vec(&payload).unwrap_or_default();
            let payload = String::from_utf8_lossy(&payload).into_owned();
            News::Decrypted { topic, key_id, payload, bought }
        }
        (_, Err(error)) => {
            tracing::debug!(%topic, %error, "event not decrypted");
            News::Refused
        }
        (None, Ok(_)) => News::Refused,
    }
}
