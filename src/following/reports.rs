//! What is reported of one restart: Events, a line of the log, metrics, and the endings that notifications show.

use std::collections::VecDeque;

use super::context::FollowingContext;
use super::events::Report;
use crate::cluster::ApiError;
use crate::ending::{Ending, ReportedPush, Runs, WorkloadEnding};
use crate::notify;
use crate::rollout::OurRestart;
use crate::rollout::record::RecordedPush;
use crate::workload::WorkloadRef;

/// The reports of one restart.
#[derive(Debug)]
pub(super) struct Reports {
    workload: WorkloadRef,
    uid: String,
    restart: OurRestart,
    /// Events that are still to be written.
    events: VecDeque<Report>,
    /// What came of each push; none while the rollout is under way.
    endings: Vec<WorkloadEnding>,
}

impl Reports {
    /// Begins with an Event for each push that the restart was for.
    pub(super) fn new(workload: &WorkloadRef, uid: &str, restart: OurRestart) -> Self {
        let (workload, uid, events) = (workload.clone(), uid.to_owned(), VecDeque::new());
        let mut reports = Self { workload, uid, restart, events, endings: Vec::new() };
        let events = reports.restart.pushes.iter();
        let events =
            events.map(|(image, push)| reports.event(image, push, ("Restarted", false), restarted(image, push)));
        reports.events = events.collect();
        reports
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    pub(super) fn restart(&self) -> &OurRestart {
        &self.restart
    }

    /// The Events of an earlier restart of the same object that are still to be written come first.
    pub(super) fn write_first(&mut self, mut earlier: Self) {
        if earlier.uid == self.uid {
            earlier.events.append(&mut self.events);
            self.events = earlier.events;
        }
    }

    /// Whether each Event is written.
    pub(super) fn are_written(&self) -> bool {
        self.events.is_empty()
    }

    /// The same sentence for each push.
    pub(super) fn ended(&mut self, context: &FollowingContext, ending: Ending, sentence: &str) {
        let of_pushes = vec![(Runs::NotChecked, sentence.to_owned()); self.restart.pushes.len()];
        self.ended_with(context, ending, of_pushes);
    }

    /// Of each push what the pods run, and the sentence.
    pub(super) fn ended_with(&mut self, context: &FollowingContext, ending: Ending, of_pushes: Vec<(Runs, String)>) {
        context.metrics.ended(self.workload.kind, ending);
        let ended_at = context.server_now();
        let restarted_at = self.restart.restarted_at.parse().unwrap_or(ended_at);
        self.endings.clear();
        for ((image, push), (runs, sentence)) in self.restart.pushes.iter().zip(of_pushes) {
            self.log(image, push, ending, runs, &sentence);
            if ending == Ending::Complete {
                context.metrics.verified(runs);
                if let Some(published) = push.published {
                    context.metrics.runs_after(ended_at.duration_since(published).as_secs_f64());
                }
            }
            let event = match (ending, runs) {
                (Ending::Complete, Runs::OtherImage) => Some(("OtherImageRunning", true)),
                (Ending::Complete, _) => Some(("RolloutComplete", false)),
                (Ending::Failed, _) => Some(("RolloutFailed", true)),
                _ => None,
            };
            if let Some(event) = event {
                let event = self.event(image, push, event, sentence.clone());
                self.events.push_back(event);
            }
            let workload = self.workload.clone();
            self.endings.push(WorkloadEnding { workload, ending, runs, reason: sentence, restarted_at, ended_at });
        }
        if ending == Ending::Gone {
            // Nobody can look at Events of a workload that does not exist.
            self.events.clear();
        }
    }

    /// Writes the Events that are still to be written, in their order.
    ///
    /// # Errors
    /// It may succeed later.
    pub(super) async fn write(&mut self, context: &FollowingContext) -> Result<(), ApiError> {
        while let Some(event) = self.events.front() {
            context.write_event(&self.workload, &self.uid, event).await?;
            self.events.pop_front();
        }
        Ok(())
    }

    /// How far each push is, for notifications. `is_over`: the rollout is not followed any more.
    pub(super) fn progress(&self, is_over: bool) -> impl Iterator<Item = (ReportedPush, notify::Progress)> {
        self.restart.pushes.iter().enumerate().map(move |(n, (image, push))| {
            let RecordedPush { digest, published, message_id, .. } = push.clone();
            let progress = match self.endings.get(n).cloned() {
                Some(ending) if is_over => notify::Progress::Over(ending),
                Some(ending) => notify::Progress::MayRecover(ending),
                None => notify::Progress::UnderWay,
            };
            (ReportedPush { image: image.clone(), digest, published, message_id }, progress)
        })
    }

    fn event(
        &self,
        image: &str,
        push: &RecordedPush,
        (reason, is_warning): (&'static str, bool),
        note: String,
    ) -> Report {
        let message = push.message_id.as_deref().unwrap_or_default();
        let identity = format!("{} {image} {:?} {message}", self.restart.restarted_at, push.published);
        Report { is_warning, reason, note, identity }
    }

    /// One line with everything in it.
    fn log(&self, image: &str, push: &RecordedPush, ending: Ending, runs: Runs, sentence: &str) {
        let (workload, restarted_at) = (&self.workload, &self.restart.restarted_at);
        let digest = push.digest.as_ref().map(ToString::to_string).unwrap_or_default();
        let published = push.published.map(|at| at.to_string()).unwrap_or_default();
        let message_id = push.message_id.as_deref().unwrap_or_default();
        let (name, runs) = (ending.as_str(), runs.as_str());
        if ending == Ending::Failed {
            tracing::warn!(%workload, image, digest, published, message_id, restarted_at, ending = name, runs, "rollout: {sentence}");
        } else {
            tracing::info!(%workload, image, digest, published, message_id, restarted_at, ending = name, runs, "rollout: {sentence}");
        }
    }
}

fn restarted(image: &str, push: &RecordedPush) -> String {
    let digest = push.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
    let published = push.published.map(|published| format!(", published {published:.3}")).unwrap_or_default();
    let message = push.message_id.as_ref().map(|id| format!(", message {id}")).unwrap_or_default();
    format!("for the push of {image}{digest}{published}{message}")
}
