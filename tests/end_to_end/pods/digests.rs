//! A push whose digest all pods run already.

use serde_json::{Value, json};

use super::{code, ends_with, pod_lists, service};
use crate::support::fixtures::{PushMessage, collection, digest};
use crate::support::ground::Ground;
use crate::support::kubelet::{Kubelet, Life, image_id};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(the_digest_that_all_pods_run_restarts_nothing);
    suite.on_both(a_tag_that_goes_there_and_back_twice_is_followed);
    suite.on_both(pushes_published_in_another_order_than_the_tag_moved_are_followed);
    suite.on_both(a_push_that_was_skipped_in_between_leaves_no_digest);
    suite.on_both(every_container_that_names_the_image_counts);
    suite.on_both(pods_of_other_controllers_do_not_count);
    suite.on_both(ending_pods_do_not_count_and_orphans_do);
    suite.on_both(a_pod_without_an_image_id_may_run_anything);
    suite.on_both(without_pods_a_push_restarts);
}

async fn running(ground: &Ground, kubelet: &Kubelet, workload: &Value) {
    ground.create(workload).await;
    kubelet.rolled_out(workload).await;
}

async fn assert_runs(kubelet: &Kubelet, workload: &Value, byte: u8) {
    kubelet.rolled_out(workload).await;
    for pod in kubelet.pods(workload).await {
        assert!(ends_with(image_id(&pod), byte), "{pod}");
    }
}

async fn the_digest_that_all_pods_run_restarts_nothing(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let workloads = [
        kubelet.deployment("deployment", &image, 2),
        kubelet.stateful_set("stateful-set", &image, 2),
        kubelet.daemon_set("daemon-set", &image),
    ];
    for workload in &workloads {
        running(&ground, &kubelet, workload).await;
    }
    let service = service(&ground).await;
    kubelet.push(&image, 2);
    let answer = service.push(&PushMessage::now(&image, 2)).await.json();
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    for workload in &workloads {
        assert_runs(&kubelet, workload, 2).await;
    }
    let before = service.patches().len();
    let again = service.push(&PushMessage::now(&image, 2)).await.json();
    assert_eq!(again["outcome"], "current", "{again}");
    for result in again["workloads"].as_array().unwrap() {
        assert_eq!((&result["action"], &result["code"]), (&json!("current"), &json!("same_digest")), "{result}");
    }
    assert_eq!((service.patches().len(), pod_lists(&service)), (before, 3));
}

/// The tag moves A, B, A, B. The push of the first B comes after that of the second A.
async fn a_tag_that_goes_there_and_back_twice_is_followed(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    let web = kubelet.deployment("web", &image, 2);
    kubelet.push(&image, 0xa);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    let [first, b, second] = [0xa, 0xb, 0xa].map(|byte| PushMessage::now(&image, byte));
    assert_eq!(code(&service, &first, &web).await, "runs_image");
    assert_runs(&kubelet, &web, 0xa).await;
    assert_eq!(code(&service, &second, &web).await, "same_digest");
    assert_eq!(code(&service, &b, &web).await, "runs_image", "it may have been pulled meanwhile");
    assert_runs(&kubelet, &web, 0xa).await;

    kubelet.push(&image, 0xb);
    assert_eq!(code(&service, &PushMessage::now(&image, 0xb), &web).await, "runs_image");
    assert_runs(&kubelet, &web, 0xb).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 0xb), &web).await, "same_digest");
}

async fn pushes_published_in_another_order_than_the_tag_moved_are_followed(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    let web = kubelet.stateful_set("web", &image, 2);
    kubelet.push(&image, 1);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    // The tag has moved to A and then to B.
    let [b, a] = [0xb, 0xa].map(|byte| PushMessage::now(&image, byte));
    kubelet.push(&image, 0xb);
    assert_eq!(code(&service, &b, &web).await, "runs_image");
    assert_runs(&kubelet, &web, 0xb).await;
    assert_eq!(code(&service, &a, &web).await, "runs_image");
    assert_runs(&kubelet, &web, 0xb).await;

    kubelet.push(&image, 0xa);
    assert_eq!(code(&service, &PushMessage::now(&image, 0xa), &web).await, "runs_image");
    assert_runs(&kubelet, &web, 0xa).await;
}

