//! The router of the WAMP client's own tests, for tests of what is built on that client.

#[path = "../../wamp/tests/support/stub.rs"]
pub(crate) mod stub;
#[path = "../../wamp/tests/support/mod.rs"]
pub(crate) mod support;
