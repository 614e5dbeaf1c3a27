//! DaemonSets (`pkg/controller/daemon`): one pod on each node.

use serde_json::{Value, json};

use super::cluster::{Cluster, hash_of, length, resolved, set_counts};
use super::pods::{from_template, has_ended, is_available, is_ready, is_terminating};
use crate::defaults::TEMPLATE_GENERATION;
use crate::resource::{DAEMON_SETS, PODS};

const REVISION: &str = "controller-revision-hash";

/// Brings the pods and the status of a DaemonSet up with its spec.
pub(super) fn sync(cluster: &mut Cluster<'_>, set: &Value) {
    let template = &set["spec"]["template"];
    let hash = hash_of(template);
    let nodes = cluster.nodes_for(&template["spec"]);
    let name = set["metadata"]["name"].as_str().unwrap_or_default();
    let generation = set["metadata"]["annotations"][TEMPLATE_GENERATION].as_str().unwrap_or_default();
    let labels = [(REVISION, hash.clone()), ("pod-template-generation", generation.to_owned())];

    let pods = cluster.controlled_by(&PODS, set);
    for pod in &pods {
        let is_misplaced = !nodes.iter().any(|node| pod["spec"]["nodeName"] == *node);
        if !is_terminating(pod) && (is_misplaced || has_ended(pod)) {
            cluster.delete(&PODS, pod, &Value::Null);
        }
    }
    for node in &nodes {
        if !pods.iter().any(|pod| pod["spec"]["nodeName"] == *node) {
            let mut pod = from_template(template, &labels, Some(node));
            pod["metadata"]["generateName"] = json!(format!("{name}-"));
            cluster.create(&PODS, "DaemonSet", set, pod);
        }
    }
    if set["spec"]["updateStrategy"]["type"] == "RollingUpdate" {
        roll(cluster, set, &nodes, &hash);
    }
    write_status(cluster, set, &nodes, &hash);
}

/// Deletes as many old pods as may be unavailable.
fn roll(cluster: &mut Cluster<'_>, set: &Value, nodes: &[&str], hash: &str) {
    let max_unavailable = &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"];
    let most = resolved(max_unavailable, length(nodes), true).max(1);
    let pods = cluster.controlled_by(&PODS, set);
    let mut unavailable = 0;
    let (mut broken, mut candidates) = (Vec::new(), Vec::new());
    for node in nodes {
        let pod = pods.iter().find(|pod| pod["spec"]["nodeName"] == *node && !is_terminating(pod));
        let is_available = pod.is_some_and(|pod| is_available(cluster, pod, &set["spec"]));
        unavailable += i64::from(!is_available);
        if let Some(pod) = pod.filter(|pod| pod["metadata"]["labels"][REVISION] != hash) {
            if is_available { candidates.push(pod) } else { broken.push(pod) }
        }
    }
    let further = usize::try_from(most - unavailable).unwrap_or_default();
    for pod in broken.into_iter().chain(candidates.into_iter().take(further)) {
        cluster.delete(&PODS, pod, &Value::Null);
    }
}

fn write_status(cluster: &mut Cluster<'_>, set: &Value, nodes: &[&str], hash: &str) {
    let pods = cluster.controlled_by(&PODS, set);
    let (mut scheduled, mut ready, mut available, mut updated) = (0, 0, 0, 0);
    for node in nodes {
        let on_node = || pods.iter().filter(|pod| pod["spec"]["nodeName"] == *node);
        let Some(pod) = on_node().find(|pod| !is_terminating(pod)).or_else(|| on_node().next()) else { continue };
        scheduled += 1;
        ready += i64::from(is_ready(pod));
        available += i64::from(is_available(cluster, pod, &set["spec"]));
        updated += i64::from(pod["metadata"]["labels"][REVISION] == hash);
    }
    let desired = length(nodes);
    let mut set = set.clone();
    let generation = set["metadata"]["generation"].clone();
    let status = &mut set["status"];
    for (field, number) in [
        ("currentNumberScheduled", scheduled),
        ("desiredNumberScheduled", desired),
        ("numberMisscheduled", 0),
        ("numberReady", ready),
    ] {
        status[field] = json!(number);
    }
    let counts = [
        ("numberAvailable", available),
        ("numberUnavailable", desired - available),
        ("updatedNumberScheduled", updated),
    ];
    set_counts(status, &counts);
    status["observedGeneration"] = generation;
    cluster.replace_status(&DAEMON_SETS, set);
}
