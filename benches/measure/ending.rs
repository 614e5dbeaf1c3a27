//! From the end of a rollout, as it stands in the API server, to its Event: under a watch.
//!
//! The test writes the status that a controller would write, for one workload after the other.

use std::collections::HashMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::WatchParams;
use serde_json::json;

use crate::statistics::quantile;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::{Ground, object_path};
use crate::support::http::get;
use crate::support::wait::eventually;

const WORKLOADS: usize = 200;
/// Between two endings: some end together, as they do.
const PAUSE: Duration = Duration::from_millis(20);
const TARGET: Duration = Duration::from_secs(1);

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(endings());
}

async fn endings() {
    let ground = Ground::embedded().await;
    let image = ground.image("web");
    let name = |n: usize| format!("web-{n:03}");
    let workloads: Vec<_> = (0..WORKLOADS).map(|n| deployment(ground.namespace(), &name(n), &image)).collect();
    for workload in &workloads {
        ground.create(workload).await;
    }
    let service = ground.service().arguments(["--watch", "--namespaces", ground.namespace()]).start_ready().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    assert_eq!(service.push(&PushMessage::now(&image, 1)).await.json()["outcome"], "restarted");
    eventually("each is followed", async || {
        let metrics = get(&format!("{}/metrics", service.internal)).await.text();
        metrics.contains(&format!("pushroll_rollouts_followed {WORKLOADS}\n")).then_some(())
    })
    .await;

    let events: Api<Event> = Api::namespaced(ground.client_as("admin").await, ground.namespace());
    let changes = events.watch(&WatchParams::default(), "0").await.unwrap();
    let seen = tokio::spawn(async move {
        let mut seen = HashMap::new();
        let mut changes = pin!(changes);
        while seen.len() < WORKLOADS {
            let Some(Ok(kube::api::WatchEvent::Added(event))) = changes.next().await else { continue };
            if event.reason.as_deref() == Some("RolloutComplete") {
                seen.entry(event.regarding.unwrap().name.unwrap()).or_insert_with(Instant::now);
            }
        }
        seen
    });
    let status = json!({"status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1}});
    let mut ended = HashMap::new();
    for (n, workload) in workloads.iter().enumerate() {
        ground.request("PATCH", &format!("{}/status", object_path(workload)), Some(status.clone())).await.unwrap();
        ended.insert(name(n), Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    let seen = seen.await.unwrap();
    let mut took: Vec<_> = ended.iter().map(|(name, at)| seen[name].saturating_duration_since(*at)).collect();
    let [middle, high, most] = [0.5, 0.99, 1.0].map(|share| quantile(&mut took, share));
    println!(
        "  {WORKLOADS} endings, until the Event: median {middle:?}, p99 {high:?}, most {most:?}; target: {TARGET:?} at p99"
    );
    assert!(high <= TARGET, "p99 {high:?}");
}
