//! Deployments (`pkg/controller/deployment`): a ReplicaSet for each template, scaled against each other.

mod status;

use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Cluster, count, hash_of, resolved};
use super::{pods, replica_set};
use crate::resource::{PODS, REPLICA_SETS};
use status::{Progress, write_status};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
const NOT_INHERITED: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
];

/// Brings the ReplicaSets, their pods and the status of a Deployment up with its spec.
pub(super) fn sync(cluster: &mut Cluster<'_>, deployment: &Value) {
    for set in replica_sets(cluster, deployment) {
        replica_set::sync(cluster, &set);
    }
    let sets = replica_sets(cluster, deployment);
    let newest = sets.iter().position(|set| is_of_template(set, deployment));
    let mut deployment = deployment.clone();
    let is_paused = deployment["spec"]["paused"] == true;
    let progress = if is_paused {
        scale_paused(cluster, &deployment, &sets, newest);
        Progress::Paused
    } else {
        roll(cluster, &mut deployment, &sets, newest)
    };
    let sets = replica_sets(cluster, &deployment);
    let newest = sets.iter().position(|set| is_of_template(set, &deployment));
    write_status(cluster, deployment, &sets, newest.map(|at| &*sets[at]), progress);
}

/// One step of a rollout.
fn roll(cluster: &mut Cluster<'_>, deployment: &mut Value, sets: &[Arc<Value>], newest: Option<usize>) -> Progress {
    let old: Vec<_> = sets.iter().enumerate().filter(|(at, _)| Some(*at) != newest).map(|(_, set)| set).collect();
    let is_recreated = deployment["spec"]["strategy"]["type"] == "Recreate";
    if is_recreated {
        scale_all(cluster, &old, 0);
        let has_pods = |set: &&Arc<Value>| cluster.controlled_by(&PODS, set).iter().any(|pod| !pods::has_ended(pod));
        if old.iter().any(has_pods) {
            return Progress::Underway;
        }
    }
    let revision = 1 + old.iter().map(|set| revision_of(set)).max().unwrap_or_default();
    let Some(set) = newest.map(|at| &sets[at]) else {
        deployment["metadata"]["annotations"][REVISION] = json!(revision.to_string());
        create_replica_set(cluster, deployment, sets, revision, is_recreated);
        return Progress::Created;
    };
    let revision = revision.max(revision_of(set));
    deployment["metadata"]["annotations"][REVISION] = json!(revision.to_string());
    annotate(cluster, deployment, set, revision);
    let set = cluster.get(&REPLICA_SETS, text(&set["metadata"]["namespace"]), text(&set["metadata"]["name"]));
    let Some(set) = set else { return Progress::Underway };
    let (wanted, has) = (count(&deployment["spec"]["replicas"]), replicas(&set));
    let next = if has > wanted || is_recreated { wanted } else { has + room_for_new(deployment, sets, has) };
    if next != has {
        scale(cluster, &set, next);
    } else if !scale_down_old(cluster, deployment, &old, &set) {
        remove_history(cluster, deployment, &old, &set);
    }
    Progress::Underway
}

/// `NewRSNewReplicas`: how many more the new ReplicaSet may have.
fn room_for_new(deployment: &Value, sets: &[Arc<Value>], has: i64) -> i64 {
    let wanted = count(&deployment["spec"]["replicas"]);
    let (surge, _) = fenceposts(deployment);
    let all: i64 = sets.iter().map(|set| replicas(set)).sum();
    (wanted + surge - all).clamp(0, (wanted - has).max(0))
}

