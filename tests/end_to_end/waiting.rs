//! What waits, whatever others do to the workload meanwhile: undo a rollout, refuse the restart with whatever code,
//! remove what we write, wipe the workload's metadata.

mod refusals;
mod stripped;
mod undo;

use serde_json::Value;

use crate::support::fixtures::{PushMessage, result_of};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    refusals::tests(suite);
    stripped::tests(suite);
    undo::tests(suite);
}

/// Looks often for what is due.
async fn replica(ground: &Ground) -> Service {
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace(), "--deferred-poll", "50ms"];
    ground.service().arguments(arguments).start_ready().await
}

/// A push that is acknowledged, and what came of it at one workload.
async fn push(service: &Service, message: &PushMessage, workload: &Value) -> Value {
    let answer = service.push(message).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    result_of(&answer.json(), workload)
}

/// The entries of `pushroll-waiting` whose keys begin so.
async fn entries(ground: &Ground, prefix: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/{}/configmaps/pushroll-waiting", ground.namespace());
    let Ok(config_map) = ground.request("GET", &path, None).await else { return Vec::new() };
    let entries = config_map["data"].as_object().into_iter().flatten().filter(|(key, _)| key.starts_with(prefix));
    entries.map(|(_, entry)| serde_json::from_str(entry.as_str().unwrap()).unwrap()).collect()
}

fn record(object: &Value) -> Value {
    let record = &object["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"];
    record.as_str().map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
}
