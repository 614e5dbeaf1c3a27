use serde_json::{Value, json};

use super::*;

const GENERATION: i64 = 3;

fn judged(kind: WorkloadKind, spec: Value, status: Value) -> Progress {
    let metadata = json!({"name": "web", "generation": GENERATION, "resourceVersion": "1", "uid": "u"});
    let mut object = json!({"metadata": metadata, "spec": spec, "status": status});
    object["spec"]["template"] = json!({"spec": {}});
    if object["status"]["observedGeneration"].is_null() {
        object["status"]["observedGeneration"] = json!(GENERATION);
    }
    progress(kind, &serde_json::from_value(object).unwrap())
}

fn is_waiting(progress: &Progress, what: &str) {
    assert!(matches!(progress, Progress::UnderWay(reason) if reason.contains(what)), "{progress:?}: {what}");
}

fn has_ended(progress: &Progress, how: Ending, why: &str) {
    let is_it = matches!(progress, Progress::Ended(ending, reason) if *ending == how && reason.contains(why));
    assert!(is_it, "{progress:?}: {why}");
}

#[test]
fn nothing_counts_before_the_controller_has_seen_the_change() {
    for kind in WorkloadKind::ALL {
        let done = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "readyReplicas": 1, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1});
        is_waiting(&judged(kind, json!({"replicas": 1}), done), "has not seen the change");
    }
    is_waiting(&judged(WorkloadKind::Deployment, json!({}), json!({"observedGeneration": 0})), "has not seen");
}

#[test]
fn a_deployment_is_judged_as_kubectl_does() {
    let of = |replicas: i64, updated: i64, available: i64| {
        judged(
            WorkloadKind::Deployment,
            json!({"replicas": 3}),
            json!({"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}),
        )
    };
    is_waiting(&of(4, 1, 3), "1 of 3 pods are new");
    is_waiting(&of(4, 3, 3), "1 old pods are still there");
    is_waiting(&of(3, 3, 2), "2 of 3 new pods are available");
    has_ended(&of(3, 3, 3), Ending::Complete, "3 of 3");
    let exceeded = json!([{"type": "Available", "status": "False"},
        {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet web-1 has timed out"}]);
    let stuck = judged(WorkloadKind::Deployment, json!({"replicas": 3}), json!({"conditions": exceeded}));
    has_ended(&stuck, Ending::Failed, "ReplicaSet web-1 has timed out");
    has_ended(&judged(WorkloadKind::Deployment, json!({"replicas": 0}), json!({})), Ending::Complete, "0 of 0");
    let paused = judged(WorkloadKind::Deployment, json!({"replicas": 3, "paused": true}), json!({}));
    assert_eq!(paused, Progress::Paused);
}

#[test]
fn a_stateful_set_is_judged_as_kubectl_does() {
    let of = |partition: i64, ready: i64, updated: i64, current: &str| {
        judged(
            WorkloadKind::StatefulSet,
            json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}),
            json!({"readyReplicas": ready, "updatedReplicas": updated, "currentRevision": current, "updateRevision": "new"}),
        )
    };
    is_waiting(&of(0, 2, 1, "old"), "2 of 3 pods are ready");
    is_waiting(&of(0, 3, 1, "old"), "1 of 3 pods are new");
    is_waiting(&of(0, 3, 3, "old"), "revision");
    has_ended(&of(0, 3, 3, "new"), Ending::Complete, "3 of 3");
    is_waiting(&of(1, 3, 1, "old"), "1 of 2 pods are new");
    has_ended(&of(1, 3, 2, "old"), Ending::Complete, "below ordinal 1");
    has_ended(&of(5, 3, 0, "old"), Ending::Complete, "0 pods are new");
    let on_delete = json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}});
    has_ended(&judged(WorkloadKind::StatefulSet, on_delete, json!({})), Ending::Unknown, "OnDelete");
}

#[test]
fn a_daemon_set_is_judged_as_kubectl_does() {
    let of = |updated: i64, available: i64| {
        judged(
            WorkloadKind::DaemonSet,
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}),
            json!({"desiredNumberScheduled": 3, "updatedNumberScheduled": updated, "numberAvailable": available}),
        )
    };
    is_waiting(&of(2, 3), "2 of 3 pods are new");
    is_waiting(&of(3, 2), "2 of 3 new pods are available");
    has_ended(&of(3, 3), Ending::Complete, "3 of 3");
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    has_ended(&judged(WorkloadKind::DaemonSet, on_delete, json!({})), Ending::Unknown, "OnDelete");
}
