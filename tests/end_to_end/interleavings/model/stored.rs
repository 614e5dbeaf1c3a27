//! The ConfigMap of what waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::object::{images, order};
use super::{Broken, Model, Published};

/// The records that are kept there, by the names of their workloads.
pub type Kept = BTreeMap<String, Value>;

/// What the ConfigMap holds.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The pushes that wait, by key: for a workload, or for all of a kind.
    pub(super) waiting: BTreeMap<String, Value>,
    pub(super) kept: Arc<Kept>,
}

impl Stored {
    fn read(data: &Value) -> Self {
        let entries = data.as_object().into_iter().flatten();
        let entries = entries.map(|(key, text)| (key, serde_json::from_str(text.as_str().unwrap()).unwrap()));
        let (mut waiting, mut kept) = (BTreeMap::new(), Kept::new());
        for (key, entry) in entries {
            let entry: Value = entry;
            match key.split('.').next() {
                Some("record") => drop(kept.insert(text(&entry["name"]), entry)),
                _ => drop(waiting.insert(key.clone(), entry)),
            }
        }
        Self { waiting, kept: Arc::new(kept) }
    }

    /// The pushes of an image that wait for this workload.
    pub(super) fn waiting_for<'a>(&'a self, object: &'a Value, image: &'a str) -> impl Iterator<Item = &'a Value> {
        self.waiting.values().filter(move |entry| entry["image"] == *image && is_for(entry, object))
    }
}

/// Whether a push waits for this workload, or for all of its kind.
fn is_for(entry: &Value, object: &Value) -> bool {
    entry["kind"] == object["kind"] && (entry["name"].is_null() || entry["name"] == object["metadata"]["name"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Model {
    /// The ConfigMap of what waits was written. What was removed from it must be done.
    pub fn waiting_written(&mut self, data: &Value) -> Result<String, Broken> {
        let before = std::mem::replace(&mut self.stored, Stored::read(data)).waiting;
        for (key, entry) in before.iter().filter(|(key, _)| !self.stored.waiting.contains_key(*key)) {
            let Some(message) = self.messages.iter().find(|message| entry["message_id"] == message.id) else {
                continue;
            };
            for (name, workload) in self.workloads.iter().filter(|(_, workload)| is_for(entry, &workload.object)) {
                let runs_it = images(&workload.object).contains(&message.image);
                if runs_it && !workload.has_opted_out && !self.has_seen(name, message) {
                    return Err(format!("{key} waits no longer, and {name} has not pulled since"));
                }
            }
        }
        Ok(format!("{:?} wait", self.stored.waiting.keys()))
    }

    /// The records that are kept now.
    pub fn kept(&self) -> &Arc<Kept> {
        &self.stored.kept
    }

    /// Whether the workload has this push, or keeps it for later.
    pub(super) fn has_seen(&self, name: &str, message: &Published) -> bool {
        let Some(workload) = self.workloads.get(name) else { return true };
        let mut waiting = self.stored.waiting_for(&workload.object, &message.image);
        waiting.any(|entry| order(entry) >= message.order()) || workload.has_seen(message)
    }

    /// Who has something that waits.
    pub fn deferring(&self) -> Vec<String> {
        let has = |object: &Value| self.stored.waiting.values().any(|entry| is_for(entry, object));
        self.workloads.iter().filter(|(_, workload)| has(&workload.object)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether something waits for a kind that cannot be seen.
    pub fn keeps_for_unseen(&self) -> bool {
        self.stored.waiting.values().any(|entry| entry["name"].is_null())
    }
}
