//! A router to try, and to test clients with: everybody may do everything in `realm1`.
//!
//! ```text
//! cargo run -p xbr-market --example router -- [ADDRESS [PRINCIPALS]]
//! ```
//!
//! It listens at ADDRESS (default `127.0.0.1:8080`), prints `READY` and the URL, and runs until it is killed.
//! PRINCIPALS is a JSON file of objects with `role`, `ticket` (`authid`, `ticket`) and `cryptosign` (`authid`,
//! `pubkey`), which may join by these as well; other objects in it are passed over.

#![allow(clippy::print_stdout, reason = "says when it is ready")]

use std::error::Error;
use std::net::SocketAddr;

use serde_json::Value;
use xbr_market::router::{Credential, RealmOptions, Role, RouterHandle, RouterOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let mut realm =
        RealmOptions::new("realm1").role(Role::unrestricted("anonymous").disclosed()).anonymous("anonymous");
    if let Some(file) = arguments.next() {
        let principals: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        for principal in principals.as_object().into_iter().flat_map(|objects| objects.values()) {
            realm = with_principal(realm, principal)?;
        }
    }
    let router = RouterHandle::here(RouterOptions::new([realm]))?;
    println!("READY ws://{}/ws", router.listen(address).await?);
    std::future::pending().await
}

fn with_principal(mut realm: RealmOptions, principal: &Value) -> Result<RealmOptions, Box<dyn Error>> {
    let text = |pointer| principal.pointer(pointer).and_then(Value::as_str);
    let Some(role) = text("/role") else { return Ok(realm) };
    if !realm.roles.iter().any(|known| known.name == role) {
        realm = realm.role(Role::unrestricted(role).disclosed());
    }
    if let (Some(authid), Some(ticket)) = (text("/ticket/authid"), text("/ticket/ticket")) {
        realm = realm.principal(authid, role, Credential::Ticket(ticket.to_owned().into()));
    }
    if let (Some(authid), Some(key)) = (text("/cryptosign/authid"), text("/cryptosign/pubkey")) {
        let mut public_key = [0; 32];
        hex::decode_to_slice(key, &mut public_key)?;
        realm = realm.principal(authid, role, Credential::Cryptosign { public_key });
    }
    Ok(realm)
}
