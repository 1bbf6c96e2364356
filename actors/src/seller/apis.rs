//! Adding and removing APIs, and telling what there is.

use super::*;
use crate::channel_ledger;
use crate::key_series::{self, Halt, KeyRotated, Pause, RotateNow, SeriesOptions, Subscribe, Unpause};
use crate::messages::{FetchBalance, ask};
use crate::options::ApiError;
use crate::wrapper::WrapError;

impl Seller {
    fn add(&mut self, options: ApiOptions, ctx: &Context<Self>) -> Result<Arc<Keyring>, ApiError> {
        options.check()?;
        let api_id = options.terms.api_id;
        if self.apis.contains_key(&api_id) {
            return Err(ApiError::Exists { api_id });
        }
        let options = SeriesOptions {
            terms: options.terms,
            rotation: options.rotation,
            store: self.options.store.clone(),
            clock: self.options.clock.clone(),
            entropy: self.options.entropy.clone(),
            patience: self.options.wrap_patience,
            offline_keys: self.options.offline_keys,
            retention: self.options.retention,
            on_retired: Some(ctx.address().recipient()),
            observers: self.options.observers.clone(),
        };
        let keyring = Arc::new(Keyring::default());
        let (series, incarnation) = self.make_series(options.clone(), keyring.clone(), ctx);
        let wrapper = KeySeries::wrapper_of(&options, keyring.clone());
        let api = Api { options, keyring: keyring.clone(), series, incarnation, on_rotate: Vec::new() };
        self.apis.insert(api_id, api);
        self.directory.insert(api_id, wrapper);
        Ok(keyring)
    }
}

impl Handler<AddApi> for Seller {
    type Result = ResponseFuture<Result<(), ApiError>>;

    fn handle(&mut self, message: AddApi, ctx: &mut Self::Context) -> Self::Result {
        let waited = self.options.wrap_patience;
        match self.add(message.0, ctx) {
            Ok(keyring) => Box::pin(async move {
                tokio::time::timeout(waited, keyring.first()).await.map_err(|_| ApiError::NoKey { waited })
            }),
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }
}

impl Handler<RemoveApi> for Seller {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, message: RemoveApi, _: &mut Self::Context) -> Self::Result {
        let Some(api) = self.apis.remove(&message.0) else { return Box::pin(async { false }) };
        self.directory.remove(message.0);
        Box::pin(async move {
            // A series that has died has nothing to revoke any more.
            let _ = api.series.send(Halt).await;
            true
        })
    }
}

impl Handler<OnRotate> for Seller {
    type Result = bool;

    fn handle(&mut self, message: OnRotate, _: &mut Self::Context) -> bool {
        let Some(api) = self.apis.get_mut(&message.api_id) else { return false };
        let subscriber: Recipient<KeyRotated> = message.subscriber;
        api.on_rotate.push(subscriber.clone());
        api.series.try_send(Subscribe(subscriber)).is_ok()
    }
}

impl Handler<RotateApi> for Seller {
    type Result = ResponseFuture<Result<KeyId, WrapError>>;

    fn handle(&mut self, message: RotateApi, _: &mut Self::Context) -> Self::Result {
        let api_id = message.0;
        let Some(api) = self.apis.get(&api_id) else {
            return Box::pin(async move { Err(WrapError::UnknownApi { api_id }) });
        };
        let rotated = api.series.send(RotateNow);
        let waited = self.options.wrap_patience;
        Box::pin(async move {
            match tokio::time::timeout(waited, rotated).await {
                Ok(Ok(result)) => result,
                // A series that has died is replaced, and begins with a new key.
                Ok(Err(_)) | Err(_) => Err(WrapError::NoKey { waited }),
            }
        })
    }
}

impl Handler<PauseApi> for Seller {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, message: PauseApi, _: &mut Self::Context) -> Self::Result {
        let Some(api) = self.apis.get(&message.0) else { return Box::pin(async { false }) };
        // Also for the successor of a series that has just died.
        api.keyring.set_paused(true);
        let told = api.series.send(Pause);
        Box::pin(async move {
            let _ = told.await;
            true
        })
    }
}

impl Handler<ResumeApi> for Seller {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, message: ResumeApi, _: &mut Self::Context) -> Self::Result {
        let Some(api) = self.apis.get(&message.0) else { return Box::pin(async { false }) };
        let (told, keyring) = (api.series.send(Unpause), api.keyring.clone());
        Box::pin(async move {
            if told.await.is_err() {
                // The successor of a series that has died begins with a new key by itself.
                keyring.set_paused(false);
            }
            true
        })
    }
}

impl Handler<SetPrice> for Seller {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, message: SetPrice, _: &mut Self::Context) -> Self::Result {
        let Some(api) = self.apis.get_mut(&message.api_id) else { return Box::pin(async { false }) };
        // For the successor of a series that dies.
        api.options.terms.price = message.price;
        let told = api.series.send(key_series::SetPrice(message.price));
        Box::pin(async move {
            let _ = told.await;
            true
        })
    }
}

impl Handler<Balance> for Seller {
    type Result = ResponseFuture<Result<Vec<ChannelReport>, BalanceError>>;

    fn handle(&mut self, _: Balance, _: &mut Self::Context) -> Self::Result {
        let Some(children) = &self.children else { return Box::pin(async { Err(BalanceError::Gone) }) };
        let statuses = children.ledger.send(channel_ledger::Observe);
        let fetch = children.market.fetch_balance.clone();
        Box::pin(async move {
            let statuses = statuses.await.map_err(|_| BalanceError::Gone)?;
            let reports = statuses.into_iter().map(|local| async {
                let channel_id = local.channel.terms.channel_id;
                let remote = ask(&fetch, FetchBalance { channel_id }).await;
                ChannelReport { local, remote }
            });
            Ok(futures_util::future::join_all(reports).await)
        })
    }
}

impl Handler<Observe> for Seller {
    type Result = ResponseFuture<SellerStatus>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let (state, in_flight) = (self.current_state(), self.in_flight.count());
        let channels = self.children.as_ref().map(|children| children.ledger.send(channel_ledger::Observe));
        let apis: Vec<_> = self.apis.values().map(|api| api.series.send(key_series::Observe)).collect();
        Box::pin(async move {
            let channels = match channels {
                Some(channels) => channels.await.unwrap_or_default(),
                None => Vec::new(),
            };
            // A series that has just died is missing until its successor answers.
            let apis =
                futures_util::future::join_all(apis).await.into_iter().filter_map(Result::ok).collect();
            SellerStatus { state, in_flight, apis, channels }
        })
    }
}
