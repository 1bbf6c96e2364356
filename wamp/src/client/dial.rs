//! How a session is made, for whoever has to make it again and again.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{ClientOptions, Incoming, Session, connect};
use crate::error::ConnectError;

type Dialling = BoxFuture<'static, Result<(Session, Incoming), ConnectError>>;

/// Makes a session that has joined a realm, as often as it is asked to: over a network when it is made from
/// [`ClientOptions`], or any other way.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn() -> Dialling + Send + Sync>);

impl Dial {
    /// A way of one's own to make a session.
    pub fn new<F>(dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(Session, Incoming), ConnectError>> + Send + 'static,
    {
        Self(Arc::new(move || dial().boxed()))
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`ConnectError`], as [`connect`] does.
    pub fn connect(&self) -> BoxFuture<'static, Result<(Session, Incoming), ConnectError>> {
        (self.0)()
    }
}

impl From<ClientOptions> for Dial {
    fn from(options: ClientOptions) -> Self {
        Self::new(move || connect(options.clone()))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial(..)")
    }
}
