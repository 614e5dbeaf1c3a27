//! The chart on the API server, and the service under its account.

use serde_json::json;

use super::super::manifests::{BASE, CACHE, Manifests, run};
use super::super::permission::Roles;
use super::super::stage::new_push;
use super::chart::{CHART, helm, render, values};
use crate::support::control_plane::ADMIN;
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(what_helm_installs_restarts_workloads);
    suite.on_control_plane(a_chart_for_some_namespaces_restarts_those_alone);
}

/// The service as the Deployment describes it, under its account, when it is ready.
async fn serve(ground: &Ground, manifests: &Manifests, name: &str) -> Service {
    let pod = &manifests.get("Deployment", name)["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], name);
    let _ = Roles::of(ground, &manifests.objects, ground.namespace(), name).await;
    let account = ground.log_in(ground.namespace(), name).await;
    let container = &pod["containers"][0];
    // These tests push without a token.
    let of_tokens = |name: &str| ["PUSHROLL_AUDIENCE", "PUSHROLL_SERVICE_ACCOUNT"].contains(&name);
    let environment = manifests.environment(container);
    let environment = environment.iter().filter(|(name, _)| !of_tokens(name));
    let environment: Vec<_> = environment.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut service = ground.service().environment(&environment).kubeconfig(&account.kubeconfig).user(&account.user);
    let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    for argument in arguments.skip_while(|argument| *argument == "serve") {
        service = match argument.split_once('=') {
            Some((flag, value)) => service.arguments([flag, value]),
            None => service.arguments([argument]),
        };
    }
    service.start_ready().await
}

/// Installed by Helm itself, with all that Kubernetes itself knows.
async fn what_helm_installs_restarts_workloads(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let kubectl = |arguments: &[&str]| run(ground.real().kubectl_as(ADMIN).args(arguments)).stdout;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", namespace, restricted]);
    let elsewhere = ground.another_namespace("shop").await;
    let workload = deployment(&elsewhere, "web", &image);
    ground.create(&workload).await;

    let everything = "networkPolicy.enabled=true,admissionPolicy.enabled=true,priorityLevel.enabled=true,\
        refresh.enabled=true,refreshMounts=true,notify.sinks[0].name=chat,notify.sinks[0].kind=slack,\
        notify.sinks[0].secretName=chat";
    let in_namespace = ["--namespace", namespace];
    let mut install = helm(&ground);
    install.args(["install", namespace, CHART, "--values", &values(BASE), "--set", everything]).args(in_namespace);
    // The pods are ready: the namespace admits them.
    let said = run(install.args(["--wait", "--timeout", "60s"]));
    assert!(!said.stderr.to_lowercase().contains("warn"), "{}", said.stderr);
    let manifests =
        Manifests::parse(&run(helm(&ground).args(["get", "manifest", namespace]).args(in_namespace)).stdout);

    let service = serve(&ground, &manifests, &format!("pushroll-{namespace}")).await;
    let answer = service.push(&new_push(&image)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    assert_eq!(ground.generation(&workload).await, 2);
    let cache = format!("/api/v1/namespaces/{namespace}/configmaps/deployment-image-cache-{namespace}");
    eventually("its cache is written", async || ground.cache_document_at(&cache).await).await;
    drop(service);

    let refresher = format!("pushroll-refresher-{namespace}");
    let _ = Roles::of(&ground, &manifests.objects, namespace, &refresher).await;
    let account = ground.log_in(namespace, &refresher).await;
    let ran = manifests.run_container(manifests.container_of_job(&format!("pushroll-refresh-{namespace}")), &account);
    let ran = ran.await;
    assert_eq!(ran.code, 0, "{ran:?}");

    // All that it installed goes, and what pushroll wrote stays for the next one.
    run(helm(&ground).args(["uninstall", namespace, "--wait"]).args(in_namespace));
    let mut kinds: Vec<_> = manifests.objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let label = format!("app.kubernetes.io/instance={namespace}");
    let left = kubectl(&["get", &kinds.join(","), "--all-namespaces", "--selector", &label, "--output", "name"]);
    assert_eq!(left, "");
    assert!(ground.request("GET", &cache, None).await.is_ok());
}

/// One of them its own, where the Roles for the workloads and for the cache are the same.
async fn a_chart_for_some_namespaces_restarts_those_alone(ground: Ground) {
    let (own, image) = (ground.namespace(), ground.image("web"));
    let (shop, other) = (ground.another_namespace("shop").await, ground.another_namespace("other").await);
    let workloads = [own, &shop, &other].map(|namespace| deployment(namespace, "web", &image));
    for workload in &workloads {
        ground.create(workload).await;
    }
    let namespaces = format!("namespaces={{{own},{shop}}}");
    let manifests = render(&ground, "pushroll", own, &["--values", &values(BASE), "--set", &namespaces]);
    assert!(manifests.objects.iter().all(|object| !object["kind"].as_str().unwrap().starts_with("Cluster")));
    manifests.apply(&ground);

    let service = serve(&ground, &manifests, "pushroll").await;
    let answer = service.push(&new_push(&image)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    let mut generations = Vec::new();
    for workload in &workloads {
        generations.push(ground.generation(workload).await);
    }
    assert_eq!(generations, [2, 2, 1]);
    let cache = format!("/api/v1/namespaces/{own}/configmaps/{CACHE}");
    eventually("its cache is written", async || ground.cache_document_at(&cache).await).await;
}
