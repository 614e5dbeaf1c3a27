//! What the pods of a workload say about a push: whether all were created after it, whether all run its digest, and
//! whether any still runs its image. Pure; `rollout::pod_look` has the LIST.
//!
//! Every pod that the selector finds counts, except finished and terminating pods, and pods that provably have another
//! controller. An orphan may be adopted, and a ReplicaSet may belong to any Deployment, whatever its name is.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::done::{RestartByOther, is_after_push};
use crate::clock::Clocks;
use crate::cluster::workload_object::Controller;
use crate::cluster::{ContainerStatus, PodContainer, PodObject, WorkloadObject};
use crate::image::ImageRef;
use crate::rollout::{Code, Leave, Push};
use crate::workload::{WorkloadKind, WorkloadRef};

/// What a LIST of the pods is for. It ends with the first pod that settles the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether the push is done: all pods were created after it, or all run its digest.
    IsDone,
    /// Whether all pods were created after the push. What they run says nothing: a rollout is under way, the digest is not
    /// known, or an image volume has no digest.
    AreYounger,
    /// Whether any pod runs the image, which the pod template does not name any more.
    RunsImage,
}

/// What a LIST of the pods has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsSeen {
    /// When the oldest was created, by the API server's clock; `None` where there are no pods.
    oldest: Option<Timestamp>,
    /// Whether a pod has a container that names the image.
    names_image: bool,
    /// Whether a container that names the image runs another digest, or may do so.
    may_run_other: bool,
}

/// Why the pods were not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodsNotSeen {
    /// They may never be: RBAC forbids it, or the workload's selector would find the pods of others.
    #[error("{0}")]
    NotPermitted(String),
    /// The LIST has failed this time.
    #[error("{0}")]
    Failed(String),
}

/// A look at the pods of a workload, for a push.
#[derive(Debug, Clone, Copy)]
pub struct PodLook<'a> {
    /// The workload.
    pub workload: &'a WorkloadRef,
    /// As it is now.
    pub object: &'a WorkloadObject,
    /// The push.
    pub push: &'a Push,
    /// What is asked.
    pub question: Question,
}

impl PodLook<'_> {
    /// What is known before the first pod.
    pub fn nothing_seen(self) -> PodsSeen {
        PodsSeen { oldest: None, names_image: false, may_run_other: self.question != Question::IsDone }
    }

    /// Adds a pod to what was seen, and says whether more pods can change the answer.
    pub fn see(self, pod: &PodObject, seen: &mut PodsSeen, clocks: Clocks<'_>) -> ControlFlow<()> {
        let Self { workload, object, push, question } = self;
        if pod.is_ending() || is_of_another(pod.metadata.controller.as_ref(), workload, object) {
            return ControlFlow::Continue(());
        }
        let created = pod.metadata.creation_timestamp.unwrap_or(Timestamp::MIN);
        let oldest = seen.oldest.map_or(created, |oldest| oldest.min(created));
        seen.oldest = Some(oldest);
        for (_, status) in pod.containers().filter(|(container, _)| names(container, &push.image)) {
            seen.names_image = true;
            let runs_it = push
                .digest
                .as_ref()
                .is_some_and(|pushed| status.and_then(ContainerStatus::digest).is_some_and(|digest| digest == *pushed));
            seen.may_run_other |= !runs_it;
        }
        // The status of a pod says nothing about the digest of an image volume.
        if pod.image_volumes().any(|reference| is_same_tag(reference, &push.image)) {
            (seen.names_image, seen.may_run_other) = (true, true);
        }
        let is_settled = match question {
            Question::RunsImage => seen.names_image,
            Question::IsDone | Question::AreYounger => seen.may_run_other && !may_be_after(oldest, push, clocks),
        };
        if is_settled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl PodsSeen {
    /// Whether a pod runs the image.
    pub(super) fn run_image(&self) -> bool {
        self.names_image
    }

    /// Why the pods need no restart for the push, if so.
    pub(super) fn is_done(
        &self,
        push: &Push,
        by_other: Option<&RestartByOther<'_>>,
        clocks: Clocks<'_>,
    ) -> Option<Leave> {
        if let Some(by_other) = by_other
            && self.oldest.is_none_or(|oldest| by_other.is_confirmed_by(oldest, push, clocks))
        {
            return Some(by_other.leave());
        }
        let oldest = self.oldest?;
        if is_after_push(oldest, push, clocks) {
            let reason = format!("all its pods were created after the push, the oldest at {oldest}");
            return Some(Leave::new(Code::Younger, reason));
        }
        (self.names_image && !self.may_run_other)
            .then(|| Leave::new(Code::SameDigest, "all its pods run this digest already"))
    }
}

/// Whether the answer may depend on pods as young as this.
fn may_be_after(oldest: Timestamp, push: &Push, clocks: Clocks<'_>) -> bool {
    is_after_push(oldest, push, clocks) || RestartByOther::is_later(oldest, push, clocks)
}

/// A controller adopts only orphans, so a pod with another controller is none of ours. A former workload of the same name
/// may have left pods, and only the API server knows to which Deployment a ReplicaSet belongs: such pods count.
fn is_of_another(controller: Option<&Controller>, workload: &WorkloadRef, object: &WorkloadObject) -> bool {
    controller.is_some_and(|controller| match workload.kind {
        WorkloadKind::Deployment => controller.kind != "ReplicaSet",
        kind => {
            let is_namesake = controller.kind == kind.as_str() && *controller.name == *workload.name;
            controller.uid != object.metadata.uid && !is_namesake
        }
    })
}

fn names(container: &PodContainer, image: &ImageRef) -> bool {
    is_same_tag(&container.image, image)
}

pub(super) fn is_same_tag(reference: &str, image: &ImageRef) -> bool {
    reference.parse::<ImageRef>().is_ok_and(|own| own.tag_key().is_some() && own.tag_key() == image.tag_key())
}
