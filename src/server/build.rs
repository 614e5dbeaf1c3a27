//! The components of the service, built from its settings and put together.

use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::app::App;
use super::auth::{AuthMetrics, Authenticator};
use super::config::ServeConfig;
use super::listener::in_flight::InFlight;
use super::metrics::ServerMetrics;
use crate::cache::{CacheMetrics, Resolver, ResolverConfig};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterMetrics};
use crate::delivery::{Deliveries, DeliveryMetrics, OwnPod};
use crate::rollout::{Restarter, RolloutMetrics};

/// Nothing runs yet.
pub(super) fn service(config: ServeConfig, client: kube::Client, clock: Clock) -> (Arc<App>, Restarter, ServerMetrics) {
    let ServeConfig {
        auth, config_map, mount, own_pod, cache, delivery, public, cluster, policy, unseen_pushes, ..
    } = config;
    let concurrency = cluster.concurrency;
    let clock_margin = policy.clock_margin;

    let mut registry = Registry::with_prefix("pushroll");
    let server_metrics = ServerMetrics::default();
    server_metrics.register(&mut registry);
    let cluster_metrics = ClusterMetrics::default();
    cluster_metrics.register(&mut registry);
    let cache_metrics = CacheMetrics::default();
    cache_metrics.register(&mut registry);
    let rollout_metrics = RolloutMetrics::default();
    rollout_metrics.register(&mut registry);
    let delivery_metrics = DeliveryMetrics::default();
    delivery_metrics.register(&mut registry);
    let auth_metrics = AuthMetrics::default();
    auth_metrics.register(&mut registry);

    let cluster = Cluster::new(client, clock, cluster_metrics).with_concurrency(concurrency);
    let scope = policy.policy().scope;
    // Labels take memory; only a selector asks for them.
    let watch = cache.watch_config(policy.selector.is_some(), || identity(own_pod.as_ref()));
    let resolver_config =
        ResolverConfig { watch, ..ResolverConfig::new(&cache, scope, config_map, mount, clock_margin) };
    let resolver = Arc::new(Resolver::new(resolver_config, cluster.clone(), cache_metrics));
    let restarter = Restarter::new(cluster, policy.policy(), clock_margin, concurrency, rollout_metrics);
    let (poison, in_flight) = (delivery.poison, InFlight::new(&public, delivery.hold));
    let deliveries = Deliveries::new(
        delivery,
        own_pod,
        clock,
        Arc::clone(&resolver),
        restarter.clone(),
        unseen_pushes,
        delivery_metrics,
    );
    let authenticator = auth.map(|auth| Arc::new(Authenticator::new(auth, clock, auth_metrics)));
    let app = App {
        deliveries,
        resolver,
        authenticator,
        registry,
        max_body: public.max_body,
        in_flight,
        poison,
        clock,
        draining: Arc::default(),
    };
    (Arc::new(app), restarter, server_metrics)
}

/// What tells this replica from the others: its pod's name, this process in the pod, and this service in the process.
fn identity(own_pod: Option<&OwnPod>) -> String {
    let host = own_pod.map_or("pushroll", |pod| pod.name.as_str());
    format!("{host}_{}_{}", std::process::id(), Clock::system().now().as_nanosecond())
}
