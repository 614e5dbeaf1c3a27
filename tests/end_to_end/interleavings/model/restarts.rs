//! The rules for a restart.

use std::sync::Arc;

use serde_json::Value;

use super::object::{
    RESTARTED_AT, Record, has_controller, id, images, is_same_template, opts_out, order, others, record,
    template_annotation,
};
use super::workload::Workload;
use super::{Broken, Kept, Model};
use crate::interleavings::plan::Meddling;

/// A restart as it was asked for.
pub struct Sent {
    /// What its record would be.
    pub record: Record,
    /// The records that were kept in the ConfigMap when it was sent, as far as its sender was able to read them.
    pub kept: Arc<Kept>,
    /// What others have done to it.
    pub meddling: Option<Meddling>,
}

impl Model {
    /// A call of ours has written a workload. Says what it did.
    pub fn written(&mut self, name: &str, after: Value, sent: &Sent) -> Result<String, Broken> {
        self.now += 1;
        let Some(workload) = self.workloads.get_mut(name) else {
            return Err(format!("{name} was written, and is not there"));
        };
        let before = std::mem::replace(&mut workload.object, after);
        let after = &workload.object;
        if others(&before) != others(after) {
            return Err(format!("{name}: somebody else's was changed: {} became {}", others(&before), others(after)));
        }
        if before["metadata"]["uid"] != after["metadata"]["uid"] {
            return Err(format!("{name} is another now"));
        }
        if opts_out(&before) {
            return Err(format!("{name} opts out, and was restarted"));
        }
        if is_same_template(&before, after) {
            return match sent.meddling {
                Some(meddling) if meddling.prevents_restarts() => Ok(format!("{name} is stored as it was")),
                _ => Err(format!("{name} was written, and not restarted")),
            };
        }
        if template_annotation(&before, RESTARTED_AT) == template_annotation(after, RESTARTED_AT) {
            return Err(format!("{name} has another record, and was not restarted"));
        }
        let known = workload.known_record(&before, sent.kept.get(name));
        let new = &sent.record;
        let runs = images(after);
        let is_new = |image: &String, recorded: &Value| known.get(image).is_none_or(|old| order(old) < order(recorded));
        let ids: Vec<&str> =
            new.iter().filter(|(image, recorded)| is_new(image, recorded)).map(|(_, recorded)| id(recorded)).collect();
        if ids.is_empty() {
            return Err(format!(
                "{name} was restarted for no push that is new: the record is {new:?}, after {known:?}"
            ));
        }
        let leaves_record = !sent.meddling.is_some_and(Meddling::removes_record);
        for id in &ids {
            let Some(message) = self.messages.iter().find(|message| message.id == **id) else {
                return Err(format!("{name}: the record names a message {id} that nobody has published"));
            };
            if !runs.contains(&message.image) {
                return Err(format!("{name} was restarted for {}, which it does not run", message.image));
            }
            if leaves_record && !workload.rolled.insert((*id).to_owned()) {
                return Err(format!("{name} was restarted for the message {id} a second time"));
            }
        }
        for (image, known) in known.iter().filter(|(image, _)| runs.contains(*image)) {
            if new.get(image).is_none_or(|new| order(new) < order(known)) {
                return Err(format!("{name}: the record of {image} became older: {new:?}, after {known}"));
            }
        }
        for (image, recorded) in new {
            let newest = workload.restarted_for.entry(image.clone()).or_default();
            *newest = order(recorded).max(std::mem::take(newest));
        }
        if !leaves_record {
            workload.rolled.clear();
        }
        // Nothing of ours is left that tells another replica to look for the record.
        if sent.meddling == Some(Meddling::RemoveAnnotations) && !has_controller(after) {
            workload.may_be_forgotten.clone_from(&workload.restarted_for);
        }
        workload.replaced = Some(workload.pods.clone());
        workload.written(&before, &self.registry, self.now, self.time);
        Ok(format!("{name} is restarted for {}", ids.join(", ")))
    }
}

impl Workload {
    /// The last push of each image that it is known to be restarted for: by its pod template, and by the record that is
    /// kept for it.
    fn known_record(&self, object: &Value, kept: Option<&Value>) -> Record {
        let mut known = record(object);
        let kept: Record =
            kept.and_then(|kept| serde_json::from_value(kept["record"].clone()).ok()).unwrap_or_default();
        for (image, kept) in kept {
            let may_be_forgotten = self.may_be_forgotten.get(&image).is_some_and(|newest| order(&kept) <= *newest);
            if !may_be_forgotten && known.get(&image).is_none_or(|known| order(known) < order(&kept)) {
                known.insert(image, kept);
            }
        }
        known
    }
}
