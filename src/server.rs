//! The service: three listeners over one room.
//!
//! | listener | has | for |
//! |---|---|---|
//! | public | `POST /v1/push` alone | Pub/Sub, from the internet |
//! | internal | probes, metrics, status, lookup: read only, from memory | the kubelet, Prometheus, people in the cluster |
//! | admin | the push endpoint with `?dry_run=true`, explain, rebuild, status, lookup | people, through `kubectl port-forward` |
//!
//! The public listener knows who pushes (`auth`); the admin listener is for callers on the same machine that are no
//! browser's pages (`local_callers`).
//!
//! Clock, listeners and the end are arguments. Only this module knows axum (and the embedded Kubernetes, which
//! is a server of its own).

mod accept;
mod admin;
pub mod auth;
mod config;
mod connection;
mod connections;
mod drain;
mod in_flight;
mod listener;
mod local_callers;
mod lookup;
pub(crate) mod openapi;
mod probes;
pub mod problem;
mod push;
mod query;
mod status;

pub use config::ServeConfig;
pub use in_flight::Limits;
pub use listener::Listeners;
pub(crate) use listener::OTHER_CONNECTIONS;
pub(crate) use local_callers::{is_local, is_loopback};
pub(crate) use lookup::LookupAnswer;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::cache::{Resolver, ResolverConfig};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::delivery::answer::Poison;
use crate::delivery::{Deliveries, DeliveryConfig, DeliveryMetrics};
use crate::rollout::Restarter;
use crate::telemetry::Metrics;
use accept::Accept;
use auth::{AuthMetrics, Authenticator};
use in_flight::InFlight;
use listener::{ADMIN_CONNECTIONS, INTERNAL_CONNECTIONS, Listener};
use local_callers::LocalCallers;

/// Why the service is not ready.
const NO_INDEX: &str = "no index is loaded yet";
const NO_SIGNING_KEYS: &str = "there are no keys to check tokens with";
const DRAINING: &str = "draining";

/// Why the service ended other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A task that must not end has ended.
    #[error("the {task} ended unexpectedly: {reason}")]
    TaskEnded {
        /// Which.
        task: &'static str,
        /// How.
        reason: String,
    },
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) deliveries: Deliveries,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) authenticator: Option<Arc<Authenticator>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) max_body: usize,
    pub(crate) in_flight: InFlight,
    pub(crate) poison: Poison,
    pub(crate) clock: Clock,
    draining: AtomicBool,
}

impl App {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why the service is not ready; `None` where it is.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some(DRAINING)
        } else if self.resolver.current().is_none() {
            Some(NO_INDEX)
        } else if self.authenticator.as_ref().is_some_and(|authenticator| !authenticator.signing_keys().usable) {
            Some(NO_SIGNING_KEYS)
        } else {
            None
        }
    }
}

/// Serves until `shutdown` is over, then drains. `shutdown` says how long requests are still taken then: others need a
/// while to hear that this replica is going.
///
/// # Errors
/// [`ServeError`] where a part of the service died: the process should end, and Kubernetes start it anew.
pub async fn serve(
    config: ServeConfig,
    client: kube::Client,
    clock: Clock,
    listeners: Listeners,
    shutdown: impl Future<Output = Duration>,
) -> Result<(), ServeError> {
    let (drain_timeout, deferred_poll) = (config.drain_timeout, config.deferred_poll);
    let max_connections = config.limits.connections;
    let (app, restarter) = build(config, client, clock);
    let app = Arc::new(app);
    // A mount makes the service ready before its first request.
    app.resolver.load_mount().await;

    let (draining, done) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = tokio::task::JoinSet::new();
    let resolver = Arc::clone(&app.resolver);
    let resolver_end = done.clone();
    tasks.spawn(async move {
        resolver.run(resolver_end).await;
        "index"
    });
    if let Some(authenticator) = app.authenticator.clone() {
        let end = done.clone();
        tasks.spawn(async move {
            authenticator.run(end).await;
            "signing keys"
        });
    }
    let callers = LocalCallers::of(&listeners.admin);
    let (resolver, deferred_end) = (Arc::clone(&app.resolver), done.clone());
    tasks.spawn(async move {
        let watch_is_live = || resolver.watch_is_live();
        restarter.run_deferred(deferred_poll, watch_is_live, deferred_end).await;
        "deferred pushes"
    });
    let accept = |listener: Listener, router: Router, max_connections: usize, drain_timeout: Duration| Accept {
        listener,
        router,
        max_connections,
        drain_timeout,
        metrics: Arc::clone(&app.metrics),
    };
    let public = accept(Listener::Public, public_router(&app), max_connections, drain_timeout);
    let public = tasks.spawn(public.serve(listeners.public, draining.clone())).id();
    let admin = accept(Listener::Admin, admin_router(&app, callers), ADMIN_CONNECTIONS, drain_timeout);
    let admin = tasks.spawn(admin.serve(listeners.admin, draining.clone())).id();
    // Probes and metrics are answered to the end.
    let internal = accept(Listener::Internal, internal_router(&app), INTERNAL_CONNECTIONS, Duration::from_secs(1));
    tasks.spawn(internal.serve(listeners.internal, done.clone()));

    let mut result = Ok(());
    let drain_delay = tokio::select! {
        drain_delay = shutdown => drain_delay,
        ended = tasks.join_next() => {
            result = Err(task_ended(ended));
            Duration::ZERO
        }
    };
    app.draining.store(true, Ordering::Relaxed);
    if result.is_ok() && !drain_delay.is_zero() {
        tracing::info!("not ready: requests are taken for another {drain_delay:?}, until nobody sends any");
        tokio::select! {
            () = tokio::time::sleep(drain_delay) => {}
            ended = tasks.join_next() => result = Err(task_ended(ended)),
        }
    }
    if result.is_ok() {
        tracing::info!("draining: no new requests, those in flight are finished");
    }
    draining.cancel();
    let mut open = vec![public, admin];
    while result.is_ok() && !open.is_empty() {
        match tasks.join_next_with_id().await {
            Some(Ok((id, _))) if open.contains(&id) => open.retain(|other| *other != id),
            ended => result = Err(task_ended(ended.map(|ended| ended.map(|(_, task)| task)))),
        }
    }
    done.cancel();
    while tasks.join_next().await.is_some() {}
    tracing::info!("stopped");
    result
}

