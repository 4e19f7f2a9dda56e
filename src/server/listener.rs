//! Accepting connections and speaking HTTP on them.
//!
//! A connection is accepted only when a descriptor is left for it, so that a flood of them waits in the kernel's queue and
//! never takes the descriptors that files need.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::http::{Connection, Edge, router};
use crate::limits::{REQUEST_HEAD_BYTES, REQUEST_HEAD_TIME};

/// How long to wait after a connection could not be accepted.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections until it is aborted, which closes the listener.
pub(super) async fn accept(listener: TcpListener, edge: Edge, descriptors: u64) {
    let permits = Arc::new(Semaphore::new(super::descriptors::connections(descriptors)));
    let router = router(edge.clone());
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                edge.tasks.spawn(serve(stream, permit, router.clone(), edge.stopping.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted; waiting {BACK_OFF:?}");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, permit: OwnedSemaphorePermit, router: Router, stopping: CancellationToken) {
    // A peer that is gone already, or a socket that cannot be set up, has nobody to tell.
    let (Ok(peer), Ok(())) = (stream.peer_addr(), stream.set_nodelay(true)) else {
        return;
    };
    let connection = Connection { peer: peer.ip(), permit: Arc::new(permit) };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD_TIME)
        .max_buf_size(REQUEST_HEAD_BYTES)
        .pipeline_flush(true);
    let serving = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
