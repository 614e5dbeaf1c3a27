//! Restarting the workloads of a push, or the ones that a person asks for: many at once, within a deadline. What is
//! known to be done is not asked about again, so that each delivery of a push gets further than the one before.
//!
//! `looks` decides which of very many workloads are looked at by a LIST; `one_restart` restarts each of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{SemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::cause::Cause;
use super::code::Code;
use super::context::{RestartConfig, RestartContext};
use super::decision::by_hand::ByHand;
use super::looks::{MANY, Sorted, list_each, sort};
use super::metrics::RolloutMetrics;
pub use super::mode::Mode;
use super::one_restart::OneRestart;
use super::one_result::{OneResult, failure_code};
use super::push::Push;
use super::seen_done::SeenDone;
use super::waiting::{Changes, Waiting};
use super::workload_result::WorkloadResult;
use crate::cluster::{self, Cluster, WorkloadObject};
use crate::configmap_store::StoreError;
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

/// Kept free at the end of a push's time for writing down what has to wait.
const WRITE_DOWN: Duration = Duration::from_secs(1);

/// The restarts that have begun, each a task of its own.
struct Restarts<'a> {
    context: &'a Arc<RestartContext>,
    cause: &'a Cause,
    mode: Mode,
    deadline: Instant,
    tasks: JoinSet<OneResult>,
}

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

    /// Waits in line behind the restarts that have begun, for a place among the workloads that are worked on at once.
    pub async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.0.permit().await
    }

    /// Sends each workload that is restarted for a push from now on, and the label that it has then. What does not fit is left out. Only the first call
    /// has an effect.
    pub fn report_restarts_to(&self, restarted: mpsc::Sender<(WorkloadRef, String)>) {
        let _ = self.0.restarted.set(restarted);
    }

    /// Decides for each workload and, under [`Mode::Apply`], restarts it. What has to wait is written down, in one
    /// request for all of them. A workload that is not done at `deadline` is `failed` with [`Code::TimedOut`]: whether a
    /// PATCH that was under way is stored, the next delivery finds in the record on the workload. The results are
    /// sorted by workload.
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
        // What has to wait is written down after the last restart, and needs some of the time.
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let end = deadline - (left / 4).min(WRITE_DOWN);
        let mut restarts = Restarts { context: &self.0, cause, mode, deadline: end, tasks: JoinSet::new() };
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
            open = list_each(&self.0, open, index, end, begin).await;
        }
        open.into_iter().for_each(|workload| restarts.begin(workload, None));

        let (ended, changes) = restarts.ended().await;
        results.extend(ended);
        // A task that panicked has no result. Its workload must not be left out of the answer.
        if results.len() < workloads.len() {
            let has_none = |workload: &&WorkloadRef| !results.iter().any(|result| result.workload() == **workload);
            let missing = workloads.iter().filter(has_none);
            let missing: Vec<_> =
                missing.map(|workload| WorkloadResult::new(workload, Code::ApiError, "an internal error")).collect();
            results.extend(missing);
        }
        if let Err((code, error)) = self.0.write_down(&changes, deadline).await {
            if changes.waits.is_empty() {
                // What is done is found to be done at the next look. A record that is not kept may cost one restart.
                tracing::warn!("what was done could not be written down: {error}");
            }
            let waits: HashSet<&WorkloadRef> = changes.waits.iter().map(|waits| &waits.workload).collect();
            for result in results.iter_mut().filter(|result| waits.contains(&result.workload())) {
                let reason = format!("{}, but that cannot be written down: {error}", result.reason);
                *result = WorkloadResult::new(&result.workload(), code, reason);
            }
        }
        if mode == Mode::Apply {
            results.iter().for_each(|result| self.0.metrics.count_restart(result.kind, result.action()));
        }
        WorkloadResult::sort(&mut results);
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
            cluster::within(deadline, restart.run()).await.unwrap_or_else(|out_of_time| {
                WorkloadResult::new(&workload, Code::TimedOut, out_of_time.to_string()).into()
            })
        });
    }

    /// The results, and what is to be written down.
    async fn ended(mut self) -> (Vec<WorkloadResult>, Changes) {
        let (mut results, mut changes) = (Vec::with_capacity(self.tasks.len()), Changes::default());
        while let Some(joined) = self.tasks.join_next().await {
            match joined {
                Ok(OneResult { result, changes: more }) => {
                    results.push(result);
                    changes.extend(more);
                }
                Err(panicked) => tracing::error!("a restart ended badly: {panicked}"),
            }
        }
        (results, changes)
    }
}

impl RestartContext {
    /// Writes what waits, what is kept and what is done to its ConfigMap.
    ///
    /// # Errors
    /// Why not, for programs and for people.
    pub(super) async fn write_down(&self, changes: &Changes, deadline: Instant) -> Result<(), (Code, String)> {
        let Some(waiting) = self.waiting.as_ref().filter(|_| !changes.is_empty()) else { return Ok(()) };
        match cluster::within(deadline, waiting.write(changes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let code = match &error {
                    StoreError::Api { source, .. } => failure_code(source),
                    _ => Code::ApiError,
                };
                Err((code, error.to_string()))
            }
            Err(out_of_time) => Err((Code::TimedOut, out_of_time.to_string())),
        }
    }
}
