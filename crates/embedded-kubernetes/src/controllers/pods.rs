//! Pods: made from a template, judged by their status, and played where nobody else plays them.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::{Cluster, count};
use super::conditions;
use crate::resource::PODS;
use crate::time::timestamp_seconds;

/// A pod of this template, with these labels on top of the template's.
pub(super) fn from_template(template: &Value, labels: &[(&str, String)], node: Option<&str>) -> Value {
    let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
    for (key, value) in labels {
        pod["metadata"]["labels"][*key] = json!(value);
    }
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

pub(super) fn is_terminating(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Neither ended nor about to.
pub(super) fn is_active(pod: &Value) -> bool {
    !is_terminating(pod) && !has_ended(pod)
}

pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"))
}

pub(super) fn is_ready(pod: &Value) -> bool {
    conditions::find(&pod["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Ready for `minReadySeconds`. Has the cluster looked at again when that will be so.
pub(super) fn is_available(cluster: &mut Cluster<'_>, pod: &Value, spec: &Value) -> bool {
    let Some(ready) = conditions::find(&pod["status"], "Ready").filter(|_| is_ready(pod)) else { return false };
    let seconds = count(&spec["minReadySeconds"]);
    if seconds == 0 {
        return true;
    }
    let since = ready["lastTransitionTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let from = since.and_then(|since| since.checked_add(SignedDuration::from_secs(seconds)).ok());
    let is_available = from.is_none_or(|from| from <= cluster.now);
    if let Some(from) = from.filter(|_| !is_available) {
        cluster.look_again_at(from);
    }
    is_available
}

/// What a node does without trouble: the containers run, and a pod that is being deleted ends.
pub(super) fn make_ready(cluster: &mut Cluster<'_>, pod: &Value, image_id: &(dyn Fn(&str) -> String + Send + Sync)) {
    if is_terminating(pod) {
        return cluster.delete(&PODS, pod, &json!({"gracePeriodSeconds": 0}));
    }
    if !pod["spec"]["nodeName"].is_string() || pod["status"]["phase"] != "Pending" {
        return;
    }
    let now = timestamp_seconds(cluster.now);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let statuses = |list: &str, state: Value| -> Vec<Value> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        let status = |container: &Value| {
            let image = container["image"].as_str().unwrap_or_default();
            json!({
                "name": container["name"], "image": image, "imageID": image_id(image), "ready": true,
                "started": list == "containers", "restartCount": 0, "state": state,
            })
        };
        containers.map(status).collect()
    };
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}});
    let kinds = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let mut status = json!({
        "phase": "Running", "startTime": now, "conditions": kinds.map(condition),
        "containerStatuses": statuses("containers", json!({"running": {"startedAt": now}})),
    });
    let init = statuses("initContainers", ended);
    if !init.is_empty() {
        status["initContainerStatuses"] = json!(init);
    }
    let mut pod = pod.clone();
    pod["status"] = status;
    cluster.replace_status(&PODS, pod);
}
