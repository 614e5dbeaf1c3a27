//! One rollout that is followed: what each look makes of it.

use std::time::{Duration, Instant};

use super::context::{FIELD_MANAGER, FollowingContext, LOOK_MAX, Pods};
use super::reports::Reports;
use super::standing::{pushed, runs_of_complete};
use crate::backoff::doubled;
use crate::cluster::workload_object::FOLLOWING_LABEL;
use crate::cluster::{self, ApiError, WorkloadObject, WorkloadStatus};
use crate::ending::Ending;
use crate::notify::NOTIFY_ANNOTATION;
use crate::rollout::progress::{Progress, progress};
use crate::rollout::{FollowingLabel, OurRestart, RESTARTED_AT_ANNOTATION};
use crate::workload::WorkloadRef;

/// The pauses between two looks at the pods of a rollout: the first, and the longest.
const PODS_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// The pauses after something could not be written: the first, and the longest.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So often writes of an ending are tried: for about an hour.
const RETRIES_MAX: u32 = 60;
/// After so many looks at its pods that have failed, a complete rollout is reported without them.
const PODS_RETRIES: u32 = 3;
/// For so long a rollout that fails may recover.
const RECOVERY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the notifications of a rollout are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notified {
    /// They do not know of it.
    NotYet,
    /// They know of it.
    Begun,
    /// Each is delivered or given up. There is no other.
    Done,
}

/// One rollout that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) reports: Reports,
    /// The object's resourceVersion at the last look.
    pub(super) version: String,
    /// When to look again, though nothing has changed.
    pub(super) next: Instant,
    pub(super) notified: Notified,
    /// The workload's annotation `pushroll.dev/notify`.
    pub(super) notify: Option<String>,
    status: WorkloadStatus,
    /// When the status last changed.
    moved_at: Instant,
    next_pods: Instant,
    pods_pause: Duration,
    /// Whether `failed` was reported. The rollout may recover.
    has_failed: bool,
    /// Since when it could not go on, if so at the last look.
    failing_since: Option<Instant>,
    /// A pod that is missing because its node does not report.
    unready: Option<String>,
    ending: Option<Ending>,
    retries: u32,
}

impl Followed {
    /// Begins to follow a restart of ours.
    pub(super) fn new(workload: &WorkloadRef, object: &WorkloadObject, restart: OurRestart, now: Instant) -> Self {
        Self {
            reports: Reports::new(workload, &object.metadata.uid, restart),
            version: String::new(),
            next: now,
            notified: Notified::NotYet,
            notify: object.metadata.annotations.get(NOTIFY_ANNOTATION).cloned(),
            status: object.status.clone(),
            moved_at: now,
            next_pods: now + PODS_PAUSE.0,
            pods_pause: PODS_PAUSE.0,
            has_failed: false,
            failing_since: None,
            unready: None,
            ending: None,
            retries: 0,
        }
    }

    /// `restartedAt` of the restart.
    pub(super) fn restarted_at(&self) -> &str {
        &self.reports.restart().restarted_at
    }

    /// The value of the label that belongs to the restart.
    pub(super) fn label(&self, label: &FollowingLabel) -> String {
        label.value(self.restarted_at())
    }

    /// Whether the rollout has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether it could not go on at the last look.
    pub(super) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// Whether it has ended, and keeps its label until its notifications are delivered or given up.
    pub(super) fn waits(&self) -> bool {
        let has_label = !matches!(self.ending, None | Some(Ending::Superseded | Ending::Gone));
        has_label && self.reports.are_written()
    }

    /// Whether its rollout has ended, and another restart has followed.
    pub(super) fn is_over_for(&self, object: &WorkloadObject) -> bool {
        self.has_ended() && !self.is_of(object)
    }

    fn is_of(&self, object: &WorkloadObject) -> bool {
        let restarted_at = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
        restarted_at.is_some_and(|at| at == self.restarted_at())
    }

    /// Looks once, and reports what there is to report. Returns whether the rollout is to be followed further.
    /// `object` is `None` for a workload that does not exist any more.
    pub(super) async fn turn(
        &mut self,
        context: &FollowingContext,
        workload: &WorkloadRef,
        object: Option<&WorkloadObject>,
    ) -> bool {
        let now = Instant::now();
        if let Some(object) = object {
            self.version.clone_from(&object.metadata.resource_version);
        }
        let looked = cluster::within(now + LOOK_MAX, self.look_and_report(context, workload, object, now)).await;
        let error = match looked {
            Ok(looked) => looked.err().map(|error| error.to_string()),
            Err(out_of_time) => Some(out_of_time.to_string()),
        };
        if let Some(error) = error {
            tracing::debug!(%workload, "following its rollout: {error}");
            self.retries += 1;
            // Until it has ended, its pods are looked at as often as ever.
            let longest = if self.has_ended() { RETRY_PAUSE.1 } else { PODS_PAUSE.1 };
            self.next = Instant::now() + doubled(RETRY_PAUSE.0, self.retries, longest);
            if self.retries > RETRIES_MAX && self.has_ended() {
                tracing::warn!(%workload, "the end of its rollout could not be reported: {error}");
                return false;
            }
            return true;
        }
        self.retries = 0;
        if self.waits() && self.notified != Notified::Done {
            self.next = now + RETRY_PAUSE.1;
            return true;
        }
        !self.has_ended()
    }

