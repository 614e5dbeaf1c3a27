//! What all restarts of a process share.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::events::EventWriter;
use super::metrics::RolloutMetrics;
use super::policy::Policy;
use super::turns::Turns;
use super::waiting::{View, Waiting};
use crate::clock::Clocks;
use crate::cluster::{self, Attempts, Cluster};
use crate::workload::WorkloadRef;

/// Many, with short pauses: the status updates of a rollout change the resourceVersion again and again, an attempt is
/// one GET and one PATCH, and a push waits for the result.
const ATTEMPTS: u32 = 10;
/// After the first conflict; after the second it is twice as long, and so on.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// How workloads are restarted.
#[derive(Debug, Clone)]
pub struct RestartConfig {
    /// Which workloads may be touched.
    pub policy: Policy,
    /// How far apart clocks may be and still be compared.
    pub clock_margin: Duration,
    /// How many workloads are worked on at once, over all pushes.
    pub concurrency: usize,
    /// How long a second restart of a workload waits for more pushes, if it comes right after the first.
    pub gather: Duration,
}

#[derive(Debug)]
pub(super) struct RestartContext {
    pub(super) cluster: Cluster,
    pub(super) policy: Policy,
    pub(super) turns: Turns,
    pub(super) events: EventWriter,
    pub(super) metrics: RolloutMetrics,
    /// `None`: nothing waits, and nothing is kept. This is so for a person, as the command shows what came of a
    /// restart.
    pub(super) waiting: Option<Arc<Waiting>>,
    pub(super) gather: Duration,
    pub(super) clock_margin: Duration,
    pub(super) concurrency: usize,
    permits: Semaphore,
    /// Where to report which workloads were restarted for pushes, and the label of each.
    pub(super) restarted: OnceLock<mpsc::Sender<(WorkloadRef, String)>>,
}

impl RestartContext {
    pub(super) fn new(
        cluster: Cluster,
        config: RestartConfig,
        waiting: Option<Arc<Waiting>>,
        metrics: RolloutMetrics,
    ) -> Self {
        let RestartConfig { policy, clock_margin, concurrency, gather } = config;
        let events = EventWriter::new(&cluster);
        let (turns, permits) = (Turns::default(), Semaphore::new(concurrency));
        let restarted = OnceLock::new();
        Self { cluster, policy, turns, events, metrics, waiting, gather, clock_margin, concurrency, permits, restarted }
    }

    /// Waits until one more workload may be worked on. The semaphore is never closed, so there is always a permit.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        cluster::wait_for_permit(self.concurrency, self.permits.acquire()).await.ok()
    }

    /// The attempts on one workload.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::new(ATTEMPTS, CONFLICT_PAUSE)
    }

    pub(super) fn clocks(&self) -> Clocks<'_> {
        Clocks { now: self.cluster.clock().now(), server: self.cluster.server_clock(), margin: self.clock_margin }
    }

    /// What waits, as it was last read or written.
    pub(super) fn view(&self) -> Arc<View> {
        self.waiting.as_ref().map(|waiting| waiting.view()).unwrap_or_default()
    }

    /// What waits, as of a read that has begun after `at`.
    pub(super) async fn view_since(&self, at: Instant) -> Arc<View> {
        let Some(waiting) = &self.waiting else { return Arc::default() };
        // Without it one restart too many is made, and none is missed.
        waiting.refresh_since(at).await.unwrap_or_else(|error| {
            tracing::debug!("what waits cannot be read: {error}");
            waiting.view()
        })
    }
}
