//! Through a real `kube::Client`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::*;

fn deployment(name: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "registry.example/web:v1"}]},
            },
        },
    }))
    .unwrap()
}

async fn with_web() -> (EmbeddedKubernetes, Api<Deployment>) {
    let kubernetes = EmbeddedKubernetes::new();
    let deployments: Api<Deployment> = Api::default_namespaced(kubernetes.client_as("tester"));
    deployments.create(&PostParams::default(), &deployment("web")).await.unwrap();
    (kubernetes, deployments)
}

async fn patch(deployments: &Api<Deployment>, patch: Value) -> kube::Result<Deployment> {
    deployments
        .patch(
            "web",
            &PatchParams { field_manager: Some("ours".to_owned()), ..Default::default() },
            &Patch::Merge(patch),
        )
        .await
}

fn restart(at: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}}})
}

fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> Status {
    match result {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("expected a Status, got {other:?}"),
    }
}

fn version(deployment: &Deployment) -> (i64, String) {
    (deployment.metadata.generation.unwrap(), deployment.metadata.resource_version.clone().unwrap())
}

#[tokio::test]
async fn a_creation_is_defaulted_and_numbered() {
    let (_kubernetes, deployments) = with_web().await;
    let web = deployments.get("web").await.unwrap();
    let spec = web.spec.unwrap();
    assert_eq!(web.metadata.generation, Some(1));
    assert_eq!(web.metadata.uid.unwrap().len(), 36);
    assert_eq!(spec.replicas, Some(1));
    assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("RollingUpdate"));
    assert_eq!(spec.template.spec.unwrap().containers[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
}

#[tokio::test]
async fn an_identical_patch_writes_nothing() {
    let (_kubernetes, deployments) = with_web().await;
    let once = patch(&deployments, restart("1")).await.unwrap();
    let twice = patch(&deployments, restart("1")).await.unwrap();
    assert_eq!(once, twice);
    let thrice = patch(&deployments, restart("2")).await.unwrap();
    assert_eq!(version(&thrice).0, 3);
    assert_ne!(version(&thrice).1, version(&once).1);
}

#[tokio::test]
async fn annotations_of_a_deployment_raise_its_generation_and_labels_do_not() {
    let (_kubernetes, deployments) = with_web().await;
    let labelled = patch(&deployments, json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    assert_eq!(version(&labelled).0, 1);
    let annotated = patch(&deployments, json!({"metadata": {"annotations": {"a": "b"}}})).await.unwrap();
    assert_eq!(version(&annotated).0, 2);
}

#[tokio::test]
async fn a_stale_revision_is_a_conflict_in_kubernetes_own_words() {
    let (_kubernetes, deployments) = with_web().await;
    let mut body = restart("1");
    body["metadata"]["resourceVersion"] = json!("1");
    let status = refused(patch(&deployments, body).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
}

#[tokio::test]
async fn a_denied_workload_is_refused_as_a_policy_does() {
    let (kubernetes, deployments) = with_web().await;
    kubernetes.deny("default", None, "not on fridays");
    let status = refused(patch(&deployments, restart("1")).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'embedded-policy' with binding 'embedded-policy' denied \
         request: not on fridays"
    );
    kubernetes.lift_denials();
    patch(&deployments, restart("1")).await.unwrap();
}

#[tokio::test]
async fn lists_come_in_pages() {
    let (_kubernetes, deployments) = with_web().await;
    for name in ["api", "db"] {
        deployments.create(&PostParams::default(), &deployment(name)).await.unwrap();
    }
    let page = deployments.list(&ListParams::default().limit(2)).await.unwrap();
    let names = |list: &kube::api::ObjectList<Deployment>| {
        list.items.iter().filter_map(|item| item.metadata.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&page), ["api", "db"]);
    assert_eq!(page.metadata.remaining_item_count, Some(1));
    let rest = ListParams::default().limit(2).continue_token(&page.metadata.continue_.unwrap());
    let rest = deployments.list(&rest).await.unwrap();
    assert_eq!(names(&rest), ["web"]);
    assert_eq!(rest.metadata.continue_, None);
    let selected = deployments.list(&ListParams::default().labels("app in (db,web)")).await.unwrap();
    assert_eq!(names(&selected), ["db", "web"]);
}

#[tokio::test]
async fn config_maps_have_their_limits() {
    let kubernetes = EmbeddedKubernetes::new();
    let config_maps: Api<ConfigMap> = Api::default_namespaced(kubernetes.client());
    let config_map = |bytes: usize| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "cache"}, "data": {"a": "x".repeat(bytes)}})).unwrap()
    };
    let status = refused(config_maps.create(&PostParams::default(), &config_map(1024 * 1024 + 1)).await);
    assert_eq!(status.message, "ConfigMap \"cache\" is invalid: []: Too long: may not be more than 1048576 bytes");
    assert_eq!(refused(config_maps.create(&PostParams::default(), &config_map(3 * 1024 * 1024)).await).code, 413);
    config_maps.create(&PostParams::default(), &config_map(1024 * 1024)).await.unwrap();
    assert_eq!(refused(config_maps.create(&PostParams::default(), &config_map(1)).await).reason, "AlreadyExists");
}

#[tokio::test]
async fn calls_are_told_by_user_as_the_audit_log_names_them() {
    let (kubernetes, deployments) = with_web().await;
    patch(&deployments, restart("1")).await.unwrap();
    deployments.list(&ListParams::default()).await.unwrap();
    Api::<Deployment>::all(kubernetes.client()).list(&ListParams::default()).await.unwrap();
    deployments.get_status("web").await.unwrap();
    kubernetes.client_as("tester").apiserver_version().await.unwrap();
    let calls = kubernetes.api_calls("tester");
    let told: Vec<_> =
        calls.iter().map(|call| (call.verb.as_str(), call.resource.as_str(), call.name.as_deref())).collect();
    let expected = [
        ("create", "deployments", None),
        ("patch", "deployments", Some("web")),
        ("list", "deployments", None),
        ("get", "deployments/status", Some("web")),
        ("get", "", None),
    ];
    assert_eq!(told, expected);
    assert_eq!(calls[1].uri, "/apis/apps/v1/namespaces/default/deployments/web?&fieldManager=ours");
    assert_eq!(kubernetes.api_calls("anonymous").len(), 1);
}

#[tokio::test]
async fn an_outage_holds_or_refuses_every_request() {
    let (kubernetes, deployments) = with_web().await;
    kubernetes.set_outage(Some(Outage::Status(503)));
    assert_eq!(refused(deployments.get("web").await).reason, "ServiceUnavailable");

    kubernetes.set_outage(Some(Outage::Hang));
    let held = tokio::spawn(async move { deployments.get("web").await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!held.is_finished());
    kubernetes.set_outage(None);
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_clock_can_be_set_off() {
    let kubernetes = EmbeddedKubernetes::new().with_clock_offset(SignedDuration::from_hours(24));
    let request = http::Request::get("/version").body(axum::body::Body::empty()).unwrap();
    let response = kubernetes.router().oneshot(request).await.unwrap();
    let date = response.headers()["date"].to_str().unwrap();
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    let ahead = date.duration_since(Timestamp::now());
    assert!((ahead - SignedDuration::from_hours(24)).abs() < SignedDuration::from_secs(5), "{ahead}");
}

#[tokio::test]
async fn it_can_be_served_on_a_socket() {
    let kubernetes = EmbeddedKubernetes::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(kubernetes.serve(listener, async {
        stopped.await.ok();
    }));
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
    drop(client);
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
