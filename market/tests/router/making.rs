//! Making routers: what options make none, and where they run.

use xbr_market::router::{
    Credential, Identity, OptionsError, RealmOptions, Role, RouterHandle, RouterOptions, Rule,
};
use xbr_wamp::{Call, ClientOptions, ConnectError, IncomingEvent, Match, RegisterOptions, connect};

use crate::support::*;

fn realm() -> RealmOptions {
    RealmOptions::new("realm1").role(Role::unrestricted("member"))
}

#[tokio::test]
async fn options_that_make_no_router_are_refused_with_the_reason() {
    let rule = |uri: &str, matching| Role::new("other", [Rule::all(uri, matching)]);
    let serializers = {
        let mut options = RouterOptions::new([realm()]);
        options.serializers.clear();
        options
    };
    let bound = {
        let mut options = RouterOptions::new([realm()]);
        options.max_queued_messages = 0;
        options
    };
    let ticket = Credential::Ticket(TICKET.to_owned().into());
    let rows = [
        (RouterOptions::new([]), "router needs a realm"),
        (serializers, "router needs a serializer"),
        (bound, "max_queued_messages must not be 0"),
        (RouterOptions::new([realm(), realm()]), "realm \"realm1\" is there twice"),
        (RouterOptions::new([RealmOptions::new("a realm")]), "realm is not a valid uri: \"a realm\""),
        (RouterOptions::new([realm().role(Role::unrestricted("member"))]), "role \"member\" is there twice"),
        (
            RouterOptions::new([realm().role(rule("a..b", Match::Prefix))]),
            "rule of role \"other\" is for an invalid uri: \"a..b\"",
        ),
        (
            RouterOptions::new([realm().role(rule("", Match::Exact))]),
            "rule of role \"other\" is for an invalid uri: \"\"",
        ),
        (RouterOptions::new([realm().anonymous("nobody")]), "realm \"realm1\" has no role \"nobody\""),
        (
            RouterOptions::new([realm().principal("tom", "nobody", ticket)]),
            "realm \"realm1\" has no role \"nobody\"",
        ),
    ];
    for (options, text) in rows {
        let error: OptionsError = RouterHandle::here(options.clone()).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(RouterHandle::spawn(options).unwrap_err().to_string(), text);
    }
}

#[tokio::test]
async fn a_router_on_a_thread_of_its_own_ends_with_its_last_handle() {
    let router = RouterHandle::spawn(options()).unwrap();
    let address = router.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let identity = Identity { authid: "here".into(), role: "member".into() };
    let dial = router.dial(REALM, identity);
    let (callee, incoming) = dial.connect().await.unwrap();
    callee.register("com.echo", RegisterOptions::default()).await.unwrap();
    tokio::spawn(echo(incoming));
    let url = format!("ws://{address}/");
    let (caller, mut events) = connect(ClientOptions::new(&url, REALM)).await.unwrap();
    caller.call(Call::new("com.echo")).await.unwrap();

    let clone = router.clone();
    drop(router);
    caller.call(Call::new("com.echo")).await.unwrap();
    drop(clone);
    assert!(matches!(events.next().await, Some(IncomingEvent::Closed(_))));
    assert!(matches!(dial.connect().await, Err(ConnectError::Transport(_))), "a dial holds no router up");
}

#[tokio::test]
async fn a_local_identity_needs_a_realm_and_a_role_that_there_are() {
    let router = RouterHandle::here(options()).unwrap();
    for (realm, role, reason) in
        [("realm2", "member", "wamp.error.no_such_realm"), (REALM, "nobody", "wamp.error.no_such_role")]
    {
        let identity = Identity { authid: "here".into(), role: role.into() };
        let error = router.dial(realm, identity).connect().await.unwrap_err();
        assert!(matches!(&error, ConnectError::Refused { uri, .. } if uri == reason), "{error}");
    }
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?}", options());
    assert!(shown.contains("tom") && !shown.contains(TICKET), "{shown}");
}
