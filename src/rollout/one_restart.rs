//! The restart of one workload, from top to bottom.
//!
//! ```text
//! run              the policy on its namespace; for a push, wait for its turn
//!   attempt        an object: one that was looked at already, one that a watch has delivered, or a GET; then decide
//!     patch        the restart; what the API server has stored says what came of it
//!     wait         the push waits, for the end of the cooldown or of a refusal
//! ```
//!
//! Only a restart, or our own record, may rest on an old object: a PATCH has its resourceVersion as precondition. The pods
//! are looked at after a fresh object.

use std::sync::Arc;
use std::time::Instant;

use super::cause::Cause;
use super::code::{Action, Code};
use super::context::RestartContext;
use super::decision::pods::PodLook;
use super::decision::{Decision, Known, PodsNotSeen, PodsSeen, RECORD_REMOVED, Restart, record_may_be_kept};
use super::mode::Mode;
use super::one_result::{OneResult, failure_code};
use super::pod_look::look_at_pods;
use super::record::RECORD_ANNOTATION;
use super::turns::Turn;
use super::waiting::{Changes, KeptRecord, View, Waiting, WaitingPush, Why};
use super::workload_result::{Warning, WorkloadResult};
use super::{Push, patches, restarted_at};
use crate::cluster::{ApiError, WorkloadObject};
use crate::workload::WorkloadRef;

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

/// A PATCH that failed as if the object had changed, or were gone. If it is the same at the next look, that was a refusal.
struct Suspect {
    resource_version: String,
    error: ApiError,
}

/// What the next step of [`OneRestart::attempt`] is.
enum Step {
    Done(OneResult),
    /// Look again.
    Again(Option<Suspect>),
    /// Wait for more pushes, and look again.
    Gather,
}

