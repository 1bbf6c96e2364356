//! Taking connections: a bounded number at a time, each until its client goes or the service stops.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// After a failure to take a connection, such as for want of file descriptors, nobody is taken for so long.
const RESPITE: Duration = Duration::from_millis(100);

/// Serves until `stop` is true, and then until every answer that is under way is given.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    header_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            taken = take(&listener, &slots) => taken,
        };
        connections.spawn(connection(stream, slot, router.clone(), header_timeout, stop.clone()));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Runs something for as long as `stop` is false.
pub(super) async fn until_stopped(mut stop: watch::Receiver<bool>, running: impl Future<Output = ()>) {
    tokio::select! {
        () = stopped(&mut stop) => {}
        () = running => {}
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so and has gone has stopped everything.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whoever finds no slot waits in the operating system's queue.
async fn take(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection of the HTTP interface");
                tokio::time::sleep(RESPITE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    slot: Option<OwnedSemaphorePermit>,
    router: Router,
    header_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // Answers are small, and events shall not wait for each other.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the HTTP interface broke off");
    }
    drop(slot);
}
