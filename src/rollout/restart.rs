//! Restarting: GET, decide, PATCH with precondition; on a conflict look again. Bounded concurrency.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::decision::{Decision, Restart, decide};
use super::events::EventWriter;
use super::policy::{Policy, Refusal};
use super::record::{RECORD_ANNOTATION, Record};
use super::{Action, Code, FIELD_MANAGER, Push, RESTARTED_AT_ANNOTATION, WorkloadResult};
use crate::clock::Clocks;
use crate::cluster::{ApiError, Cluster, WorkloadObject};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::RestartLabels;
use crate::workload::WorkloadRef;

/// A rollout's own status updates change the resourceVersion again and again; each attempt is one GET and one PATCH.
const ATTEMPTS: usize = 10;
/// Before looking again: long enough for a burst of writes to pass.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// Restarts workloads for pushes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Restarter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    policy: Policy,
    clock_margin: Duration,
    permits: Semaphore,
    metrics: Arc<Metrics>,
    events: EventWriter,
}

/// Whether a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Apply,
    /// It is only told.
    DryRun,
}

impl Restarter {
    /// At most `concurrency` workloads are worked on at once, over all pushes.
    pub fn new(
        cluster: Cluster,
        policy: Policy,
        clock_margin: Duration,
        concurrency: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let events = EventWriter::new(&cluster);
        Self(Arc::new(Shared { cluster, policy, clock_margin, permits: Semaphore::new(concurrency), metrics, events }))
    }

    /// Decides for each workload and, under [`Mode::Apply`], restarts it. What is not done at `deadline` is
    /// `failed` with [`Code::TimedOut`]; a PATCH that was under way then stands or not, and the record on the
    /// workload tells the next delivery. Sorted by workload.
    pub async fn restart_all(
        &self,
        workloads: &[WorkloadRef],
        push: &Arc<Push>,
        mode: Mode,
        deadline: Instant,
    ) -> Vec<WorkloadResult> {
        let mut tasks = JoinSet::new();
        for workload in workloads {
            let (shared, push, workload) = (Arc::clone(&self.0), Arc::clone(push), workload.clone());
            tasks.spawn(async move {
                let restarted = tokio::time::timeout_at(deadline.into(), shared.restart(&workload, &push, mode)).await;
                let result = restarted.unwrap_or_else(|_| {
                    WorkloadResult::new(&workload, Action::Failed, Code::TimedOut, "no time was left for it")
                });
                if mode == Mode::Apply {
                    let labels = RestartLabels { kind: result.kind.as_str(), action: result.action.as_str() };
                    shared.metrics.restarts.get_or_create(&labels).inc();
                }
                result
            });
        }
        let mut results = Vec::with_capacity(workloads.len());
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(result) => results.push(result),
                Err(panicked) => tracing::error!("a restart ended badly: {panicked}"),
            }
        }
        // A task that panicked has no result of its own; nothing may be left out of the answer.
        for workload in workloads {
            if results.len() < workloads.len() && !results.iter().any(|result| result.workload() == *workload) {
                results.push(WorkloadResult::new(workload, Action::Failed, Code::ApiError, "an internal error"));
            }
        }
        results.sort_by_key(WorkloadResult::workload);
        results
    }
}

