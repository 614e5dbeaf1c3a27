//! A listener's accept loop: HTTP/1.1, a time limit for headers, and a graceful end with a deadline.
//!
//! `axum::serve` sets no hyper timer, so a half-sent header would hold a graceful end up for ever.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longest time for a request's headers to arrive, and for an idle connection to stay open.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Out of file descriptors, for example: others close soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `end`, then lets requests in flight finish, at most for `drain_timeout`.
pub(super) async fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    end: CancellationToken,
    drain_timeout: Duration,
) -> &'static str {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    while let Some(accepted) = end.run_until_cancelled(listener.accept()).await {
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                // Answers are small and whole: there is nothing to wait for.
                let _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(router.clone());
                let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(listener = name, "a connection ended: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(listener = name, "accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(listener = name, "requests were still in flight after {drain_timeout:?} and are cut off");
    }
    name
}
