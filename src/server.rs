//! The service: three listeners over the same components.
//!
//! | listener | has | for |
//! |---|---|---|
//! | public | `POST /v1/push` alone | Pub/Sub, from the internet |
//! | internal | probes, metrics, status, lookup: read only, from memory | the kubelet, Prometheus, people in the cluster |
//! | admin | the push endpoint with `?dry_run=true`, explain, rebuild, status, lookup | people, through `kubectl port-forward` |
//!
//! ```text
//! config     every setting      build       the components, put together      app     what the handlers share
//! lifecycle  the stages from the start to the end, and the tasks             drain   answers that close their connection
//! routes     which paths each listener has; the handlers: push, admin, probes, lookup, rollouts, status, openapi
//! listener   sockets, connections and their limits
//! pieces     a large answer, made while it is read
//! auth       who may push       local_callers  who may call the admin listener
//! ```
//!
//! Clock, listeners and the shutdown are arguments. Only this module knows axum.

mod admin;
mod app;
pub mod auth;
mod build;
mod config;
mod drain;
mod lifecycle;
mod listener;
mod local_callers;
mod lookup;
mod metrics;
pub(crate) mod openapi;
mod pieces;
mod probes;
pub mod problem;
mod push;
mod query;
mod rollouts;
mod routes;
mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
#[cfg(feature = "pull")]
use crate::pull::Puller;
use lifecycle::Lifecycle;
use listener::{ADMIN_CONNECTIONS, Acceptor, INTERNAL_CONNECTIONS, Listener};
use local_callers::LocalCallers;

use build::Service;
pub use config::{DrainArgs, ServeConfig};
pub use lifecycle::{ServeError, Shutdown};
pub(crate) use listener::OTHER_CONNECTIONS;
pub use listener::{Listeners, PublicListenerArgs};
pub(crate) use local_callers::is_loopback;
pub(crate) use lookup::LookupAnswer;

/// Longest wait for requests in flight on the internal listener, which ends last.
const INTERNAL_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// [`ServeError`] where a part of the service died: the process should end, and Kubernetes start it anew.
pub async fn serve(
    config: ServeConfig,
    client: kube::Client,
    clock: Clock,
    listeners: Listeners,
    shutdown: impl Future<Output = Shutdown>,
) -> Result<(), ServeError> {
    let (mut drain, deferred_poll) = (config.drain.clone(), config.waiting.deferred_poll);
    if listeners.public.is_none() {
        // Nobody sends here.
        drain.drain_delay = Duration::ZERO;
    }
    let max_connections = config.public.max_connections;
    #[cfg(feature = "pull")]
    let (pull, poison) = (config.pull.clone(), config.delivery.poison);
    let Service { app, due_restarts, follower, notifications, metrics } = build::service(config, client, clock);
    // A mount makes the service ready before its first request.
    app.resolver.load_mount().await;

    let mut lifecycle = Lifecycle::new(Arc::clone(&app.draining));
    let resolver = Arc::clone(&app.resolver);
    lifecycle.background("index", |end| async move { resolver.run(end).await });
    if let Some(authenticator) = app.authenticator.clone() {
        lifecycle.background("signing keys", |end| async move { authenticator.run(end).await });
    }
    lifecycle.background("pushes that wait", |end| async move { due_restarts.run(end).await });
    lifecycle.background("rollouts", |end| async move { follower.run(end).await });
    lifecycle.background("notifications", |end| notifications.run(end));

    let of_unseen = Arc::clone(&app);
    lifecycle
        .background("unseen parts", |end| async move { of_unseen.deliveries.run_unseen(deferred_poll, end).await });

    let acceptor = |listener, router, max_connections, drain_timeout| Acceptor {
        listener,
        router,
        max_connections,
        drain_timeout,
        metrics: metrics.clone(),
    };
    if let Some(listener) = listeners.public {
        let public = acceptor(Listener::Public, routes::public(&app), max_connections, drain.drain_timeout);
        lifecycle.entrance(Listener::Public.task(), |end| public.serve(listener, end));
    }
    #[cfg(feature = "pull")]
    for subscription in &app.subscriptions {
        let (subscription, deliveries) = (Arc::clone(subscription), Arc::clone(&app.deliveries));
        let settings = (poison, clock, drain.drain_timeout);
        let puller = Puller::new(pull.clone(), subscription, deliveries, settings, app.pull_metrics.clone());
        lifecycle.entrance("pulling", |end| puller.run(end));
    }
    let admin_router = routes::admin(&app, LocalCallers::of(&listeners.admin));
    let admin = acceptor(Listener::Admin, admin_router, ADMIN_CONNECTIONS, drain.drain_timeout);
    lifecycle.entrance(Listener::Admin.task(), |end| admin.serve(listeners.admin, end));
    // Probes and metrics are answered to the end.
    let internal = acceptor(Listener::Internal, routes::internal(&app), INTERNAL_CONNECTIONS, INTERNAL_DRAIN_TIMEOUT);
    lifecycle.background(Listener::Internal.task(), |end| internal.serve(listeners.internal, end));

    lifecycle.run(drain.drain_delay, shutdown).await
}
