//! The Prometheus metrics. Labels are closed sets: no image, no workload, no error text.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: a push answered from the mount takes milliseconds, one that waits for a scan seconds.
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds in seconds: a redelivery may come a week after it was published.
const PUBLISH_BUCKETS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// Every metric, and the registry that shows them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `pushroll_pushes_total{outcome}`
    pub pushes: Family<OutcomeLabel, Counter>,
    /// `pushroll_restarts_total{kind,action}`
    pub restarts: Family<RestartLabels, Counter>,
    /// `pushroll_lookups_total{tier}`
    pub lookups: Family<TierLabel, Counter>,
    /// `pushroll_push_duration_seconds`
    pub push_duration: Histogram,
    /// `pushroll_publish_to_patch_seconds`
    pub publish_to_patch: Histogram,
    /// `pushroll_kubernetes_requests_total{verb,resource,code}`
    pub kubernetes_requests: Family<RequestLabels, Counter>,
    /// `pushroll_kubernetes_calls_in_flight`
    pub kubernetes_calls_in_flight: Gauge,
    /// `pushroll_kubernetes_calls_waiting`
    pub kubernetes_calls_waiting: Gauge,
    /// `pushroll_auth_total{result}`
    pub auth: Family<AuthLabel, Counter>,
    /// `pushroll_signing_key_fetches_total{result}`
    pub signing_key_fetches: Family<FetchLabel, Counter>,
    /// `pushroll_signing_keys_fresh_until_seconds`
    pub signing_keys_fresh_until: Gauge<f64, AtomicU64>,
    /// `pushroll_connections{listener}`
    pub connections: Family<ListenerLabel, Gauge>,
    /// `pushroll_refused_total{listener,reason}`
    pub refused: Family<RefusedLabels, Counter>,
    /// `pushroll_held_pushes`
    pub held_pushes: Gauge<i64, AtomicI64>,
    /// `pushroll_queued_restarts`
    pub queued_restarts: Gauge,
    /// `pushroll_deferred_workloads`
    pub deferred_workloads: Gauge,
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `restarted`, `current`, ...
    pub outcome: &'static str,
}

/// What was done to a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RestartLabels {
    /// `Deployment`, ...
    pub kind: &'static str,
    /// `restarted`, `current`, ...
    pub action: &'static str,
}

/// Where an index came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TierLabel {
    /// `mount`, `configmap`, `scan`, `watch`, or `none`.
    pub tier: &'static str,
}

/// A call to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `get`, `list`, `watch`, `patch`, `create`.
    pub verb: &'static str,
    /// `deployments`, ...
    pub resource: &'static str,
    /// The HTTP status, 0 where no answer came.
    pub code: u16,
}

/// What became of a push at the door.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AuthLabel {
    /// `accepted`, or the check that failed: `no_token`, `malformed`, `algorithm`, `unknown_key`, `signature`,
    /// `expired`, `not_yet_valid`, `issuer`, `audience`, `email`, `email_not_verified`; `no_keys` where none could be
    /// made.
    pub result: &'static str,
}

/// Where somebody has connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabel {
    /// `public`, `internal`, `admin`.
    pub listener: &'static str,
}

/// What was beyond a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    /// As in [`ListenerLabel`].
    pub listener: &'static str,
    /// The limit. Connections that were refused: `connections`; that were closed: `displaced`, `header_time`,
    /// `header_memory`, `write_time`. Requests that were refused: `requests`, `body_time`, `body_memory`, `body_size`.
    pub reason: &'static str,
}

/// How a fetch ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FetchLabel {
    /// `fetched` or `failed`.
    pub result: &'static str,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("pushroll"),
            pushes: Family::default(),
            restarts: Family::default(),
            lookups: Family::default(),
            push_duration: Histogram::new(DURATION_BUCKETS),
            publish_to_patch: Histogram::new(PUBLISH_BUCKETS),
            kubernetes_requests: Family::default(),
            kubernetes_calls_in_flight: Gauge::default(),
            kubernetes_calls_waiting: Gauge::default(),
            auth: Family::default(),
            signing_key_fetches: Family::default(),
            signing_keys_fresh_until: Gauge::default(),
            connections: Family::default(),
            refused: Family::default(),
            held_pushes: Gauge::default(),
            queued_restarts: Gauge::default(),
            deferred_workloads: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("pushes", "Pushes answered, by outcome", self.pushes.clone());
        registry.register("restarts", "Workloads a push was decided for, by kind and action", self.restarts.clone());
        registry.register("lookups", "Lookups, by the tier whose index answered", self.lookups.clone());
        registry.register("push_duration_seconds", "From a push's arrival to its answer", self.push_duration.clone());
        registry.register(
            "publish_to_patch_seconds",
            "From a push's publish time to a workload's PATCH accepted by the API server",
            self.publish_to_patch.clone(),
        );
        registry.register(
            "kubernetes_requests",
            "Calls to the API server, by verb, resource and status (0: no answer)",
            self.kubernetes_requests.clone(),
        );
        registry.register(
            "kubernetes_calls_in_flight",
            "Calls to the API server that are being made now, watches apart; --concurrency at most",
            self.kubernetes_calls_in_flight.clone(),
        );
        registry.register(
            "kubernetes_calls_waiting",
            "Calls to the API server that wait now for their turn, or because it has asked for a pause",
            self.kubernetes_calls_waiting.clone(),
        );
        registry.register(
            "auth",
            "Pushes whose token was checked, by result: accepted, or the check that failed",
            self.auth.clone(),
        );
        registry.register(
            "signing_key_fetches",
            "Fetches of the keys that tokens are checked with, by result",
            self.signing_key_fetches.clone(),
        );
        registry.register(
            "signing_keys_fresh_until_seconds",
            "When the keys that tokens are checked with expire, Unix time; they are used for a day after",
            self.signing_keys_fresh_until.clone(),
        );
        registry.register("connections", "Open connections, by listener", self.connections.clone());
        registry.register(
            "refused",
            "Connections and requests that were refused or cut off, by listener and the limit that they met",
            self.refused.clone(),
        );
        registry.register("held_pushes", "Pushes whose answer waits for a proof now", self.held_pushes.clone());
        registry.register(
            "queued_restarts",
            "Workloads that a push waits for now, because another push of the image is at work on them",
            self.queued_restarts.clone(),
        );
        registry.register(
            "deferred_workloads",
            "Workloads on which a push waits for the end of a cooldown, as of the last look; every replica sees them all",
            self.deferred_workloads.clone(),
        );
    }

    /// For the metrics that components keep themselves.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The exposition text, OpenMetrics 1.0.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
