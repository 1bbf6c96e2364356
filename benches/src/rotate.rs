//! Many key series that rotate every second: how late, and at what cost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use xbr_actors::key_series::KeyRotated;
use xbr_actors::messages::{MarketError, MarketPort, PlaceOffer};
use xbr_actors::{ApiOptions, Rotation, SellerHandle};
use xbr_compute::on_worker;
use xbr_core::wire::UnsignedOffer;
use xbr_core::{ApiId, DelegateKey, ProviderId, Signer};

use crate::measure::{Latency, cpu_time, resident_mb};
use crate::sell::{database, seller_in, terms};
use crate::support::{domain, seller_key};

const INTERVAL: Duration = Duration::from_secs(1);

/// So many series are added at a time: each waits until its first key is on disk.
const ADDED_AT_ONCE: usize = 64;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct RotateFigures {
    /// How many series there are.
    pub series: u32,
    /// How many rotations were seen.
    pub rotations: usize,
    /// How much later than a second after the one before they came.
    pub late: Latency,
    /// How many of a thousand came 50 ms late or later.
    pub late_per_mille: usize,
    /// Cores in use.
    pub cores: f64,
    /// What the process has in memory, MB.
    pub resident_mb: f64,
}

/// Notes when keys rotate, on the seller's thread: another one would be woken for each of them.
struct Watcher(Sender<(ApiId, Instant)>);

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1 << 16);
    }
}

impl Handler<KeyRotated> for Watcher {
    type Result = ();

    fn handle(&mut self, message: KeyRotated, _: &mut Self::Context) {
        // Nobody listens any more at the end.
        let _ = self.0.send((message.api_id, Instant::now()));
    }
}

fn api(number: u32) -> ApiOptions {
    let mut terms = terms();
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    terms.api_id = ApiId::new(id);
    ApiOptions { terms, rotation: Rotation { interval: Some(INTERVAL), count: None } }
}

/// Takes offers at once. With a key it signs them first, on a worker, as the session with the market maker does.
struct OfferDesk(Option<Arc<DelegateKey>>);

impl Actor for OfferDesk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1 << 16);
    }
}

impl Handler<PlaceOffer> for OfferDesk {
    type Result = ResponseFuture<Result<(), MarketError>>;

    fn handle(&mut self, message: PlaceOffer, _: &mut Self::Context) -> Self::Result {
        let Some(signer) = self.0.clone() else { return Box::pin(async { Ok(()) }) };
        let delegate = signer.address();
        let provider_id = ProviderId::new("benchmark").unwrap();
        let unsigned = UnsignedOffer { offer: message.offer, delegate, provider_id };
        let signing = on_worker(move || unsigned.sign(&domain(), &*signer));
        Box::pin(async move {
            signing.await.unwrap().unwrap();
            Ok(())
        })
    }
}

/// Lets so many durable series rotate for so long.
pub fn run(series: u32, time: Duration, is_signed: bool) -> RotateFigures {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(database(folder.path()));
    let (seen, rotations) = channel();
    let (ready, watcher) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let with_desk = move |market| {
        let desk = OfferDesk(is_signed.then(seller_key)).start();
        ready.send(Watcher(seen.clone()).start().recipient()).unwrap();
        MarketPort { place_offer: desk.recipient(), ..market }
    };
    runtime.block_on(async {
        let (seller, _) = seller_in(store, api(0), with_desk).await;
        let added = stream::iter(1..series).map(|number| seller.add_api(api(number)));
        added.buffer_unordered(ADDED_AT_ONCE).try_collect::<()>().await.unwrap();
        subscribe(&seller, series, &watcher.recv().unwrap()).await;
        // What adding them has stirred up settles.
        tokio::time::sleep(2 * INTERVAL).await;
        let mut last: HashMap<_, _> = rotations.try_iter().collect();
        let (start, cpu) = (Instant::now(), cpu_time());
        tokio::time::sleep(time).await;
        let cores = (cpu_time() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
        let late = lateness(&rotations, &mut last);
        let too_late = late.iter().filter(|late| **late >= Duration::from_millis(50)).count();
        RotateFigures {
            series,
            rotations: late.len(),
            late_per_mille: (too_late * 1000).checked_div(late.len()).unwrap_or(1000),
            late: Latency::of(late),
            cores,
            resident_mb: resident_mb(),
        }
    })
}

async fn subscribe(seller: &SellerHandle, series: u32, watcher: &Recipient<KeyRotated>) {
    for number in 0..series {
        assert!(seller.on_rotate(api(number).terms.api_id, watcher.clone()).await);
    }
}

fn lateness(rotations: &Receiver<(ApiId, Instant)>, last: &mut HashMap<ApiId, Instant>) -> Vec<Duration> {
    let gaps = rotations.try_iter().filter_map(|(api_id, at)| Some(at - last.insert(api_id, at)?));
    gaps.map(|gap| gap.saturating_sub(INTERVAL)).collect()
}
