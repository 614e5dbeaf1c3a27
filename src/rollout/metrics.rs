//! The metrics of restarts.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Action;
use super::waiting::{View, Why};
use crate::workload::WorkloadKind;

/// Upper bounds in seconds: a redelivery may come a week after it was published.
const PUBLISH_BUCKETS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// How many workloads are restarted, how soon, and how many wait. Clones share their values.
#[derive(Debug, Clone)]
pub struct RolloutMetrics {
    restarts: Family<[(&'static str, &'static str); 2], Counter>,
    pub(super) publish_to_patch: Histogram,
    pub(super) queued_restarts: Gauge,
    waiting: Family<[(&'static str, &'static str); 1], Gauge>,
    waiting_oldest_seconds: Gauge<f64, AtomicU64>,
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
            "Workloads that a push waits for now, because another push is at work on them",
            self.queued_restarts.clone(),
        );
        registry.register(
            "waiting",
            "Pushes that wait in the ConfigMap, by what they wait for, as of the last look; every replica sees them all",
            self.waiting.clone(),
        );
        registry.register(
            "waiting_oldest_seconds",
            "How long the oldest of them has waited; 0 where none waits",
            self.waiting_oldest_seconds.clone(),
        );
    }

    /// Shows what waits, at `now` by the API server's clock.
    pub(super) fn set_waiting(&self, view: &View, now: Timestamp) {
        let pushes = || view.iter().flat_map(|(_, of)| &of.pushes);
        for why in Why::ALL {
            let of_workloads = pushes().filter(|push| push.why == why).count();
            let waits = if why == Why::Unseen { view.unseen().len() } else { of_workloads };
            self.waiting.get_or_create(&[("why", why.as_str())]).set(i64::try_from(waits).unwrap_or(i64::MAX));
        }
        let since = pushes().map(|waits| waits.push.since).chain(view.unseen().iter().map(|unseen| unseen.push.since));
        let oldest = since.map(|since| now.duration_since(since).as_secs_f64()).fold(0.0, f64::max);
        self.waiting_oldest_seconds.set(oldest);
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
            waiting: Family::default(),
            waiting_oldest_seconds: Gauge::default(),
        }
    }
}
