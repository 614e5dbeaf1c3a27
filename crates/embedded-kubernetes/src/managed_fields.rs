//! `metadata.managedFields`: which manager wrote which field last.
//!
//! The rules are those of `structured-merge-diff` (`merge/update.go`, `typed/compare.go`) and of
//! `apimachinery/pkg/util/managedfields` for operation `Update`: what a write adds or changes becomes
//! its manager's, what it removes is nobody's, what it leaves alone stays where it was, and the time
//! of the manager's entry is renewed only when it changed something. Server-side apply is not here,
//! nor the limit of ten managers.

mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use fields::{Comparison, FieldSet, path};

use super::time::timestamp_seconds;

/// Who writes, and through which door.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) api_version: String,
    pub(super) subresource: Option<&'a str>,
    pub(super) now: Timestamp,
}

#[derive(Debug)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: Option<String>,
    time: Option<String>,
    fields: FieldSet,
}

/// Sets `metadata.managedFields` of `new`, which `writer` is about to put in the place of `live`.
pub(super) fn update(live: &Value, new: &mut Value, writer: &Writer<'_>) {
    let mut entries = entries_before(live, new, writer);
    let exists = !live["metadata"]["creationTimestamp"].is_null();
    if exists && entries.is_empty() {
        // Who forgot is not reminded: tracking begins at creation or not at all (`skipnonapplied.go`).
        return remove_managed_fields(new);
    }
    strip(live, new, |live, new| {
        let mut comparison = fields::compare(live, new);
        comparison.forget(&reset_fields(writer.subresource));
        reassign(&mut entries, comparison, writer);
    });
    sort(&mut entries);
    if entries.is_empty() {
        remove_managed_fields(new);
    } else {
        new["metadata"]["managedFields"] = entries.iter().map(Entry::encode).collect();
    }
}

/// Whether both carry the same ownership, whatever the times say.
pub(super) fn same_apart_from_times(one: &Value, other: &Value) -> bool {
    let without_times = |object: &Value| {
        let mut entries = object["metadata"]["managedFields"].clone();
        for entry in entries.as_array_mut().into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        let mut entries = entries.as_array().cloned().unwrap_or_default();
        entries.sort_by_key(ToString::to_string);
        entries
    };
    without_times(one) == without_times(other)
}

/// The entries to start from: those of the request, as far as it sends any; an empty list is a wish
/// to forget them all (`decodeLiveOrNew`).
fn entries_before(live: &Value, new: &Value, writer: &Writer<'_>) -> Vec<Entry> {
    let sent = &new["metadata"]["managedFields"];
    let sent = sent.as_array().filter(|_| writer.subresource.is_none());
    if let Some(sent) = sent {
        let is_reset = sent.is_empty() || matches!(sent.as_slice(), [Value::Object(one)] if one.is_empty());
        if is_reset {
            return Vec::new();
        }
        let decoded: Option<Vec<Entry>> = sent.iter().map(Entry::decode).collect();
        if let Some(decoded) = decoded {
            return decoded;
        }
    }
    let live = live["metadata"]["managedFields"].as_array();
    live.into_iter().flatten().filter_map(Entry::decode).collect()
}

fn reassign(entries: &mut Vec<Entry>, comparison: Comparison, writer: &Writer<'_>) {
    let Comparison { mut written, removed } = comparison;
    for entry in entries.iter_mut() {
        entry.fields.remove_all(&written);
        entry.fields.remove_all(&removed);
    }
    written.remove_all(&never_owned());
    if !written.is_empty() {
        let time = Some(timestamp_seconds(writer.now));
        match entries.iter_mut().find(|entry| entry.is_of(writer)) {
            Some(entry) => {
                entry.fields.add_all(written);
                entry.time = time;
            }
            None => entries.push(Entry {
                manager: writer.manager.to_owned(),
                operation: "Update".to_owned(),
                api_version: writer.api_version.clone(),
                subresource: writer.subresource.map(str::to_owned),
                time,
                fields: written,
            }),
        }
    }
    entries.retain(|entry| !entry.fields.is_empty());
}

/// What a write through this door cannot change (`GetResetFields` of the strategies).
fn reset_fields(subresource: Option<&str>) -> [Vec<String>; 2] {
    match subresource {
        Some(_) => [path(&["spec"]), path(&["metadata", "labels"])],
        None => [path(&["status"]), path(&["status"])],
    }
}

/// The fields that are the server's own (`stripmeta.go`).
fn never_owned() -> FieldSet {
    let server_set =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
    let mut paths: BTreeSet<Vec<String>> = server_set.iter().map(|field| path(&["metadata", field])).collect();
    paths.insert(path(&["metadata"]));
    FieldSet::from(paths)
}

/// Runs `compare` on both objects while they carry no `managedFields` themselves.
fn strip(live: &Value, new: &mut Value, compare: impl FnOnce(&Value, &Value)) {
    let mut live = live.clone();
    remove_managed_fields(&mut live);
    remove_managed_fields(new);
    compare(&live, new);
}

fn remove_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Oldest first, then by name (`sortEncodedManagedFields`).
fn sort(entries: &mut [Entry]) {
    entries.sort_by(|one, other| {
        let key = |entry: &Entry| {
            (
                entry.operation.clone(),
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(one).cmp(&key(other))
    });
}

// === impl Entry ===

impl Entry {
    fn decode(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        Some(Self {
            manager: text("manager")?,
            operation: text("operation")?,
            api_version: text("apiVersion")?,
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::decode(&entry["fieldsV1"]),
        })
    }

    fn encode(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.encode(),
        });
        for (field, text) in [("time", &self.time), ("subresource", &self.subresource)] {
            if let Some(text) = text {
                entry[field] = json!(text);
            }
        }
        entry
    }

    fn is_of(&self, writer: &Writer<'_>) -> bool {
        self.manager == writer.manager
            && self.operation == "Update"
            && self.api_version == writer.api_version
            && self.subresource.as_deref() == writer.subresource
    }
}
