//! What was done for the workloads of a push, and the answer that it makes.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, AnswerCode, Outcome, Source};
use crate::cache::resolver::Unproven;
use crate::cache::status::FailedTier;
use crate::cache::unseen::describe;
use crate::cache::{LoadedIndex, UnseenPart};
use crate::image::ImageRef;
use crate::index::Part;
use crate::rollout::restart::Mode;
use crate::rollout::{Code, WorkloadResult};

/// What was done for the workloads of a push.
pub(super) struct Resolved {
    pub(super) source: Option<Arc<LoadedIndex>>,
    pub(super) proven: bool,
    pub(super) results: Vec<WorkloadResult>,
    pub(super) unproven: Option<Unproven>,
    /// The parts of the scope that the index has not seen for this push.
    pub(super) unseen: Vec<UnseenPart>,
    /// Those for which the push is kept.
    pub(super) kept_for: Vec<Part>,
}

impl Resolved {
    pub(super) fn new(
        source: Option<Arc<LoadedIndex>>,
        proven: bool,
        results: Vec<WorkloadResult>,
        unproven: Option<Unproven>,
    ) -> Self {
        Self { source, proven, results, unproven, unseen: Vec::new(), kept_for: Vec::new() }
    }

    /// What is forbidden of a part that the push is kept for is not left to the next delivery.
    pub(super) fn leave_to_kept_push(&mut self) {
        for result in self.results.iter_mut().filter(|result| result.code == Code::Forbidden) {
            let workload = result.workload();
            if self.kept_for.iter().any(|part| part.has(&workload)) {
                let reason = format!("the push waits until it can be seen again: {}", result.reason);
                *result = WorkloadResult::new(&workload, Code::Unseen, reason);
            }
        }
    }

    /// The answer to a push of `image`, which waits for its proof at most `hold`.
    pub(super) fn into_answer(
        self,
        image: ImageRef,
        mode: Mode,
        failed_tiers: Vec<FailedTier>,
        hold: Duration,
    ) -> Answer {
        let Self { source, proven, results, unproven, unseen, kept_for } = self;
        let mut answer = Answer::of_workloads(image, results, mode);
        if unproven.is_none() && !unseen.is_empty() {
            let waits = if kept_for.is_empty() { "" } else { "; the push waits until it can be seen" };
            answer.warnings.push(format!("{}{waits}", describe(&unseen)));
        }
        answer.source = source.as_deref().map(|loaded| Source::of(loaded, proven, failed_tiers, unseen));
        if let Some(unproven) = unproven {
            answer.outcome = Outcome::Failed;
            answer.code = Some(AnswerCode::NotProven);
            answer.reason = Some(match unproven {
                Unproven::Failed(reason) => format!("who else runs the image is not known: {reason}"),
                Unproven::TimedOut => format!(
                    "who else runs the image was not known within {:?}: the cluster is being scanned, and the next \
                     delivery finishes the job",
                    hold
                ),
            });
        } else if !proven {
            answer.warnings.push(
                "--allow-stale: the index is not proven for this push, and a workload that is younger than it may have \
                 been missed"
                    .to_owned(),
            );
        }
        answer
    }
}
