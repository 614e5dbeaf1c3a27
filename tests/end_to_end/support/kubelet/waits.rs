//! Waiting for what controllers and kubelet make of a workload, on both grounds.

use serde_json::Value;

use super::Kubelet;
use crate::support::wait::eventually;

/// What was seen last, shown when the test fails.
struct LastSeen(Value);

impl Drop for LastSeen {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("last seen: {:#}", self.0);
        }
    }
}

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
        let mut last = LastSeen(Value::Null);
        let look = async || {
            let pods = self.pods(workload).await;
            last.0 = pods.iter().map(|pod| pod["status"].clone()).collect();
            Some(pods).filter(|pods| is_so(pods))
        };
        eventually(&format!("{}: {what}", workload["metadata"]["name"]), look).await
    }

    /// Waits until a container of this workload waits for this reason; gives its pod.
    pub async fn waits_for(&self, workload: &Value, reason: &str) -> Value {
        let waits = |pod: &&Value| {
            let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
            let statuses = lists.filter_map(|list| pod["status"][list].as_array()).flatten();
            statuses.into_iter().any(|status| status["state"]["waiting"]["reason"] == reason)
        };
        let pods = self.pods_when(workload, reason, |pods| pods.iter().any(|pod| waits(&pod))).await;
        pods.into_iter().find(|pod| waits(&pod)).unwrap()
    }

    /// Waits until every pod of a workload is of its newest template and available, and no other is left; gives the
    /// workload.
    pub async fn rolled_out(&self, workload: &Value) -> Value {
        let found = self.workload_when(workload, "it rolls out", is_rolled_out).await;
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
        self.workload_when(workload, &expected.to_string(), is_so).await
    }

    async fn workload_when(&self, workload: &Value, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = LastSeen(Value::Null);
        let look = async || {
            let found = self.ground.get(workload).await;
            last.0 = found["status"].clone();
            Some(found).filter(|found| is_so(found))
        };
        eventually(&format!("{}: {what}", workload["metadata"]["name"]), look).await
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
