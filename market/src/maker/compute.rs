//! Signing, and recovering signers, away from the arbiter: its timers and messages would have to wait.

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use xbr_core::{Address, Eip712, Signature, Signer};

/// Begins a computation on a worker thread at once; `None` when it panicked.
pub(super) fn on_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, Option<T>> {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        // Whoever asked may have gone; the result is then nobody's.
        let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok());
    });
    Box::pin(async move { result.await.ok().flatten() })
}

/// Who signed a message, if it can be told.
pub(super) fn signer_of(message: &impl Eip712, signature: &Signature) -> Option<Address> {
    message.recover(signature).ok()
}

/// Signs a message. A failure is told to the log: the key is the operator's.
pub(super) fn sign(signer: &dyn Signer, message: &impl Eip712) -> Option<Signature> {
    message.sign(signer).inspect_err(|error| tracing::error!(%error, "cannot sign")).ok()
}
