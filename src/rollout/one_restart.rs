//! The restart of one workload, from top to bottom.
//!
//! ```text
//! run                 the policy on its namespace; for a push, wait for its turn; wait for a permit
//!   without_a_look    decide from an object that is at hand, and PATCH; or
//!   look_and_decide   GET, decide, PATCH; after a conflict again
//!     patch, defer    the two writes
//! ```
//!
//! An object is at hand from a LIST that was made for this delivery, which is a fresh look, or from a watch. A result
//! that is no restart rests on a fresh look, or on our own record of the push, wherever that was seen. A restart may rest
//! on either, because the resourceVersion is the precondition of the PATCH.

use std::sync::Arc;

use super::cause::Cause;
use super::code::{Action, Code};
use super::context::RestartContext;
use super::decision::{Decision, Defer, Restart};
use super::deferred::DEFERRED_FIELD_MANAGER;
use super::patches;
use super::workload_result::{Warning, WorkloadResult};
use crate::cluster::{ApiError, WorkloadObject, retry_on_conflict};
use crate::workload::WorkloadRef;

/// Whether a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Apply,
    /// It is only reported.
    DryRun,
}

/// One workload, and what asks for its restart.
#[derive(Clone, Copy)]
pub(super) struct OneRestart<'a> {
    pub(super) context: &'a RestartContext,
    pub(super) workload: &'a WorkloadRef,
    pub(super) cause: &'a Cause,
    pub(super) mode: Mode,
    /// The workload as a LIST has shown it that began after the push came.
    pub(super) looked_at: Option<&'a Arc<WorkloadObject>>,
}

