//! Rollouts that fail are known early, and a recovery is known as well.

use super::*;
use crate::support::fixtures::result_of;
use crate::support::kubelet::Life;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_pod_that_cannot_pull_is_named_and_recovers);
    suite.on_both(a_pod_that_cannot_start_is_named);
    suite.on_both(a_rollout_without_progress_is_unknown);
    suite.on_both(restart_wait_knows_of_a_failure_early);
}

async fn a_pod_that_cannot_pull_is_named_and_recovers(ground: Ground) {
    let stage = Stage::set(ground, false).await;
    let reasons = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];
    let mut workloads = Vec::new();
    for reason in reasons {
        let image = stage.ground.image(&reason.to_lowercase());
        stage.kubelet.push(&image, 1);
        let workload = stage.kubelet.deployment(&format!("web-{}", reason.to_lowercase()), &image, 2);
        stage.create(&workload).await;
        workloads.push((reason, image, workload));
    }
    for (reason, image, workload) in &workloads {
        stage.kubelet.refuse_pulls(image, reason, "manifest unknown");
        let answer = stage.service.push(&PushMessage::now(image, 2)).await;
        assert_eq!(answer.json()["outcome"], "restarted", "{}", answer.text());
        let note = stage.event(workload, "Warning", "RolloutFailed").await;
        assert!(note.starts_with(&format!("{reason} in pod web-")) && note.contains("manifest unknown"), "{note}");
        let labels = stage.ground.get(workload).await["metadata"]["labels"].clone();
        assert!(labels[FOLLOWING].is_string(), "it may recover: {labels}");
    }
    assert_eq!(stage.rollouts("Deployment", "failed").await, 3.0);
    for (_, image, workload) in &workloads {
        stage.kubelet.push(image, 2);
        let note = stage.event(workload, "Normal", "RolloutComplete").await;
        assert_eq!(note, format!("2 of 2 pods run {}", digest(2)));
        stage.followed_to_its_end(workload).await;
        let reasons: Vec<_> = stage.events(workload).await.into_iter().map(|event| event.1).collect();
        assert_eq!(reasons, ["Restarted", "RolloutFailed", "RolloutComplete"]);
    }
    assert_eq!(stage.rollouts("Deployment", "complete").await, 3.0);
}

async fn a_pod_that_cannot_start_is_named(ground: Ground) {
    let stage = Stage::set(ground, true).await;
    let lives = [
        (
            Life::CannotBeCreated { reason: "CreateContainerConfigError".into(), message: "no secret".into() },
            "no secret",
        ),
        (Life::CannotStart { reason: "RunContainerError".into(), message: "no such file".into() }, "no such file"),
        (Life::CrashLoop { restarts: 4 }, "4 restarts"),
    ];
    for (n, (life, says)) in lives.into_iter().enumerate() {
        let byte = u8::try_from(n).unwrap() + 2;
        let kinds = [
            stage.kubelet.deployment(&format!("web-{n}"), &stage.image, 1),
            stage.kubelet.stateful_set(&format!("store-{n}"), &stage.image, 1),
            stage.kubelet.daemon_set(&format!("agent-{n}"), &stage.image),
        ];
        let web = &kinds[n];
        stage.kubelet.push(&stage.image, 1);
        stage.create(web).await;
        let name = web["metadata"]["name"].as_str().unwrap();
        // The watch may be later than the pods are.
        stage.service.wait_for_lookup(&stage.image, &[name]).await;
        stage.kubelet.digest_lives(byte, life);
        let answer = stage.push(byte).await;
        assert_eq!(result_of(&answer, web)["action"], "restarted", "{answer}");
        let note = stage.event(web, "Warning", "RolloutFailed").await;
        let names_it = note.contains(&format!("in pod {name}-")) && note.contains(", container ");
        assert!(names_it && note.contains(says), "{note}");
        stage.ground.delete(web).await;
    }
}

async fn a_rollout_without_progress_is_unknown(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let arguments = ["--namespaces", ground.namespace(), "--watch", "--rollout-timeout", "1s"];
    let service = ground.service().arguments(arguments).start_ready().await;
    let stage = Stage { ground, kubelet, service, image };
    let web = stage.kubelet.deployment("web", &stage.image, 1);
    stage.create(&web).await;
    stage.kubelet.digest_lives(2, Life::NotReady);
    stage.push(2).await;
    eventually("it is unknown", async || (stage.rollouts("Deployment", "unknown").await == 1.0).then_some(())).await;
    stage.followed_to_its_end(&web).await;
    let line = stage.service.log().into_iter().find(|line| line["ending"] == "unknown").unwrap();
    assert!(line["message"].as_str().unwrap().contains("it has made no progress for 1s"), "{line}");
}

/// Long before the progress deadline, which is ten minutes.
async fn restart_wait_knows_of_a_failure_early(ground: Ground) {
    let kubelet = ground.kubelet().await;
    let image = ground.image("web");
    kubelet.push(&image, 1);
    let web = kubelet.deployment("web", &image, 1);
    ground.create(&web).await;
    kubelet.rolled_out(&web).await;
    kubelet.refuse_pulls(&image, "ImagePullBackOff", "no such manifest");
    let name = format!("{}/deployment/web", ground.namespace());
    let arguments = ["restart", "-w", &name, "--wait", "--timeout", "60s", "-o", "json"];
    let ran = ground.run_as(&ground.fresh_user(), &arguments).await;
    let rollout = ran.json()["rollouts"][0].clone();
    assert_eq!((ran.code, &rollout["ending"]), (1, &json!("failed")), "{ran:?}");
    let reason = rollout["reason"].as_str().unwrap();
    assert!(reason.starts_with("ImagePullBackOff in pod web-") && reason.contains("no such manifest"), "{reason}");
}
