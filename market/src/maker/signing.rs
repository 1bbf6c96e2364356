//! Signing, and recovering signers, for a worker to do.

use xbr_core::{Address, Eip712, Signature, Signer};

/// Who signed a message, if it can be told.
pub(super) fn signer_of(message: &impl Eip712, signature: &Signature) -> Option<Address> {
    message.recover(signature).ok()
}

/// Signs a message. A failure is told to the log: the key is the operator's.
pub(super) fn sign(signer: &dyn Signer, message: &impl Eip712) -> Option<Signature> {
    message.sign(signer).inspect_err(|error| tracing::error!(%error, "cannot sign")).ok()
}
