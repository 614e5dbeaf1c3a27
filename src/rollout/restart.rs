//! Restarting the workloads of a push, or those that a person asks for: many at once, within a deadline.
//!
//! `one_restart` restarts each of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::cause::Cause;
use super::code::Code;
use super::context::{RestartConfig, RestartContext};
use super::decision::by_hand::ByHand;
use super::metrics::RolloutMetrics;
pub use super::one_restart::Mode;
use super::one_restart::OneRestart;
use super::one_result::{OneResult, failure_code};
use super::push::Push;
use super::waiting::{Changes, Waiting};
use super::workload_result::WorkloadResult;
use crate::cluster::{self, Cluster};
use crate::configmap_store::StoreError;
use crate::workload::WorkloadRef;

/// Restarts workloads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Restarter(pub(super) Arc<RestartContext>);

impl Restarter {
    /// `waiting` keeps what has to wait; without it a restart that cannot be made now is a failure.
    pub fn new(
        cluster: Cluster,
        config: RestartConfig,
        waiting: Option<Arc<Waiting>>,
        metrics: RolloutMetrics,
    ) -> Self {
        Self(Arc::new(RestartContext::new(cluster, config, waiting, metrics)))
    }

    /// Decides for each workload and, under [`Mode::Apply`], restarts it. What has to wait is written down, in one
    /// request for all of them. A workload that is not done at `deadline` is `failed` with [`Code::TimedOut`]: whether a
    /// PATCH that was under way is stored, the record on the workload tells the next delivery. The results are sorted by
    /// workload.
    pub async fn restart_all(
        &self,
        workloads: &[WorkloadRef],
        push: &Arc<Push>,
        mode: Mode,
        deadline: Instant,
    ) -> Vec<WorkloadResult> {
        self.restart_each(workloads, &Cause::Push(Arc::clone(push)), mode, deadline).await
    }

    /// As [`Self::restart_all`], because a person asks for it: no push is looked at and no record is written.
    pub async fn restart_by_hand(
        &self,
        workloads: &[WorkloadRef],
        asked: ByHand,
        mode: Mode,
        deadline: Instant,
    ) -> Vec<WorkloadResult> {
        self.restart_each(workloads, &Cause::ByHand(Arc::new(asked)), mode, deadline).await
    }

    async fn restart_each(
        &self,
        workloads: &[WorkloadRef],
        cause: &Cause,
        mode: Mode,
        deadline: Instant,
    ) -> Vec<WorkloadResult> {
        let mut tasks = JoinSet::new();
        for workload in workloads {
            let (context, cause, workload) = (Arc::clone(&self.0), cause.clone(), workload.clone());
            tasks.spawn(async move {
                let restart =
                    OneRestart { context: &context, workload: &workload, cause: &cause, mode, looked_at: None };
                cluster::within(deadline, restart.run()).await.unwrap_or_else(|out_of_time| {
                    WorkloadResult::new(&workload, Code::TimedOut, out_of_time.to_string()).into()
                })
            });
        }
        let (mut results, mut changes) = (Vec::with_capacity(workloads.len()), Changes::default());
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(OneResult { result, changes: more }) => {
                    results.push(result);
                    changes.extend(more);
                }
                Err(panicked) => tracing::error!("a restart ended badly: {panicked}"),
            }
        }
        // A task that panicked has no result. Its workload must not be left out of the answer.
        for workload in workloads {
            if results.len() < workloads.len() && !results.iter().any(|result| result.workload() == *workload) {
                results.push(WorkloadResult::new(workload, Code::ApiError, "an internal error"));
            }
        }
        if let Err((code, error)) = self.0.write_down(&changes, deadline).await {
            let waits: HashSet<&WorkloadRef> = changes.waits.iter().map(|waits| &waits.workload).collect();
            for result in results.iter_mut().filter(|result| waits.contains(&result.workload())) {
                let reason = format!("{}, but that cannot be written down: {error}", result.reason);
                *result = WorkloadResult::new(&result.workload(), code, reason);
            }
        }
        if mode == Mode::Apply {
            results.iter().for_each(|result| self.0.metrics.count_restart(result.kind, result.action()));
        }
        results.sort_by_key(WorkloadResult::workload);
        results
    }
}

impl RestartContext {
    /// Writes what waits, what is kept and what is done to its ConfigMap.
    ///
    /// # Errors
    /// Why not, for programs and for people.
    pub(super) async fn write_down(&self, changes: &Changes, deadline: Instant) -> Result<(), (Code, String)> {
        let Some(waiting) = self.waiting.as_ref().filter(|_| !changes.is_empty()) else { return Ok(()) };
        let failed = match cluster::within(deadline, waiting.write(changes)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                let code = match &error {
                    StoreError::Api { source, .. } => failure_code(source),
                    _ => Code::ApiError,
                };
                (code, error.to_string())
            }
            Err(out_of_time) => (Code::TimedOut, out_of_time.to_string()),
        };
        if changes.waits.is_empty() {
            // What is done is found to be done at the next look. A record that is not kept may cost one restart.
            tracing::warn!("the ConfigMap {waiting} could not be written: {}", failed.1);
        }
        Err(failed)
    }
}
