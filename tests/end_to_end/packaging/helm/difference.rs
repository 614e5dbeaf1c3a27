//! How the objects of the chart differ from those of kustomize.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::manifests::Manifests;

/// What the chart may have besides: the labels that Helm's conventions ask for, and what rolls the pods when the settings
/// change (kustomize does so by the name of the ConfigMap).
const ONLY_CHART: [&str; 7] = [
    "helm.sh/chart",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/name",
    "checksum/settings",
];

/// One line for each place.
pub(super) fn differences(chart: Manifests, mut kustomize: Manifests) -> Vec<String> {
    take_hashes_away(&mut kustomize);
    let (mut chart, kustomize) = (by_name(chart), by_name(kustomize));
    let mut found = Vec::new();
    let names: BTreeSet<String> = chart.keys().chain(kustomize.keys()).cloned().collect();
    for name in names {
        match (chart.get_mut(&name), kustomize.get(&name)) {
            (Some(ours), Some(theirs)) => {
                forgive(ours, theirs);
                compare(&name, ours, theirs, &mut found);
            }
            (Some(_), None) => found.push(format!("{name}: only in the chart")),
            (None, _) => found.push(format!("{name}: only in kustomize")),
        }
    }
    found
}

/// But for the namespace: Helm installs into one that exists.
fn by_name(manifests: Manifests) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    for object in manifests.objects.into_iter().filter(|object| object["kind"] != "Namespace") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let [kind, namespace, name] =
            [&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]].map(text);
        let name = format!("{kind} {namespace}/{name}");
        assert!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    objects
}

/// The hash behind the name of a generated ConfigMap.
fn take_hashes_away(kustomize: &mut Manifests) {
    let generated =
        kustomize.of_kind("ConfigMap").map(|object| object["metadata"]["name"].as_str().unwrap().to_owned());
    for name in generated.collect::<Vec<_>>() {
        let short = name.rsplit_once('-').unwrap().0;
        for object in &mut kustomize.objects {
            replace(object, &name, short);
        }
    }
}

fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, from, to)),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        _ => {}
    }
}

/// Takes away what only the chart may have, where kustomize does not have it.
fn forgive(ours: &mut Value, theirs: &Value) {
    match ours {
        Value::Object(members) => {
            members.retain(|key, member| {
                let counterpart = theirs.get(key);
                if counterpart.is_none() && ONLY_CHART.contains(&key.as_str()) {
                    return false;
                }
                let was_empty = member.as_object().is_none_or(serde_json::Map::is_empty);
                forgive(member, counterpart.unwrap_or(&Value::Null));
                // An object that had nothing else.
                counterpart.is_some() || was_empty || member.as_object().is_none_or(|left| !left.is_empty())
            });
        }
        Value::Array(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                forgive(item, theirs.get(position).unwrap_or(&Value::Null));
            }
        }
        _ => {}
    }
}

fn compare(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                compare(&format!("{path}.{key}"), &of(ours), &of(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (position, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(&format!("{path}[{position}]"), ours, theirs, found);
            }
        }
        _ if ours != theirs => found.push(format!("{path}: the chart has {ours}, kustomize {theirs}")),
        _ => {}
    }
}
