//! Requests by hand for an image: what a push of it would do, and a restart of the workloads that run it.

use std::sync::Arc;
use std::time::Instant;

use super::Deliveries;
use super::answer::Answer;
use super::resolved::Resolved;
use crate::cache::proof::Need;
use crate::cache::resolver::Unproven;
use crate::image::ImageRef;
use crate::rollout::restart::Mode;
use crate::rollout::{ByHand, Code, Push, WorkloadResult};

impl Deliveries {
    /// What a push of `image` would do now. Names the workloads that run it by digest, too: a push leaves them alone.
    pub async fn explain(&self, image: &ImageRef) -> Answer {
        let received = self.received();
        let push =
            Push { image: image.clone(), digest: None, published: None, received: received.time, message_id: None };
        let resolved = self.resolve(received, &Arc::new(push), Mode::DryRun).await;
        self.answer_with_pinned(image, resolved, Mode::DryRun)
    }

    /// Restarts the workloads that run `image` now, as a person would: it looks at no push and writes no record. Nothing
    /// is restarted before an index is proven for now. Names the workloads that run it by digest, too: they are left
    /// alone.
    pub async fn restart(&self, image: &ImageRef, mode: Mode) -> Answer {
        let received = self.received();
        let need = Need::Proof { received: received.instant, published: received.time };
        match self.wait_for(need, received.instant + self.config.hold).await {
            Ok(loaded) => {
                let (asked, deadline) = (ByHand::Image(image.clone()), Instant::now() + self.config.hold);
                let results =
                    self.restarter.restart_by_hand(loaded.index.followers(image), asked, mode, deadline).await;
                let unseen = self.resolver.unproven_parts(&loaded, &need);
                let resolved = Resolved { unseen, ..Resolved::new(Some(loaded), true, results, None) };
                self.answer_with_pinned(image, resolved, mode)
            }
            Err(unproven) => {
                let reason = match &unproven {
                    Unproven::Failed(reason) => reason.to_string(),
                    Unproven::TimedOut => format!("the cluster was not scanned within {:?}", self.config.hold),
                };
                let resolved = Resolved::new(None, false, Vec::new(), Some(unproven));
                let mut answer = self.answer(image.clone(), resolved, mode);
                answer.reason = Some(format!("who runs the image is not known, and nothing was restarted: {reason}"));
                answer
            }
        }
    }

    /// The answer, with the workloads that run the image by digest.
    fn answer_with_pinned(&self, image: &ImageRef, resolved: Resolved, mode: Mode) -> Answer {
        let pinned =
            resolved.source.as_ref().map_or(&[][..], |loaded| loaded.index.pinned(image)).iter().map(|pinned| {
                let reason = format!("it runs {}: a digest does not move with a tag", pinned.image);
                WorkloadResult::new(&pinned.workload, Code::PinnedByDigest, reason)
            });
        let pinned: Vec<_> = pinned.collect();
        let mut answer = self.answer(image.clone(), resolved, mode);
        let is_known = |result: &WorkloadResult| answer.workloads.iter().any(|w| w.workload() == result.workload());
        let new: Vec<_> = pinned.into_iter().filter(|result| !is_known(result)).collect();
        answer.workloads.extend(new);
        answer.workloads.sort_by_key(WorkloadResult::workload);
        answer
    }
}
