//! The memory of `serve --watch`, for each workload of a cluster with 10,000 Deployments: what it has of its own
//! (`RssAnon`), less that of a `serve --watch` with no workload. Once as they were rolled out, and once after each was
//! restarted for a push, whose record takes some 270 bytes.
//!
//! The allocator is set as `deploy/base` sets it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::deployment;
use crate::support::fixtures::digest;
use crate::support::ground::{Ground, object_path};
use crate::support::service::Service;

const WORKLOADS: usize = 10_000;
const NAMESPACES: usize = 20;
/// For each workload.
const TARGET_BYTES: usize = 1000;
/// In this time the index is made anew at every change, and the ConfigMap is written.
const CHANGES: usize = 20;
const BETWEEN_CHANGES: Duration = Duration::from_millis(500);
/// Then the last change is in the index and in the ConfigMap.
const AT_REST: Duration = Duration::from_secs(5);
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let none = runtime.block_on(resident(0, false));
    let measured = [("rolled out", false), ("restarted for a push", true)].map(|(what, is_restarted)| {
        let all = runtime.block_on(resident(WORKLOADS, is_restarted));
        let bytes = all.saturating_sub(none) / WORKLOADS;
        println!("  {WORKLOADS} workloads, {what}: {all} bytes, {none} with none: {bytes} bytes for each workload");
        bytes
    });
    println!("  target: at most {TARGET_BYTES} bytes as they were rolled out");
    assert!(measured[0] <= TARGET_BYTES, "more than the target");
}

/// With so many workloads, after some have changed.
async fn resident(workloads: usize, is_restarted: bool) -> usize {
    let ground = Ground::embedded().await;
    for namespace in 0..NAMESPACES {
        let manifest = json!({"metadata": {"name": format!("team-{namespace:02}")}});
        ground.request("POST", "/api/v1/namespaces", Some(manifest)).await.unwrap();
    }
    let manifests: Vec<Value> = (0..workloads).map(|number| manifest(number, 1)).collect();
    for (number, manifest) in manifests.iter().enumerate() {
        ground.create(manifest).await;
        if is_restarted {
            ground.patch(manifest, "pushroll", restart(number)).await;
        }
        let status = format!("{}/status?fieldManager=kube-controller-manager", object_path(manifest));
        ground.request("PATCH", &status, Some(rolled())).await.unwrap();
    }
    let service = ground.service().arguments(["--watch", "--rebuild-interval", "1s"]).environment(&ALLOCATOR);
    let service = service.start_ready().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    for number in 0..CHANGES.min(workloads) {
        let now = manifest(number, 2);
        ground.patch(&now, "kubectl", json!({"spec": {"template": now["spec"]["template"]}})).await;
        tokio::time::sleep(BETWEEN_CHANGES).await;
    }
    tokio::time::sleep(AT_REST).await;
    anonymous(&service)
}

fn image(number: usize, version: usize) -> String {
    format!("us-docker.pkg.dev/acme-production/shop-services/service-{number:05}:{version}.{number}")
}

fn manifest(number: usize, version: usize) -> Value {
    deployment(&format!("team-{:02}", number % NAMESPACES), number, &image(number, version))
}

/// What our own restart writes.
fn restart(number: usize) -> Value {
    let at = "2026-11-20T09:16:41Z";
    let record = json!({image(number, 1): {
        "digest": digest(7), "published": "2026-11-20T09:16:40.381Z",
        "message_id": format!("{}", 12_345_678_901_234_567 + number), "restarted_at": at,
    }});
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": at, "pushroll.dev/pushes": record.to_string()});
    json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})
}

fn rolled() -> Value {
    json!({"status": {
        "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "It is available."},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "It has progressed."},
        ],
    }})
}

fn anonymous(service: &Service) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
