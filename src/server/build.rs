//! The components of the service, built from its settings and put together.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use super::app::App;
use super::auth::{AuthMetrics, Authenticator};
use super::config::ServeConfig;
use super::listener::in_flight::InFlight;
use super::metrics::ServerMetrics;
use crate::cache::{CacheMetrics, Resolver, ResolverConfig};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterMetrics, LeaseHolder};
use crate::delivery::{Deliveries, DeliveryMetrics, OwnPod};
use crate::following::{self, Follower, FollowerConfig, FollowingMetrics};
use crate::notify::{Notifier, NotifyMetrics, Queues};
use crate::pull::{PullMetrics, Subscription};
use crate::rollout::waiting::Waiting;
use crate::rollout::{DueRestarts, FIELD_MANAGER, RestartConfig, Restarter, RolloutMetrics, WaitingArgs};

/// For how long the replica that tries what waits holds the Lease.
const LEASE: Duration = Duration::from_secs(15);

/// The service, as it is built.
pub(super) struct Service {
    pub(super) app: Arc<App>,
    pub(super) due_restarts: DueRestarts,
    pub(super) follower: Follower,
    pub(super) notifications: Queues,
    pub(super) metrics: ServerMetrics,
}

/// Nothing runs yet.
pub(super) fn service(config: ServeConfig, client: kube::Client, clock: Clock) -> Service {
    let ServeConfig {
        auth,
        config_map,
        mount,
        own_pod,
        cache,
        delivery,
        public,
        cluster,
        following,
        waiting,
        policy,
        notify,
        pull,
        ..
    } = config;
    let concurrency = cluster.concurrency;
    let (clock_margin, verify_pods) = (policy.clock_margin, following.verify_pods);

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
    let following_metrics = FollowingMetrics::default();
    following_metrics.register(&mut registry);
    let auth_metrics = AuthMetrics::default();
    auth_metrics.register(&mut registry);
    let notify_metrics = NotifyMetrics::default();
    notify_metrics.register(&mut registry);

    let cluster = Cluster::new(client, clock, cluster_metrics).with_concurrency(concurrency);
    let scope = policy.policy().scope;
    // Labels take memory; only a selector asks for them.
    let identity = identity(own_pod.as_ref());
    let watch = cache.watch_config(policy.selector.is_some(), || identity.clone());
    let (namespace, is_watching) = (config_map.namespace.clone(), watch.is_some());
    let following_scope = scope.clone();
    let resolver_config =
        ResolverConfig { watch, ..ResolverConfig::new(&cache, scope, config_map, mount, clock_margin) };
    let resolver = Arc::new(Resolver::new(resolver_config, cluster.clone(), cache_metrics));
    let WaitingArgs { waiting_configmap, deferred_poll, gather } = waiting;
    let restarts = RestartConfig { policy: policy.policy(), clock_margin, concurrency, gather };
    let store = Arc::new(Waiting::new(cluster.clone(), &namespace, &waiting_configmap));
    let restarter = Restarter::new(cluster.clone(), restarts, Some(Arc::clone(&store)), rollout_metrics);
    let lease = |manager| LeaseHolder::new(&namespace, &waiting_configmap, identity.clone(), LEASE, manager);
    let due_restarts = DueRestarts::new(&restarter, deferred_poll, Some(lease(FIELD_MANAGER)));
    let pull_metrics = PullMetrics::default();
    pull_metrics.register(&mut registry);
    let subscriptions = pull.subscriptions().into_iter().map(|name| Arc::new(Subscription::new(name))).collect();
    let (notifier, notifications) = Notifier::new(notify, clock, notify_metrics);
    let follower_config = FollowerConfig {
        args: following,
        scope: following_scope,
        is_watching,
        idle_pause: deferred_poll.saturating_mul(3),
        instance: own_pod.as_ref().map_or("pushroll", |pod| pod.name.as_str()).to_owned(),
        at_once: concurrency / 2,
    };
    let follower = following::follower(
        cluster,
        &restarter,
        Arc::clone(&store),
        lease(following::FIELD_MANAGER),
        notifier,
        follower_config,
        following_metrics,
    );
    let (poison, in_flight) = (delivery.poison, InFlight::new(&public, delivery.hold));
    let waiting = Arc::clone(&store);
    let deliveries =
        Deliveries::new(delivery, own_pod, clock, Arc::clone(&resolver), restarter, Some(store), delivery_metrics);
    let authenticator = auth.map(|auth| Arc::new(Authenticator::new(auth, clock, auth_metrics)));
    let app = App {
        deliveries: Arc::new(deliveries),
        resolver,
        authenticator,
        registry,
        max_body: public.max_body,
        in_flight,
        poison,
        clock,
        waiting,
        verify_pods,
        subscriptions,
        pull_metrics,
        draining: Arc::default(),
    };
    Service { app: Arc::new(app), due_restarts, follower, notifications, metrics: server_metrics }
}

/// What tells this replica from the others: its pod's name, this process in the pod, and this service in the process.
fn identity(own_pod: Option<&OwnPod>) -> String {
    let host = own_pod.map_or("pushroll", |pod| pod.name.as_str());
    format!("{host}_{}_{}", std::process::id(), Clock::system().now().as_nanosecond())
}
