//! The metrics of followed rollouts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ending::{Ending, Runs};
use crate::workload::WorkloadKind;

/// Upper bounds in seconds: a rollout takes from seconds to hours.
const RUNNING_BUCKETS: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// How rollouts end. Clones share their values.
#[derive(Debug, Clone)]
pub struct FollowingMetrics {
    rollouts: Family<[(&'static str, &'static str); 2], Counter>,
    pods_verified: Family<[(&'static str, &'static str); 1], Counter>,
    publish_to_running: Histogram,
    pub(super) followed: Gauge,
}

impl FollowingMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "rollouts",
            "Rollouts of restarts for pushes, by kind and ending; one that fails and recovers counts as both",
            self.rollouts.clone(),
        );
        registry.register(
            "pods_verified",
            "Pushes whose rollouts are complete, by what the new pods run",
            self.pods_verified.clone(),
        );
        registry.register(
            "publish_to_running_seconds",
            "From a push's publish time to the end of a complete rollout",
            self.publish_to_running.clone(),
        );
        registry.register(
            "rollouts_followed",
            "Rollouts that this replica follows now; only one replica does",
            self.followed.clone(),
        );
    }

    pub(super) fn ended(&self, kind: WorkloadKind, ending: Ending) {
        self.rollouts.get_or_create(&[("kind", kind.as_str()), ("ending", ending.as_str())]).inc();
    }

    pub(super) fn verified(&self, runs: Runs) {
        self.pods_verified.get_or_create(&[("runs", runs.as_str())]).inc();
    }

    pub(super) fn runs_after(&self, seconds: f64) {
        self.publish_to_running.observe(seconds.max(0.0));
    }
}

impl Default for FollowingMetrics {
    fn default() -> Self {
        Self {
            rollouts: Family::default(),
            pods_verified: Family::default(),
            publish_to_running: Histogram::new(RUNNING_BUCKETS),
            followed: Gauge::default(),
        }
    }
}
