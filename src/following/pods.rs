//! What the pods of one restart show: whether one of them cannot start, and which image they run. Pure.

use crate::cluster::workload_object::{Controller, PodSpec, TemplateImage};
use crate::cluster::{ContainerState, ContainerStatus, PodContainer, PodObject};
use crate::ending::Runs;
use crate::image::{Digest, ImageRef};
use crate::rollout::RESTARTED_AT_ANNOTATION;
use crate::workload::{WorkloadKind, WorkloadRef};

/// Reasons of a waiting container that does not start by itself, or only after somebody has mended something
/// (Kubernetes: `pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go`, `kuberuntime_container.go`).
const CANNOT_START: [&str; 13] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
];
/// The reason of a container that crashes again and again, between two starts.
const CRASH_LOOP: &str = "CrashLoopBackOff";
/// From so many starts on, a container that has crashed is one that crashes again and again.
const CRASHES: i64 = 3;
/// Characters of a container's message that a sentence shows.
const MESSAGE_CHARACTERS: usize = 300;

/// A restart, as its pods show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RestartOf<'a> {
    pub(super) workload: &'a WorkloadRef,
    pub(super) uid: &'a str,
    /// `restartedAt`, which the pods have from the pod template.
    pub(super) restarted_at: &'a str,
}

/// A pushed image that the pods are compared with.
#[derive(Debug, Clone)]
pub(super) struct Pushed {
    pub(super) image: ImageRef,
    pub(super) digest: Option<Digest>,
}

/// What the pods of a restart show together.
#[derive(Debug, Default)]
pub(super) struct SeenPods {
    pods: usize,
    /// How many are ready.
    pub(super) ready: usize,
    /// The first that cannot start: `ImagePullBackOff in pod web-1, container web: ...`.
    pub(super) failing: Option<String>,
    /// The first whose containers run while it is not ready: its node may not be.
    pub(super) unready: Option<String>,
}

/// What the pods show of one pushed image.
#[derive(Debug)]
pub(super) struct SeenImage {
    pushed: Pushed,
    pods: usize,
    equal: usize,
    /// The first pod that names another image.
    other: Option<String>,
    /// The first pod that reports another digest, or none.
    unequal: Option<String>,
}

impl RestartOf<'_> {
    /// Whether a pod was made for this restart, and is there to stay.
    pub(super) fn has(&self, pod: &PodObject) -> bool {
        !pod.is_ending()
            && pod.metadata.annotations.get(RESTARTED_AT_ANNOTATION).is_some_and(|at| at == self.restarted_at)
            && pod.metadata.controller.as_ref().is_some_and(|controller| self.is_made_by(controller))
    }

    /// A Deployment names its ReplicaSets `NAME-HASH`, and the hash has no dash (Kubernetes:
    /// `pkg/controller/deployment/sync.go`).
    fn is_made_by(&self, controller: &Controller) -> bool {
        match self.workload.kind {
            WorkloadKind::Deployment => {
                let hash = controller.name.strip_prefix(&*self.workload.name).and_then(|rest| rest.strip_prefix('-'));
                controller.kind == "ReplicaSet" && hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
            }
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => controller.uid == self.uid,
        }
    }
}

impl SeenPods {
    /// Adds a pod of the restart.
    pub(super) fn add(&mut self, pod: &PodObject) {
        self.pods += 1;
        self.ready += usize::from(pod.is_ready());
        let name = &pod.metadata.name;
        for (container, status) in pod.containers() {
            let Some(status) = status else { continue };
            if self.failing.is_none()
                && let Some(why) = cannot_start(status)
            {
                self.failing = Some(format!("{} in pod {name}, container {}{}", why.0, container.name, why.1));
            }
        }
        if self.unready.is_none() && pod.is_unready_though_it_runs() {
            self.unready = Some(format!("pod {name} on node {} is not ready", pod.spec.node_name));
        }
    }
}

/// Why a container does not start: the reason, and what else is known.
fn cannot_start(status: &ContainerStatus) -> Option<(String, String)> {
    let excerpt = |message: &str| match message.trim() {
        "" => String::new(),
        message => format!(": {}", message.chars().take(MESSAGE_CHARACTERS).collect::<String>()),
    };
    if let Some(waiting) = &status.state.waiting {
        if CANNOT_START.contains(&waiting.reason.as_str()) {
            return Some((waiting.reason.clone(), excerpt(&waiting.message)));
        }
        if waiting.reason == CRASH_LOOP {
            return Some((waiting.reason.clone(), last_crash(status)));
        }
    }
    let has_crashed = |state: &ContainerState| state.terminated.as_ref().is_some_and(|t| t.exit_code != 0);
    let crashes = status.restart_count >= CRASHES && !status.ready;
    (crashes && (has_crashed(&status.last_state) || has_crashed(&status.state)))
        .then(|| ("it crashes again and again".to_owned(), last_crash(status)))
}