    async fn look_and_report(
        &mut self,
        context: &FollowingContext,
        workload: &WorkloadRef,
        object: Option<&WorkloadObject>,
        now: Instant,
    ) -> Result<(), ApiError> {
        // Events that cannot be written hold up nothing else.
        let looked = if self.has_ended() { Ok(()) } else { self.look(context, workload, object, now).await };
        self.reports.write(context).await?;
        looked?;
        if self.has_ended() && (self.notified == Notified::Done || !self.waits()) {
            let label = self.label(&context.label);
            context.cluster.remove_label(workload, FIELD_MANAGER, (FOLLOWING_LABEL, &label)).await?;
        }
        Ok(())
    }

    async fn look(
        &mut self,
        context: &FollowingContext,
        workload: &WorkloadRef,
        object: Option<&WorkloadObject>,
        now: Instant,
    ) -> Result<(), ApiError> {
        let Some(object) = object.filter(|object| object.metadata.uid == self.reports.uid()) else {
            self.end(context, Ending::Gone, "it was deleted");
            return Ok(());
        };
        if !self.is_of(object) {
            self.end(context, Ending::Superseded, "it was restarted again, or its pod template was put back");
            return Ok(());
        }
        let template = &object.spec.template.spec;
        if !self.reports.restart().pushes.iter().any(|(image, _)| template.follows(image)) {
            self.end(context, Ending::Superseded, "its pod template names another image now");
            return Ok(());
        }
        if object.status != self.status {
            self.status.clone_from(&object.status);
            // Pods that crash change the status again and again: no progress.
            if !self.is_failing() {
                self.moved_at = now;
            }
            self.pods_pause = PODS_PAUSE.0;
        }
        let mut pause = PODS_PAUSE.1;
        match progress(workload.kind, object) {
            Progress::Ended(Ending::Complete, reason) => {
                return self.complete(context, workload, object, &reason).await;
            }
            Progress::Ended(Ending::Failed, reason) => {
                self.fail(context, &reason);
                self.give_up_recovery(context, now);
            }
            Progress::Ended(ending, reason) => self.end(context, ending, &reason),
            Progress::Paused => self.moved_at = now,
            Progress::UnderWay(missing) => {
                self.under_way(context, workload, object, &missing, now).await;
                pause = if self.has_failed { PODS_PAUSE.1 } else { self.pods_pause };
            }
        }
        self.next = now + pause;
        Ok(())
    }

    async fn under_way(
        &mut self,
        context: &FollowingContext,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        missing: &str,
        now: Instant,
    ) {
        if now >= self.next_pods {
            let began = Instant::now();
            self.pods_pause = if self.has_failed { PODS_PAUSE.1 } else { (self.pods_pause * 3 / 2).min(PODS_PAUSE.1) };
            match context.look_at_pods(workload, object, self.restarted_at(), []).await {
                Ok(Pods::Seen(pods, _)) => {
                    self.unready = pods.unready;
                    match pods.failing {
                        Some(failing) => self.fail(context, &failing),
                        None => self.goes_on(now),
                    }
                }
                // The workload alone says that it goes on.
                Ok(Pods::NotSeen(_)) => self.goes_on(now),
                Err(error) => tracing::debug!(%workload, "looking at its pods: {error}"),
            }
            // Thousands of pods take a while: no more than a tenth of the time.
            self.next_pods = Instant::now() + self.pods_pause.max(began.elapsed() * 10);
        }
        let patience = context.args.rollout_timeout;
        self.give_up_recovery(context, now);
        if !self.is_failing() && now.duration_since(self.moved_at) > patience {
            let unready = self.unready.as_ref().map(|pod| format!("; {pod}")).unwrap_or_default();
            let reason = format!("it has made no progress for {patience:?}: {missing}{unready}");
            self.end(context, Ending::Unknown, &reason);
        }
    }

    async fn complete(
        &mut self,
        context: &FollowingContext,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        reason: &str,
    ) -> Result<(), ApiError> {
        let pushes = &self.reports.restart().pushes;
        let pods = match context.look_at_pods(workload, object, self.restarted_at(), pushed(pushes)).await {
            // Where the API server is away, nothing could be reported either.
            Err(error) if self.retries >= PODS_RETRIES && !matches!(error, ApiError::Unreachable(_)) => {
                Pods::NotSeen(error.to_string())
            }
            pods => pods?,
        };
        let runs = runs_of_complete(reason, &pods, pushes.len(), &object.spec.template.spec);
        self.reports.ended_with(context, Ending::Complete, runs);
        self.ending = Some(Ending::Complete);
        Ok(())
    }

    /// It has failed, and may recover: it is followed further.
    fn fail(&mut self, context: &FollowingContext, reason: &str) {
        self.failing_since.get_or_insert_with(Instant::now);
        if !std::mem::replace(&mut self.has_failed, true) {
            self.reports.ended(context, Ending::Failed, reason);
        }
    }

    /// Nothing keeps it from going on, at least not any more.
    fn goes_on(&mut self, now: Instant) {
        if self.failing_since.take().is_some() {
            self.moved_at = now;
        }
    }

    fn give_up_recovery(&mut self, context: &FollowingContext, now: Instant) {
        if self.failing_since.is_some_and(|since| now.saturating_duration_since(since) > RECOVERY_MAX) {
            self.end(context, Ending::Unknown, "it has not recovered");
        }
    }

    fn end(&mut self, context: &FollowingContext, ending: Ending, reason: &str) {
        // A rollout that has failed and does not recover has ended as failed, which is reported.
        if !(self.has_failed && ending == Ending::Unknown) {
            self.reports.ended(context, ending, reason);
        }
        self.ending = Some(ending);
    }
}
