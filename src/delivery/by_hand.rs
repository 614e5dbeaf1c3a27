//! Requests by hand for an image: what a push of it would do, and a restart of the workloads that run it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::Deliveries;
use super::answer::Answer;
use super::resolved::Resolved;
use super::{Receipt, Received, others};
use crate::cache::proof::Need;
use crate::cache::resolver::Unproven;
use crate::image::ImageRef;
use crate::rollout::restart::Mode;
use crate::rollout::{ByHand, Code, KnownBefore, Push, WorkloadResult};
use crate::workload::WorkloadRef;

impl Deliveries {
    /// What a push of `image` would do now, and what else runs it.
    pub async fn explain(&self, image: &ImageRef) -> Answer {
        let received = self.received();
        let push = Push {
            image: image.clone(),
            digest: None,
            published: None,
            received: received.time,
            message_id: None,
            clock_agrees: false,
            waiting_since: None,
        };
        let (push, receipt) = (Arc::new(push), Receipt::only(received));
        let (cluster, scope, deadline) =
            (self.resolver.cluster(), self.resolver.scope(), received.instant + self.config.hold);
        let (resolved, (others, unseen)) =
            tokio::join!(self.resolve(&receipt, &push, Mode::DryRun), others::others(cluster, scope, image, deadline));
        let answer = self.answer(image.clone(), resolved, Mode::DryRun);
        Answer { others: Some(others), others_unseen: unseen, ..answer }
    }

    /// Restarts the workloads that run `image` now, as a person would: it looks at no push and writes no record. Nothing
    /// is restarted before an index is proven for the time that the person asked. What the person has restarted since then
    /// for another image is left: its pods pull this one as well.
    pub async fn restart(
        &self,
        image: &ImageRef,
        mode: Mode,
        asked: Received,
        restarted: &BTreeSet<WorkloadRef>,
    ) -> Answer {
        let need = Need::Proof { received: asked.instant, published: asked.time };
        match self.wait_for(need, Instant::now() + self.config.hold).await {
            Ok(loaded) => {
                let (by_hand, deadline) = (ByHand::Image(image.clone()), Instant::now() + self.config.hold);
                let (workloads, known) =
                    (loaded.index.followers(image), KnownBefore { index: Some(&loaded.index), done: None });
                let (left, workloads): (Vec<WorkloadRef>, Vec<WorkloadRef>) =
                    workloads.iter().cloned().partition(|workload| restarted.contains(workload));
                let mut results = self.restarter.restart_by_hand(&workloads, by_hand, mode, deadline, known).await;
                let reason = "it was restarted a moment ago for another image";
                results.extend(left.iter().map(|left| WorkloadResult::new(left, Code::RestartedSince, reason)));
                WorkloadResult::sort(&mut results);
                let unseen = self.resolver.unproven_parts(&loaded, &need);
                let resolved = Resolved { unseen, ..Resolved::new(Some(loaded), true, results, None) };
                self.answer(image.clone(), resolved, mode)
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
}
