//! The metrics of restarts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Action;
use crate::workload::WorkloadKind;

/// Upper bounds in seconds: a redelivery may come a week after it was published.
const PUBLISH_BUCKETS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// How many workloads are restarted, how soon, and how many wait. Clones share their values.
#[derive(Debug, Clone)]
pub struct RolloutMetrics {
    restarts: Family<[(&'static str, &'static str); 2], Counter>,
    pub(super) publish_to_patch: Histogram,
    pub(super) queued_restarts: Gauge,
    pub(super) deferred_workloads: Gauge,
}

impl RolloutMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("restarts", "Workloads a push was decided for, by kind and action", self.restarts.clone());
        registry.register(
            "publish_to_patch_seconds",
            "From a push's publish time to a workload's PATCH accepted by the API server",
            self.publish_to_patch.clone(),
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

    /// Counts a workload, and what was done to it.
    pub(super) fn count_restart(&self, kind: WorkloadKind, action: Action) {
        self.restarts.get_or_create(&[("kind", kind.as_str()), ("action", action.as_str())]).inc();
    }
}

impl Default for RolloutMetrics {
    fn default() -> Self {
        Self {
            restarts: Family::default(),
            publish_to_patch: Histogram::new(PUBLISH_BUCKETS),
            queued_restarts: Gauge::default(),
            deferred_workloads: Gauge::default(),
        }
    }
}
