//! The admission policy that keeps the account to what a restart needs: with it pushroll does all that it does to a
//! workload, and whoever has its account can do no more.

mod every_field;
mod webhooks;

use serde_json::{Value, json};

use super::manifests::{Manifests, NAMESPACE};
use super::stage::new_push;
use crate::support::control_plane::ADMIN;
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::kubectl::kubectl_name;
use crate::support::service_account::LoggedIn;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(the_account_may_change_annotations_and_nothing_else);
    suite.on_control_plane(every_field::the_account_may_change_no_other_field);
    suite.on_control_plane(webhooks::what_a_webhook_notes_stops_no_restart);
    suite.on_control_plane(webhooks::what_else_a_webhook_writes_stops_a_restart_until_it_is_there);
    suite.on_control_plane(webhooks::a_patch_adds_a_prefix);
}

/// The account of a test's own, with its roles and its policy.
async fn account(ground: &Ground) -> LoggedIn {
    account_of(ground, Manifests::render(ground, "overlays/gke")).await
}

/// As [`account`], of these manifests.
async fn account_of(ground: &Ground, manifests: Manifests) -> LoggedIn {
    let mut manifests = manifests.moved(ground, &[(NAMESPACE, ground.namespace())]);
    let ours = format!("system:serviceaccount:{NAMESPACE}:pushroll");
    let user = format!("system:serviceaccount:{}:pushroll", ground.namespace());
    for object in &mut manifests.objects {
        let moved = object.to_string().replace(&ours, &user);
        *object = serde_json::from_str(&moved).unwrap();
    }
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    let is_policy = |kind: &str| kind.starts_with("ValidatingAdmissionPolicy");
    let kept = manifests.only(|object| {
        let kind = object["kind"].as_str().unwrap();
        kinds.contains(&kind) || is_policy(kind)
    });
    assert!(kept.objects.iter().any(|object| object.to_string().contains(&format!("== '{user}'"))));
    kept.apply(ground);
    ground.log_in(ground.namespace(), "pushroll").await
}

/// The API server takes a moment to read a new policy.
async fn policy_in_force(ground: &Ground, account: &LoggedIn, workload: &Value) {
    let probe = json!({"metadata": {"labels": {"probe": "x"}}});
    let denied = async || refused(ground, account, workload, &probe).await;
    let message = eventually("the policy is in force", denied).await;
    assert!(message.contains("pushroll may change no labels"), "{message}");
}

