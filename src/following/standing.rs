//! How a restart of ours stands as of now.

use super::context::Pods;
use super::look::look_at_pods;
use super::pods::{Pushed, RestartOf};
use crate::cluster::workload_object::PodSpec;
use crate::cluster::{Cluster, WorkloadObject};
use crate::ending::{Ending, Runs};
use crate::image::ImageRef;
use crate::rollout::OurRestart;
use crate::rollout::progress::{Progress, progress};
use crate::rollout::record::RecordedPush;
use crate::workload::{WorkloadKind, WorkloadRef};

/// How a restart stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// How its rollout has ended; `None` while it is under way.
    pub ending: Option<Ending>,
    /// The sentence for people.
    pub reason: String,
    /// How many of its pods are ready, where they were looked at.
    pub ready: Option<usize>,
    /// What its pods run of each pushed image, and the sentence about that, where it is complete and they were looked at.
    pub runs: Vec<(String, Runs, String)>,
}

impl Standing {
    /// From the workload alone.
    pub fn of(kind: WorkloadKind, object: &WorkloadObject) -> Self {
        let (ending, reason) = match progress(kind, object) {
            Progress::Ended(ending, reason) => (Some(ending), reason),
            Progress::Paused => (None, "it is paused: it rolls on resume".to_owned()),
            Progress::UnderWay(missing) => (None, missing),
        };
        Self { ending, reason, ready: None, runs: Vec::new() }
    }

    /// Of a workload that does not exist any more.
    pub fn deleted() -> Self {
        Self { ending: Some(Ending::Gone), reason: "it was deleted".to_owned(), ready: None, runs: Vec::new() }
    }

    /// From the workload and the pods of the restart. Where these cannot be listed, the reason says so.
    pub async fn with_pods(
        cluster: &Cluster,
        workload: &WorkloadRef,
        object: &WorkloadObject,
        restart: &OurRestart,
    ) -> Self {
        let of = RestartOf { workload, uid: &object.metadata.uid, restarted_at: &restart.restarted_at };
        let pods = match look_at_pods(cluster, of, &object.spec.selector, pushed(&restart.pushes)).await {
            Ok((pods, images)) => Pods::Seen(pods, images),
            Err(error) => Pods::NotSeen(error.to_string()),
        };
        Self::of(workload.kind, object).seen_with(&pods, restart, &object.spec.template.spec)
    }

    /// As [`Self::with_pods`], where the pods may not be looked at, for this reason.
    pub fn without_pods(kind: WorkloadKind, object: &WorkloadObject, restart: &OurRestart, why: &str) -> Self {
        let pods = Pods::NotSeen(why.to_owned());
        Self::of(kind, object).seen_with(&pods, restart, &object.spec.template.spec)
    }

    fn seen_with(mut self, pods: &Pods, restart: &OurRestart, template: &PodSpec) -> Self {
        if let Pods::Seen(pods, _) = pods {
            self.ready = Some(pods.ready);
        }
        match (self.ending, pods) {
            (Some(Ending::Complete), pods) => {
                let runs = runs_of_complete(&self.reason, pods, restart.pushes.len(), template);
                let images = restart.pushes.iter().map(|(image, _)| image.clone());
                self.runs = images.zip(runs).map(|(image, (runs, sentence))| (image, runs, sentence)).collect();
            }
            (None, Pods::Seen(pods, _)) => match (&pods.failing, &pods.unready) {
                (Some(failing), _) => (self.ending, self.reason) = (Some(Ending::Failed), failing.clone()),
                (None, Some(unready)) => self.reason.push_str(&format!("; {unready}")),
                (None, None) => {}
            },
            (Some(Ending::Failed), Pods::Seen(pods, _)) => {
                pods.failing.iter().for_each(|failing| self.reason.push_str(&format!("; {failing}")));
            }
            (None | Some(Ending::Failed), Pods::NotSeen(why)) => {
                self.reason.push_str(&format!("; its pods were not looked at: {why}"));
            }
            (Some(_), _) => {}
        }
        self
    }
}

/// The images to compare the pods with.
pub(super) fn pushed(pushes: &[(String, RecordedPush)]) -> impl Iterator<Item = Pushed> {
    let pushed = pushes.iter().map(|(image, push)| (image.parse::<ImageRef>(), push.digest.clone()));
    pushed.filter_map(|(image, digest)| Some(Pushed { image: image.ok()?, digest }))
}

/// What the pods of a complete rollout run of each push, and the sentence about that. `reason` says that it is complete.
pub(super) fn runs_of_complete(reason: &str, pods: &Pods, pushes: usize, template: &PodSpec) -> Vec<(Runs, String)> {
    let runs: Vec<(Runs, String)> = match pods {
        Pods::NotSeen(why) => vec![(Runs::NotChecked, why.clone()); pushes],
        Pods::Seen(_, images) => images.iter().map(|image| image.runs(image.is_only_a_volume(template))).collect(),
    };
    let with_sentence = |(runs, what): (Runs, String)| match runs {
        Runs::PushedImage | Runs::OtherImage => (runs, what),
        Runs::CannotTell => (runs, format!("{reason}; whether they run the pushed image is not known: {what}")),
        Runs::NotChecked => (runs, format!("{reason}; which image they run was not checked: {what}")),
    };
    runs.into_iter().map(with_sentence).collect()
}
