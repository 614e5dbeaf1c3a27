//! What pushroll keeps of pushes: the records on workloads, and the ConfigMap `pushroll-waiting`.

use serde_json::Value;

use super::fixtures::{PushMessage, result_of};
use super::ground::Ground;
use super::service::Service;

/// A replica that looks often for what is due, in the test's own namespace: the control plane is shared.
pub async fn replica(ground: &Ground) -> Service {
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace(), "--deferred-poll", "50ms"];
    ground.service().arguments(arguments).start_ready().await
}

/// A push that is acknowledged, and what came of it at one workload.
pub async fn push(service: &Service, message: &PushMessage, workload: &Value) -> Value {
    let answer = service.push(message).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    result_of(&answer.json(), workload)
}

/// The entries of `pushroll-waiting` whose keys begin so.
pub async fn entries(ground: &Ground, prefix: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/{}/configmaps/pushroll-waiting", ground.namespace());
    let Ok(config_map) = ground.request("GET", &path, None).await else { return Vec::new() };
    let entries = config_map["data"].as_object().into_iter().flatten().filter(|(key, _)| key.starts_with(prefix));
    entries.map(|(_, entry)| serde_json::from_str(entry.as_str().unwrap()).unwrap()).collect()
}

/// The record on a workload, which has one: image to push.
pub fn record(workload: &Value) -> Value {
    find_record(workload).unwrap_or_else(|| panic!("no record: {workload}"))
}

/// The record on a workload, if it has one.
pub fn find_record(workload: &Value) -> Option<Value> {
    let record = workload["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"].as_str()?;
    Some(serde_json::from_str(record).unwrap())
}
