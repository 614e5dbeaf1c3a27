//! The Prometheus metrics. Labels are closed sets: no image, no workload, no error text.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: a redelivery may come a week after it was published.
const PUBLISH_BUCKETS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// Every metric, and the registry that shows them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `pushroll_restarts_total{kind,action}`
    pub restarts: Family<RestartLabels, Counter>,
    /// `pushroll_publish_to_patch_seconds`
    pub publish_to_patch: Histogram,
    /// `pushroll_index_images`
    pub index_images: Gauge,
    /// `pushroll_index_workloads`
    pub index_workloads: Gauge,
    /// `pushroll_index_as_of_seconds{tier}`
    pub index_as_of: Family<TierLabel, Gauge<f64, AtomicU64>>,
    /// `pushroll_watch_live`
    pub watch_live: Gauge,
    /// `pushroll_reloads_total{tier,result}`
    pub reloads: Family<ReloadLabels, Counter>,
    /// `pushroll_cache_document_bytes`
    pub cache_document_bytes: Gauge,
    /// `pushroll_kubernetes_requests_total{verb,resource,code}`
    pub kubernetes_requests: Family<RequestLabels, Counter>,
    /// `pushroll_kubernetes_calls_in_flight`
    pub kubernetes_calls_in_flight: Gauge,
    /// `pushroll_kubernetes_calls_waiting`
    pub kubernetes_calls_waiting: Gauge,
    /// `pushroll_connections{listener}`
    pub connections: Family<ListenerLabel, Gauge>,
    /// `pushroll_refused_total{listener,reason}`
    pub refused: Family<RefusedLabels, Counter>,
    /// `pushroll_queued_restarts`
    pub queued_restarts: Gauge,
    /// `pushroll_deferred_workloads`
    pub deferred_workloads: Gauge,
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

/// How a load of an index ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReloadLabels {
    /// As in [`TierLabel`].
    pub tier: &'static str,
    /// `loaded`, `older` or `failed`.
    pub result: &'static str,
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

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("pushroll"),
            restarts: Family::default(),
            publish_to_patch: Histogram::new(PUBLISH_BUCKETS),
            index_images: Gauge::default(),
            index_workloads: Gauge::default(),
            index_as_of: Family::default(),
            watch_live: Gauge::default(),
            reloads: Family::default(),
            cache_document_bytes: Gauge::default(),
            kubernetes_requests: Family::default(),
            kubernetes_calls_in_flight: Gauge::default(),
            kubernetes_calls_waiting: Gauge::default(),
            connections: Family::default(),
            refused: Family::default(),
            queued_restarts: Gauge::default(),
            deferred_workloads: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("restarts", "Workloads a push was decided for, by kind and action", self.restarts.clone());
        registry.register(
            "publish_to_patch_seconds",
            "From a push's publish time to a workload's PATCH accepted by the API server",
            self.publish_to_patch.clone(),
        );
        registry.register("index_images", "Image references in the index", self.index_images.clone());
        registry.register("index_workloads", "Workloads in the index", self.index_workloads.clone());
        registry.register(
            "index_as_of_seconds",
            "When the index of a tier was true, Unix time",
            self.index_as_of.clone(),
        );
        registry.register(
            "watch_live",
            "Whether the watch is trusted now, so that no push scans (0 without --watch)",
            self.watch_live.clone(),
        );
        registry.register("reloads", "Indexes loaded, by tier and result", self.reloads.clone());
        registry.register(
            "cache_document_bytes",
            "Size of the cache document last read or written, as it is stored: compressed where it is",
            self.cache_document_bytes.clone(),
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
        registry.register("connections", "Open connections, by listener", self.connections.clone());
        registry.register(
            "refused",
            "Connections and requests that were refused or cut off, by listener and the limit that they met",
            self.refused.clone(),
        );
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

    /// Where the metrics of a component are registered.
    pub fn registry(&mut self) -> &mut Registry {
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
