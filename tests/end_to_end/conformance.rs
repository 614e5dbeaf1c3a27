//! The tests' ground itself: the embedded Kubernetes API answers as a real one does.
//!
//! Every test here runs on both and expects the same of both, word for word where clients match on words. What
//! fails on `embedded` alone is a bug of `crates/embedded-kubernetes`; what fails on both is a wrong belief about Kubernetes.

mod config_maps;
mod generations;
mod housekeeping;
mod lists;
mod ownership;
mod patches;
mod policies;
mod preconditions;
mod refusals;
mod rollouts;
mod validation;
mod watches;

use serde_json::{Value, json};

use crate::support::fixtures::{collection, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::Answer;
use crate::support::kubernetes::MERGE_PATCH;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    config_maps::tests(suite);
    generations::tests(suite);
    housekeeping::tests(suite);
    lists::tests(suite);
    ownership::tests(suite);
    patches::tests(suite);
    policies::tests(suite);
    preconditions::tests(suite);
    refusals::tests(suite);
    rollouts::tests(suite);
    validation::tests(suite);
    watches::tests(suite);
}

/// One workload of each kind, named after it.
fn every_kind(ground: &Ground) -> [Value; 3] {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    [
        deployment(namespace, "deployment", &image),
        stateful_set(namespace, "statefulset", &image),
        daemon_set(namespace, "daemonset", &image),
    ]
}

fn path_of(manifest: &Value) -> String {
    format!("{}/{}", collection(manifest), manifest["metadata"]["name"].as_str().unwrap())
}

async fn merge_patch(ground: &Ground, manifest: &Value, patch: Value) -> Answer {
    ground.ask("PATCH", &path_of(manifest), MERGE_PATCH, patch.to_string()).await
}

/// A merge patch of a pod template's annotation, as a restart is one.
fn template_annotation(key: &str, value: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {key: value}}}}})
}

/// The answer is a `Status` of this code, reason and message; of a message that ends in `…`, what comes before.
#[track_caller]
fn assert_refused(what: &str, answer: &Answer, code: u16, reason: &str, message: &str) {
    let status = answer.json();
    assert_eq!(answer.status, code, "{what}: {status}");
    assert_eq!(answer.headers["content-type"], "application/json", "{what}");
    let found = status["message"].as_str().unwrap();
    match message.strip_suffix('…') {
        Some(beginning) => assert!(found.starts_with(beginning), "{what}: {found:?} begins with {beginning:?}"),
        None => assert_eq!(found, message, "{what}"),
    }
    let head = json!({"kind": status["kind"], "apiVersion": status["apiVersion"], "status": status["status"],
        "code": status["code"], "reason": status.get("reason").unwrap_or(&json!(""))});
    let expected = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
    assert_eq!(head, expected, "{what}");
}
