//! The status of a Deployment (`sync.go`, `progress.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::cluster::{Cluster, count, resolved, set_counts};
use crate::controllers::conditions::{self, AVAILABLE, Condition, PROGRESSING};
use crate::resource::DEPLOYMENTS;

/// The reason of a rollout that is complete.
const COMPLETE: &str = "NewReplicaSetAvailable";
/// The reason of one that takes too long.
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// What this pass has done to the rollout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Paused,
    /// The ReplicaSet of the newest template is new.
    Created,
    Underway,
}

/// Writes the status, and the annotations with it.
pub(super) fn write_status(
    cluster: &mut Cluster<'_>,
    mut deployment: Value,
    sets: &[Arc<Value>],
    newest: Option<&Value>,
    progress: Progress,
) {
    let sum = |list: &str, field: &str| sets.iter().map(|set| count(&set[list][field])).sum::<i64>();
    let before = deployment["status"].take();
    let mut status = before.clone();
    if !status.is_object() {
        status = json!({});
    }
    let available = sum("status", "availableReplicas");
    set_counts(
        &mut status,
        &[
            ("replicas", sum("status", "replicas")),
            ("updatedReplicas", newest.map_or(0, |set| count(&set["status"]["replicas"]))),
            ("readyReplicas", sum("status", "readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (sum("spec", "replicas") - available).max(0)),
        ],
    );
    status["terminatingReplicas"] = json!(sum("status", "terminatingReplicas"));
    status["observedGeneration"] = deployment["metadata"]["generation"].clone();
    availability(&deployment, available).set(&mut status, cluster.now);
    if deployment["spec"]["progressDeadlineSeconds"].is_i64() {
        note_progress(cluster, &deployment, &before, &mut status, newest, progress);
    }
    deployment["status"] = status;
    cluster.replace_status(&DEPLOYMENTS, deployment);
}

fn availability(deployment: &Value, available: i64) -> Condition {
    let (strategy, wanted) = (&deployment["spec"]["strategy"], count(&deployment["spec"]["replicas"]));
    let max_unavailable = resolved(&strategy["rollingUpdate"]["maxUnavailable"], wanted, false);
    let (status, reason, says) = if available >= wanted - max_unavailable {
        ("True", "MinimumReplicasAvailable", "has")
    } else {
        ("False", "MinimumReplicasUnavailable", "does not have")
    };
    Condition { kind: AVAILABLE, status, reason, message: format!("Deployment {says} minimum availability.") }
}

fn note_progress(
    cluster: &mut Cluster<'_>,
    deployment: &Value,
    before: &Value,
    status: &mut Value,
    newest: Option<&Value>,
    progress: Progress,
) {
    let now = cluster.now;
    let subject = match newest {
        Some(set) => format!("ReplicaSet {}", set["metadata"]["name"]),
        None => format!("Deployment {}", deployment["metadata"]["name"]),
    };
    let condition = |status, reason, message| Condition { kind: PROGRESSING, status, reason, message };
    let reason_before = conditions::find(before, PROGRESSING).and_then(|found| found["reason"].as_str());
    match progress {
        Progress::Paused => {
            if reason_before != Some(TIMED_OUT) {
                condition("Unknown", "DeploymentPaused", "Deployment is paused".to_owned()).set(status, now);
            }
            return;
        }
        Progress::Created => {
            let created = newest.map(|set| set["metadata"]["name"].to_string()).unwrap_or_default();
            let message = format!("Created new replica set {created}");
            condition("True", "NewReplicaSetCreated", message).set(status, now);
        }
        Progress::Underway if reason_before == Some("DeploymentPaused") => {
            condition("Unknown", "DeploymentResumed", "Deployment is resumed".to_owned()).set(status, now);
        }
        Progress::Underway if reason_before.is_none() => {
            let found = newest.map(|set| set["metadata"]["name"].to_string()).unwrap_or_default();
            condition("True", "FoundNewReplicaSet", format!("Found new replica set {found}")).set(status, now);
        }
        Progress::Underway => {}
    }
    let wanted = count(&deployment["spec"]["replicas"]);
    let number = |status: &Value, field: &str| count(&status[field]);
    let all_are_updated = number(status, "replicas") == number(status, "updatedReplicas");
    if all_are_updated && reason_before == Some(COMPLETE) && progress != Progress::Created {
        return;
    }
    let is_complete =
        ["replicas", "updatedReplicas", "availableReplicas"].into_iter().all(|field| number(status, field) == wanted);
    let old = |status: &Value| number(status, "replicas") - number(status, "updatedReplicas");
    let has_more = |field: &str| number(status, field) > number(before, field);
    let has_progressed = ["updatedReplicas", "readyReplicas", "availableReplicas"].into_iter().any(has_more)
        || old(status) < old(before);
    if is_complete {
        condition("True", COMPLETE, format!("{subject} has successfully progressed.")).set(status, now);
    } else if has_progressed {
        condition("True", "ReplicaSetUpdated", format!("{subject} is progressing.")).renew(status, now);
    } else if let Some(deadline) = conditions::find(status, PROGRESSING)
        .filter(|found| !matches!(found["reason"].as_str(), Some(COMPLETE | TIMED_OUT)))
        .and_then(|found| conditions::updated_at(found, count(&deployment["spec"]["progressDeadlineSeconds"])))
    {
        if deadline < now {
            condition("False", TIMED_OUT, format!("{subject} has timed out progressing.")).set(status, now);
        } else {
            let a_little_later = deadline.checked_add(jiff::SignedDuration::from_millis(1)).unwrap_or(deadline);
            cluster.look_again_at(a_little_later);
        }
    }
}
