//! Controllers: a rollout begins, proceeds and ends as on a real cluster, with pods that the test plays.

use serde_json::{Value, json};

use super::{merge_patch, template_annotation};
use crate::support::ground::Ground;
use crate::support::kubelet::{Kubelet, Life, image_id};
use crate::support::suite::Suite;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_rollout_ends_with_new_pods);
    suite.on_both(a_rollout_with_broken_pods_stands_still_and_recovers);
}

/// One workload of each kind.
fn every_kind(ground: &Ground, kubelet: &Kubelet) -> [Value; 3] {
    let image = ground.image("web");
    [
        kubelet.deployment("deployment", &image, 3),
        kubelet.stateful_set("statefulset", &image, 3),
        kubelet.daemon_set("daemonset", &image),
    ]
}

async fn restart(ground: &Ground, workload: &Value, at: &str) {
    let answer = merge_patch(ground, workload, template_annotation(RESTARTED_AT, at)).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

/// A status without what differs from one run to the next.
fn comparable(workload: &Value) -> Value {
    let mut status = workload["status"].clone();
    for field in ["currentRevision", "updateRevision"] {
        if let Some(revision) = status[field].as_str() {
            assert!(revision.starts_with("statefulset-"), "{status}");
            status[field] = json!(revision == status["currentRevision"]);
        }
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let condition = condition.as_object_mut().unwrap();
        condition.retain(|key, _| matches!(key.as_str(), "type" | "status" | "reason"));
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.sort_by_key(|condition| condition["type"].to_string());
    }
    status
}

async fn a_rollout_ends_with_new_pods(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    for workload in every_kind(&ground, &kubelet) {
        ground.create(&workload).await;
        let before = kubelet.rolled_out(&workload).await;
        println!("{before:#}");
        let pods = kubelet.pods(&workload).await;
        println!("{:#}", pods[0]);
        kubelet.push(&image, 2);
        restart(&ground, &workload, "2026-11-20T09:16:40Z").await;
        let after = kubelet.rolled_out(&workload).await;
        println!("{:#}", comparable(&after));
        for pod in kubelet.pods(&workload).await {
            assert!(image_id(&pod).ends_with("0202"), "{pod}");
        }
        kubelet.push(&image, 1);
    }
}

async fn a_rollout_with_broken_pods_stands_still_and_recovers(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.digest_lives(2, Life::CrashLoop { restarts: 4 });
    for workload in every_kind(&ground, &kubelet) {
        kubelet.push(&image, 1);
        ground.create(&workload).await;
        kubelet.rolled_out(&workload).await;
        kubelet.push(&image, 2);
        restart(&ground, &workload, "2026-11-20T09:16:40Z").await;
        kubelet.waits_for(&workload, "CrashLoopBackOff").await;
    }
    kubelet.digest_lives(2, Life::Runs);
    for workload in every_kind(&ground, &kubelet) {
        kubelet.rolled_out(&workload).await;
    }
}
