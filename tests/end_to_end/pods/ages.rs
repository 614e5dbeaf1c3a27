//! A push that all pods are younger than.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{code, pod_lists, service_with_margin, vouch_for_the_clock};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::entries;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_from_before_all_pods_restarts_nothing);
    suite.on_both(one_old_pod_is_enough_for_a_restart);
    suite.on_control_plane(a_workload_that_was_created_again_keeps_its_pods);
    suite.on_both(pods_prove_nothing_without_clocks_that_agree);
    suite.on_both(pods_that_replaced_all_others_while_a_push_waited_are_enough);
}

/// Waits until a time is certainly past, by clocks that differ by a margin of a second each.
async fn wait_until_long_after(time: Timestamp) {
    let then = time + SignedDuration::from_secs(4);
    eventually("time passes", async || (Timestamp::now() > then).then_some(())).await;
}

async fn a_push_from_before_all_pods_restarts_nothing(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let service = service_with_margin(&ground, "1s").await;
    vouch_for_the_clock(&service, &ground).await;
    let push = PushMessage::now(&image, 2);
    wait_until_long_after(push.published).await;
    let workloads = [
        kubelet.deployment("deployment", &image, 2),
        kubelet.stateful_set("stateful-set", &image, 2),
        kubelet.daemon_set("daemon-set", &image),
    ];
    for workload in &workloads {
        ground.create(workload).await;
        kubelet.rolled_out(workload).await;
    }
    // Its pods cannot even pull: whatever they pull is no older than the push.
    kubelet.refuse_pulls(&image, "ErrImagePull", "gone");
    let pending = kubelet.deployment("pending", &image, 1);
    ground.create(&pending).await;
    kubelet.waits_for(&pending, "ErrImagePull").await;
    let answer = service.push(&push).await.json();
    assert_eq!(answer["outcome"], "current", "{answer}");
    for result in answer["workloads"].as_array().unwrap() {
        assert_eq!((&result["action"], &result["code"]), (&json!("current"), &json!("younger")), "{result}");
    }
    assert_eq!((service.patches().len(), pod_lists(&service)), (0, 4));
}

async fn one_old_pod_is_enough_for_a_restart(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.stateful_set("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let service = service_with_margin(&ground, "1s").await;
    vouch_for_the_clock(&service, &ground).await;
    let push = PushMessage::now(&image, 2);
    wait_until_long_after(push.published).await;
    ground.patch(&web, "scaler", json!({"spec": {"replicas": 3}})).await;
    let mut scaled = web.clone();
    scaled["spec"]["replicas"] = json!(3);
    kubelet.rolled_out(&scaled).await;
    assert_eq!(code(&service, &push, &web).await, "runs_image");
}

/// A StatefulSet that is deleted without its pods and created again is younger than the push, and its pods are not.
async fn a_workload_that_was_created_again_keeps_its_pods(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.stateful_set("web", &image, 2);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let service = service_with_margin(&ground, "1s").await;
    vouch_for_the_clock(&service, &ground).await;
    let pushes = [2, 3].map(|byte| PushMessage::now(&image, byte));
    kubelet.push(&image, 3);
    wait_until_long_after(pushes[1].published).await;
    ground.kubectl(&["delete", "statefulset", "web", "--cascade=orphan"]).await;
    assert_eq!(kubelet.pods(&web).await.len(), 2);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    assert_eq!(code(&service, &pushes[0], &web).await, "runs_image");
    kubelet.rolled_out(&web).await;

    ground.kubectl(&["delete", "statefulset", "web"]).await;
    kubelet.pods_when(&web, "they are gone", |pods| pods.is_empty()).await;
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    assert_eq!(code(&service, &pushes[1], &web).await, "younger");
}

/// Nothing has shown that Pub/Sub's clock agrees with ours.
async fn pods_prove_nothing_without_clocks_that_agree(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let service = service_with_margin(&ground, "1s").await;
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let published = Timestamp::now() - SignedDuration::from_mins(10);
    assert_eq!(code(&service, &PushMessage { published, ..PushMessage::now(&image, 2) }, &web).await, "runs_image");
}

/// Somebody replaces the pods while a policy forbids the restart: then the push waits for nothing any more.
async fn pods_that_replaced_all_others_while_a_push_waited_are_enough(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 2);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    ground.deny_updates(&web, &format!("{}-frozen", ground.namespace()), "frozen").await;
    let service = service_with_margin(&ground, "1s").await;
    kubelet.push(&image, 2);
    let push = PushMessage::now(&image, 2);
    assert_eq!(code(&service, &push, &web).await, "denied");
    wait_until_long_after(Timestamp::now() + SignedDuration::from_secs(3)).await;
    for pod in kubelet.pods(&web).await {
        let path =
            format!("/api/v1/namespaces/{}/pods/{}", ground.namespace(), pod["metadata"]["name"].as_str().unwrap());
        ground.request("DELETE", &path, None).await.unwrap();
    }
    let waits_no_longer = |line: &Value| line["message"].to_string().contains("were created after the push");
    let said = async || service.log().iter().any(waits_no_longer).then_some(());
    eventually("the push waits no longer", said).await;
    assert_eq!(entries(&ground, "push.").await, [Value::Null; 0]);
    assert_eq!(ground.generation(&web).await, 1);
}
