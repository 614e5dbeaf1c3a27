//! The metrics of deliveries.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::answer::Outcome;
use crate::cache::Tier;
use crate::telemetry::GaugeGuard;

/// Upper bounds in seconds: a push answered from the mount takes milliseconds, one that waits for a scan seconds.
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What deliveries count. Clones share their values.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    pushes: Family<[(&'static str, &'static str); 1], Counter>,
    push_duration: Histogram,
    lookups: Family<[(&'static str, &'static str); 1], Counter>,
    held_pushes: Gauge,
}

impl Default for DeliveryMetrics {
    fn default() -> Self {
        Self {
            pushes: Family::default(),
            push_duration: Histogram::new(DURATION_BUCKETS),
            lookups: Family::default(),
            held_pushes: Gauge::default(),
        }
    }
}

impl DeliveryMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("pushes", "Pushes answered, by outcome", self.pushes.clone());
        registry.register("lookups", "Lookups, by the tier whose index answered", self.lookups.clone());
        registry.register("push_duration_seconds", "From a push's arrival to its answer", self.push_duration.clone());
        registry.register("held_pushes", "Pushes whose answer waits for a proof now", self.held_pushes.clone());
    }

    pub(super) fn count_push(&self, outcome: Outcome, took: Duration) {
        self.pushes.get_or_create(&[("outcome", outcome.as_str())]).inc();
        self.push_duration.observe(took.as_secs_f64());
    }

    /// Counts a lookup in an index of this tier; `None`: there was no index.
    pub(crate) fn count_lookup(&self, tier: Option<Tier>) {
        self.lookups.get_or_create(&[("tier", tier.map_or("none", Tier::as_str))]).inc();
    }

    /// Counts a push as held while this is kept.
    pub(super) fn hold_push(&self) -> GaugeGuard {
        GaugeGuard::new(&self.held_pushes)
    }

    /// How many pushes are held now.
    pub(crate) fn held_pushes(&self) -> i64 {
        self.held_pushes.get()
    }
}
