//! A router and clients for it.

use std::time::Duration;

use tokio::time::timeout;
use xbr_market::router::{
    Credential, Identity, RealmOptions, Role, RouterHandle, RouterOptions, RouterStatus, Rule,
};
use xbr_wamp::{
    Auth, ClientOptions, ConnectError, CryptosignKey, Incoming, IncomingEvent, Match, Serializer, Session,
    connect,
};

pub(crate) const REALM: &str = "realm1";
pub(crate) const TICKET: &str = "open sesame";
pub(crate) const SEED: [u8; 32] = [7; 32];

pub(crate) fn cryptosign_key() -> CryptosignKey {
    CryptosignKey::from_seed(&SEED).unwrap()
}

/// A realm with somebody for each way to authenticate, and somebody with few rights.
pub(crate) fn options() -> RouterOptions {
    let mut public_key = [0; 32];
    hex::decode_to_slice(cryptosign_key().public_key(), &mut public_key).unwrap();
    let guest = Rule { uri: "com.open.".into(), matching: Match::Prefix, call: true, ..Rule::default() };
    let heard = Rule { uri: "com.topic".into(), subscribe: true, ..Rule::default() };
    let realm = RealmOptions::new(REALM)
        .role(Role::unrestricted("member"))
        .role(Role::unrestricted("seen").disclosed())
        .role(Role::new("guest", [guest, heard]))
        .principal("tom", "member", Credential::Ticket(TICKET.to_owned().into()))
        .principal("kate", "seen", Credential::Cryptosign { public_key })
        .principal("gus", "guest", Credential::Ticket("please".to_owned().into()))
        .anonymous("member");
    RouterOptions::new([realm])
}

/// A router that listens.
pub(crate) struct Router {
    pub(crate) handle: RouterHandle,
    pub(crate) port: u16,
}

impl Router {
    pub(crate) async fn start() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: RouterOptions) -> Self {
        let handle = RouterHandle::here(options).unwrap();
        let port = handle.listen(([127, 0, 0, 1], 0).into()).await.unwrap().port();
        Self { handle, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    pub(crate) fn client(&self, auth: Auth, serializer: Serializer) -> ClientOptions {
        let mut options = ClientOptions::new(self.url(), REALM);
        options.auth = auth;
        options.serializers = vec![serializer];
        options
    }

    pub(crate) async fn join(&self) -> (Session, Incoming) {
        connect(self.client(Auth::Anonymous, Serializer::Cbor)).await.unwrap()
    }

    pub(crate) async fn join_as(&self, auth: Auth) -> Result<(Session, Incoming), ConnectError> {
        connect(self.client(auth, Serializer::Cbor)).await
    }

    pub(crate) async fn local(&self, authid: &str, role: &str) -> (Session, Incoming) {
        let identity = Identity { authid: authid.into(), role: role.into() };
        self.handle.dial(REALM, identity).connect().await.unwrap()
    }

    /// Waits until the router looks like that.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&RouterStatus) -> bool) -> RouterStatus {
        let seen = async {
            loop {
                let status = self.handle.observe().await.unwrap();
                if wanted(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        match timeout(Duration::from_secs(20), seen).await {
            Ok(status) => status,
            Err(_) => panic!("in vain: {what}, but {:?}", self.handle.observe().await),
        }
    }
}

pub(crate) fn ticket(authid: &str, ticket: &str) -> Auth {
    Auth::Ticket { authid: authid.into(), ticket: ticket.to_owned().into() }
}

/// Answers every invocation with its own arguments, until the session ends.
pub(crate) async fn echo(mut incoming: Incoming) {
    while let Some(event) = incoming.next().await {
        if let IncomingEvent::Invocation(call) = event {
            call.responder.yield_result(call.args, call.kwargs);
        }
    }
}
