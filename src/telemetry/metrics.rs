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

/// Every metric, and the registry that shows them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `pushroll_pushes_total{outcome}`
    pub pushes: Family<OutcomeLabel, Counter>,
    /// `pushroll_lookups_total{tier}`
    pub lookups: Family<TierLabel, Counter>,
    /// `pushroll_push_duration_seconds`
    pub push_duration: Histogram,
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
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `restarted`, `current`, ...
    pub outcome: &'static str,
}

/// Where an index came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TierLabel {
    /// `mount`, `configmap`, `scan`, `watch`, or `none`.
    pub tier: &'static str,
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
        Self::with(|_| {})
    }

    /// All metrics at zero, beside those that `register_others` shows in the same registry.
    pub fn with(register_others: impl FnOnce(&mut Registry)) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("pushroll"),
            pushes: Family::default(),
            lookups: Family::default(),
            push_duration: Histogram::new(DURATION_BUCKETS),
            auth: Family::default(),
            signing_key_fetches: Family::default(),
            signing_keys_fresh_until: Gauge::default(),
            connections: Family::default(),
            refused: Family::default(),
            held_pushes: Gauge::default(),
        };
        metrics.register();
        register_others(&mut metrics.registry);
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("pushes", "Pushes answered, by outcome", self.pushes.clone());
        registry.register("lookups", "Lookups, by the tier whose index answered", self.lookups.clone());
        registry.register("push_duration_seconds", "From a push's arrival to its answer", self.push_duration.clone());
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
