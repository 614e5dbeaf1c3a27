//! The last push of each image of one workload, and what became of it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cluster::WorkloadObject;
use crate::ending::{Ending, ReportedPush, Runs};
use crate::following::Standing;
use crate::rollout::progress::wanted_pods;
use crate::rollout::record::{Record, RecordedPush};
use crate::rollout::waiting::{OfWorkload, WaitingPush, Why};
use crate::rollout::{RESTARTED_AT_ANNOTATION, last_pushes};
use crate::workload::WorkloadRef;

/// The last push of one image of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastPush {
    /// The workload.
    #[serde(flatten)]
    pub workload: WorkloadRef,
    /// The push; its image as its normalised reference.
    #[serde(flatten)]
    pub push: ReportedPush,
    /// When the workload was restarted for it; absent while the push waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Timestamp>,
    /// What became of it.
    pub state: PushState,
    /// The sentence for people.
    pub reason: String,
    /// What the pods run, where the rollout is complete and they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Runs>,
    /// How far the pods are, where they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsReady>,
    /// What a push that waits is waiting for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PushState {
    /// Its rollout has not ended.
    UnderWay,
    /// The workload is still to be restarted for it.
    Waits,
    /// Its rollout has ended.
    #[serde(untagged)]
    Ended(Ending),
}

/// The pods of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PodsReady {
    /// How many are ready.
    pub ready: usize,
    /// How many pods the workload is to have.
    pub wanted: i64,
}

/// What a push waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// Why it waits.
    pub why: Why,
    /// Since when, by the API server's clock.
    pub since: Timestamp,
    /// When its cooldown is over, by the API server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// A workload, as it was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenWorkload<'a> {
    pub(super) workload: &'a WorkloadRef,
    /// `None` where it was not found.
    pub(super) object: Option<&'a WorkloadObject>,
    /// What stands of it in the ConfigMap of what waits.
    pub(super) stored: Option<&'a OfWorkload>,
    /// How its last restart stands, if it was looked at more closely than the object shows.
    pub(super) standing: Option<&'a Standing>,
    /// Our clock.
    pub(super) now: Timestamp,
}

impl PushState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "under_way",
            Self::Waits => "waits",
            Self::Ended(ending) => ending.as_str(),
        }
    }

    /// Whether nothing more is expected of it.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Whether nothing is left to do for the push: its rollout is complete, or the workload has moved on.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Ended(Ending::Complete | Ending::Superseded))
    }
}

impl LastPush {
    /// When it was pushed, as far as that is known.
    pub fn pushed(&self) -> Timestamp {
        let since = self.waits.as_ref().map(|waits| waits.since);
        self.push.published.or(self.restarted_at).or(since).unwrap_or_default()
    }
}

impl SeenWorkload<'_> {
    /// Its pushes, the newest first; of one image alone where one is given, by its normalised reference. An image has two
    /// where one was rolled out and a newer one waits. `None` where its record cannot be read.
    pub(super) fn pushes(self, image: Option<&str>) -> Option<Vec<LastPush>> {
        let kept = self.stored.and_then(|stored| stored.kept.as_ref());
        let record = self.object.map_or_else(|| Some(Record::default()), |object| last_pushes(object, kept, self.now));
        let (record, is_readable) = (record.clone().unwrap_or_default(), record.is_some());
        let is_asked_for = |of: &str| image.is_none_or(|image| image == of);
        let restarted = record.iter().filter(|(image, _)| is_asked_for(image));
        let restarted = restarted.filter_map(|(image, recorded)| Some(self.restarted(self.object?, image, recorded)));
        let waiting = self.newest_waiting(&record).into_iter().filter(|(image, _)| is_asked_for(image));
        let mut pushes: Vec<_> = restarted.chain(waiting.map(|(image, waits)| self.waits(image, waits))).collect();
        pushes.sort_by(|a, b| b.pushed().cmp(&a.pushed()).then_with(|| a.push.image.cmp(&b.push.image)));
        let may_hide_one = |object: &WorkloadObject| image.is_none_or(|image| object.spec.template.spec.follows(image));
        (is_readable || !self.object.is_some_and(may_hide_one)).then_some(pushes)
    }

    fn restarted(&self, object: &WorkloadObject, image: &str, recorded: &RecordedPush) -> LastPush {
        let restarted_at = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
        let is_last = restarted_at.is_some() && restarted_at == recorded.restarted_at.as_ref();
        let standing = self.standing.cloned().unwrap_or_else(|| Standing::of(self.workload.kind, object));
        let superseded = PushState::Ended(Ending::Superseded);
        let (mut runs_image, mut pods) = (None, None);
        let (state, reason) = if !object.spec.template.spec.follows(image) {
            (superseded, "it does not run the image any more".to_owned())
        } else if !is_last {
            let again = restarted_at.map(|at| format!(" at {at}")).unwrap_or_default();
            (
                superseded,
                format!("it was restarted again{again}, or its pod template was put back; now: {}", standing.reason),
            )
        } else {
            pods = standing.ready.map(|ready| PodsReady { ready, wanted: wanted_pods(self.workload.kind, object) });
            let state = standing.ending.map_or(PushState::UnderWay, PushState::Ended);
            match standing.runs.into_iter().find(|(of, ..)| of == image) {
                Some((_, what, sentence)) => {
                    runs_image = Some(what);
                    (state, sentence)
                }
                None => (state, standing.reason),
            }
        };
        LastPush {
            workload: self.workload.clone(),
            push: ReportedPush {
                image: image.to_owned(),
                digest: recorded.digest.clone(),
                published: recorded.published,
                message_id: recorded.message_id.clone(),
            },
            restarted_at: recorded.restarted_at.as_deref().and_then(|at| at.parse().ok()),
            state,
            reason,
            runs: runs_image,
            pods,
            waits: None,
        }
    }

    /// The newest push of each image that waits. One that the record shows as done is about to be removed.
    fn newest_waiting(&self, record: &Record) -> BTreeMap<String, &WaitingPush> {
        let mut newest: BTreeMap<String, &WaitingPush> = BTreeMap::new();
        for waits in self.stored.iter().flat_map(|stored| &stored.pushes) {
            let Some(image) = waits.push.image.tag_key() else { continue };
            let done = record.get(image).and_then(RecordedPush::order);
            if waits.order().is_some() && waits.order() <= done {
                continue;
            }
            let place = |waits: &WaitingPush| (waits.push.published, waits.push.since, waits.push.message_id.clone());
            match newest.get(image) {
                Some(other) if place(other) >= place(waits) => {}
                _ => drop(newest.insert(image.to_owned(), waits)),
            }
        }
        newest
    }

    fn waits(&self, image: String, waiting: &WaitingPush) -> LastPush {
        let push = &waiting.push;
        LastPush {
            workload: self.workload.clone(),
            push: ReportedPush {
                image,
                digest: push.digest.clone(),
                published: push.published,
                message_id: push.message_id.clone(),
            },
            restarted_at: None,
            state: PushState::Waits,
            reason: waiting.reason.clone(),
            runs: None,
            pods: None,
            waits: Some(Waits { why: waiting.why, since: push.since, due: waiting.due }),
        }
    }
}
