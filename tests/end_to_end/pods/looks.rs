//! What a look at the pods costs, and what comes of one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{code, pod_lists, service};
use crate::support::fixtures::{PushMessage, collection, deployment, digest, result_of};
use crate::support::ground::Ground;
use crate::support::kubelet::image_id;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(no_pods_are_listed_where_that_says_nothing);
    suite.on_embedded(ten_thousand_pods_are_listed_until_one_contradicts);
    suite.on_both(pods_that_cannot_be_looked_at_are_restarted);
    suite.on_both(a_dry_run_looks_at_the_pods_as_a_push_does);
    suite.on_both(under_a_watch_the_pods_are_looked_at_as_well);
    suite.on_embedded(of_very_many_workloads_each_has_its_pods_looked_at);
}

async fn no_pods_are_listed_where_that_says_nothing(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let service = service(&ground).await;
    let first = PushMessage::now(&image, 2);
    kubelet.push(&image, 2);
    assert_eq!(code(&service, &first, &web).await, "runs_image");
    kubelet.rolled_out(&web).await;
    assert_eq!(code(&service, &first, &web).await, "already_restarted");
    kubelet.push(&image, 3);
    assert_eq!(code(&service, &PushMessage::now(&image, 3), &web).await, "runs_image");
    kubelet.rolled_out(&web).await;
    assert_eq!(code(&service, &first, &web).await, "newer_push_done");
    assert_eq!(pod_lists(&service), 0);
    assert_eq!(code(&service, &PushMessage::now(&image, 3), &web).await, "same_digest");
    assert!(pod_lists(&service) > 0);
}

/// Its pods are made by hand, and its status as well.
async fn ten_thousand_pods_are_listed_until_one_contradicts(ground: Ground) {
    const PODS: usize = 10_000;
    let image = ground.image("web");
    let mut web = deployment(ground.namespace(), "web", &image);
    web["spec"]["replicas"] = json!(PODS);
    let image_id = format!("{}@{}", image.rsplit_once(':').unwrap().0, digest(1));
    let client = ground.embedded_kubernetes().client();
    let send = async |method: &str, path: String, body: Value| {
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
        client.clone().request::<Value>(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap()
    };
    ground.create(&web).await;
    let pods = format!("/api/v1/namespaces/{}/pods", ground.namespace());
    let created = stream::iter(0..PODS).map(|number| {
        let (send, pods, image, image_id) = (&send, &pods, &image, &image_id);
        async move {
            let name = format!("web-{number:05}");
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]}});
            send("POST", pods.clone(), pod).await;
            let status =
                json!({"status": {"phase": "Running", "containerStatuses": [{"name": "main", "imageID": image_id}]}});
            send("PATCH", format!("{pods}/{name}/status"), status).await;
        }
    });
    created.buffer_unordered(32).collect::<Vec<()>>().await;
    let service = service(&ground).await;
    let roll_out = async || {
        let generation = ground.generation(&web).await;
        let status = json!({"status": {"observedGeneration": generation, "replicas": PODS, "updatedReplicas": PODS,
            "readyReplicas": PODS, "availableReplicas": PODS}});
        send("PATCH", format!("{}/web/status", collection(&web)), status).await;
    };
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    roll_out().await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "same_digest");
    let all = pod_lists(&service);
    assert!((20..=100).contains(&all), "{all} pages");
    // The first pod runs something else.
    let other = json!({"status": {"containerStatuses": [{"name": "main", "imageID": format!("x@{}", digest(2))}]}});
    send("PATCH", format!("{pods}/web-00000/status"), other).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    // Once more after the wait for more pushes, because the last restart was a moment ago.
    let more = pod_lists(&service) - all;
    assert!((1..=2).contains(&more), "{more} pages");
}

