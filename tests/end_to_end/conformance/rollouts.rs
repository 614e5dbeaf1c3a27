//! Controllers: a rollout begins, proceeds and ends as on a real cluster, with pods that the test plays.

mod pods;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{merge_patch, template_annotation};
use crate::support::ground::Ground;
use crate::support::kubelet::{Kubelet, Life, NODES, image_id};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RESTART: &str = "2026-11-20T09:16:40Z";

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_rollout_ends_with_new_pods);
    suite.on_both(a_rollout_stands_still_at_broken_pods_and_recovers);
    suite.on_both(a_rollout_runs_into_its_progress_deadline_and_recovers);
    suite.on_both(a_partition_and_a_pause_hold_pods_back);
    suite.on_both(old_pods_end_before_new_ones_begin_where_asked_for);
    suite.on_both(a_workload_without_replicas_and_a_deleted_one_have_no_pods);
    suite.on_both(going_back_takes_the_old_replica_set);
    pods::tests(suite);
}

/// One workload of each kind with three pods, named after it.
fn every_kind(ground: &Ground, kubelet: &Kubelet) -> [Value; 3] {
    let image = ground.image("web");
    [
        kubelet.deployment("deployment", &image, NODES),
        kubelet.stateful_set("statefulset", &image, NODES),
        kubelet.daemon_set("daemonset", &image),
    ]
}

async fn restart(ground: &Ground, workload: &Value) {
    let answer = merge_patch(ground, workload, template_annotation(RESTARTED_AT, RESTART)).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

fn names(pods: &[Value]) -> BTreeSet<&str> {
    pods.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap()).collect()
}

/// Its ReplicaSets: how many pods each is to have, by its revision.
async fn replica_sets(ground: &Ground) -> Vec<(String, Value)> {
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", ground.namespace());
    let list = ground.request("GET", &path, None).await.unwrap();
    let revision = |set: &Value| {
        let annotations = &set["metadata"]["annotations"];
        annotations["deployment.kubernetes.io/revision"].as_str().unwrap().to_owned()
    };
    let mut sets: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|set| (revision(set), set["spec"]["replicas"].clone())).collect();
    sets.sort_by_key(|(revision, _)| revision.clone());
    sets
}

async fn a_rollout_ends_with_new_pods(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    let expected = [
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "unavailableReplicas": null, "terminatingReplicas": 0, "collisionCount": null}),
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "currentReplicas": 3, "collisionCount": 0}),
        json!({"observedGeneration": 2, "currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberReady": 3,
            "numberAvailable": 3, "updatedNumberScheduled": 3, "numberMisscheduled": 0, "numberUnavailable": null}),
    ];
    for (workload, expected) in every_kind(&ground, &kubelet).iter().zip(expected) {
        let (kind, name) = (&workload["kind"], workload["metadata"]["name"].as_str().unwrap());
        kubelet.push(&image, 1);
        ground.create(workload).await;
        kubelet.rolled_out(workload).await;
        let before = kubelet.pods(workload).await;
        kubelet.push(&image, 2);
        restart(&ground, workload).await;
        kubelet.rolled_out(workload).await;
        let after = kubelet.status_becomes(workload, &expected).await;
        let pods = kubelet.pods(workload).await;
        assert!(names(&pods).is_disjoint(&names(&before)), "{kind}");
        for pod in &pods {
            let metadata = &pod["metadata"];
            assert!(image_id(pod).ends_with(&format!("/web@sha256:{}", "02".repeat(32))), "{pod}");
            assert_eq!(metadata["annotations"], json!({RESTARTED_AT: RESTART}), "{kind}");
            assert_eq!(metadata["labels"]["app"], name, "{kind}");
            let owner = &metadata["ownerReferences"][0];
            let owner_kind = if kind == "Deployment" { "ReplicaSet" } else { kind.as_str().unwrap() };
            let common = [&owner["apiVersion"], &owner["kind"], &owner["controller"], &owner["blockOwnerDeletion"]];
            assert_eq!(common, [&json!("apps/v1"), &json!(owner_kind), &json!(true), &json!(true)]);
            if kind == "Deployment" {
                let hash = metadata["labels"]["pod-template-hash"].as_str().unwrap();
                assert_eq!(owner["name"], format!("{name}-{hash}"));
            } else {
                assert_eq!([&owner["name"], &owner["uid"]], [&json!(name), &after["metadata"]["uid"]]);
                assert!(metadata["labels"]["controller-revision-hash"].is_string(), "{kind}");
            }
        }
        let status = &after["status"];
        match kind.as_str().unwrap() {
            "Deployment" => {
                assert_eq!(after["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
                assert_eq!(after["metadata"]["generation"], 2);
                let rows = [("1".to_owned(), json!(0)), ("2".to_owned(), json!(3))];
                assert_eq!(replica_sets(&ground).await, rows);
                assert_eq!(
                    conditions(&after),
                    [
                        "Available True MinimumReplicasAvailable".to_owned(),
                        "Progressing True NewReplicaSetAvailable".to_owned()
                    ]
                );
            }
            "StatefulSet" => {
                assert_eq!(status["currentRevision"], status["updateRevision"]);
                for (number, pod) in pods.iter().enumerate() {
                    let labels = &pod["metadata"]["labels"];
                    assert_eq!(pod["metadata"]["name"], format!("{name}-{number}"));
                    assert_eq!(labels["controller-revision-hash"], status["updateRevision"]);
                    assert_eq!(labels["apps.kubernetes.io/pod-index"], number.to_string());
                }
            }
            _ => {
                let nodes: BTreeSet<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap()).collect();
                assert_eq!(nodes, BTreeSet::from(["node-0", "node-1", "node-2"]));
                assert_eq!(pods[0]["metadata"]["labels"]["pod-template-generation"], "2");
            }
        }
    }
}

