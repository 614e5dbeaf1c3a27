//! Waiting for what controllers and kubelet make of a workload, on both grounds.

use serde_json::Value;

use super::Kubelet;
use crate::support::wait::eventually;

impl Kubelet {
    /// The pods of a workload that are not being deleted, by name.
    pub async fn pods(&self, workload: &Value) -> Vec<Value> {
        let (name, namespace) = (text(&workload["metadata"]["name"]), text(&workload["metadata"]["namespace"]));
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}");
        let list = self.ground.request("GET", &path, None).await.unwrap();
        let pods = list["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    }

    /// Waits until the pods of a workload are as `is_so` says.
    pub async fn pods_when(&self, workload: &Value, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let look = async || Some(self.pods(workload).await).filter(|pods| is_so(pods));
        eventually(&format!("{}: {what}", workload["metadata"]["name"]), look).await
    }

    /// Waits until a container of this workload waits for this reason; gives its pod.
    pub async fn waits_for(&self, workload: &Value, reason: &str) -> Value {
        let waits = |pod: &&Value| {
            let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
            let statuses = lists.filter_map(|list| pod["status"][list].as_array()).flatten();
            statuses.into_iter().any(|status| status["state"]["waiting"]["reason"] == reason)
        };
        let look = async || self.pods(workload).await.iter().find(waits).cloned();
        eventually(&format!("{}: {reason}", workload["metadata"]["name"]), look).await
    }

    /// Waits until every pod of a workload is of its newest template and available, and no other is left; gives the
    /// workload.
    pub async fn rolled_out(&self, workload: &Value) -> Value {
        let look = async || Some(self.ground.get(workload).await).filter(is_rolled_out);
        let found = eventually(&format!("{} rolls out", workload["metadata"]["name"]), look).await;
        let wanted = wanted(&found);
        self.pods_when(workload, "the old pods are gone", |pods| pods.len() as u64 == wanted).await;
        found
    }

    /// Waits until the status of a workload has these values; null for a field that is not there. Gives the workload.
    pub async fn status_becomes(&self, workload: &Value, expected: &Value) -> Value {
        let is_so = |found: &Value| {
            let fields = expected.as_object().unwrap().iter();
            fields.into_iter().all(|(field, value)| found["status"][field] == *value)
        };
        let look = async || Some(self.ground.get(workload).await).filter(is_so);
        eventually(&format!("{}: {expected}", workload["metadata"]["name"]), look).await
    }
}

/// How many pods a workload is to have.
fn wanted(workload: &Value) -> u64 {
    let wanted = &workload["spec"]["replicas"];
    wanted.as_u64().or_else(|| workload["status"]["desiredNumberScheduled"].as_u64()).unwrap_or_default()
}

fn is_rolled_out(workload: &Value) -> bool {
    let (wanted, status) = (wanted(workload), &workload["status"]);
    let count = |field: &str| status[field].as_u64().unwrap_or_default();
    let fields: &[_] = match workload["kind"].as_str().unwrap() {
        "Deployment" => &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"],
        "StatefulSet" if status["currentRevision"] != status["updateRevision"] => return false,
        "StatefulSet" => &["replicas", "readyReplicas", "availableReplicas", "currentReplicas"],
        _ => &["updatedNumberScheduled", "numberReady", "numberAvailable", "currentNumberScheduled"],
    };
    // A DaemonSet that was never looked at wants no pods.
    let is_observed = status["observedGeneration"] == workload["metadata"]["generation"];
    is_observed && fields.iter().all(|field| count(field) == wanted)
}

/// The `imageID` of a pod's first container.
pub fn image_id(pod: &Value) -> &str {
    text(&pod["status"]["containerStatuses"][0]["imageID"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
