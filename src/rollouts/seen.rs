//! The workloads that have a push of ours, as they were seen. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::last_push::{LastPush, SeenWorkload};
use crate::cache::UnseenPart;
use crate::cluster::WorkloadObject;
use crate::following::Standing;
use crate::image::ImageRef;
use crate::index::Scope;
use crate::rollout::OurRestart;
use crate::rollout::waiting::{UnseenPush, View};
use crate::workload::WorkloadRef;

/// What became of the last pushes: the answer, as it is printed and sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rollouts {
    /// The image that was asked for, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The parts of the scope that could not be seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen_parts: Vec<UnseenPart>,
    /// Why what waits could not be read. Then pushes that wait may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_unread: Option<String>,
    /// The workloads whose record cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable_records: Vec<WorkloadRef>,
    /// The pushes that wait for a part of the scope that cannot be seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen_pushes: Vec<UnseenPush>,
    /// By workload, that with the newest push first. The last member: answers in pieces need it to be.
    pub rollouts: Vec<LastPush>,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    image: Option<ImageRef>,
    view: Arc<View>,
    now: Timestamp,
    head: Rollouts,
    workloads: Vec<Found>,
}

/// A workload that has a push of ours.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) workload: WorkloadRef,
    pub(super) object: Option<Arc<WorkloadObject>>,
    pub(super) standing: Option<Standing>,
    newest: Timestamp,
}

impl Seen {
    /// Nothing yet. `image` is the one that was asked for, `view` what waits, `now` our clock.
    pub fn new(image: Option<&ImageRef>, view: Arc<View>, now: Timestamp) -> Self {
        let head = Rollouts { image: image.map(|image| image.as_written().to_owned()), ..Rollouts::default() };
        Self { image: image.cloned(), view, now, head, workloads: Vec::new() }
    }

    /// Adds a workload that was found, if it has a push of ours.
    pub fn add(&mut self, workload: WorkloadRef, object: Arc<WorkloadObject>) {
        let found = Found { workload, object: Some(object), standing: None, newest: Timestamp::default() };
        match self.pushes_of(&found) {
            None => self.head.unreadable_records.push(found.workload),
            Some(pushes) => {
                let newest = pushes.first().map(LastPush::pushed);
                self.workloads.extend(newest.map(|newest| Found { newest, ..found }));
            }
        }
    }

    /// To be called when each workload of the scope is added: adds what waits for others, and sorts.
    #[must_use]
    pub fn finish(mut self, scope: &Scope, mut unseen_parts: Vec<UnseenPart>, waiting_unread: Option<String>) -> Self {
        let view = Arc::clone(&self.view);
        let mut known: Vec<_> = self.workloads.iter().map(|found| found.workload.clone()).collect();
        known.sort_unstable();
        for (workload, _) in view.iter().filter(|(workload, _)| scope.includes(&workload.namespace)) {
            if known.binary_search(workload).is_err() && !self.head.unreadable_records.contains(workload) {
                let mut found = Found { workload: workload.clone(), object: None, standing: None, newest: self.now };
                if let Some(newest) = self.pushes_of(&found).and_then(|pushes| Some(pushes.first()?.pushed())) {
                    found.newest = newest;
                    self.workloads.push(found);
                }
            }
        }
        let image = self.tag_key();
        let is_asked_for = |push: &&UnseenPush| image.is_none() || push.push.image.tag_key() == image;
        let unseen = view.unseen().iter().filter(|push| scope.overlaps(&push.part)).filter(is_asked_for);
        self.head.unseen_pushes = unseen.cloned().collect();
        self.head.unseen_pushes.sort_by(|a, b| (&a.push.since, a.key()).cmp(&(&b.push.since, b.key())));
        self.head.unreadable_records.sort_unstable();
        unseen_parts.sort_by(|a, b| (a.part.kind, &a.part.namespace).cmp(&(b.part.kind, &b.part.namespace)));
        (self.head.unseen_parts, self.head.waiting_unread) = (unseen_parts, waiting_unread);
        self.workloads.sort_by(|a, b| b.newest.cmp(&a.newest).then_with(|| a.workload.cmp(&b.workload)));
        self
    }

    /// The answer without its list, which [`Self::pushes`] gives.
    pub fn head(&self) -> &Rollouts {
        &self.head
    }

    /// How many workloads have a push.
    pub fn workloads(&self) -> usize {
        self.workloads.len()
    }

    /// The pushes of the workload at this place, the newest first.
    pub fn pushes(&self, place: usize) -> Vec<LastPush> {
        self.workloads.get(place).and_then(|found| self.pushes_of(found)).unwrap_or_default()
    }

    /// The whole answer.
    pub fn rollouts(&self) -> Rollouts {
        let rollouts = (0..self.workloads.len()).flat_map(|place| self.pushes(place)).collect();
        Rollouts { rollouts, ..self.head.clone() }
    }

    pub(super) fn found(&self) -> &[Found] {
        &self.workloads
    }

    pub(super) fn found_mut(&mut self) -> &mut [Found] {
        &mut self.workloads
    }

    pub(super) fn is_of_image(&self) -> bool {
        self.image.is_some()
    }

    /// The restart that a workload shows, if it was for a push that is asked for.
    pub(super) fn restart(&self, found: &Found) -> Option<OurRestart> {
        let kept = self.view.get(&found.workload).and_then(|stored| stored.kept.as_ref());
        let restart = OurRestart::of(found.object.as_deref()?, kept, self.now)?;
        let is_asked_for = self.tag_key().is_none_or(|asked| restart.pushes.iter().any(|(image, _)| image == asked));
        is_asked_for.then_some(restart)
    }

    fn tag_key(&self) -> Option<&str> {
        // An image by digest alone has none: no push moves it, and nothing is found.
        self.image.as_ref().map(|image| image.tag_key().unwrap_or_default())
    }

    fn pushes_of(&self, found: &Found) -> Option<Vec<LastPush>> {
        let seen = SeenWorkload {
            workload: &found.workload,
            object: found.object.as_deref(),
            stored: self.view.get(&found.workload),
            standing: found.standing.as_ref(),
            now: self.now,
        };
        seen.pushes(self.tag_key())
    }
}
