//! What becomes of a restart when somebody applies the workload again: docs/operators-and-gitops.md rests on it.

use serde_json::{Value, json};

use crate::support::documents::assert_restarted;
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(applying_again_keeps_a_restart_and_replacing_removes_it);
}

async fn applying_again_keeps_a_restart_and_replacing_removes_it(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let plain = deployment(namespace, "plain", &image);
    let mut annotated = stateful_set(namespace, "annotated", &image);
    annotated["spec"]["template"]["metadata"]["annotations"] = json!({"team": "shop"});
    let mut empty = daemon_set(namespace, "empty", &image);
    empty["spec"]["template"]["metadata"]["annotations"] = json!({});
    let workloads = [plain, annotated, empty];
    let file = ground.directory().join("workloads.json");
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": workloads}).to_string()).unwrap();
    let file = file.to_str().unwrap();

    let ways: [&[&str]; 3] = [
        &["apply", "--filename", file],
        // As Argo CD does with `ServerSideApply=true`, and Flux's kustomize-controller.
        &["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename", file],
        &["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "--filename", file],
    ];
    ground.kubectl(ways[0]).await;
    let service = ground.service().arguments(["--namespaces", namespace, "--hold", "60s"]).start_ready().await;
    assert_restarted(&service.push(&PushMessage::now(&image, 0xa1)).await);
    let mut restarted = Vec::new();
    for workload in &workloads {
        restarted.push(ground.get(workload).await["spec"]["template"].clone());
    }
    for way in ways {
        ground.kubectl(way).await;
        for (workload, template) in workloads.iter().zip(&restarted) {
            assert_eq!(ground.get(workload).await["spec"]["template"], *template, "{way:?}");
            assert_eq!(restart(template), (true, true), "{template}");
        }
    }
    ground.kubectl(&["replace", "--filename", file]).await;
    for workload in &workloads {
        let template = ground.get(workload).await["spec"]["template"].clone();
        assert_eq!(restart(&template), (false, false), "{template}");
    }
}

/// Whether `restartedAt` and the record are there.
fn restart(template: &Value) -> (bool, bool) {
    let annotations = &template["metadata"]["annotations"];
    let is_there = |key: &str| annotations[key].is_string();
    (is_there("kubectl.kubernetes.io/restartedAt"), is_there("pushroll.dev/pushes"))
}
