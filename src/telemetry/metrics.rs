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

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
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

/// How a fetch ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FetchLabel {
    /// `fetched` or `failed`.
    pub result: &'static str,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        Self {
            pushes: Family::default(),
            lookups: Family::default(),
            push_duration: Histogram::new(DURATION_BUCKETS),
            auth: Family::default(),
            signing_key_fetches: Family::default(),
            signing_keys_fresh_until: Gauge::default(),
            held_pushes: Gauge::default(),
        }
    }

    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
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
        registry.register("held_pushes", "Pushes whose answer waits for a proof now", self.held_pushes.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