async fn a_push_that_was_skipped_in_between_leaves_no_digest(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    let web = kubelet.deployment("web", &image, 1);
    kubelet.push(&image, 0xa);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 0xa), &web).await, "runs_image");
    kubelet.rolled_out(&web).await;
    let opt_out = |value: Value| json!({"metadata": {"annotations": {"pushroll.dev/restart": value}}});
    ground.patch(&web, "owner", opt_out(json!("false"))).await;
    kubelet.push(&image, 0xb);
    assert_eq!(code(&service, &PushMessage::now(&image, 0xb), &web).await, "opted_out");
    // A node is drained.
    let pod = &kubelet.pods(&web).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/namespaces/{}/pods/{pod}", ground.namespace());
    ground.request("DELETE", &path, None).await.unwrap();
    kubelet.pods_when(&web, "another pod", |pods| pods.iter().any(|pod| ends_with(image_id(pod), 0xb))).await;
    kubelet.rolled_out(&web).await;
    ground.patch(&web, "owner", opt_out(Value::Null)).await;
    kubelet.push(&image, 0xa);
    assert_eq!(code(&service, &PushMessage::now(&image, 0xa), &web).await, "runs_image");
    assert_runs(&kubelet, &web, 0xa).await;
}

async fn every_container_that_names_the_image_counts(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    let base = ground.image("base");
    kubelet.push(&base, 0x99);
    kubelet.push(&image, 1);
    let service = service(&ground).await;
    let container =
        |name: &str, image: &str, policy: &str| json!({"name": name, "image": image, "imagePullPolicy": policy});
    let mut sidecar = container("helper", &image, "Always");
    sidecar["restartPolicy"] = json!("Always");
    for (name, helper) in [("init", container("helper", &image, "Always")), ("sidecar", sidecar)] {
        let mut workload = kubelet.deployment(name, &base, 1);
        workload["spec"]["template"]["spec"]["initContainers"] = json!([helper]);
        kubelet.push(&image, 1);
        running(&ground, &kubelet, &workload).await;
        let first = PushMessage::now(&image, 1);
        assert_eq!(code(&service, &first, &workload).await, "runs_image", "{name}");
        kubelet.rolled_out(&workload).await;
        assert_eq!(code(&service, &PushMessage::now(&image, 1), &workload).await, "same_digest", "{name}");
        // Nobody has pushed that, as far as pushroll knows.
        kubelet.push(&image, 2);
        let pod = kubelet.pods(&workload).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
        kubelet.restart_containers(&pod);
        let pulled =
            |pod: &Value| pod["status"]["initContainerStatuses"][0]["imageID"].to_string().contains(&digest(2));
        kubelet.pods_when(&workload, "its helper pulls anew", |pods| pods.iter().all(pulled)).await;
        kubelet.rolled_out(&workload).await;
        assert_eq!(code(&service, &PushMessage::now(&image, 1), &workload).await, "runs_image", "{name}");
        ground.delete(&workload).await;
        kubelet.pods_when(&workload, "it is gone", |pods| pods.is_empty()).await;
    }
}

/// A pod of the selector of `web`, made by hand.
async fn create_pod(ground: &Ground, name: &str, image: &str, owner: Value, status: Option<Value>) {
    let metadata = json!({"name": name, "namespace": ground.namespace(), "labels": {"app": "web"}});
    let spec = json!({"containers": [{"name": "main", "image": image, "imagePullPolicy": "Always"}],
        "nodeName": "a-node-of-nobody", "automountServiceAccountToken": false});
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    if !owner.is_null() {
        pod["metadata"]["ownerReferences"] = json!([owner]);
    }
    pod["metadata"]["labels"]["testbed.pushroll.dev/kubelet"] = json!("by-hand");
    ground.request("POST", &collection(&pod), Some(pod.clone())).await.unwrap();
    if let Some(status) = status {
        let path = format!("{}/{name}/status", collection(&pod));
        ground.request("PATCH", &path, Some(json!({"status": status}))).await.unwrap();
    }
}