impl OneRestart<'_> {
    pub(super) async fn run(self) -> WorkloadResult {
        let RestartContext { policy, turns, metrics, .. } = self.context;
        if !self.cause.names_the_workload()
            && let Some(leave) = policy.refuses_namespace(self.workload)
        {
            return leave.result(self.workload);
        }
        // Pushes of one image at the same time restart the workload one after the other, each for the newest of them.
        let turn = match self.cause {
            Cause::Push(push) if self.mode == Mode::Apply => {
                Some(turns.wait(self.workload, push, &metrics.queued_restarts).await)
            }
            _ => None,
        };
        let newer = turn.as_ref().and_then(|turn| turn.newer.clone()).map(Cause::Push);
        let newer = newer.as_ref();

        let _permit = self.context.permit().await;
        let decided = match self.without_a_look(newer).await {
            Some(decided) => decided,
            None => retry_on_conflict(self.context.attempts(), || self.look_and_decide(newer)).await,
        };
        let (mut result, cause) = decided.unwrap_or_else(|error| (self.failed(&error), self.cause));

        if let (Some(turn), Cause::Push(push)) = (&turn, cause) {
            // That the pods run the digest of one push says nothing of the pushes before it.
            if result.action() != Action::Failed && result.code != Code::SameDigest {
                turn.settled(push);
            }
            if let (Some(newer), Some(published)) = (&turn.newer, push.published)
                && Arc::ptr_eq(newer, push)
            {
                result.reason.push_str(&format!("; for a newer push that came meanwhile, published {published:.3}"));
            }
        }
        result
    }

    /// Decides from an object that is at hand, which saves the GET. `None`: a fresh look is needed, because there is no
    /// such object, or it has changed since, or a watched one gives no reason to leave the workload for good.
    async fn without_a_look<'c>(
        &'c self,
        newer: Option<&'c Cause>,
    ) -> Option<Result<(WorkloadResult, &'c Cause), ApiError>> {
        if let Some(object) = self.looked_at {
            return self.carry_out(object, newer, |_| true).await;
        }
        let watched = self.context.cluster.watched().get(self.workload).filter(|_| self.mode == Mode::Apply)?;
        self.carry_out(&watched, newer, Code::is_of_record).await
    }

    /// Carries out what is decided from `object`: a restart, or what `is_final` of the codes that leave the workload.
    async fn carry_out<'c>(
        &'c self,
        object: &WorkloadObject,
        newer: Option<&'c Cause>,
        is_final: impl Fn(Code) -> bool,
    ) -> Option<Result<(WorkloadResult, &'c Cause), ApiError>> {
        let (decision, cause) = self.decide(object, newer);
        match decision {
            Decision::Leave(leave) if is_final(leave.code) => Some(Ok((leave.result(self.workload), cause))),
            Decision::Restart(restart) if self.mode == Mode::DryRun => Some(Ok((restart.result(self.workload), cause))),
            Decision::Restart(restart) => match self.patch(object, cause, restart).await {
                Err(ApiError::Conflict(_)) => None,
                patched => Some(patched.map(|result| (result, cause))),
            },
            Decision::Leave(_) | Decision::Defer(_) => None,
        }
    }

    /// # Errors
    /// [`ApiError::Conflict`]: the workload has changed since the look. Any other: the restart has failed.
    async fn look_and_decide<'c>(&'c self, newer: Option<&'c Cause>) -> Result<(WorkloadResult, &'c Cause), ApiError> {
        let object = match self.context.cluster.get_workload(self.workload).await {
            Err(ApiError::NotFound(_)) => return Ok((self.cause.not_found(self.workload), self.cause)),
            object => object?,
        };
        let (decision, cause) = self.decide(&object, newer);
        let result = match decision {
            Decision::Leave(leave) => leave.result(self.workload),
            Decision::Defer(defer) => self.defer(&object, defer).await?,
            Decision::Restart(restart) if self.mode == Mode::DryRun => restart.result(self.workload),
            Decision::Restart(restart) => self.patch(&object, cause, restart).await?,
        };
        Ok((result, cause))
    }

    /// Decides for the newer push that waits, if there is one. Decides for our own cause where the newer push leaves the
    /// workload as it is: ours may still want the restart, where the newer push brings back the digest that runs.
    fn decide<'c>(&'c self, object: &WorkloadObject, newer: Option<&'c Cause>) -> (Decision, &'c Cause) {
        let decide_for = |cause: &'c Cause| (cause.decide(self.workload, object, self.context), cause);
        let for_newer = newer.map(decide_for).filter(|(decision, _)| !matches!(decision, Decision::Leave(_)));
        for_newer.unwrap_or_else(|| decide_for(self.cause))
    }

    /// # Errors
    /// As of [`Self::look_and_decide`].
    async fn patch(
        &self,
        object: &WorkloadObject,
        cause: &Cause,
        restart: Restart,
    ) -> Result<WorkloadResult, ApiError> {
        let RestartContext { cluster, metrics, events, .. } = self.context;
        let patch = patches::restart(object, &restart, cluster.clock().now());
        match cluster.patch_workload(self.workload, cause.field_manager(), &patch).await {
            Ok(()) => {}
            Err(ApiError::NotFound(_)) => return Ok(cause.not_found(self.workload)),
            Err(error) => {
                if let (Cause::Push(push), ApiError::Denied(_)) = (cause, &error) {
                    events.denied(self.workload, object, push, &error);
                }
                return Err(error);
            }
        }
        if let Cause::Push(push) = cause {
            let since = cluster.clock().now().duration_since(push.time()).as_secs_f64();
            metrics.publish_to_patch.observe(since.max(0.0));
        }
        if restart.warnings.contains(&Warning::UnreadableCooldown) {
            tracing::warn!(workload = %self.workload, "{}", restart.reason);
        }
        Ok(restart.result(self.workload))
    }

    /// Lets the push wait on the workload for the end of the cooldown.
    ///
    /// # Errors
    /// As of [`Self::look_and_decide`].
    async fn defer(&self, object: &WorkloadObject, defer: Defer) -> Result<WorkloadResult, ApiError> {
        if let Some(pushes) = defer.pushes.filter(|_| self.mode == Mode::Apply) {
            let patch = patches::defer(object, &pushes);
            match self.context.cluster.patch_workload(self.workload, DEFERRED_FIELD_MANAGER, &patch).await {
                Ok(()) => {}
                // Not final, as the refusal of a restart is: the push would be lost. Pub/Sub keeps it meanwhile.
                Err(error @ ApiError::Denied(_)) => {
                    let reason = format!("{}, which cannot be written to the workload: {error}", defer.reason);
                    return Ok(WorkloadResult::new(self.workload, Code::ApiError, reason));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(WorkloadResult::new(self.workload, Code::Cooldown, defer.reason))
    }

    fn failed(&self, error: &ApiError) -> WorkloadResult {
        let code = match error {
            ApiError::Conflict(_) => {
                let reason = "it changed at every attempt to restart it";
                return WorkloadResult::new(self.workload, Code::Contended, reason);
            }
            ApiError::Denied(_) => Code::Denied,
            ApiError::Forbidden(_) | ApiError::Unauthorized(_) => Code::Forbidden,
            ApiError::Unreachable(_) | ApiError::TimedOut(_) => Code::Unreachable,
            ApiError::TooBusy(_) => Code::TooBusy,
            ApiError::NoPermit { .. } => Code::TimedOut,
            _ => Code::ApiError,
        };
        WorkloadResult::new(self.workload, code, error.to_string())
    }
}
