//! Restarting the workloads of a push, or those that a person asks for: many at once, within a deadline.
//!
//! `one_restart` restarts each of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::cause::Cause;
use super::code::Code;
use super::context::RestartContext;
use super::decision::by_hand::ByHand;
use super::metrics::RolloutMetrics;
pub use super::one_restart::Mode;
use super::one_restart::OneRestart;
use super::policy::Policy;
use super::push::Push;
use super::workload_result::WorkloadResult;
use crate::cluster::{self, Cluster};
use crate::workload::WorkloadRef;

/// Restarts workloads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Restarter(pub(super) Arc<RestartContext>);

impl Restarter {
    /// At most `concurrency` workloads are worked on at once, over all pushes.
    pub fn new(
        cluster: Cluster,
        policy: Policy,
        clock_margin: Duration,
        concurrency: usize,
        metrics: RolloutMetrics,
    ) -> Self {
        Self(Arc::new(RestartContext::new(cluster, policy, clock_margin, concurrency, metrics)))
    }

    /// Decides for each workload and, under [`Mode::Apply`], restarts it. A workload that is not done at `deadline` is
    /// `failed` with [`Code::TimedOut`]: whether a PATCH that was under way is stored, the record on the workload tells
    /// the next delivery. The results are sorted by workload.
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
                let restart = OneRestart { context: &context, workload: &workload, cause: &cause, mode };
                let result = cluster::within(deadline, restart.run()).await.unwrap_or_else(|out_of_time| {
                    WorkloadResult::new(&workload, Code::TimedOut, out_of_time.to_string())
                });
                if mode == Mode::Apply {
                    context.metrics.count_restart(workload.kind, result.action());
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
        // A task that panicked has no result. Its workload must not be left out of the answer.
        for workload in workloads {
            if results.len() < workloads.len() && !results.iter().any(|result| result.workload() == *workload) {
                results.push(WorkloadResult::new(workload, Code::ApiError, "an internal error"));
            }
        }
        results.sort_by_key(WorkloadResult::workload);
        results
    }
}
