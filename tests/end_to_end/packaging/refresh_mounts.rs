//! Telling the pods that mount the cache of its changes: the service and the CronJob, each as its own account.

use serde_json::{Value, json};

use super::manifests::{CACHE, Manifests, NAMESPACE};
use super::permission::{Permission, Roles};
use crate::chain::rebuild;
use crate::mount_refresh::{create_pod, pod, told};
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(who_refreshes_mounts_may_what_it_needs);
}

const SETTINGS: &str = "pushroll-settings";

async fn who_refreshes_mounts_may_what_it_needs(ground: Ground) {
    let namespace = ground.namespace();
    let rendered = Manifests::render(&ground, "overlays/refresh-mounts").moved(&ground, &[(NAMESPACE, namespace)]);
    // The pods of the base are found by what they mount.
    let template = rendered.pod_template();
    let mounted = &template["spec"]["volumes"][0]["configMap"]["name"];
    assert_eq!(template["metadata"]["labels"]["pushroll.dev/mounts"], *mounted);
    assert_eq!(*mounted, CACHE);
    let settings = rendered.of_kind("ConfigMap").find(|one| one["metadata"]["name"].to_string().contains(SETTINGS));
    assert_eq!(settings.unwrap()["data"]["PUSHROLL_REFRESH_MOUNTS"], "true");
    // By a role of its own it may list all pods, which is not needed here.
    let of_all_pods = |object: &Value| object["metadata"]["name"].to_string().contains("pod-reader");
    let manifests = rendered.only(|object| object["kind"] != "Deployment" && !of_all_pods(object));
    manifests.apply(&ground);
    let reader = pod(namespace, "reader", Some(CACHE));
    create_pod(&ground, &reader).await;

    let change = async |name: &str| {
        ground.create(&deployment(namespace, name, &ground.image(name))).await;
        told(&ground, &reader).await
    };
    let told_since = async |before: Value| {
        let is_told = async || (told(&ground, &reader).await != before).then_some(());
        eventually("the pod is told", is_told).await;
    };
    // The service.
    let account = ground.log_in(namespace, "pushroll").await;
    let roles = Roles::of(&ground, &manifests.objects, namespace, "pushroll").await;
    let service = ground.service().environment(&[("PUSHROLL_REFRESH_MOUNTS", "true")]);
    let service = service.arguments(["--namespaces", namespace]).kubeconfig(&account.kubeconfig).user(&account.user);
    let service = service.start_ready().await;
    told_since(Value::Null).await;
    for (number, permission) in of_pods(&roles).iter().enumerate() {
        roles.take(permission).await;
        change(&format!("service-{number}")).await;
        assert_eq!(rebuild(&service).await["result"], "changed", "without {permission:?}");
        let sentence = permission.missed_by(&account.user);
        let says = |status: &Value| status["mount_refresh"]["error"].as_str().is_some_and(|it| it.contains(&sentence));
        service.wait_for_status(&sentence, says).await;
        roles.give_back(permission).await;
        let before = change(&format!("service-{number}-again")).await;
        assert_eq!(rebuild(&service).await["result"], "changed");
        told_since(before).await;
    }
    drop(service);

    // The CronJob.
    let account = ground.log_in(namespace, "pushroll-refresher").await;
    let roles = Roles::of(&ground, &manifests.objects, namespace, "pushroll-refresher").await;
    let arguments = ["rebuild", "--namespaces", namespace];
    let run = async || account.run_with(&arguments, &[("PUSHROLL_REFRESH_MOUNTS", "true")]).await;
    for (number, permission) in of_pods(&roles).iter().enumerate() {
        roles.take(permission).await;
        change(&format!("job-{number}")).await;
        let ran = run().await;
        assert_eq!((ran.code, ran.stdout.as_str()), (1, "changed\n"), "it is written: {ran:?}");
        assert!(ran.stderr.contains(&permission.missed_by(&account.user)), "without {permission:?}: {ran:?}");
        roles.give_back(permission).await;
        let before = change(&format!("job-{number}-again")).await;
        let ran = run().await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
        told_since(before).await;
    }
    for (verb, resource) in [("get", "pods"), ("delete", "pods"), ("create", "pods"), ("patch", "pods/status")] {
        let [verb, resource, group, name] = [verb, resource, "", ""].map(str::to_owned);
        let permission = Permission { verb, resource, group, name, namespace: namespace.to_owned() };
        assert!(!roles.account.may(&ground, &permission).await, "{permission:?}");
    }
}

/// What it may with pods, and it is this.
fn of_pods(roles: &Roles) -> Vec<Permission> {
    let mut permissions = roles.permissions();
    permissions.retain(|permission| permission.resource == "pods");
    let granted: Vec<_> = permissions.iter().map(Permission::verb_and_resource).collect();
    assert_eq!(json!(granted), json!(["list pods", "patch pods"]));
    permissions
}
