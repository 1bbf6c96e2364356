//! Encrypting a payload through the wrapper of a seller, as its embedder does.

use std::hint::black_box;
use std::sync::Arc;

use futures_util::FutureExt as _;
use xbr_actors::{ApiOptions, MarketOptions, Rotation, SellerHandle, SellerOptions};
use xbr_core::offer::{OfferTerms, UriPrefix};
use xbr_core::{Amount, ApiId};
use xbr_store::MemoryStore;
use xbr_wamp::ClientOptions;

use crate::sale::{market_maker, seller};
use crate::{Fixed, Path};

const API: ApiId = ApiId::new([0xa1; 16]);
const URI: &str = "io.crossbar.example";

pub(crate) fn paths() -> Vec<Path> {
    let sizes = [("wrap 64 B", 64, 1000), ("wrap 1 KiB", 1024, 500), ("wrap 64 KiB", 65_536, 50)];
    sizes.map(|(name, bytes, rounds)| wrap(name, bytes, rounds)).into()
}

fn wrap(name: &'static str, bytes: usize, rounds: u32) -> Path {
    use xbr_core::Signer as _;

    let mut options =
        SellerOptions::new(market_maker().address(), Arc::new(seller()), Arc::new(MemoryStore::new()));
    options.entropy = Arc::new(Fixed);
    // It is never started, so that it dials nobody.
    let market = MarketOptions::new(ClientOptions::new("ws://127.0.0.1:1/", "realm1"));
    let seller = SellerHandle::spawn(options, market).unwrap();
    let terms = OfferTerms {
        api_id: API,
        prefix: UriPrefix::new(URI).unwrap(),
        price: Amount::from_xbr(1),
        categories: Default::default(),
        expires_after: None,
        copies: None,
    };
    let api = ApiOptions { terms, rotation: Rotation { interval: None, count: Some(u64::MAX) } };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(seller.add_api(api)).unwrap();
    let wrapper = seller.wrapper(API).unwrap();
    let payload = "x".repeat(bytes);
    Path::new(name, rounds, move || {
        let _alive = &seller;
        // The key is there: nothing has to be waited for.
        black_box(wrapper.wrap(URI, &payload).now_or_never().unwrap().unwrap());
    })
}