/// `Progressing True NewReplicaSetAvailable`, by type.
fn conditions(workload: &Value) -> Vec<String> {
    let conditions = workload["status"]["conditions"].as_array().into_iter().flatten();
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap().to_owned();
    let written =
        |found: &Value| format!("{} {} {}", text(found, "type"), text(found, "status"), text(found, "reason"));
    let mut conditions: Vec<_> = conditions.map(written).collect();
    conditions.sort();
    conditions
}

async fn a_rollout_stands_still_at_broken_pods_and_recovers(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    let stuck = [
        json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "readyReplicas": 3,
            "availableReplicas": 3, "unavailableReplicas": 1}),
        json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
            "availableReplicas": 2, "currentReplicas": 2}),
        json!({"observedGeneration": 2, "currentNumberScheduled": 3, "updatedNumberScheduled": 1, "numberReady": 2,
            "numberAvailable": 2, "numberUnavailable": 1}),
    ];
    kubelet.push(&image, 1);
    for workload in every_kind(&ground, &kubelet) {
        ground.create(&workload).await;
        kubelet.rolled_out(&workload).await;
    }
    kubelet.digest_lives(2, Life::CrashLoop { restarts: 4 });
    kubelet.push(&image, 2);
    for (workload, stuck) in every_kind(&ground, &kubelet).iter().zip(&stuck) {
        restart(&ground, workload).await;
        kubelet.waits_for(workload, "CrashLoopBackOff").await;
        let found = kubelet.status_becomes(workload, stuck).await;
        if workload["kind"] == "StatefulSet" {
            assert_ne!(found["status"]["currentRevision"], found["status"]["updateRevision"]);
        }
    }
    kubelet.digest_lives(2, Life::Runs);
    for workload in every_kind(&ground, &kubelet) {
        kubelet.rolled_out(&workload).await;
    }
}

async fn a_rollout_runs_into_its_progress_deadline_and_recovers(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let mut web = kubelet.deployment("web", &image, 1);
    // The real controller may be late where a second or less is left: see `cli_restart`.
    web["spec"]["progressDeadlineSeconds"] = json!(3);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    kubelet.digest_lives(2, Life::NotReady);
    kubelet.push(&image, 2);
    restart(&ground, &web).await;
    let progressing = async |expected: &str| {
        let look = async || Some(conditions(&ground.get(&web).await)).filter(|found| found[1] == expected);
        eventually(expected, look).await
    };
    progressing("Progressing False ProgressDeadlineExceeded").await;
    kubelet.digest_lives(2, Life::Runs);
    progressing("Progressing True NewReplicaSetAvailable").await;
    kubelet.rolled_out(&web).await;
}