fn task_ended(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> ServeError {
    match ended {
        Some(Ok(task)) => ServeError::TaskEnded { task, reason: "it returned".to_owned() },
        Some(Err(error)) => ServeError::TaskEnded { task: "service", reason: error.to_string() },
        None => ServeError::TaskEnded { task: "service", reason: "nothing is left of it".to_owned() },
    }
}

fn build(config: ServeConfig, client: kube::Client, clock: Clock) -> (App, Restarter) {
    let (mut metrics, delivery_metrics, auth_metrics) =
        (Metrics::new(), DeliveryMetrics::default(), AuthMetrics::default());
    delivery_metrics.register(metrics.registry());
    auth_metrics.register(metrics.registry());
    let metrics = Arc::new(metrics);
    let cluster = Cluster::new(client, clock, Arc::clone(&metrics)).with_concurrency(config.concurrency);
    let resolver = Arc::new(Resolver::new(
        ResolverConfig {
            scope: config.policy.scope.clone(),
            config_map: config.config_map,
            mount: config.mount,
            mount_poll: config.mount_poll,
            rebuild_interval: config.rebuild_interval,
            refresh_interval: config.refresh_interval,
            clock_margin: config.clock_margin,
            write_back: true,
            refresh_mounts: config.refresh_mounts,
            watch: config.watch,
        },
        cluster.clone(),
        Arc::clone(&metrics),
    ));
    let restarter =
        Restarter::new(cluster, config.policy, config.clock_margin, config.concurrency, Arc::clone(&metrics));
    let delivery_config =
        DeliveryConfig { hold: config.hold, allow_stale: config.allow_stale, own_pod: config.own_pod };
    let deliveries =
        Deliveries::new(delivery_config, clock, Arc::clone(&resolver), restarter.clone(), delivery_metrics);
    let authenticator = config.auth.map(|auth| Arc::new(Authenticator::new(auth, clock, auth_metrics)));
    let app = App {
        deliveries,
        resolver,
        authenticator,
        metrics,
        max_body: config.max_body,
        in_flight: InFlight::new(&config.limits, config.max_body),
        poison: config.poison,
        clock,
        draining: AtomicBool::new(false),
    };
    (app, restarter)
}

fn public_router(app: &Arc<App>) -> Router {
    drain::closing(finish(Router::new().route("/v1/push", post(push::push)), app), app)
}

fn internal_router(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .route("/v1/lookup", get(lookup::lookup))
        .route("/v1/status", get(status::status))
        .route("/openapi.yaml", get(openapi::openapi));
    finish(router, app)
}

fn admin_router(app: &Arc<App>, callers: LocalCallers) -> Router {
    let router = Router::new()
        .route("/v1/push", post(admin::push))
        .route("/v1/explain", get(admin::explain))
        .route("/v1/rebuild", post(admin::rebuild))
        .route("/v1/lookup", get(lookup::lookup))
        .route("/v1/status", get(status::status))
        .route("/openapi.yaml", get(openapi::openapi));
    drain::closing(finish(router, app), app).layer(middleware::from_fn_with_state(callers, local_callers::check))
}

fn finish(router: Router<Arc<App>>, app: &Arc<App>) -> Router {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(Arc::clone(app))
}
