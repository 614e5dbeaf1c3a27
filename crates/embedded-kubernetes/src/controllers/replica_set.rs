//! ReplicaSets (`pkg/controller/replicaset`): as many pods as asked for.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::{Cluster, count, length, set_counts};
use super::pods::{from_template, is_active, is_available, is_ready, is_terminating};
use crate::resource::{PODS, REPLICA_SETS};

/// Brings the pods and the status of a ReplicaSet up with its spec.
pub(super) fn sync(cluster: &mut Cluster<'_>, set: &Value) {
    let wanted = usize::try_from(count(&set["spec"]["replicas"])).unwrap_or_default();
    let mut pods = active_pods(cluster, set);
    for _ in pods.len()..wanted {
        let template = &set["spec"]["template"];
        let mut pod = from_template(template, &[], cluster.node_for(&template["spec"]));
        let name = set["metadata"]["name"].as_str().unwrap_or_default();
        pod["metadata"]["generateName"] = json!(format!("{name}-"));
        cluster.create(&PODS, "ReplicaSet", set, pod);
    }
    if pods.len() > wanted {
        // Those go first that serve least: not on a node, not running, not ready, youngest.
        pods.sort_by_key(|pod| {
            let (is_placed, is_running) = (pod["spec"]["nodeName"].is_string(), pod["status"]["phase"] == "Running");
            let created = pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
            (is_placed, is_running, is_ready(pod), Reverse(created))
        });
        for pod in &pods[..pods.len() - wanted] {
            cluster.delete(&PODS, pod, &Value::Null);
        }
    }
    write_status(cluster, set);
}

fn active_pods(cluster: &Cluster<'_>, set: &Value) -> Vec<Arc<Value>> {
    cluster.controlled_by(&PODS, set).into_iter().filter(|pod| is_active(pod)).collect()
}

fn write_status(cluster: &mut Cluster<'_>, set: &Value) {
    let pods = cluster.controlled_by(&PODS, set);
    let (mut replicas, mut ready, mut available) = (0, 0, 0);
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        replicas += 1;
        ready += i64::from(is_ready(pod));
        available += i64::from(is_available(cluster, pod, &set["spec"]));
    }
    let mut set = set.clone();
    let generation = set["metadata"]["generation"].clone();
    let status = &mut set["status"];
    status["replicas"] = json!(replicas);
    status["terminatingReplicas"] = json!(length(pods.iter().filter(|pod| is_terminating(pod))));
    set_counts(
        status,
        &[("fullyLabeledReplicas", replicas), ("readyReplicas", ready), ("availableReplicas", available)],
    );
    status["observedGeneration"] = generation;
    cluster.replace_status(&REPLICA_SETS, set);
}
