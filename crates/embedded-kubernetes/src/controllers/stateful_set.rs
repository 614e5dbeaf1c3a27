//! StatefulSets (`pkg/controller/statefulset/stateful_set_control.go`): numbered pods, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Cluster, count, hash_of, length, set_counts};
use super::pods::{from_template, has_ended, is_available, is_ready, is_terminating};
use crate::resource::{PODS, STATEFUL_SETS};

const REVISION: &str = "controller-revision-hash";

/// The revisions of a set: the one that its pods come from, and the one that they go to.
struct Revisions {
    current: String,
    update: String,
}

/// Brings the pods and the status of a StatefulSet up with its spec.
pub(super) fn sync(cluster: &mut Cluster<'_>, set: &Value) {
    let template = &set["spec"]["template"];
    let (name, uid) = (text(&set["metadata"]["name"]), text(&set["metadata"]["uid"]));
    let update = format!("{name}-{}", hash_of(template));
    cluster.templates.insert((uid, update.clone()), template.clone());
    let current = set["status"]["currentRevision"].as_str().unwrap_or(&update).to_owned();
    let revisions = Revisions { current, update };
    step(cluster, set, &revisions);
    write_status(cluster, set, &revisions);
}

/// Creates and deletes what may be created and deleted now.
fn step(cluster: &mut Cluster<'_>, set: &Value, revisions: &Revisions) {
    let is_ordered = set["spec"]["podManagementPolicy"] != "Parallel";
    let (start, replicas) = (count(&set["spec"]["ordinals"]["start"]), count(&set["spec"]["replicas"]));
    let mut pods = by_ordinal(cluster, set);
    let condemned = {
        let beyond = pods.split_off(&(start + replicas));
        let kept = pods.split_off(&start);
        let before = std::mem::replace(&mut pods, kept);
        before.into_iter().chain(beyond)
    };
    for ordinal in start..start + replicas {
        let is_settled = match pods.get(&ordinal) {
            None => {
                create(cluster, set, revisions, ordinal);
                false
            }
            Some(pod) if has_ended(pod) && !is_terminating(pod) => {
                cluster.delete(&PODS, pod, &Value::Null);
                false
            }
            Some(pod) => !is_terminating(pod) && is_available(cluster, pod, &set["spec"]),
        };
        if is_ordered && !is_settled {
            return;
        }
    }
    for (_, pod) in condemned.collect::<Vec<_>>().into_iter().rev() {
        if !is_terminating(&pod) {
            cluster.delete(&PODS, &pod, &Value::Null);
        }
        if is_ordered {
            return;
        }
    }
    if set["spec"]["updateStrategy"]["type"] == "RollingUpdate" {
        update_highest(cluster, set, &revisions.update, &pods);
    }
}

/// The pod with the highest number that is not up to date makes way, if no other pod is away.
fn update_highest(cluster: &mut Cluster<'_>, set: &Value, update: &str, pods: &BTreeMap<i64, Arc<Value>>) {
    let is_away = |pod: &Arc<Value>| is_terminating(pod) || !is_available(cluster, pod, &set["spec"]);
    if length(pods) < count(&set["spec"]["replicas"]) || pods.values().any(is_away) {
        return;
    }
    let first = partition(set);
    let outdated = pods.range(first..).rev().find(|(_, pod)| pod["metadata"]["labels"][REVISION] != update);
    if let Some((_, pod)) = outdated {
        cluster.delete(&PODS, pod, &Value::Null);
    }
}

fn create(cluster: &mut Cluster<'_>, set: &Value, revisions: &Revisions, ordinal: i64) {
    let name = text(&set["metadata"]["name"]);
    let is_kept_back = ordinal < partition(set);
    let revision = if is_kept_back { &revisions.current } else { &revisions.update };
    let kept = cluster.templates.get(&(text(&set["metadata"]["uid"]), revision.clone()));
    let template = kept.unwrap_or(&set["spec"]["template"]).clone();
    let pod_name = format!("{name}-{ordinal}");
    let labels = [
        (REVISION, revision.clone()),
        ("statefulset.kubernetes.io/pod-name", pod_name.clone()),
        ("apps.kubernetes.io/pod-index", ordinal.to_string()),
    ];
    let mut pod = from_template(&template, &labels, cluster.node_for(&template["spec"]));
    pod["metadata"]["name"] = json!(pod_name);
    pod["metadata"]["generateName"] = json!(format!("{name}-"));
    pod["spec"]["hostname"] = json!(pod_name);
    if let Some(service) = set["spec"]["serviceName"].as_str() {
        pod["spec"]["subdomain"] = json!(service);
    }
    cluster.create(&PODS, "StatefulSet", set, pod);
}

fn write_status(cluster: &mut Cluster<'_>, set: &Value, revisions: &Revisions) {
    let (mut total, mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0, 0);
    for pod in by_ordinal(cluster, set).into_values() {
        total += 1;
        ready += i64::from(is_ready(&pod));
        available += i64::from(is_available(cluster, &pod, &set["spec"]));
        if !is_terminating(&pod) {
            let revision = pod["metadata"]["labels"][REVISION].as_str();
            current += i64::from(revision == Some(&revisions.current));
            updated += i64::from(revision == Some(&revisions.update));
        }
    }
    let replicas = count(&set["spec"]["replicas"]);
    let is_rolling = set["spec"]["updateStrategy"]["type"] == "RollingUpdate";
    let is_complete = is_rolling && [updated, ready, total] == [replicas; 3];
    let current_revision = if is_complete { &revisions.update } else { &revisions.current };
    let mut set = set.clone();
    let generation = set["metadata"]["generation"].clone();
    let status = &mut set["status"];
    status["observedGeneration"] = generation;
    status["replicas"] = json!(total);
    status["availableReplicas"] = json!(available);
    status["collisionCount"] = json!(0);
    status["currentRevision"] = json!(current_revision);
    status["updateRevision"] = json!(revisions.update);
    let current = if is_complete { updated } else { current };
    set_counts(status, &[("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", updated)]);
    cluster.replace_status(&STATEFUL_SETS, set);
}

fn by_ordinal(cluster: &Cluster<'_>, set: &Value) -> BTreeMap<i64, Arc<Value>> {
    let ordinal = |pod: &Value| pod["metadata"]["name"].as_str()?.rsplit('-').next()?.parse().ok();
    let pods = cluster.controlled_by(&PODS, set).into_iter();
    pods.filter_map(|pod| Some((ordinal(&pod)?, pod))).collect()
}

/// Pods with lower numbers stay as they are.
fn partition(set: &Value) -> i64 {
    count(&set["spec"]["updateStrategy"]["rollingUpdate"]["partition"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
