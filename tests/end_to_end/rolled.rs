//! Really rolled: with controllers and nodes a push replaces the pods, and the rollout completes.

use serde_json::json;

use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::kubectl::kubectl_name;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(a_push_replaces_every_pod_and_the_rollout_completes);
    suite.on_control_plane(a_paused_deployment_rolls_on_resume);
    suite.on_control_plane(a_partition_keeps_the_lower_ordinals);
}

async fn a_push_replaces_every_pod_and_the_rollout_completes(ground: Ground) {
    let image = ground.image("web");
    let mut workloads = [
        (deployment(ground.namespace(), "a-deployment", &image), 2),
        (stateful_set(ground.namespace(), "a-stateful-set", &image), 2),
        (daemon_set(ground.namespace(), "a-daemon-set", &image), 3),
    ];
    let mut before = Vec::new();
    for (workload, pods) in &mut workloads {
        if workload["kind"] != "DaemonSet" {
            workload["spec"]["replicas"] = json!(*pods);
        }
        ground.create(workload).await;
        ground.rolled_out(workload).await;
        before.push(ground.pods(workload).await);
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    assert_eq!(service.push(&PushMessage::now(&image, 0xaa)).await.json()["outcome"], "restarted");
    for ((workload, count), before) in workloads.iter().zip(before) {
        assert_eq!(before.len(), *count, "{workload}");
        ground.rolled_out(workload).await;
        let all_new = async || {
            let pods = ground.pods(workload).await;
            (pods.len() == *count && pods.is_disjoint(&before)).then_some(())
        };
        eventually("every pod is a new one", all_new).await;
        let history = ground.kubectl(&["rollout", "history", &kubectl_name(workload)]).await;
        let revisions = history.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        assert_eq!(revisions, 2, "one rollout, one revision: {history}");
        let newest = ground.kubectl(&["rollout", "history", "--revision=2", &kubectl_name(workload)]).await;
        assert!(newest.contains("kubectl.kubernetes.io/restartedAt"), "{newest}");
    }
}

async fn a_paused_deployment_rolls_on_resume(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    ground.rolled_out(&web).await;
    ground.kubectl(&["rollout", "pause", "deployment/web"]).await;
    let before = ground.pods(&web).await;

    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 0xaa);
    let answer = service.push(&push).await.json();
    assert_eq!(result_of(&answer, &web)["warnings"], json!(["paused"]), "{answer}");
    ground.observed(&web).await;
    assert_eq!(ground.pods(&web).await, before, "not before it is resumed");

    ground.kubectl(&["rollout", "resume", "deployment/web"]).await;
    ground.rolled_out(&web).await;
    let all_new = async || ground.pods(&web).await.is_disjoint(&before).then_some(());
    eventually("every pod is a new one", all_new).await;
    let again = service.push(&push).await.json();
    assert_eq!(result_of(&again, &web)["code"], "already_restarted", "{again}");
}

async fn a_partition_keeps_the_lower_ordinals(ground: Ground) {
    let image = ground.image("web");
    let mut web = stateful_set(ground.namespace(), "web", &image);
    web["spec"]["replicas"] = json!(3);
    web["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    ground.create(&web).await;
    ground.rolled_out(&web).await;
    eventually("its pods are there", async || (ground.pods(&web).await.len() == 3).then_some(())).await;
    let before = ground.pods(&web).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    assert_eq!(service.push(&PushMessage::now(&image, 0xaa)).await.json()["outcome"], "restarted");
    let one_is_new = async || {
        let pods = ground.pods(&web).await;
        (pods.len() == 3 && pods.intersection(&before).count() == 2).then_some(())
    };
    eventually("one pod is a new one", one_is_new).await;
    ground.rolled_out(&web).await;
    assert_eq!(ground.pods(&web).await.intersection(&before).count(), 2, "the others stay");
}