async fn pods_that_cannot_be_looked_at_are_restarted(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let passages = [
        Passage::Refuse(403, "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\""),
        Passage::Refuse(500, "no"),
        Passage::Hang,
        Passage::CutBody,
    ];
    let turn = Arc::new(AtomicUsize::new(0));
    let rule = {
        let turn = Arc::clone(&turn);
        move |request: crate::support::proxy::ApiRequest| {
            let is_list = request.uri.contains("/pods?");
            let passage = if is_list { passages[turn.load(Ordering::SeqCst)] } else { Passage::Forward };
            async move { passage }
        }
    };
    let proxy = ApiProxy::start(&ground, rule).await;
    let arguments = ["--hold", "6s", "--namespaces", ground.namespace()];
    let service = ground.service().through(&proxy).arguments(arguments).start_ready().await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    for number in 0..passages.len() {
        turn.store(number, Ordering::SeqCst);
        kubelet.rolled_out(&web).await;
        let answer = service.push(&PushMessage::now(&image, 1)).await;
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        let result = result_of(&answer.json(), &web);
        assert_eq!(
            (&result["code"], &result["warnings"]),
            (&json!("runs_image"), &json!(["pods_not_seen"])),
            "{result}"
        );
        let reason = result["reason"].as_str().unwrap();
        assert!(reason.contains("its pods could not be looked at"), "{reason}");
        assert!(number > 0 || reason.contains("cannot list resource \"pods\""), "{reason}");
    }
}

async fn a_dry_run_looks_at_the_pods_as_a_push_does(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let service = service(&ground).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    kubelet.rolled_out(&web).await;
    let dry_run = async |byte| {
        let (url, body) = (format!("{}/v1/push?dry_run=true", service.admin), PushMessage::now(&image, byte).body());
        let headers = [("content-type", "application/json")];
        let answer = crate::support::http::send(http::Method::POST, &url, &headers, body).await;
        result_of(&answer.json(), &web)["code"].clone()
    };
    assert_eq!((dry_run(1).await, dry_run(2).await), (json!("same_digest"), json!("runs_image")));
    assert_eq!(ground.generation(&web).await, 2);
}

/// So many that one LIST shows them all, and another shows the pods of each.
async fn of_very_many_workloads_each_has_its_pods_looked_at(ground: Ground) {
    const WORKLOADS: usize = 105;
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let workloads: Vec<_> =
        (0..WORKLOADS).map(|number| kubelet.deployment(&format!("web-{number}"), &image, 1)).collect();
    for workload in &workloads {
        ground.create(workload).await;
    }
    for workload in &workloads {
        kubelet.rolled_out(workload).await;
    }
    let service = service(&ground).await;
    assert_eq!(service.push(&PushMessage::now(&image, 1)).await.json()["outcome"], "restarted");
    for workload in &workloads {
        kubelet.rolled_out(workload).await;
    }
    // One of them runs something else.
    kubelet.push(&image, 2);
    let pod = kubelet.pods(&workloads[7]).await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    ground.request("DELETE", &format!("/api/v1/namespaces/{}/pods/{pod}", ground.namespace()), None).await.unwrap();
    let runs_other = |pods: &[Value]| pods.iter().any(|pod| super::ends_with(image_id(pod), 2));
    kubelet.pods_when(&workloads[7], "another pod", runs_other).await;
    kubelet.rolled_out(&workloads[7]).await;
    kubelet.push(&image, 1);
    let before = service.api_calls().iter().filter(|call| call.verb == "get" && call.resource == "deployments").count();
    let answer = service.push(&PushMessage::now(&image, 1)).await.json();
    for (number, workload) in workloads.iter().enumerate() {
        let code = if number == 7 { "runs_image" } else { "same_digest" };
        let result = result_of(&answer, workload);
        assert_eq!(result["code"], code, "{number}: {result}");
    }
    let gets = service.api_calls().iter().filter(|call| call.verb == "get" && call.resource == "deployments").count();
    assert!(gets - before < WORKLOADS, "{gets} after {before}");
}

async fn under_a_watch_the_pods_are_looked_at_as_well(ground: Ground) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 1);
    let web = kubelet.stateful_set("web", &image, 2);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace(), "--watch"];
    let service = ground.service().arguments(arguments).start_ready().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
    kubelet.rolled_out(&web).await;
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "same_digest");
    kubelet.push(&image, 2);
    assert_eq!(code(&service, &PushMessage::now(&image, 2), &web).await, "runs_image");
    kubelet.rolled_out(&web).await;
    kubelet.push(&image, 1);
    assert_eq!(code(&service, &PushMessage::now(&image, 1), &web).await, "runs_image");
}