fn runs(image: &str, byte: u8) -> Option<Value> {
    let repository = image.rsplit_once(':').unwrap().0;
    let image_id = format!("{repository}@{}", digest(byte));
    Some(json!({"phase": "Running", "containerStatuses": [{"name": "main", "image": image, "imageID": image_id,
        "ready": true, "restartCount": 0, "state": {"running": {}}, "lastState": {}}]}))
}

async fn delete_pod(ground: &Ground, name: &str) {
    let path = format!("/api/v1/namespaces/{}/pods/{name}?gracePeriodSeconds=0", ground.namespace());
    ground.request("DELETE", &path, None).await.unwrap();
}

/// Workloads whose selectors find the same pods. To which Deployment a ReplicaSet belongs is not known: its pods count.
async fn pods_of_other_controllers_do_not_count(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    assert_runs(&kubelet, &web, 1).await;
    // They run another digest.
    let overlapping = |mut workload: Value, is: &str| {
        let labels = json!({"app": "web", "is": is});
        workload["spec"]["selector"]["matchLabels"] = labels.clone();
        workload["spec"]["template"]["metadata"]["labels"] = labels;
        workload["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
        kubelet.plays(workload)
    };
    let create = async |workload: &Value, pods: usize| {
        kubelet.push(&image, 2);
        ground.create(workload).await;
        let pulled = |pods: &[Value]| pods.iter().filter(|pod| ends_with(image_id(pod), 2)).count();
        kubelet.pods_when(&web, "the other pods run", |all| pulled(all) == pods).await;
        kubelet.push(&image, 1);
    };
    let other = overlapping(kubelet.stateful_set("other", &image, 1), "a-stateful-set");
    create(&other, 1).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "same_digest");
    let another = overlapping(kubelet.deployment("another", &image, 1), "a-deployment");
    create(&another, 2).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
}

async fn ending_pods_do_not_count_and_orphans_do(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.stateful_set("web", &image, 1);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    assert_runs(&kubelet, &web, 1).await;
    let ended = |phase: &str| {
        let mut status = runs(&image, 2).unwrap();
        status["phase"] = json!(phase);
        Some(status)
    };
    create_pod(&ground, "failed", &image, Value::Null, ended("Failed")).await;
    create_pod(&ground, "succeeded", &image, Value::Null, ended("Succeeded")).await;
    create_pod(&ground, "ends", &image, Value::Null, runs(&image, 2)).await;
    let ends = format!("/api/v1/namespaces/{}/pods/ends", ground.namespace());
    let finalizers = json!({"metadata": {"finalizers": ["example.com/kept"]}});
    ground.request("PATCH", &ends, Some(finalizers)).await.unwrap();
    delete_pod(&ground, "ends").await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "same_digest");
    create_pod(&ground, "orphan", &image, Value::Null, runs(&image, 2)).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    ground.request("PATCH", &ends, Some(json!({"metadata": {"finalizers": null}}))).await.unwrap();
}

async fn a_pod_without_an_image_id_may_run_anything(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    assert_runs(&kubelet, &web, 1).await;
    let renamed = |byte| {
        let mut status = runs(&image, byte).unwrap();
        status["containerStatuses"][0]["name"] = json!("renamed");
        Some(status)
    };
    let mut local = runs(&image, 1).unwrap();
    local["containerStatuses"][0]["imageID"] = json!(digest(1));
    for (name, status) in [("no-status", None), ("renamed", renamed(1)), ("local", Some(local))] {
        create_pod(&ground, name, &image, Value::Null, status).await;
        assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image", "{name}");
        delete_pod(&ground, name).await;
        assert_runs(&kubelet, &web, 1).await;
        assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "same_digest", "{name}");
    }
    // A pod that crashes keeps its imageID, and is not available.
    kubelet.digest_lives(1, Life::CrashLoop { restarts: 3 });
    kubelet.waits_for(&web, "CrashLoopBackOff").await;
    let is_away = async || ground.get(&web).await["status"]["availableReplicas"].is_null().then_some(());
    eventually("it is not available", is_away).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
}

async fn without_pods_a_push_restarts(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    let web = kubelet.deployment("web", &image, 0);
    running(&ground, &kubelet, &web).await;
    let service = service(&ground).await;
    for _ in 0..2 {
        assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
        kubelet.rolled_out(&web).await;
    }
}
