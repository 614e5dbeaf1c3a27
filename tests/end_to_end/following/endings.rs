//! How rollouts end, and what their pods run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use tokio::sync::watch;

use super::*;
use crate::support::kubelet::Life;

pub fn tests(suite: &mut Suite) {
    suite.on_both(each_kind_is_followed_to_its_end_under_a_watch);
    suite.on_both(each_kind_is_followed_to_its_end_without_a_watch);
    suite.on_both(a_rollout_that_is_restarted_again_is_superseded);
    suite.on_both(a_workload_that_is_deleted_meanwhile_is_gone);
    suite.on_both(a_paused_workload_is_followed_from_its_resume);
    suite.on_both(zero_replicas_are_complete_at_once);
    suite.on_both(an_unequal_image_id_proves_nothing);
    suite.on_both(a_replica_that_takes_over_reports_what_is_left);
    suite.on_both(following_under_a_watch_lists_pods_and_writes_what_it_reports);
    suite.on_both(each_pushroll_follows_its_own_restarts);
    suite.on_both(a_restart_that_the_watch_does_not_show_is_followed);
}

/// The watch stands still, and the workload had changed before the restart.
async fn a_restart_that_the_watch_does_not_show_is_followed(ground: Ground) {
    let (hang, hangs) = watch::channel(false);
    let held = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&held);
    let wait = move |_: Method, uri: String| {
        let (mut hangs, held) = (hangs.clone(), Arc::clone(&counted));
        async move {
            if uri.contains("watch=true") && *hangs.borrow() {
                held.fetch_add(1, Ordering::SeqCst);
                let _ = hangs.wait_for(|hangs| !hangs).await;
            }
        }
    };
    let namespaces = vec![ground.namespace().to_owned()];
    let service = ground.service_in_process().before_call(wait).configure(|config| {
        config.cache.watch = true;
        config.cache.watch_request = Duration::from_secs(1);
        config.cache.watch_patience = Duration::from_secs(600);
        config.policy.namespaces = namespaces;
    });
    let stage = super::troubles::stage(&ground, service).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    stage.service.wait_for_lookup(&stage.image, &["web"]).await;
    hang.send_replace(true);
    eventually("no kind is watched", async || (held.load(Ordering::SeqCst) == 3).then_some(())).await;
    stage.ground.patch(&web, "somebody", json!({"metadata": {"labels": {"example.com/change": "1"}}})).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(2).await;
    // More than one look.
    let looks = || {
        let calls = stage.service.calls_of_following().into_iter();
        calls.filter(|call| call.verb == "list" && call.resource == "pods").count()
    };
    eventually("its pods are looked at", async || (looks() >= 3).then_some(())).await;
    stage.kubelet.digest_lives(2, Life::Runs);
    stage.event(&web, "Normal", "RolloutComplete").await;
    assert_eq!(stage.rollouts("Deployment", "superseded").await, 0.0);
    drop(hang);
}

/// Of two in one cluster, each with a waiting ConfigMap of its own.
async fn each_pushroll_follows_its_own_restarts(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let namespaces = ["--namespaces", stage.ground.namespace(), "--deferred-poll", "100ms"];
    let other = stage.ground.service().arguments(namespaces).arguments(["--watch", "--waiting-configmap", "other"]);
    let other = other.start_ready().await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.push(2).await;
    stage.followed_to_its_end(&web).await;
    stage.kubelet.push(&stage.image, 3);
    assert_eq!(other.push(&PushMessage::now(&stage.image, 3)).await.status, 200);
    stage.followed_to_its_end(&web).await;
    for service in [&stage.service, &other] {
        let ending = r#"pushroll_rollouts_total{kind="Deployment",ending="complete"}"#;
        assert_eq!(service.metric(ending).await, 1.0);
    }
}

async fn following_under_a_watch_lists_pods_and_writes_what_it_reports(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 2);
    stage.create(&web).await;
    stage.push(2).await;
    stage.followed_to_its_end(&web).await;
    let calls = stage.service.calls_of_following();
    let count =
        |verb: &str, resource: &str| calls.iter().filter(|call| call.verb == verb && call.resource == resource).count();
    assert_eq!((count("create", "events"), count("patch", "deployments")), (2, 1), "{calls:#?}");
    let known = |resource: &str| ["events", "deployments", "pods", "leases"].contains(&resource);
    assert!(count("list", "pods") >= 1 && calls.iter().all(|call| known(&call.resource)), "{calls:#?}");
    let gets =
        stage.service.api_calls().into_iter().filter(|call| call.verb == "get" && call.resource == "deployments");
    assert_eq!(gets.count(), 0, "the watch shows the workload");
}

async fn each_kind_is_followed_to_its_end_under_a_watch(ground: Ground) {
    each_kind_is_followed(Stage::set(ground, true).await).await;
}

async fn each_kind_is_followed_to_its_end_without_a_watch(ground: Ground) {
    each_kind_is_followed(Stage::set(ground, false).await).await;
}

