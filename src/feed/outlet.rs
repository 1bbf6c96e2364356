//! Where a feed's payloads go.

use std::future::{Future, pending};

use xbr_actors::messages::MarketError;
use xbr_actors::{SellerHandle, SellerState, WrapError, Wrapped};
use xbr_core::{ApiId, Value};

/// Encrypts and publishes. [`SellerOutlet`] is the one; tests have others.
pub trait Outlet: Clone + Send + Sync + 'static {
    /// Encrypts a payload that will be published to the topic.
    ///
    /// # Errors
    /// [`WrapError`].
    fn wrap(&self, topic: &str, payload: &Value) -> impl Future<Output = Result<Wrapped, WrapError>> + Send;

    /// Publishes an event, and waits for the acknowledgement. Events leave in the order of the first polls.
    ///
    /// # Errors
    /// [`MarketError`].
    fn publish(&self, topic: &str, event: Wrapped) -> impl Future<Output = Result<(), MarketError>> + Send;

    /// Waits until there is a session.
    fn joined(&self) -> impl Future<Output = ()> + Send;
}

/// An API of a seller.
#[derive(Debug, Clone)]
pub struct SellerOutlet {
    /// The seller.
    pub seller: SellerHandle,
    /// The API.
    pub api_id: ApiId,
}

impl Outlet for SellerOutlet {
    async fn wrap(&self, topic: &str, payload: &Value) -> Result<Wrapped, WrapError> {
        self.seller.wrap_value(self.api_id, topic, payload).await
    }

    async fn publish(&self, topic: &str, event: Wrapped) -> Result<(), MarketError> {
        self.seller.publish(topic, event).await
    }

    async fn joined(&self) {
        let mut state = self.seller.state();
        if state.wait_for(|state| *state == SellerState::Started).await.is_err() {
            // The seller has gone, which ends the service.
            pending::<()>().await;
        }
    }
}
