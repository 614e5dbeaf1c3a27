//! What others do to the workloads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Model;
use super::object::{RESTARTED_AT, images, opts_out, order, record_text, template_annotation};
use super::workload::{Revision, Workload};

impl Model {
    pub fn created(&mut self, name: &str, object: Value) {
        self.now += 1;
        let mut workload = Workload::new(object, &self.messages);
        workload.pull(&self.registry, self.now, self.time);
        workload.note_revision();
        self.workloads.insert(name.to_owned(), workload);
    }

    pub fn deleted(&mut self, name: &str) {
        self.workloads.remove(name);
    }

    /// Somebody else has written a workload.
    pub fn edited(&mut self, name: &str, after: Value) {
        self.now += 1;
        let workload = self.workloads.get_mut(name).unwrap();
        let before = std::mem::replace(&mut workload.object, after);
        let after = &workload.object;
        let has_other_record = record_text(&before) != record_text(after) || images(&before) != images(after);
        if has_other_record {
            workload.rolled.clear();
        }
        if has_other_record || template_annotation(&before, RESTARTED_AT) != template_annotation(after, RESTARTED_AT) {
            workload.may_be_forgotten.clone_from(&workload.restarted_for);
        }
        workload.has_opted_out |= opts_out(after);
        workload.written(&before, &self.registry, self.now, self.time);
    }

    /// Admission sets an annotation of a workload in a request of ours.
    pub fn annotated(&mut self, name: &str, key: &str, value: Value) {
        if let Some(workload) = self.workloads.get_mut(name) {
            workload.object["metadata"]["annotations"][key] = value;
        }
    }

    /// What `kubectl rollout undo` puts back: the pod template, and the annotations of a Deployment.
    pub fn revision(&self, name: &str, ago: usize) -> Option<(Value, Value)> {
        let revisions = &self.workloads.get(name)?.revisions;
        let Revision { template, annotations, .. } = &revisions[revisions.len().checked_sub(1 + ago)?];
        Some((template.clone(), annotations.clone()))
    }

    /// As [`Self::revision`], of one whose pods are still there and that ran the same images ever since: a push of an
    /// image that the workload did not run meanwhile is none of its business.
    pub fn living_revision(&self, name: &str, ago: usize) -> Option<(Value, Value)> {
        let workload = self.workloads.get(name)?;
        let place = workload.revisions.len().checked_sub(1 + ago).filter(|place| *place >= workload.complete)?;
        let images_of = |revision: &Revision| images(&json!({"spec": {"template": revision.template}}));
        let is_same = |revision: &Revision| images_of(revision) == images(&workload.object);
        let is_other = workload.revisions[place].template != workload.object["spec"]["template"];
        (is_other && workload.revisions[place..].iter().all(is_same)).then(|| self.revision(name, ago)).flatten()
    }

    /// Somebody has undone a rollout before it had replaced the pods of the revision so long ago.
    pub fn undone(&mut self, name: &str, after: Value, ago: usize) {
        self.now += 1;
        let Some(workload) = self.workloads.get(name) else { return };
        let done: BTreeSet<String> = self
            .messages
            .iter()
            .filter(|message| {
                let mut waiting = self.stored.waiting_for(&workload.object, &message.image);
                let waits = waiting.any(|entry| order(entry) == message.order());
                workload.was_restarted_for(message) || (message.is_acknowledged && !waits)
            })
            .map(|message| message.id.clone())
            .collect();
        let workload = self.workloads.get_mut(name).unwrap();
        workload.object = after;
        workload.rolled.clear();
        workload.may_be_forgotten.clone_from(&workload.restarted_for);
        workload.pods.taken_back.extend(done);
        let revision = &workload.revisions[workload.revisions.len() - 1 - ago];
        (workload.pods.pulled, workload.pods.created) = (revision.pulled.clone(), revision.created);
        workload.note_revision();
    }

    /// Its controller has put the pod template of before our last restart back, and the pods of then are still there.
    pub fn put_back(&mut self, name: &str, after: Value) {
        self.now += 1;
        let Some(workload) = self.workloads.get_mut(name) else { return };
        workload.object = after;
        workload.rolled.clear();
        workload.pods = workload.replaced.take().unwrap_or_default();
        let taken_back = self.messages.iter().filter(|message| workload.was_restarted_for(message));
        let taken_back: Vec<String> = taken_back.map(|message| message.id.clone()).collect();
        workload.pods.taken_back.extend(taken_back);
        workload.note_revision();
    }
}
