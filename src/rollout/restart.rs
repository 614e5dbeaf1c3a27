//! Restarting the workloads of a push, or those that a person asks for: many at once, within a deadline. What is known to
//! be done is not asked about again, so that each delivery of a push gets further than the one before.
//!
//! `looks` decides which of very many workloads are looked at by a LIST; `one_restart` restarts each of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::cause::Cause;
use super::code::Code;
use super::context::RestartContext;
use super::decision::by_hand::ByHand;
use super::looks::{MANY, Sorted, list_each, sort};
use super::metrics::RolloutMetrics;
pub use super::one_restart::Mode;
use super::one_restart::OneRestart;
use super::policy::Policy;
use super::push::Push;
use super::seen_done::SeenDone;
use super::workload_result::WorkloadResult;
use crate::cluster::{self, Cluster, WorkloadObject};
use crate::index::Index;
use crate::workload::WorkloadRef;

/// Restarts workloads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Restarter(pub(super) Arc<RestartContext>);

/// What may spare looks at the workloads. Nothing by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownBefore<'a> {
    /// The index that names them: its size says where a LIST is cheaper than GETs.
    pub index: Option<&'a Index>,
    /// What was done at earlier deliveries of the same message.
    pub done: Option<&'a SeenDone>,
}

/// The restarts that have begun, each a task of its own.
struct Restarts<'a> {
    context: &'a Arc<RestartContext>,
    cause: &'a Cause,
    mode: Mode,
    deadline: Instant,
    tasks: JoinSet<WorkloadResult>,
}

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
        known: KnownBefore<'_>,
    ) -> Vec<WorkloadResult> {
        self.restart_each(workloads, &Cause::Push(Arc::clone(push)), mode, deadline, known).await
    }

    /// As [`Self::restart_all`], because a person asks for it: no push is looked at and no record is written.
    pub async fn restart_by_hand(
        &self,
        workloads: &[WorkloadRef],
        asked: ByHand,
        mode: Mode,
        deadline: Instant,
        known: KnownBefore<'_>,
    ) -> Vec<WorkloadResult> {
        self.restart_each(workloads, &Cause::ByHand(Arc::new(asked)), mode, deadline, known).await
    }

    async fn restart_each(
        &self,
        workloads: &[WorkloadRef],
        cause: &Cause,
        mode: Mode,
        deadline: Instant,
        known: KnownBefore<'_>,
    ) -> Vec<WorkloadResult> {
        let mut results = Vec::with_capacity(workloads.len());
        let mut open = Vec::with_capacity(workloads.len());
        for workload in workloads {
            match known.done.and_then(|done| done.get(workload)) {
                Some(result) => results.push(result.clone()),
                None => open.push(workload),
            }
        }
        let mut restarts = Restarts { context: &self.0, cause, mode, deadline, tasks: JoinSet::new() };
        if open.len() > MANY {
            let Sorted { recorded, need_no_look, need_look } = sort(&self.0, &open, cause, mode).await;
            results.extend(recorded);
            need_no_look.into_iter().for_each(|workload| restarts.begin(workload, None));
            open = need_look;
        }
        if open.len() > MANY
            && let Some(index) = known.index
        {
            // A restart begins as soon as the workload's page is there.
            let begin = |workload: &WorkloadRef, object| restarts.begin(workload, Some(object));
            open = list_each(&self.0, open, index, deadline, begin).await;
        }
        open.into_iter().for_each(|workload| restarts.begin(workload, None));

        results.extend(restarts.ended().await);
        // A task that panicked has no result. Its workload must not be left out of the answer.
        if results.len() < workloads.len() {
            let has_none = |workload: &&WorkloadRef| !results.iter().any(|result| result.workload() == **workload);
            let missing = workloads.iter().filter(has_none);
            let missing: Vec<_> =
                missing.map(|workload| WorkloadResult::new(workload, Code::ApiError, "an internal error")).collect();
            results.extend(missing);
        }
        if mode == Mode::Apply {
            results.iter().for_each(|result| self.0.metrics.count_restart(result.kind, result.action()));
        }
        results.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        results
    }
}

impl Restarts<'_> {
    /// Begins with one workload, from the object that a LIST has shown, if there is one. Workloads are worked on in the
    /// order in which they were begun.
    fn begin(&mut self, workload: &WorkloadRef, looked_at: Option<WorkloadObject>) {
        let (context, cause, workload) = (Arc::clone(self.context), self.cause.clone(), workload.clone());
        let (mode, deadline, looked_at) = (self.mode, self.deadline, looked_at.map(Arc::new));
        self.tasks.spawn(async move {
            let looked_at = looked_at.as_ref();
            let restart = OneRestart { context: &context, workload: &workload, cause: &cause, mode, looked_at };
            cluster::within(deadline, restart.run())
                .await
                .unwrap_or_else(|out_of_time| WorkloadResult::new(&workload, Code::TimedOut, out_of_time.to_string()))
        });
    }

    async fn ended(mut self) -> Vec<WorkloadResult> {
        let mut results = Vec::with_capacity(self.tasks.len());
        while let Some(joined) = self.tasks.join_next().await {
            match joined {
                Ok(result) => results.push(result),
                Err(panicked) => tracing::error!("a restart ended badly: {panicked}"),
            }
        }
        results
    }
}
