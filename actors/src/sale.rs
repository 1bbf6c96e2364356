//! The part of a sale or close that needs no order: look up the key, recover the signer, seal, sign. It runs on
//! worker threads, for many requests at a time, ahead of the [`ChannelLedger`](crate::ChannelLedger)'s ordered step,
//! and changes nothing: a signature made here leaves only after the ledger has decided and stored.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::Span;
use xbr_compute::on_worker;
use xbr_core::channel::ChannelTerms;
use xbr_core::eip712::Eip712;
use xbr_core::reject::{CloseReject, SaleReject};
use xbr_core::signer::Signer;
use xbr_core::wire::{CloseRequest, SellReceipt, SellRequest};
use xbr_core::{Address, Amount, ApiId, Signature, crypto};
use xbr_store::KeyRecord;
use xbr_store::kill_point::Step;

use crate::spans::step;

/// A sale's unordered part, under way.
pub type PreparingSale = BoxFuture<'static, Result<PreparedSale, SaleReject>>;
/// A close's unordered part, under way.
pub type PreparingClose = BoxFuture<'static, Result<PreparedClose, CloseReject>>;

/// What the ledger needs beyond the request to judge a sale and make its record.
#[derive(Debug)]
pub struct PreparedSale {
    /// The API that the key is of; `None` when it is not known any more.
    pub api_id: Option<ApiId>,
    /// What the key was offered for.
    pub price: Amount,
    /// Whether the market maker signed exactly the state of the request.
    pub signed: bool,
    /// The data key, sealed to the buyer: 80 bytes.
    pub sealed_key: Vec<u8>,
    /// The seller's signature over the state.
    pub signature: Signature,
    /// What the steps that follow are traced below.
    pub span: Span,
}

/// A sale that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sold {
    /// The answer.
    pub receipt: SellReceipt,
    /// The API of the key; `None` when the key has left the archive.
    pub api_id: Option<ApiId>,
    /// Whether it had been sold before, and this is the receipt of then.
    pub is_repeat: bool,
}

/// What the ledger needs beyond the request to judge a close and make its record.
#[derive(Debug)]
pub struct PreparedClose {
    /// Whether the market maker signed exactly the state of the request.
    pub signed: bool,
    /// The seller's signature over the state.
    pub signature: Signature,
}

/// Recovers, seals and signs on a worker thread, from now on.
pub(crate) fn prepare_sale(
    request: SellRequest,
    terms: Arc<ChannelTerms>,
    key: KeyRecord,
    signer: Arc<dyn Signer>,
    span: Span,
) -> impl Future<Output = Result<PreparedSale, SaleReject>> {
    let work = move || {
        let crypto = step!(&span, "crypto");
        let sealing = step!(&crypto, "seal");
        let sealed_key =
            key.key.seal_to(&request.buyer_key).map_err(|_| SaleReject::InvalidBuyerKey)?.to_vec();
        drop(sealing);
        Step::Sealed.pass();
        // The market maker's signature and ours cover the same message: it is hashed once.
        let hashing = step!(&crypto, "digest");
        let digest = terms.state(request.channel_seq, request.balance, false).digest();
        drop(hashing);
        let signing = step!(&crypto, "sign");
        let signature = signer.sign_digest(&digest).map_err(|error| {
            tracing::error!(%error, "cannot sign a sale");
            SaleReject::Unavailable { reason: "the seller cannot sign" }
        })?;
        drop(signing);
        Step::Signed.pass();
        let recovering = step!(&crypto, "recover");
        let signed = is_signed_by(&digest, &request.signature, terms.market_maker);
        drop((recovering, crypto));
        Ok(PreparedSale { api_id: Some(key.api_id), price: key.price, signed, sealed_key, signature, span })
    };
    let failed = SaleReject::Unavailable { reason: "the seller failed" };
    on_worker(work).map(|prepared| prepared.unwrap_or(Err(failed)))
}

/// Recovers and signs on a worker thread.
pub(crate) async fn prepare_close(
    request: CloseRequest,
    terms: Arc<ChannelTerms>,
    signer: Arc<dyn Signer>,
) -> Result<PreparedClose, CloseReject> {
    let work = move || {
        let digest = terms.state(request.channel_seq, request.balance, request.is_final).digest();
        let signature = signer.sign_digest(&digest).map_err(|error| {
            tracing::error!(%error, "cannot sign a close");
            CloseReject::Unavailable { reason: "the seller cannot sign" }
        })?;
        Step::Signed.pass();
        let signed = is_signed_by(&digest, &request.signature, terms.market_maker);
        Ok(PreparedClose { signed, signature })
    };
    let failed = CloseReject::Unavailable { reason: "the seller failed" };
    on_worker(work).await.unwrap_or(Err(failed))
}

/// Whether a market maker signed a sale's state, for a channel that is not known yet.
pub(crate) async fn is_signed(request: SellRequest, terms: ChannelTerms) -> bool {
    let work = move || {
        let digest = terms.state(request.channel_seq, request.balance, false).digest();
        is_signed_by(&digest, &request.signature, terms.market_maker)
    };
    on_worker(work).await.unwrap_or(false)
}

fn is_signed_by(digest: &[u8; 32], signature: &Signature, expected: Address) -> bool {
    crypto::recover(digest, signature).is_ok_and(|signer| signer == expected)
}
