//! The real API server is killed and started again, and its store stands still, while a thousand pushes are on their
//! way to two replicas, one with a watch and one without.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use pushroll::rollout::PolicyArgs;
use serde_json::{Value, json};

use super::passing::are_acks_and_nacks;
use crate::chain::{LISTED, count};
use crate::support::deliverer::{Deliverer, results};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::record;

pub fn tests(suite: &mut Suite) {
    suite.alone_on_control_plane(a_thousand_pushes_outlive_the_api_server);
    suite.alone_on_control_plane(pushes_outlive_a_store_that_stands_still);
    suite.alone_on_control_plane(a_watch_outlives_the_api_server_and_misses_nobody);
}

const IMAGES: usize = 10;

/// Workloads of every kind, each with ten images of its own, and nothing for a controller to do.
pub(super) async fn create_workloads(ground: &Ground, workloads: usize) -> (Vec<Value>, Vec<String>) {
    let (mut manifests, mut images) = (Vec::new(), Vec::new());
    for number in 0..workloads {
        let own: Vec<String> = (0..IMAGES).map(|i| ground.image(&format!("web-{number}-{i}"))).collect();
        let name = format!("web-{number}");
        let mut manifest = match number % 4 {
            0 => stateful_set(ground.namespace(), &name, &own[0]),
            1 => daemon_set(ground.namespace(), &name, &own[0]),
            _ => deployment(ground.namespace(), &name, &own[0]),
        };
        let container = |(i, image)| json!({"name": format!("c{i}"), "image": image, "imagePullPolicy": "Always"});
        let spec = &mut manifest["spec"];
        spec["template"]["spec"]["containers"] = own.iter().enumerate().map(container).collect();
        if number % 4 == 1 {
            spec["template"]["spec"]["nodeSelector"] = json!({"no": "node"});
        } else {
            spec["replicas"] = json!(0);
        }
        ground.create(&manifest).await;
        manifests.push(manifest);
        images.extend(own);
    }
    (manifests, images)
}

/// One follows the cluster, the other scans.
async fn replicas(ground: &Ground, workloads: usize) -> [Service; 2] {
    let service = || {
        let ours = ["--namespaces", ground.namespace(), "--hold", "4s", "--rebuild-interval", "1s"];
        ground.service().arguments(ours)
    };
    let replicas = [service().arguments(["--watch"]).start_ready().await, service().start_ready().await];
    let is_live = |status: &Value| status["tiers"]["watch"]["live"] == true && knows(status, workloads);
    replicas[0].wait_for_status("the watch is live", is_live).await;
    replicas[1].wait_for_status("the scan is in", |status| knows(status, workloads)).await;
    replicas
}

pub(super) fn knows(status: &Value, workloads: usize) -> bool {
    status["index"]["workloads"] == workloads
}

/// The calls of each since then, by what each has made until then.
fn calls_since(replicas: &[Service], before: &[usize]) -> Vec<Vec<crate::support::ground::ApiCall>> {
    replicas.iter().zip(before).map(|(replica, before)| replica.api_calls().split_off(*before)).collect()
}

async fn a_thousand_pushes_outlive_the_api_server(ground: Ground) {
    let (workloads, images) = create_workloads(&ground, 100).await;
    let replicas = replicas(&ground, 100).await;
    let messages: Vec<_> = images.iter().map(|image| PushMessage::now(image, 1)).collect();
    let deliverer = Deliverer::start(&[&replicas[0].public, &replicas[1].public], 200, messages.clone());
    deliverer.until_acked(200).await;

    let killed = ground.real().kill_api_server();
    let nacked = deliverer.nacked();
    deliverer.until_nacked(nacked + 200).await;
    assert!(deliverer.acked() < images.len(), "it was away while there was something to do");
    let before: Vec<usize> = replicas.iter().map(|replica| replica.api_calls().len()).collect();
    let began = Instant::now();
    tokio::task::block_in_place(|| drop(killed));

    let deliveries = deliverer.all_acked().await;
    are_acks_and_nacks(&deliveries);
    let took = began.elapsed();
    println!(
        "{} deliveries of 1,000 pushes: {:?}; all done {took:?} after the restart began",
        deliveries.len(),
        results(&deliveries)
    );
    each_push_is_done(&ground, &workloads, &messages).await;
    // No herd: a round a second and, of the watch, a LIST and what failed before.
    let allowed = usize::try_from(took.as_secs()).unwrap() + 3;
    for calls in calls_since(&replicas, &before) {
        for kind in LISTED {
            let lists = count(&calls, "list", kind);
            assert!(lists <= allowed, "{lists} LISTs of {kind} in {took:?}");
        }
        let config_maps = count(&calls, "get", "configmaps");
        assert!(config_maps <= 2 * allowed, "{config_maps} GETs of the ConfigMap in {took:?}");
    }
}