fn last_crash(status: &ContainerStatus) -> String {
    let last = status.last_state.terminated.as_ref().or(status.state.terminated.as_ref());
    let ended = last.map(|last| format!(": exit code {} ({})", last.exit_code, last.reason));
    format!("{}, {} restarts", ended.unwrap_or_default(), status.restart_count)
}

impl SeenImage {
    pub(super) fn new(pushed: Pushed) -> Self {
        Self { pushed, pods: 0, equal: 0, other: None, unequal: None }
    }

    /// Adds a pod of the restart.
    pub(super) fn add(&mut self, pod: &PodObject) {
        self.pods += 1;
        let name = &pod.metadata.name;
        let own: Vec<_> = pod.containers().filter(|(container, _)| self.is_pushed_image(container)).collect();
        let runs_it = |status: Option<&ContainerStatus>| {
            self.pushed.digest.is_some() && status.and_then(ContainerStatus::digest) == self.pushed.digest
        };
        let is_equal = if own.is_empty() {
            // Admission may have written the reference anew: to a mirror, or to a digest.
            pod.containers().any(|(container, status)| runs_it(status) || self.is_pinned_by(container))
        } else {
            own.iter().all(|(_, status)| runs_it(*status))
        };
        if is_equal {
            self.equal += 1;
        } else if let Some((container, status)) = own.iter().find(|(_, status)| !runs_it(*status)) {
            let image_id = status.map(|status| status.image_id.as_str()).filter(|image_id| !image_id.is_empty());
            let policy = &container.image_pull_policy;
            self.unequal.get_or_insert_with(|| match image_id {
                Some(image_id) => format!("pod {name} reports {image_id}, with imagePullPolicy {policy}"),
                None => format!("pod {name} reports no image, with imagePullPolicy {policy}"),
            });
        } else {
            let images: Vec<_> = pod.containers().map(|(container, _)| container.image.as_str()).collect();
            self.other.get_or_insert_with(|| format!("pod {name} runs {}", images.join(", ")));
        }
    }

    fn is_pushed_image(&self, container: &PodContainer) -> bool {
        container.image.parse::<ImageRef>().is_ok_and(|image| {
            image.digest().is_none() && image.tag_key().is_some() && image.tag_key() == self.pushed.image.tag_key()
        })
    }

    /// Whether a container names the pushed digest, and so runs nothing else.
    fn is_pinned_by(&self, container: &PodContainer) -> bool {
        let named = container.image.parse::<ImageRef>().ok();
        self.pushed.digest.is_some() && named.as_ref().and_then(ImageRef::digest) == self.pushed.digest.as_ref()
    }

    /// Whether a pod template names the image in a volume alone.
    pub(super) fn is_only_a_volume(&self, template: &PodSpec) -> bool {
        let follows = |image: &Option<String>| {
            image.as_deref().is_some_and(|image| TemplateImage { image, pull_policy: None }.follows(&self.pushed.image))
        };
        let mut volumes = template.volumes.iter().filter_map(|volume| volume.image.as_ref());
        volumes.any(|volume| follows(&volume.reference))
            && !template.containers.iter().chain(&template.init_containers).any(|container| follows(&container.image))
    }

    /// What the pods run, and the sentence about it. `is_volume`: the pod template mounts the image as a volume, of which
    /// a pod reports no digest.
    pub(super) fn runs(&self, is_volume: bool) -> (Runs, String) {
        let Self { pods, equal, other, unequal, pushed } = self;
        if *pods == 0 {
            return (Runs::NotChecked, "it has no pods of this restart".to_owned());
        }
        let Some(digest) = &pushed.digest else {
            return (Runs::CannotTell, "the push names no digest".to_owned());
        };
        if is_volume {
            return (Runs::CannotTell, "a pod reports no digest of an image volume".to_owned());
        }
        if let Some(other) = other {
            return (Runs::OtherImage, format!("{other}, not {}", pushed.image));
        }
        match unequal {
            Some(unequal) => (Runs::CannotTell, format!("{equal} of {pods} pods run {digest}; {unequal}")),
            None => (Runs::PushedImage, format!("{equal} of {pods} pods run {digest}")),
        }
    }
}

#[cfg(test)]
mod tests;
