//! What all restarts of a process share.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::events::EventWriter;
use super::metrics::RolloutMetrics;
use super::policy::Policy;
use super::turns::Turns;
use crate::clock::Clocks;
use crate::cluster::{self, Attempts, Cluster};

/// Many, with short pauses: the status updates of a rollout change the resourceVersion again and again, an attempt is
/// one GET and one PATCH, and a push waits for the result.
const ATTEMPTS: u32 = 10;
/// After the first conflict; after the second it is twice as long, and so on.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct RestartContext {
    pub(super) cluster: Cluster,
    pub(super) policy: Policy,
    pub(super) turns: Turns,
    pub(super) events: EventWriter,
    pub(super) metrics: RolloutMetrics,
    clock_margin: Duration,
    concurrency: usize,
    permits: Semaphore,
}

impl RestartContext {
    pub(super) fn new(
        cluster: Cluster,
        policy: Policy,
        clock_margin: Duration,
        concurrency: usize,
        metrics: RolloutMetrics,
    ) -> Self {
        let events = EventWriter::new(&cluster);
        let (turns, permits) = (Turns::default(), Semaphore::new(concurrency));
        Self { cluster, policy, turns, events, metrics, clock_margin, concurrency, permits }
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
}
