//! What mutating webhooks add to a restart in the same request counts as pushroll's change: the policy sees the object
//! as they leave it.

use std::path::{Component, Path};

use serde_json::{Value, json};

use super::{account, account_of, policy_in_force, refused, restarted_for};
use crate::packaging::manifests::Manifests;
use crate::packaging::stage::new_push;
use crate::support::documents::assert_restarted;
use crate::support::fixtures::{daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::wait::eventually;

const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gke.md"));

fn workloads(ground: &Ground, image: &str) -> [Value; 3] {
    let namespace = ground.namespace();
    [deployment(namespace, "web", image), stateful_set(namespace, "web", image), daemon_set(namespace, "web", image)]
}

/// From now on each update of a workload in the test's namespace is mutated by this, in the syntax of
/// `applyConfiguration`; `is_there` says what it has done to the object of a dry run.
async fn mutate_updates(ground: &Ground, workload: &Value, mutation: &str, is_there: impl Fn(&Value) -> bool) {
    let spec = json!({
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": mutation}}],
    });
    ground.add_policy("mutating", ground.namespace(), ground.namespace(), spec, json!({})).await;
    let probe = json!({"metadata": {"annotations": {"example.com/probe": "x"}}});
    let is_mutated = async || {
        let mutated = ground.dry_run(workload, &probe).await.unwrap();
        is_there(&mutated).then_some(())
    };
    eventually("the mutating policy is in force", is_mutated).await;
}

/// As GKE Autopilot does: it notes its version, and what it found, on each update of a workload.
pub(super) async fn what_a_webhook_notes_stops_no_restart(ground: Ground) {
    let image = ground.image("web");
    let mut workloads = workloads(&ground, &image);
    for workload in &mut workloads {
        workload["metadata"]["annotations"] = json!({"autopilot.gke.io/warden-version": "2.7.41"});
        ground.create(workload).await;
    }
    let account = account(&ground).await;
    policy_in_force(&ground, &account, &workloads[0]).await;
    let noted = r#"Object{metadata: Object.metadata{annotations: {
        "autopilot.gke.io/warden-version": "2.9.38",
        "autopilot.gke.io/resource-adjustment": "found at version " + oldObject.metadata.resourceVersion}}}"#;
    let has_note = |object: &Value| object["metadata"]["annotations"]["autopilot.gke.io/warden-version"] == "2.9.38";
    mutate_updates(&ground, &workloads[0], noted, has_note).await;

    let service = ground.service().kubeconfig(&account.kubeconfig).user(&account.user).start_ready().await;
    // An annotation that changes raises a Deployment's generation as well, so that is not compared.
    for _ in 0..2 {
        let push = new_push(&image);
        assert_restarted(&service.push(&push).await);
        for workload in &workloads {
            let now = ground.get(workload).await;
            assert!(has_note(&now), "{now}");
            assert!(restarted_for(&ground, workload, &push).await, "{now}");
        }
    }
    // What was noted may be removed as well.
    for workload in &workloads {
        let forgets = json!({"metadata": {"annotations": {"autopilot.gke.io/resource-adjustment": null}}});
        assert_eq!(refused(&ground, &account, workload, &forgets).await, None);
    }
}

/// A label; as with what Autopilot adds to a template that is older than its rule, it is there from the next update by
/// anybody else on.
pub(super) async fn what_else_a_webhook_writes_stops_a_restart_until_it_is_there(ground: Ground) {
    let image = ground.image("web");
    let workloads = workloads(&ground, &image);
    for workload in &workloads {
        ground.create(workload).await;
    }
    let account = account(&ground).await;
    policy_in_force(&ground, &account, &workloads[0]).await;
    let label = r#"Object{metadata: Object.metadata{labels: {"autopilot.gke.io/x": "y"}}}"#;
    let has_label = |object: &Value| object["metadata"]["labels"]["autopilot.gke.io/x"] == "y";
    mutate_updates(&ground, &workloads[0], label, has_label).await;

    let service = ground.service().kubeconfig(&account.kubeconfig).user(&account.user);
    let service = service.arguments(["--deferred-poll", "100ms"]).start_ready().await;
    let push = new_push(&image);
    let answer = service.push(&push).await;
    assert!(answer.text().contains("pushroll may change no labels of a workload"), "{}", answer.text());
    for workload in &workloads {
        let now = ground.get(workload).await;
        assert!(now["metadata"]["generation"] == 1 && !has_label(&now), "{now}");
        let owners = json!({"metadata": {"annotations": {"team": "shop"}}});
        assert!(has_label(&ground.patch(workload, "owner", owners).await));
    }
    service.push(&push).await;
    for workload in &workloads {
        let is_done = async || restarted_for(&ground, workload, &push).await.then_some(());
        eventually("the push is done", is_done).await;
    }
}

/// The patch of docs/gke.md, in an overlay of one's own.
pub(super) async fn a_patch_adds_a_prefix(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let directory = ground.directory().join("overlay");
    std::fs::create_dir(&directory).unwrap();
    let root = directory.canonicalize().unwrap();
    let up = root.components().filter(|component| matches!(component, Component::Normal(_))).map(|_| "..");
    let gke = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/overlays/gke").canonicalize().unwrap();
    let relative = up.collect::<Vec<_>>().join("/") + gke.to_str().unwrap();
    let patch = DOCS.split("```yaml\n").find_map(|rest| {
        let block = rest.split_once("```")?.0;
        block.contains("prefixesOfWebhooks").then_some(block)
    });
    let overlay = format!("resources: [{relative}]\n{}", patch.unwrap());
    std::fs::write(directory.join("kustomization.yaml"), overlay).unwrap();

    let account = account_of(&ground, Manifests::render(&ground, directory.to_str().unwrap())).await;
    policy_in_force(&ground, &account, &web).await;
    for (annotation, is_refused) in [("autopilot.gke.io/x", false), ("example.com/x", false), ("other.example/x", true)]
    {
        let patch = json!({"metadata": {"annotations": {annotation: "y"}}});
        assert_eq!(refused(&ground, &account, &web, &patch).await.is_some(), is_refused, "{annotation}");
    }
}