async fn a_partition_and_a_pause_hold_pods_back(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let mut parts = kubelet.stateful_set("parts", &image, 3);
    parts["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let paused = kubelet.deployment("paused", &image, 1);
    for workload in [&parts, &paused] {
        ground.create(workload).await;
        kubelet.rolled_out(workload).await;
    }
    let before = kubelet.pods(&paused).await;
    ground.patch(&paused, "test", json!({"spec": {"paused": true}})).await;
    for workload in [&parts, &paused] {
        restart(&ground, workload).await;
    }
    let expected = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "currentReplicas": 2,
        "readyReplicas": 3});
    let found = kubelet.status_becomes(&parts, &expected).await;
    assert_ne!(found["status"]["currentRevision"], found["status"]["updateRevision"]);
    let is_new = |pod: &Value| pod["metadata"]["annotations"][RESTARTED_AT] == RESTART;
    assert_eq!(kubelet.pods(&parts).await.iter().map(is_new).collect::<Vec<_>>(), [false, false, true]);
    // A pod below the partition comes back as it was.
    let first = &kubelet.pods(&parts).await[0];
    let path = format!("/api/v1/namespaces/{}/pods/parts-0", ground.namespace());
    ground.request("DELETE", &path, None).await.unwrap();
    let is_another = |pods: &[Value]| pods.len() == 3 && names(pods).is_disjoint(&names(std::slice::from_ref(first)));
    let pods = kubelet.pods_when(&parts, "the deleted pod is back", is_another).await;
    assert!(!is_new(&pods[0]), "{}", pods[0]);

    let found = kubelet.status_becomes(&paused, &json!({"observedGeneration": 3})).await;
    assert_eq!(conditions(&found)[1], "Progressing Unknown DeploymentPaused");
    assert_eq!(names(&kubelet.pods(&paused).await), names(&before));
    ground.patch(&paused, "test", json!({"spec": {"paused": false}})).await;
    kubelet.rolled_out(&paused).await;
    assert!(kubelet.pods(&paused).await.iter().all(is_new));
}

async fn old_pods_end_before_new_ones_begin_where_asked_for(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let mut web = kubelet.deployment("web", &image, 2);
    web["spec"]["strategy"] = json!({"type": "Recreate"});
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    kubelet.keep_deleted_pods(true);
    restart(&ground, &web).await;
    let ending = json!({"observedGeneration": 2, "replicas": null, "terminatingReplicas": 2});
    kubelet.status_becomes(&web, &ending).await;
    assert_eq!(kubelet.pods(&web).await, Vec::<Value>::new());
    kubelet.keep_deleted_pods(false);
    kubelet.rolled_out(&web).await;
}

async fn a_workload_without_replicas_and_a_deleted_one_have_no_pods(ground: Ground) {
    let kubelet = ground.kubelet().await;
    kubelet.push(&ground.image("web"), 1);
    for workload in every_kind(&ground, &kubelet) {
        ground.create(&workload).await;
        kubelet.rolled_out(&workload).await;
        if workload["kind"] != "DaemonSet" {
            ground.patch(&workload, "test", json!({"spec": {"replicas": 0}})).await;
            kubelet.rolled_out(&workload).await;
            ground.patch(&workload, "test", json!({"spec": {"replicas": 2}})).await;
            kubelet.rolled_out(&workload).await;
        }
        ground.delete(&workload).await;
        kubelet.pods_when(&workload, "no pods are left", <[Value]>::is_empty).await;
    }
    let none_left = async || replica_sets(&ground).await.is_empty().then_some(());
    eventually("no ReplicaSets are left", none_left).await;
}

async fn going_back_takes_the_old_replica_set(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    restart(&ground, &web).await;
    kubelet.rolled_out(&web).await;
    let undo = json!({"spec": {"template": {"metadata": {"annotations": null}}}});
    assert_eq!(merge_patch(&ground, &web, undo).await.status, 200);
    let found = kubelet.rolled_out(&web).await;
    assert_eq!(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(replica_sets(&ground).await, [("2".to_owned(), json!(0)), ("3".to_owned(), json!(1))]);
}