/// What the API server says to a merge patch by the account; `None` where it would do it.
async fn refused(ground: &Ground, account: &LoggedIn, workload: &Value, patch: &Value) -> Option<String> {
    let mut kubectl = ground.real().kubectl_as(ADMIN);
    // The last `--kubeconfig` counts.
    kubectl.arg("--kubeconfig").arg(&account.kubeconfig);
    kubectl.args(["patch", &kubectl_name(workload), "--type=merge", "--dry-run=server", "--patch", &patch.to_string()]);
    let output = tokio::task::spawn_blocking(move || kubectl.output().unwrap()).await.unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whether the workload's record holds this push.
async fn restarted_for(ground: &Ground, workload: &Value, push: &PushMessage) -> bool {
    let template = ground.get(workload).await["spec"]["template"]["metadata"]["annotations"].clone();
    let record = template["pushroll.dev/pushes"].as_str().unwrap_or_default();
    record.contains(&format!("\"message_id\":\"{}\"", push.id))
}

async fn the_account_may_change_annotations_and_nothing_else(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let mut workloads = [
        deployment(namespace, "web", &image),
        stateful_set(namespace, "web", &image),
        daemon_set(namespace, "web", &image),
    ];
    for workload in &mut workloads {
        workload["metadata"]["annotations"] = json!({"pushroll.dev/cooldown": "1h", "team": "shop"});
        workload["metadata"]["labels"] = json!({"tier": "front"});
        workload["spec"]["template"]["metadata"]["annotations"] = json!({"team": "shop"});
        ground.create(workload).await;
    }
    let account = account(&ground).await;
    policy_in_force(&ground, &account, &workloads[0]).await;

    for workload in &workloads {
        let containers = |container: Value| json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let with = |field: &str, value: Value| {
            let mut container = workload["spec"]["template"]["spec"]["containers"][0].clone();
            container[field] = value;
            containers(container)
        };
        let secret = json!([{"name": "s", "secret": {"secretName": "tokens"}}]);
        let patches = [
            with("image", json!("registry.example/evil:1")),
            with("command", json!(["sh"])),
            with("env", json!([{"name": "A", "value": "b"}])),
            json!({"spec": {"template": {"spec": {"serviceAccountName": "admin"}}}}),
            json!({"spec": {"template": {"spec": {"volumes": secret}}}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "true"}}}}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"team": "other"}}}}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"team": null}}}}}),
            json!({"spec": {"template": {"metadata": {"labels": {"more": "x"}}}}}),
            json!({"spec": {"minReadySeconds": 7}}),
            json!({"spec": {"revisionHistoryLimit": 3}}),
            json!({"metadata": {"annotations": {"pushroll.dev/cooldown": null}}}),
            json!({"metadata": {"annotations": {"pushroll.dev/restart": "false"}}}),
            json!({"metadata": {"annotations": {"pushroll.dev/deferred": "{}"}}}),
            json!({"metadata": {"labels": {"pushroll.dev/deferred": "true"}}}),
            json!({"metadata": {"annotations": {"autopilot.gke.io": "x"}}}),
            json!({"metadata": {"annotations": {"autopilot.gke.io.example.com/x": "y"}}}),
            json!({"metadata": {"annotations": {"x.autopilot.gke.io/x": "y"}}}),
            json!({"metadata": {"annotations": {"autopilot.gke.io/x": "y", "team": "other"}}}),
            json!({"metadata": {"labels": {"autopilot.gke.io/x": "y"}}}),
            json!({"metadata": {"finalizers": ["autopilot.gke.io/x"]}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"autopilot.gke.io/x": "y"}}}}}),
            json!({"spec": {"template": {"metadata": {"labels": {"autopilot.gke.io/x": "y"}}}}}),
            json!({"metadata": {"labels": {"tier": null}}}),
            json!({"metadata": {"finalizers": ["example.com/held"]}}),
            json!({"spec": {"template": {"metadata": {"finalizers": ["example.com/held"]}}}}),
        ];
        for patch in &patches {
            let message = refused(&ground, &account, workload, patch).await;
            let message = message.unwrap_or_else(|| panic!("{} took {patch}", kubectl_name(workload)));
            assert!(message.contains("pushroll may change n"), "{patch}: {message}");
        }
    }

    // And all that pushroll does: a restart, a deferral inside the cooldown, a second push over it, and its end.
    let service = ground.service().arguments(["--deferred-poll", "100ms"]);
    let service = service.kubeconfig(&account.kubeconfig).user(&account.user).start_ready().await;
    let pushes = [new_push(&image), new_push(&image), new_push(&image)];
    for (message, expected) in pushes.iter().zip(["restarted", "deferred", "deferred"]) {
        let answer = service.push(message).await;
        let outcome = answer.json()["outcome"].clone();
        assert_eq!((answer.status.as_u16(), outcome), (200, json!(expected)), "{}", answer.text());
    }
    for workload in &workloads {
        assert!(restarted_for(&ground, workload, &pushes[0]).await, "{}", kubectl_name(workload));
        // What waits stands in a ConfigMap of pushroll's own.
        let metadata = ground.get(workload).await["metadata"].clone();
        assert_eq!(without_following(&metadata), json!({"tier": "front"}), "{metadata}");
        assert!(metadata["annotations"]["pushroll.dev/deferred"].is_null(), "{metadata}");
        ground.patch(workload, "owner", json!({"metadata": {"annotations": {"pushroll.dev/cooldown": null}}})).await;
    }
    for workload in &workloads {
        let is_done = async || restarted_for(&ground, workload, &pushes[2]).await.then_some(());
        eventually("the newest of what waited is done", is_done).await;
        let metadata = ground.get(workload).await["metadata"].clone();
        assert_eq!(without_following(&metadata), json!({"tier": "front"}));
    }
}

/// The labels, without the one by which a rollout is followed, until it has ended.
fn without_following(metadata: &Value) -> Value {
    let mut labels = metadata["labels"].clone();
    labels.as_object_mut().unwrap().remove("pushroll.dev/following");
    labels
}