impl Shared {
    async fn restart(&self, workload: &WorkloadRef, push: &Push, mode: Mode) -> WorkloadResult {
        if let Some(Refusal::OptedOut(reason) | Refusal::OutOfScope(reason)) = self.policy.refuses_namespace(workload) {
            return WorkloadResult::new(workload, Action::Skipped, Code::OutOfScope, reason);
        }
        // Never closed.
        let _permit = self.permits.acquire().await;
        if let Some(watched) = self.cluster.watched().get(workload).filter(|_| mode == Mode::Apply) {
            // Where a watch has told of it lately no GET is needed first: the precondition finds out what has changed
            // since. What is not restarted rests on a fresh look.
            if let Decision::Restart(restart) = self.decide(&watched, push) {
                match self.carry_out(workload, &watched, push, restart).await {
                    Ok(result) => return result,
                    Err(ApiError::Conflict(_)) => {}
                    Err(error) => return self.failed(workload, &error),
                }
            }
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(CONFLICT_PAUSE * u32::try_from(attempt).unwrap_or(1)).await;
            }
            match self.attempt(workload, push, mode).await {
                Ok(result) => return result,
                Err(ApiError::Conflict(_)) => {}
                Err(error) => return self.failed(workload, &error),
            }
        }
        WorkloadResult::new(workload, Action::Failed, Code::Contended, "it changed at every attempt to restart it")
    }

    /// # Errors
    /// [`ApiError::Conflict`]: look again. Any other: it has failed.
    async fn attempt(&self, workload: &WorkloadRef, push: &Push, mode: Mode) -> Result<WorkloadResult, ApiError> {
        let object = match self.cluster.get_workload(workload).await {
            Err(ApiError::NotFound(_)) => return Ok(gone(workload)),
            object => object?,
        };
        match self.decide(&object, push) {
            Decision::Leave { action, code, reason } => Ok(WorkloadResult::new(workload, action, code, reason)),
            Decision::Restart(restart) if mode == Mode::DryRun => Ok(restarted(workload, restart)),
            Decision::Restart(restart) => self.carry_out(workload, &object, push, restart).await,
        }
    }

    fn decide(&self, object: &WorkloadObject, push: &Push) -> Decision {
        let now = self.cluster.clock().now();
        let clocks = Clocks { now, server: self.cluster.server_clock(), margin: self.clock_margin };
        decide(object, push, &self.policy, clocks)
    }

    /// # Errors
    /// As of [`Self::attempt`].
    async fn carry_out(
        &self,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        push: &Push,
        restart: Restart,
    ) -> Result<WorkloadResult, ApiError> {
        let patch = self.patch(object, &restart.record);
        match self.cluster.patch_workload(workload, FIELD_MANAGER, &patch).await {
            Ok(()) => {}
            Err(ApiError::NotFound(_)) => return Ok(gone(workload)),
            Err(error @ ApiError::Denied(_)) => {
                self.events.denied(workload, object, push, &error);
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let since = self.cluster.clock().now().duration_since(push.time()).as_secs_f64();
        self.metrics.publish_to_patch.observe(since.max(0.0));
        Ok(restarted(workload, restart))
    }

    /// One write: the restart, its record, and the precondition that nothing has changed since the decision.
    fn patch(&self, object: &WorkloadObject, record: &Record) -> serde_json::Value {
        let last = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
        let restarted_at = restarted_at(self.cluster.clock().now(), last.map(String::as_str));
        serde_json::json!({
            "metadata": {"resourceVersion": object.metadata.resource_version},
            "spec": {"template": {"metadata": {"annotations": {
                RESTARTED_AT_ANNOTATION: restarted_at,
                RECORD_ANNOTATION: record.encode(),
            }}}},
        })
    }

    fn failed(&self, workload: &WorkloadRef, error: &ApiError) -> WorkloadResult {
        let code = match error {
            ApiError::Denied(_) => Code::Denied,
            ApiError::Forbidden(_) | ApiError::Unauthorized(_) => Code::Forbidden,
            ApiError::Unreachable(_) | ApiError::TimedOut(_) => Code::Unreachable,
            _ => Code::ApiError,
        };
        WorkloadResult::new(workload, Action::Failed, code, error.to_string())
    }
}

fn gone(workload: &WorkloadRef) -> WorkloadResult {
    WorkloadResult::new(workload, Action::Skipped, Code::Gone, "it does not exist any more")
}

fn restarted(workload: &WorkloadRef, restart: Restart) -> WorkloadResult {
    let result = WorkloadResult::new(workload, Action::Restarted, Code::RunsImage, restart.reason);
    WorkloadResult { warnings: restart.warnings, ..result }
}

/// `now` as kubectl writes it: RFC 3339 to the second (in its local zone; a pod's is UTC). Never what is there
/// already: a second restart within a second would change nothing, roll nothing, and leave the annotation to whoever
/// wrote it first.
fn restarted_at(now: Timestamp, last: Option<&str>) -> String {
    let in_seconds = |seconds| Timestamp::from_second(now.as_second() + seconds).unwrap_or_default().to_string();
    let this_second = in_seconds(0);
    if last == Some(&this_second) { in_seconds(1) } else { this_second }
}
