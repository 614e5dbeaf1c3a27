//! A workload and its pods.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::Published;
use super::object::{images, is_same_template};

/// A push's place among those of its image.
pub(super) type Order = (String, String);

#[derive(Debug)]
pub(super) struct Workload {
    pub(super) object: Value,
    pub(super) pods: Pods,
    /// The pods before our last restart: its controller may put them back.
    pub(super) replaced: Option<Pods>,
    /// The messages that it was restarted for, as long as the record on its pod template must say so.
    pub(super) rolled: BTreeSet<String>,
    /// The newest push of each image that it was ever restarted for.
    pub(super) restarted_for: BTreeMap<String, Order>,
    /// What that was when somebody else, not its controller, last changed its pod template: all of it may be forgotten.
    pub(super) may_be_forgotten: BTreeMap<String, Order>,
    /// It has opted out at some time: pushes in between are none of its business, and leave no trace.
    pub(super) has_opted_out: bool,
    /// Each pod template that it had.
    pub(super) revisions: Vec<Revision>,
    /// The place of the last one whose rollout was complete. Since then no pod has been removed.
    pub(super) complete: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    /// What they have pulled of each image, and when.
    pub(super) pulled: BTreeMap<String, (String, usize)>,
    /// When they were created.
    pub(super) created: Timestamp,
    /// Paused with another template: they pull on resume.
    pub(super) pulls_on_resume: bool,
    /// The pushes that somebody has taken back by putting an old template back while its pods were alive.
    pub(super) taken_back: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) template: Value,
    /// The annotations that its ReplicaSet then got.
    pub(super) annotations: Value,
    /// What its pods have pulled, and when they were created.
    pub(super) pulled: BTreeMap<String, (String, usize)>,
    pub(super) created: Timestamp,
}

impl Workload {
    pub(super) fn new(object: Value, messages: &[Published]) -> Self {
        let newest = messages.iter().map(|message| (message.image.clone(), message.order())).collect();
        Self {
            object,
            pods: Pods::default(),
            replaced: None,
            rolled: BTreeSet::new(),
            restarted_for: BTreeMap::new(),
            may_be_forgotten: newest,
            complete: 0,
            has_opted_out: false,
            revisions: Vec::new(),
        }
    }

    /// It was written, and that has replaced its pods if their template is another.
    pub(super) fn written(&mut self, before: &Value, registry: &BTreeMap<String, String>, now: usize, time: Timestamp) {
        let is_paused = self.object["spec"]["paused"] == true;
        let is_new = !is_same_template(before, &self.object);
        self.pods.pulls_on_resume |= is_new;
        if self.pods.pulls_on_resume && !is_paused {
            self.pull(registry, now, time);
        }
        if is_new {
            self.note_revision();
        } else if let Some(last) = self.revisions.last_mut() {
            last.annotations = self.object["metadata"]["annotations"].clone();
            (last.pulled, last.created) = (self.pods.pulled.clone(), self.pods.created);
        }
    }

    pub(super) fn note_revision(&mut self) {
        let (template, annotations) = (&self.object["spec"]["template"], &self.object["metadata"]["annotations"]);
        let (template, annotations) = (template.clone(), annotations.clone());
        let (pulled, created) = (self.pods.pulled.clone(), self.pods.created);
        self.revisions.push(Revision { template, annotations, pulled, created });
    }

    pub(super) fn pull(&mut self, registry: &BTreeMap<String, String>, now: usize, created: Timestamp) {
        let digest = |image: &String| registry.get(image).cloned().unwrap_or_default();
        let pulled = images(&self.object).into_iter().map(|image| (image.clone(), (digest(&image), now))).collect();
        self.pods = Pods { pulled, created, ..Pods::default() };
    }

    /// Whether it was restarted for this push, or for a newer one of the image.
    pub(super) fn was_restarted_for(&self, message: &Published) -> bool {
        self.restarted_for.get(&message.image).is_some_and(|newest| *newest >= message.order())
    }

    pub(super) fn has_seen(&self, message: &Published) -> bool {
        let Pods { pulled, pulls_on_resume, .. } = &self.pods;
        let has_pulled =
            pulled.get(&message.image).is_some_and(|(digest, at)| *at >= message.at || *digest == message.digest);
        has_pulled || *pulls_on_resume || self.is_forgiven(message)
    }

    /// Somebody has taken it back.
    pub(super) fn is_forgiven(&self, message: &Published) -> bool {
        self.pods.taken_back.contains(&message.id)
    }
}