async fn pushes_outlive_a_store_that_stands_still(ground: Ground) {
    let (workloads, images) = create_workloads(&ground, 30).await;
    let replicas = replicas(&ground, 30).await;
    let messages: Vec<_> = images.iter().map(|image| PushMessage::now(image, 1)).collect();
    let deliverer = Deliverer::start(&[&replicas[0].public, &replicas[1].public], 100, messages.clone());
    deliverer.until_acked(50).await;
    let suspended = ground.real().suspend_etcd();
    let nacked = deliverer.nacked();
    deliverer.until_nacked(nacked + 50).await;
    assert!(deliverer.acked() < images.len(), "it stood still while there was something to do");
    drop(suspended);
    let deliveries = deliverer.all_acked().await;
    are_acks_and_nacks(&deliveries);
    println!("{} deliveries of 300 pushes: {:?}", deliveries.len(), results(&deliveries));
    each_push_is_done(&ground, &workloads, &messages).await;
}

/// The revision that the watch had come to is too old for the new API server (410), and a workload is created before
/// the watch is back.
async fn a_watch_outlives_the_api_server_and_misses_nobody(ground: Ground) {
    let service = ground.service().arguments(["--watch", "--namespaces", ground.namespace()]).start_ready().await;
    let is_live = |status: &Value| status["tiers"]["watch"]["live"] == true;
    service.wait_for_status("the watch is live", is_live).await;
    // What the watch has not been told of, since it is elsewhere, makes its revision old.
    ground.another_namespace("other").await;
    let lists = count(&service.api_calls(), "list", "deployments");
    tokio::task::block_in_place(|| drop(ground.real().kill_api_server()));

    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let message = PushMessage::now(&image, 1);
    let answer = eventually("the push is acknowledged", async || {
        let answer = service.push(&message).await;
        (answer.status == 200).then(|| answer.json())
    });
    let answer = answer.await;
    assert_eq!(answer["source"]["authoritative"], true, "{answer}");
    assert_eq!(result_of(&answer, &web)["action"], "restarted", "{answer}");
    eventually("the watch is too old, and begins anew", async || {
        let is_told = |line: &Value| line.to_string().contains("too old resource version");
        let lists = count(&service.api_calls(), "list", "deployments") > lists;
        (lists && service.log().iter().any(is_told)).then_some(())
    })
    .await;
    service.wait_for_status("the watch is live again", is_live).await;
    assert_eq!(ground.generation(&web).await, 2, "{answer}");
}

/// Each push was restarted for, once; pushes of a workload's images that come together share a restart.
pub(super) async fn each_push_is_done(ground: &Ground, workloads: &[Value], messages: &[PushMessage]) {
    assert_eq!(messages.len(), workloads.len() * IMAGES);
    // A push of before our last restart by more than twice the margin leaves no record (`restarted_since`).
    let covered_after = SignedDuration::try_from(2 * PolicyArgs::CLOCK_MARGIN).unwrap();
    for (workload, pushes) in workloads.iter().zip(messages.chunks(IMAGES)) {
        let object = ground.get(workload).await;
        let annotations = &object["spec"]["template"]["metadata"]["annotations"];
        let record = record(&object);
        let restarted_at: Timestamp =
            annotations["kubectl.kubernetes.io/restartedAt"].as_str().unwrap().parse().unwrap();
        for push in pushes {
            let recorded = &record[&push.image];
            let is_covered = recorded.is_null() && restarted_at.duration_since(push.published) >= covered_after;
            assert!(is_covered || recorded["message_id"] == push.id, "{}: {object}", push.id);
        }
        // Each image has one push: a restart records one at least that was not recorded before.
        let recorded = record.as_object().unwrap();
        let times: BTreeSet<&str> = recorded.values().map(|push| push["restarted_at"].as_str().unwrap()).collect();
        let restarts = usize::try_from(object["metadata"]["generation"].as_i64().unwrap() - 1).unwrap();
        assert!((times.len()..=recorded.len()).contains(&restarts), "{restarts} restarts: {object}");
    }
}
