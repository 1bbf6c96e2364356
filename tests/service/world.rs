//! A router in this process, and a market maker, a seller and a buyer that are processes of the program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tokio::runtime::Runtime;
use xbr_market::router::{Credential, RealmOptions, Role, RouterHandle, RouterOptions};

use crate::programs::{self, PATIENCE, Running, free_address, wait_for};

pub(crate) struct World {
    programs: programs::World,
    router: Option<RouterHandle>,
    runtime: Runtime,
    http: SocketAddr,
}

impl Deref for World {
    type Target = programs::World;

    fn deref(&self) -> &programs::World {
        &self.programs
    }
}

impl World {
    /// A router that runs, and configurations with these additions to the seller's.
    pub(crate) fn new(seller: &str) -> Self {
        let programs = programs::World::new(&format!("interval = \"1s\"\n{seller}"));
        let (runtime, http) = (Runtime::new().unwrap(), free_address());
        let mut world = Self { programs, router: None, runtime, http };
        world.start_router();
        world.edit("seller.toml", "127.0.0.1:0", &http.to_string());
        world.leave_the_router_out_of_the_market();
        world
    }

    /// The market maker joins the router as everybody else does.
    fn leave_the_router_out_of_the_market(&self) {
        let (market, seller) = (self.read("market.toml"), self.read("seller.toml"));
        let (before, rest) = market.split_once("[router]").unwrap();
        let (_, channels) = rest.split_once("[[channel]]").unwrap();
        let (connection, _) = seller.split_once("[seller]").unwrap();
        self.write("market.toml", &format!("{before}{connection}[[channel]]{channels}"));
    }

    pub(crate) fn start_router(&mut self) {
        self.router = Some(self.runtime.block_on(router(self.programs.router)));
    }

    pub(crate) fn stop_router(&mut self) {
        if let Some(router) = self.router.take() {
            self.runtime.block_on(router.shutdown(Duration::ZERO));
        }
    }

    /// Buys one key of what the seller publishes meanwhile; the line that the seller says then. The buyer remembers no
    /// key that it has.
    pub(crate) fn buy_one(&self, seller: &mut Running) -> String {
        for entry in fs::read_dir(self.path("")).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().starts_with("buyer.db") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        self.buy(seller, 1);
        seller.says("\"sold\"")
    }

    /// A GET request: status and body.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        self.get_with(path, "")
    }

    /// One with these headers, each with the end of its line.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// What happens, from now on: lines, each of which comes when it is there.
    pub(crate) fn events(&self, token: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = self.http;
        let request =
            format!("GET /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = BufReader::new(stream);
        let mut line = String::new();
        // Whoever is told so is told of everything later.
        while !line.contains("event: reset") {
            line.clear();
            assert!(events.read_line(&mut line).unwrap() > 0, "there are no events");
        }
        events
    }

    /// What `/readyz` answers: status, and the codes of the reasons.
    pub(crate) fn readiness(&self) -> Option<(u16, Vec<String>)> {
        let (status, body) = self.get("/readyz")?;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["ready"], status == 200, "{body}");
        let codes = body["reasons"].as_array().unwrap().iter();
        Some((status, codes.map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()))
    }

    pub(crate) fn wait_until_ready(&self) {
        wait_for("ready", || self.readiness().filter(|(status, _)| *status == 200));
    }

    /// The value of a metric, with its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        let (status, text) = self.get("/metrics")?;
        assert_eq!(status, 200);
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
    }
}

/// A router in which everybody with the ticket may do everything.
async fn router(address: SocketAddr) -> RouterHandle {
    let ticket = Credential::Ticket(SecretString::from("secret"));
    let role = Role::unrestricted("member").disclosed();
    let realm = RealmOptions::new("realm1").role(role).principal("me", "member", ticket);
    let router = RouterHandle::here(RouterOptions::new([realm])).unwrap();
    router.listen(address).await.unwrap();
    router
}

/// An `[[api]]`.
pub(crate) fn api(id: &str, prefix: &str, price: &str) -> String {
    format!("[[api]]\nid = \"{id}\"\nprefix = \"{prefix}\"\nprice = \"{price}\"\ninterval = \"1s\"\n")
}