/// `reconcileOldReplicaSets`: the broken pods first, then as many as may be unavailable.
fn scale_down_old(cluster: &mut Cluster<'_>, deployment: &Value, old: &[&Arc<Value>], new: &Value) -> bool {
    let available = |set: &Value| count(&set["status"]["availableReplicas"]);
    let (_, max_unavailable) = fenceposts(deployment);
    let least = count(&deployment["spec"]["replicas"]) - max_unavailable;
    let all: i64 = old.iter().map(|set| replicas(set)).sum::<i64>() + replicas(new);
    let mut broken = all - least - (replicas(new) - available(new));
    if broken <= 0 {
        return false;
    }
    let mut old: Vec<_> = old.iter().map(|set| (*set, replicas(set))).filter(|(_, has)| *has > 0).collect();
    old.sort_by_key(|(set, _)| set["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
    let mut spare = available(new) + old.iter().map(|(set, _)| available(set)).sum::<i64>() - least;
    let mut is_scaled = false;
    for (set, has) in &mut old {
        let gone = (*has - available(set)).clamp(0, broken);
        broken -= gone;
        *has -= gone;
    }
    for (set, has) in &mut old {
        let gone = spare.clamp(0, *has);
        spare -= gone;
        if *has - gone != replicas(set) {
            is_scaled = true;
            scale(cluster, set, *has - gone);
        }
    }
    is_scaled
}

/// Without a rollout the one ReplicaSet that has pods still follows the number of replicas.
fn scale_paused(cluster: &mut Cluster<'_>, deployment: &Value, sets: &[Arc<Value>], newest: Option<usize>) {
    let active: Vec<_> = sets.iter().filter(|set| replicas(set) > 0).collect();
    let only = match active.as_slice() {
        [] => newest.map(|at| &sets[at]),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(set) = only {
        scale(cluster, set, count(&deployment["spec"]["replicas"]));
    }
}

fn create_replica_set(
    cluster: &mut Cluster<'_>,
    deployment: &Value,
    sets: &[Arc<Value>],
    revision: i64,
    is_recreated: bool,
) {
    let name = text(&deployment["metadata"]["name"]);
    let mut template = deployment["spec"]["template"].clone();
    let hash = hash_of(&template);
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let room = room_for_new(deployment, sets, 0);
    let replicas = if is_recreated { count(&deployment["spec"]["replicas"]) } else { room };
    let set = json!({
        "metadata": {
            "name": format!("{name}-{hash}"), "labels": template["metadata"]["labels"],
            "annotations": annotations(deployment, &Value::Null, revision),
        },
        "spec": {
            "replicas": replicas, "selector": selector, "template": template,
            "minReadySeconds": deployment["spec"]["minReadySeconds"],
        },
    });
    cluster.create(&REPLICA_SETS, "Deployment", deployment, set);
}

fn annotate(cluster: &mut Cluster<'_>, deployment: &Value, set: &Value, revision: i64) {
    let mut set = set.clone();
    set["metadata"]["annotations"] = annotations(deployment, &set["metadata"]["annotations"], revision);
    let seconds = &deployment["spec"]["minReadySeconds"];
    if set["spec"]["minReadySeconds"] != *seconds {
        set["spec"]["minReadySeconds"] = seconds.clone();
    }
    cluster.replace(&REPLICA_SETS, set);
}

fn annotations(deployment: &Value, before: &Value, revision: i64) -> Value {
    let mut annotations = before.as_object().cloned().unwrap_or_default();
    let inherited = deployment["metadata"]["annotations"].as_object().into_iter().flatten();
    let inherited = inherited.filter(|(key, _)| !NOT_INHERITED.contains(&key.as_str()));
    annotations.extend(inherited.map(|(key, value)| (key.clone(), value.clone())));
    let wanted = count(&deployment["spec"]["replicas"]);
    let (surge, _) = fenceposts(deployment);
    let own = [revision, wanted, wanted + surge].map(|number| json!(number.to_string()));
    annotations.extend(NOT_INHERITED[1..].iter().map(|key| (*key).to_owned()).zip(own));
    Value::Object(annotations)
}

/// Old ReplicaSets without pods go, but for the last few.
fn remove_history(cluster: &mut Cluster<'_>, deployment: &Value, old: &[&Arc<Value>], new: &Value) {
    if count(&new["status"]["availableReplicas"]) != count(&deployment["spec"]["replicas"]) {
        return;
    }
    let mut empty: Vec<_> =
        old.iter().filter(|set| replicas(set) == 0 && count(&set["status"]["replicas"]) == 0).collect();
    empty.sort_by_key(|set| revision_of(set));
    let kept = usize::try_from(count(&deployment["spec"]["revisionHistoryLimit"])).unwrap_or_default();
    for set in &empty[..empty.len().saturating_sub(kept)] {
        cluster.delete(&REPLICA_SETS, set, &Value::Null);
    }
}

fn scale_all(cluster: &mut Cluster<'_>, sets: &[&Arc<Value>], to: i64) {
    for set in sets {
        scale(cluster, set, to);
    }
}

fn scale(cluster: &mut Cluster<'_>, set: &Value, to: i64) {
    if replicas(set) != to {
        let mut set = set.clone();
        set["spec"]["replicas"] = json!(to);
        cluster.replace(&REPLICA_SETS, set);
    }
}

fn replica_sets(cluster: &Cluster<'_>, deployment: &Value) -> Vec<Arc<Value>> {
    cluster.controlled_by(&REPLICA_SETS, deployment)
}

/// `EqualIgnoreHash`
fn is_of_template(set: &Value, deployment: &Value) -> bool {
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    template == deployment["spec"]["template"]
}

/// `maxSurge` and `maxUnavailable` as numbers, never both 0.
fn fenceposts(deployment: &Value) -> (i64, i64) {
    let (strategy, wanted) = (&deployment["spec"]["strategy"], count(&deployment["spec"]["replicas"]));
    if strategy["type"] == "Recreate" {
        return (0, 0);
    }
    let surge = resolved(&strategy["rollingUpdate"]["maxSurge"], wanted, true);
    let unavailable = resolved(&strategy["rollingUpdate"]["maxUnavailable"], wanted, false);
    (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable.min(wanted) })
}

fn revision_of(set: &Value) -> i64 {
    text(&set["metadata"]["annotations"][REVISION]).parse().unwrap_or_default()
}

fn replicas(set: &Value) -> i64 {
    count(&set["spec"]["replicas"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