async fn each_kind_is_followed(stage: Stage) {
    let kubelet = &stage.kubelet;
    let workloads = [
        kubelet.deployment("deployment", &stage.image, 3),
        kubelet.stateful_set("statefulset", &stage.image, 3),
        kubelet.daemon_set("daemonset", &stage.image),
    ];
    for workload in &workloads {
        stage.create(workload).await;
    }
    let answer = stage.push(2).await;
    assert_eq!(answer["outcome"], "restarted", "{answer}");
    for workload in &workloads {
        let object = stage.ground.get(workload).await;
        let kind = workload["kind"].as_str().unwrap();
        let note = stage.event(workload, "Normal", "RolloutComplete").await;
        let pods = kubelet.pods(workload).await.len();
        assert_eq!(note, format!("{pods} of {pods} pods run {}", digest(2)));
        stage.followed_to_its_end(workload).await;
        assert_eq!(stage.rollouts(kind, "complete").await, 1.0, "{kind}");
        let events = stage.events(workload).await;
        let reasons: Vec<_> = events.iter().map(|event| event.1.as_str()).collect();
        assert_eq!(reasons, ["Restarted", "RolloutComplete"], "each once: {events:?}");
        let restarted = &events[0].2;
        assert!(restarted.contains(&stage.image) && restarted.contains(&digest(2)), "{restarted}");
        // The labels of a workload are no part of what its controller rolls.
        let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
        assert_eq!(generation(&stage.ground.get(workload).await), generation(&object), "{kind}");
    }
    assert_eq!(stage.verified("pushed_image").await, 3.0);
    assert_eq!(stage.service.metric("pushroll_publish_to_running_seconds_count").await, 3.0);
    eventually("nothing is followed", async || {
        (stage.service.metric("pushroll_rollouts_followed").await == 0.0).then_some(())
    })
    .await;
    let ended = stage.service.log().into_iter().filter(|line| line["ending"] == "complete").collect::<Vec<_>>();
    assert_eq!(ended.len(), 3, "{ended:?}");
    for line in ended {
        assert!(
            line["workload"].is_string() && line["digest"] == digest(2) && line["runs"] == "pushed_image",
            "{line}"
        );
    }
}

async fn a_rollout_that_is_restarted_again_is_superseded(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(2).await;
    stage.event(&web, "Normal", "Restarted").await;
    let by_hand = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": "2036-11-20T09:16:40Z"}}}}});
    stage.ground.patch(&web, "kubectl-rollout", by_hand).await;
    stage.followed_to_its_end(&web).await;
    assert_eq!(stage.rollouts("Deployment", "superseded").await, 1.0);
    assert_eq!(stage.rollouts("Deployment", "complete").await, 0.0);
    let events = stage.events(&web).await;
    assert_eq!(events.len(), 1, "{events:?}");
}

async fn a_workload_that_is_deleted_meanwhile_is_gone(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(2).await;
    stage.event(&web, "Normal", "Restarted").await;
    stage.ground.delete(&web).await;
    eventually("it is gone", async || (stage.rollouts("Deployment", "gone").await == 1.0).then_some(())).await;
}

async fn a_paused_workload_is_followed_from_its_resume(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.ground.patch(&web, "somebody", json!({"spec": {"paused": true}})).await;
    stage.push(2).await;
    stage.event(&web, "Normal", "Restarted").await;
    let labels = stage.ground.get(&web).await["metadata"]["labels"].clone();
    assert!(labels[FOLLOWING].is_string(), "{labels}");
    stage.ground.patch(&web, "somebody", json!({"spec": {"paused": false}})).await;
    let note = stage.event(&web, "Normal", "RolloutComplete").await;
    assert_eq!(note, format!("1 of 1 pods run {}", digest(2)));
}

async fn zero_replicas_are_complete_at_once(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 0);
    stage.create(&web).await;
    stage.push(2).await;
    let note = stage.event(&web, "Normal", "RolloutComplete").await;
    assert!(note.starts_with("0 of 0 pods are new and available; which image they run was not checked"), "{note}");
    stage.followed_to_its_end(&web).await;
    assert_eq!(stage.verified("not_checked").await, 1.0);
}

async fn an_unequal_image_id_proves_nothing(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 2);
    stage.create(&web).await;
    // As a node reports it that knows the image by another digest, even of another repository.
    stage.kubelet.report_image_id(2, &format!("registry.example/other@{}", digest(9)));
    stage.push(2).await;
    let note = stage.event(&web, "Normal", "RolloutComplete").await;
    assert!(note.contains("is not known") && note.contains(&digest(9)) && note.contains("imagePullPolicy"), "{note}");
    stage.followed_to_its_end(&web).await;
    assert_eq!((stage.verified("cannot_tell").await, stage.verified("pushed_image").await), (1.0, 0.0));
}

/// The first replica is killed while the rollout is under way.
async fn a_replica_that_takes_over_reports_what_is_left(ground: Ground) {
    let mut stage = Stage::set(ground, true).await;
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(2).await;
    stage.event(&web, "Normal", "Restarted").await;
    stage.service.signal("KILL");
    stage.service.ended().await;
    stage.kubelet.digest_lives(2, Life::Runs);
    stage.kubelet.rolled_out(&web).await;
    stage.service = Stage::service(&stage.ground, true).await;
    let note = stage.event(&web, "Normal", "RolloutComplete").await;
    assert_eq!(note, format!("1 of 1 pods run {}", digest(2)));
    stage.followed_to_its_end(&web).await;
    assert_eq!(stage.events(&web).await.len(), 2);
    assert_eq!(stage.rollouts("Deployment", "complete").await, 1.0);
}
