//! The HTTP interface of the demo's seller, for the dashboard above all. It has no token: only this machine may ask.

use std::net::SocketAddr;
use std::sync::Arc;

use xbr_actors::{Observers, SellerHandle, SystemClock};
use xbr_core::Signer as _;
use xbr_core::cbor::Limits;

use super::DemoError;
use super::parties::Parties;
use crate::config::{DemoHttp, HttpConfig};
use crate::feed::Feeds;
use crate::http::{self, Interface, Parts, Serving, Watched, Watcher};
use crate::telemetry::{self, FeedFigures, Telemetry};

/// The interface, listening, before there is a seller.
#[derive(Debug)]
pub struct Dashboard {
    interface: Interface,
    telemetry: Telemetry,
    watcher: Arc<Watcher>,
    watched: Watched,
}

impl Dashboard {
    /// Listens where it is said; by itself only where somebody looks at a screen that tells the address.
    ///
    /// # Errors
    /// [`DemoError::Listen`], [`DemoError::Telemetry`].
    pub async fn bind(http: DemoHttp, has_screen: bool) -> Result<Option<Self>, DemoError> {
        let interface = match http {
            DemoHttp::At(address) => Interface::bind(HttpConfig::at(address), None).await?,
            DemoHttp::Auto if has_screen => {
                match Interface::bind(HttpConfig::at(HttpConfig::LISTEN), None).await {
                    Ok(interface) => interface,
                    // Somebody is there already, perhaps another demo.
                    Err(_) => Interface::bind(HttpConfig::at(any_port(HttpConfig::LISTEN)), None).await?,
                }
            }
            DemoHttp::Auto | DemoHttp::Off => return Ok(None),
        };
        let (watcher, watched) = http::watch();
        let telemetry = Telemetry::new(&SystemClock)?;
        Ok(Some(Self { interface, telemetry, watcher: Arc::new(watcher), watched }))
    }

    /// Who has to watch the seller.
    pub fn observers(&self) -> Observers {
        Observers::new([Arc::new(self.telemetry.clone()) as _, self.watcher.clone() as _])
    }

    /// Serves; tells where.
    pub fn serve(self, seller: &SellerHandle, parties: &Parties, feeds: &Feeds) -> (SocketAddr, Serving) {
        let figures = {
            let feeds = feeds.clone();
            move || feeds.status().into_iter().map(FeedFigures::from).collect()
        };
        let address = self.interface.address();
        let parts = Parts {
            seller: seller.clone(),
            store: parties.seller.store.clone(),
            market_maker: parties.maker.key.address(),
            limits: Limits::default(),
            feeds: feeds.clone(),
            watched: self.watched,
            more: telemetry::router(self.telemetry, seller.clone(), figures),
        };
        (address, self.interface.spawn(parts))
    }
}

fn any_port(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), 0)
}