impl OneRestart<'_> {
    pub(super) async fn run(self) -> OneResult {
        let RestartContext { policy, turns, metrics, .. } = self.context;
        if !self.cause.names_the_workload()
            && let Some(leave) = policy.refuses_namespace(self.workload)
        {
            return leave.result(self.workload).into();
        }
        let turn = match self.cause {
            Cause::Push(push) if self.mode == Mode::Apply => {
                Some(turns.wait(self.workload, push, &metrics.queued_restarts).await)
            }
            _ => None,
        };
        let done = self
            .attempt(turn.as_ref())
            .await
            .unwrap_or_else(|error| WorkloadResult::new(self.workload, failure_code(&error), error.to_string()).into());
        if let (Some(turn), Cause::Push(push)) = (&turn, self.cause) {
            // That the pods run the digest of one push says nothing of the pushes before it.
            if done.result.action() != Action::Failed && done.result.code != Code::SameDigest {
                turn.settled([push]);
            }
        }
        done
    }

    /// # Errors
    /// The restart has failed.
    async fn attempt(&self, turn: Option<&Turn<'_>>) -> Result<OneResult, ApiError> {
        let (mut attempts, mut suspect, mut has_gathered) = (self.context.attempts(), None, false);
        let mut known = self.known_object();
        let mut permit = self.context.permit().await;
        loop {
            let (object, is_fresh) = match known.take() {
                Some(known) => known,
                None if !attempts.next().await => {
                    let reason = "it changed at every attempt to restart it";
                    return Ok(WorkloadResult::new(self.workload, Code::Contended, reason).into());
                }
                None => match self.context.cluster.get_workload(self.workload).await {
                    Err(ApiError::NotFound(_)) => return Ok(self.cause.not_found(self.workload).into()),
                    object => (Arc::new(object?), true),
                },
            };
            let seen = Instant::now();
            let refused = suspect
                .take()
                .filter(|suspect: &Suspect| is_fresh && suspect.resource_version == object.metadata.resource_version);
            let step = match refused {
                Some(suspect) => Step::Done(self.refused(&object, &suspect.error)),
                None => self.step(&object, is_fresh, turn, has_gathered, seen).await?,
            };
            match step {
                Step::Done(done) => return Ok(done),
                Step::Again(failed) => suspect = failed,
                Step::Gather => {
                    has_gathered = true;
                    drop(permit.take());
                    tokio::time::sleep(self.context.gather).await;
                    permit = self.context.permit().await;
                }
            }
        }
    }

    /// An object that needs no GET, and whether it is as good as one.
    fn known_object(&self) -> Option<(Arc<WorkloadObject>, bool)> {
        if let Some(object) = self.looked_at {
            return Some((Arc::clone(object), true));
        }
        let watched = self.context.cluster.watched().get(self.workload);
        watched.filter(|_| self.mode == Mode::Apply).map(|object| (object, false))
    }

    /// # Errors
    /// The restart has failed.
    async fn step(
        &self,
        object: &Arc<WorkloadObject>,
        is_fresh: bool,
        turn: Option<&Turn<'_>>,
        has_gathered: bool,
        seen: Instant,
    ) -> Result<Step, ApiError> {
        let others = turn.map(Turn::others).unwrap_or_default();
        let decide = |view: &View, pods: Option<&Result<PodsSeen, PodsNotSeen>>| {
            let pods = pods.map(Result::as_ref);
            let known = Known { pods, is_fresh, ..Known::of(&others, view.get(self.workload)) };
            self.cause.decide(self.workload, object, known, self.context)
        };
        let mut view = self.context.view();
        let mut decision = decide(&view, None);
        let may_be_kept = self.cause.is_push() && record_may_be_kept(object);
        if may_be_kept && !matches!(decision, Decision::Leave(_)) {
            if !is_fresh {
                return Ok(Step::Again(None));
            }
            // What another replica has kept since its restart is younger than the object that shows this restart.
            view = self.context.view_since(seen).await;
            decision = decide(&view, None);
        }
        if let (Decision::Look(question), Cause::Push(push)) = (&decision, self.cause)
            && is_fresh
        {
            let look = PodLook { workload: self.workload, object, push, question: *question };
            let pods = look_at_pods(self.context, look).await;
            if may_be_kept {
                view = self.context.view_since(Instant::now()).await;
            }
            decision = decide(&view, Some(&pods));
        }
        let restart = match decision {
            Decision::Leave(leave) if is_fresh || leave.code.is_of_record() => {
                return Ok(Step::Done(leave.result(self.workload).into()));
            }
            Decision::Wait(wait) if is_fresh => {
                let changes = self.wait(&view, wait.is_known, wait.why, &wait.reason, wait.due);
                let result = WorkloadResult::new(self.workload, wait.code, wait.reason);
                return Ok(Step::Done(OneResult { result, changes }));
            }
            // Only a fresh object decides that, with its status.
            Decision::Leave(_) | Decision::Wait(_) | Decision::Look(_) => return Ok(Step::Again(None)),
            Decision::Restart(restart) => restart,
        };
        if self.mode == Mode::DryRun {
            return Ok(Step::Done(restart.result(self.workload).into()));
        }
        if restart.follows_another && !has_gathered && self.cause.has_order() {
            return Ok(Step::Gather);
        }
        let done = match self.patch(object, restart, &others, &view).await {
            Ok(done) => done,
            Err(error @ ApiError::Denied(_)) => self.refused(object, &error),
            Err(error @ (ApiError::Conflict(_) | ApiError::NotFound(_))) => {
                let resource_version = object.metadata.resource_version.clone();
                return Ok(Step::Again(Some(Suspect { resource_version, error })));
            }
            Err(error) => return Err(error),
        };
        if done.result.action() == Action::Restarted
            && let Some(turn) = turn
        {
            turn.settled(&others);
        }
        Ok(Step::Done(done))
    }

    /// # Errors
    /// That of the PATCH.
    async fn patch(
        &self,
        object: &WorkloadObject,
        restart: Restart,
        others: &[Arc<Push>],
        view: &View,
    ) -> Result<OneResult, ApiError> {
        let RestartContext { cluster, metrics, .. } = self.context;
        let label = self.context.waiting.as_deref().map(Waiting::following_label);
        let patch = patches::restart(object, &restart, label);
        let stored = cluster.patch_workload(self.workload, self.cause.field_manager(), &patch).await?;
        let annotations = &stored.spec.template.metadata.annotations;
        if *annotations == object.spec.template.metadata.annotations {
            let removed = "the API server stored the workload without our annotations of its pod template, so nothing was \
                           restarted: a mutating webhook or policy removes them";
            return Ok(self.refused(object, &ApiError::Denied(removed.to_owned())));
        }
        let restarted_at: Option<Box<str>> = restarted_at::text(&stored).map(Into::into);
        let Cause::Push(push) = self.cause else {
            return Ok(WorkloadResult { restarted_at, ..restart.result(self.workload) }.into());
        };
        if let (Some(restarted), Some(label)) = (self.context.restarted.get(), label) {
            // The label on the workload shows it as well.
            let label = label.value(restarted_at.as_deref().unwrap_or_default());
            let _ = restarted.try_send((self.workload.clone(), label));
        }
        let since = cluster.clock().now().duration_since(push.time()).as_secs_f64();
        metrics.publish_to_patch.observe(since.max(0.0));
        if restart.warnings.contains(&Warning::UnreadableCooldown) {
            tracing::warn!(workload = %self.workload, "{}", restart.reason);
        }
        let mut changes = Changes::default();
        let written = patch["spec"]["template"]["metadata"]["annotations"][RECORD_ANNOTATION].as_str();
        let is_record_stored = annotations.get(RECORD_ANNOTATION).map(String::as_str) == written;
        let recorded = restart.record.clone().unwrap_or_default();
        if !is_record_stored || object.metadata.controller.is_some() {
            let record = recorded.clone();
            let restarted_at = restarted_at.as_deref().unwrap_or_default().to_owned();
            let since = self.context.clocks().server_now();
            changes.keeps.push(KeptRecord { workload: self.workload.clone(), restarted_at, record, since });
        }
        // A push of an image that the template does not run any more goes on waiting: an undo may bring its pods back.
        let waited = view.pushes(self.workload).iter();
        let is_done =
            |waits: &&WaitingPush| waits.push.image.tag_key().is_some_and(|image| recorded.get(image).is_some());
        changes.done.extend(waited.filter(is_done).map(WaitingPush::key));
        let mut result = WorkloadResult { restarted_at, ..restart.result(self.workload) };
        if !is_record_stored {
            result.warnings.push(Warning::RecordRemoved);
            result.reason.push_str(&format!("; {RECORD_REMOVED}"));
        }
        let newer = others.iter().filter(|other| other.image.tag_key() == push.image.tag_key());
        let newer = newer.filter(|other| push.order().is_some() && other.order() > push.order());
        if let Some(published) = newer.filter_map(|newer| newer.published).max() {
            result.reason.push_str(&format!("; for a newer push that came meanwhile, published {published:.3}"));
        }
        Ok(OneResult { result, changes })
    }

    /// Admission refuses the restart, or the API server calls the object invalid: a push waits for the end of that.
    fn refused(&self, object: &WorkloadObject, error: &ApiError) -> OneResult {
        let reason = match error {
            ApiError::Denied(_) => error.to_string(),
            // The object is there, and it has not changed: the error is not what it says.
            error => format!("refused by the API server, though the workload is as it was: {error}"),
        };
        let Cause::Push(push) = self.cause else {
            return WorkloadResult::new(self.workload, Code::Refused, reason).into();
        };
        let view = self.context.view();
        let waits = view.pushes(self.workload);
        let is_known = waits.iter().any(|waits| waits.covers(push));
        if !is_known {
            self.context.events.denied(self.workload, object, push, &reason);
        }
        let changes = self.wait(&view, is_known, Why::Denied, &reason, None);
        let result =
            WorkloadResult::new(self.workload, Code::Denied, format!("{reason}; it is tried again until it works"));
        OneResult { result, changes }
    }

    /// What to write so that the push waits. Nothing where it waits already, for the same reason.
    fn wait(&self, view: &View, is_known: bool, why: Why, reason: &str, due: Option<jiff::Timestamp>) -> Changes {
        let Cause::Push(push) = self.cause else { return Changes::default() };
        let waits = view.pushes(self.workload);
        let since = self.context.clocks().server_now();
        let mut new = WaitingPush::new(self.workload, push, why, reason, since);
        new.due = due;
        let is_same = |waits: &&WaitingPush| waits.key() == new.key();
        let known = waits.iter().find(is_same);
        if self.mode == Mode::DryRun || known.map_or(is_known, |known| known.why == why && known.due == due) {
            return Changes::default();
        }
        let superseded = waits.iter().filter(|waits| waits.is_superseded_by(push));
        Changes { done: superseded.map(WaitingPush::key).collect(), waits: vec![new], ..Changes::default() }
    }
}
