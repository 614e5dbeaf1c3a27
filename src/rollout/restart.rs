//! Restarting: GET, decide, PATCH with precondition; on a conflict look again. Bounded concurrency.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cause::{Cause, Wanted};
use super::decision::by_hand::{ByHand, decide_by_hand};
use super::decision::{Decision, Defer, Restart, decide};
use super::deferred::DEFERRED_FIELD_MANAGER;
use super::events::EventWriter;
use super::policy::{Policy, Refusal};
use super::metrics::{RestartLabels, RolloutMetrics};
use super::turns::Turns;
use super::{Action, Code, Push, Warning, WorkloadResult, patches};
use crate::clock::Clocks;
use crate::cluster::{self, ApiError, Cluster, WorkloadObject};
use crate::workload::WorkloadRef;

/// A rollout's own status updates change the resourceVersion again and again; each attempt is one GET and one PATCH.
pub(super) const ATTEMPTS: usize = 10;
/// Before looking again: long enough for a burst of writes to pass.
pub(super) const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// Restarts workloads for pushes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Restarter(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) policy: Policy,
    clock_margin: Duration,
    pub(super) permits: Semaphore,
    concurrency: usize,
    turns: Turns,
    pub(super) metrics: RolloutMetrics,
    pub(super) events: EventWriter,
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
        metrics: RolloutMetrics,
    ) -> Self {
        let events = EventWriter::new(&cluster);
        let (permits, turns) = (Semaphore::new(concurrency), Turns::default());
        Self(Arc::new(Shared { cluster, policy, clock_margin, permits, concurrency, turns, metrics, events }))
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
            let (shared, cause, workload) = (Arc::clone(&self.0), cause.clone(), workload.clone());
            tasks.spawn(async move {
                let restarted = cluster::within(deadline, shared.restart(&workload, &cause, mode)).await;
                let result = restarted.unwrap_or_else(|out_of_time| {
                    WorkloadResult::new(&workload, Action::Failed, Code::TimedOut, out_of_time.to_string())
                });
                if mode == Mode::Apply {
                    shared.count(&workload, result.action);
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
    async fn restart(&self, workload: &WorkloadRef, cause: &Cause, mode: Mode) -> WorkloadResult {
        if !cause.names_the_workload()
            && let Some(Refusal::OptedOut(reason) | Refusal::OutOfScope(reason)) =
                self.policy.refuses_namespace(workload)
        {
            return WorkloadResult::new(workload, Action::Skipped, Code::OutOfScope, reason);
        }
        match cause {
            Cause::Push(push) if mode == Mode::Apply => self.restart_in_turn(workload, push).await,
            _ => self.work(workload, &Wanted { newer: None, own: cause.clone() }, mode).await.0,
        }
    }

    /// Several pushes of one image at once: one after the other, each turn for the newest of them.
    async fn restart_in_turn(&self, workload: &WorkloadRef, push: &Arc<Push>) -> WorkloadResult {
        let place = self.turns.join(workload, push);
        let turn = place.turn(&self.metrics.queued_restarts).await;
        let newer = Some(&turn.newest).filter(|newest| !Arc::ptr_eq(newest, push));
        let wanted = Wanted { newer: newer.cloned().map(Cause::Push), own: Cause::Push(Arc::clone(push)) };
        let (mut result, cause) = self.work(workload, &wanted, Mode::Apply).await;
        let Cause::Push(worked_for) = cause else { return result };
        // That the digest runs says nothing of the pushes before.
        if result.action != Action::Failed && result.code != Code::SameDigest {
            place.dealt_with(worked_for);
        }
        if let (false, Some(published)) = (Arc::ptr_eq(worked_for, push), worked_for.published) {
            result.reason.push_str(&format!("; for a newer push that came meanwhile, published {published:.3}"));
        }
        result
    }

    /// Works on one workload; says for whom.
    async fn work<'c>(&self, workload: &WorkloadRef, wanted: &'c Wanted, mode: Mode) -> (WorkloadResult, &'c Cause) {
        // Never closed.
        let _permit = cluster::wait_for_permit(self.concurrency, self.permits.acquire()).await;
        if let Some(watched) = self.cluster.watched().get(workload).filter(|_| mode == Mode::Apply) {
            // Where a watch has told of it lately no GET is needed first: the precondition finds out what has changed
            // since. What is not restarted rests on a fresh look.
            if let (Decision::Restart(restart), cause) = self.decide(workload, &watched, wanted) {
                match self.carry_out(workload, &watched, cause, restart).await {
                    Ok(result) => return (result, cause),
                    Err(ApiError::Conflict(_)) => {}
                    Err(error) => return (self.failed(workload, &error), &wanted.own),
                }
            }
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(CONFLICT_PAUSE * u32::try_from(attempt).unwrap_or(1)).await;
            }
            match self.attempt(workload, wanted, mode).await {
                Ok(done) => return done,
                Err(ApiError::Conflict(_)) => {}
                Err(error) => return (self.failed(workload, &error), &wanted.own),
            }
        }
        let reason = "it changed at every attempt to restart it";
        (WorkloadResult::new(workload, Action::Failed, Code::Contended, reason), &wanted.own)
    }

    /// # Errors
    /// [`ApiError::Conflict`]: look again. Any other: it has failed.
    async fn attempt<'c>(
        &self,
        workload: &WorkloadRef,
        wanted: &'c Wanted,
        mode: Mode,
    ) -> Result<(WorkloadResult, &'c Cause), ApiError> {
        let object = match self.cluster.get_workload(workload).await {
            Err(ApiError::NotFound(_)) => return Ok((wanted.own.gone(workload), &wanted.own)),
            object => object?,
        };
        let (decision, cause) = self.decide(workload, &object, wanted);
        let result = match decision {
            Decision::Leave { action, code, reason } => WorkloadResult::new(workload, action, code, reason),
            Decision::Defer(defer) => match self.defer(workload, &object, &defer, mode).await {
                Ok(()) => WorkloadResult::new(workload, Action::Deferred, Code::Cooldown, defer.reason),
                // Not for good, as the refusal of a restart is: the push would be lost. Pub/Sub keeps it meanwhile.
                Err(error @ ApiError::Denied(_)) => {
                    let reason = format!("{}, which cannot be written to the workload: {error}", defer.reason);
                    WorkloadResult::new(workload, Action::Failed, Code::ApiError, reason)
                }
                Err(error) => return Err(error),
            },
            Decision::Restart(restart) if mode == Mode::DryRun => cause.restarted(workload, restart),
            Decision::Restart(restart) => self.carry_out(workload, &object, cause, restart).await?,
        };
        Ok((result, cause))
    }

    /// # Errors
    /// As of [`Self::attempt`].
    async fn carry_out(
        &self,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        cause: &Cause,
        restart: Restart,
    ) -> Result<WorkloadResult, ApiError> {
        let patch = patches::restart(object, &restart, self.cluster.clock().now());
        match self.cluster.patch_workload(workload, cause.field_manager(), &patch).await {
            Ok(()) => {}
            Err(ApiError::NotFound(_)) => return Ok(cause.gone(workload)),
            Err(error) => {
                if let (Cause::Push(push), ApiError::Denied(_)) = (cause, &error) {
                    self.events.denied(workload, object, push, &error);
                }
                return Err(error);
            }
        }
        if let Cause::Push(push) = cause {
            let since = self.cluster.clock().now().duration_since(push.time()).as_secs_f64();
            self.metrics.publish_to_patch.observe(since.max(0.0));
        }
        if restart.warnings.contains(&Warning::UnreadableCooldown) {
            tracing::warn!(%workload, "{}", restart.reason);
        }
        Ok(cause.restarted(workload, restart))
    }

    /// Writes down what waits.
    async fn defer(
        &self,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        defer: &Defer,
        mode: Mode,
    ) -> Result<(), ApiError> {
        let Some(pushes) = defer.pushes.as_ref().filter(|_| mode == Mode::Apply) else { return Ok(()) };
        let patch = patches::defer(object, pushes);
        self.cluster.patch_workload(workload, DEFERRED_FIELD_MANAGER, &patch).await
    }

    fn decide<'c>(&self, workload: &WorkloadRef, object: &WorkloadObject, wanted: &'c Wanted) -> (Decision, &'c Cause) {
        let decide = |cause| (self.decide_for(workload, object, cause), cause);
        let of_newer = wanted.newer.as_ref().map(decide);
        of_newer
            .filter(|(decision, _)| !matches!(decision, Decision::Leave { .. }))
            .unwrap_or_else(|| decide(&wanted.own))
    }

    fn decide_for(&self, workload: &WorkloadRef, object: &WorkloadObject, cause: &Cause) -> Decision {
        match cause {
            Cause::ByHand(asked) => decide_by_hand(workload, object, asked, &self.policy),
            Cause::Push(push) => decide(object, push, &self.policy, self.clocks()),
        }
    }

    pub(super) fn clocks(&self) -> Clocks<'_> {
        Clocks { now: self.cluster.clock().now(), server: self.cluster.server_clock(), margin: self.clock_margin }
    }

    pub(super) fn count(&self, workload: &WorkloadRef, action: Action) {
        let labels = RestartLabels { kind: workload.kind, action };
        self.metrics.restarts.get_or_create(&labels).inc();
    }

    fn failed(&self, workload: &WorkloadRef, error: &ApiError) -> WorkloadResult {
        let code = match error {
            ApiError::Denied(_) => Code::Denied,
            ApiError::Forbidden(_) | ApiError::Unauthorized(_) => Code::Forbidden,
            ApiError::Unreachable(_) | ApiError::TimedOut(_) => Code::Unreachable,
            ApiError::TooBusy(_) => Code::TooBusy,
            ApiError::NoPermit { .. } => Code::TimedOut,
            _ => Code::ApiError,
        };
        WorkloadResult::new(workload, Action::Failed, code, error.to_string())
    }
}
