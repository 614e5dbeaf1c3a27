//! A workload as the API server shows it, and what the model reads from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

pub(super) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";
const FOLLOWING: &str = "pushroll.dev/following";
const RESTART: &str = "pushroll.dev/restart";

/// What Kubernetes itself counts on a workload.
const COUNTS: [&str; 2] = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

/// The last push of each image that a workload was restarted for, by our own account.
pub type Record = BTreeMap<String, Value>;

/// What a workload runs.
pub fn images(object: &Value) -> BTreeSet<String> {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    containers.iter().filter_map(|container| container["image"].as_str().map(str::to_owned)).collect()
}

pub(super) fn template_annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["spec"]["template"]["metadata"]["annotations"][key].as_str()
}

pub(super) fn record_text(object: &Value) -> Option<&str> {
    template_annotation(object, RECORD)
}

/// No annotations and an empty map of them are the same.
pub(super) fn is_same_template(one: &Value, other: &Value) -> bool {
    let template = |object: &Value| {
        let mut template = object["spec"]["template"].clone();
        let annotations = template["metadata"]["annotations"].take();
        let has_none = annotations.as_object().is_none_or(serde_json::Map::is_empty);
        (template, (!has_none).then_some(annotations))
    };
    template(one) == template(other)
}

/// Also of a patch.
pub fn record(object: &Value) -> Record {
    record_text(object).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

pub(super) fn id(recorded: &Value) -> &str {
    recorded["message_id"].as_str().unwrap_or_default()
}

/// The place of a push among those of its image. All ids of a case are equally long.
pub(super) fn order(recorded: &Value) -> (String, String) {
    let published = recorded["published"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    (published.map(|time| format!("{time:.3}")).unwrap_or_default(), id(recorded).to_owned())
}

/// What is nobody's to change but its owner's.
pub(super) fn others(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut spec = object["spec"].clone();
    let of_pods = spec["template"]["metadata"]["annotations"].take();
    let annotations = without(&metadata["annotations"], &COUNTS);
    let of_pods = without(&of_pods, &[RESTARTED_AT, RECORD]);
    let labels = without(&metadata["labels"], &[FOLLOWING]);
    json!({"labels": labels, "annotations": annotations, "annotations of pods": of_pods, "spec": spec})
}

fn without(map: &Value, keys: &[&str]) -> BTreeMap<String, Value> {
    let entries = map.as_object().into_iter().flatten().filter(|(key, _)| !keys.contains(&key.as_str()));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn opts_out(object: &Value) -> bool {
    object["metadata"]["annotations"][RESTART] == "false"
}

pub fn has_controller(object: &Value) -> bool {
    object["metadata"]["ownerReferences"].is_array()
}
