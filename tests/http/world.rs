//! A market and a seller with an HTTP interface, as processes.

use std::net::SocketAddr;
use std::ops::Deref;

use crate::client::{Answer, Request};
use crate::programs::{self, Running};

/// A folder with the keys and configurations of everybody, and the market.
pub(crate) struct World {
    programs: programs::World,
    market: Option<Running>,
}

impl Deref for World {
    type Target = programs::World;

    fn deref(&self) -> &programs::World {
        &self.programs
    }
}

/// A seller that runs, and where its interface listens.
pub(crate) struct Seller {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
}

impl Seller {
    pub(crate) fn send(&self, request: &Request) -> Answer {
        request.send(self.address)
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

impl World {
    /// With a market that runs.
    pub(crate) fn new() -> Self {
        let (programs, market) =
            programs::World::selling("interval = \"1h\"\ncategories = { kind = \"test\" }\n");
        Self { programs, market: Some(market) }
    }

    pub(crate) fn start_market(&mut self) {
        self.market = Some(self.programs.market());
    }

    pub(crate) fn stop_market(&mut self) {
        self.market = None;
    }

    /// A seller that sells, with environment variables over its configuration.
    pub(crate) fn seller(&self, variables: &[(&str, &str)]) -> Seller {
        let mut process = self.programs.seller_with(variables);
        let address = process.http_address();
        Seller { process, address }
    }
}
