//! `--refresh-mounts`: the pods that mount the cache are told of each change, once, and of nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::chain::rebuild;
use crate::support::command::run_with;
use crate::support::documents::scanned_document;
use crate::support::fixtures::{collection, config_map, deployment};
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(the_pods_that_mount_the_cache_are_told_of_a_change);
    suite.on_both(a_head_that_is_renewed_is_not_told_to_pods);
    suite.on_both(with_a_watch_pods_are_told_of_a_change);
    suite.on_both(replicas_do_not_tell_pods_for_ever);
    suite.on_both(pods_that_cannot_be_told_are_said_once);
    suite.on_both(rebuild_tells_pods_of_a_change);
}

const CACHE: &str = "deployment-image-cache";
const TOLD: &str = "pushroll.dev/cache-refreshed";

/// A pod that waits to be scheduled for ever: nobody but the test changes it.
pub fn pod(namespace: &str, name: &str, mounts: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": mounts.map_or_else(|| json!({}), |cache| json!({"pushroll.dev/mounts": cache})),
        },
        "spec": {
            "containers": [{"name": "main", "image": "registry.example/reader:1", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            }}],
            // As the namespace of `deploy/` has it.
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "schedulingGates": [{"name": "pushroll.dev/test"}],
        },
    })
}

pub async fn create_pod(ground: &Ground, pod: &Value) {
    // A new namespace has no service account for its pods yet.
    let create = async || match ground.request("POST", &collection(pod), Some(pod.clone())).await {
        Err(kube::Error::Api(status)) if status.message.contains("serviceaccount") => None,
        created => Some(created.unwrap()),
    };
    eventually("there is a service account", create).await;
}

pub async fn told(ground: &Ground, pod: &Value) -> Value {
    ground.get(pod).await["metadata"]["annotations"][TOLD].clone()
}

/// Two pods that mount the cache.
async fn readers(ground: &Ground) -> [Value; 2] {
    let readers = ["reader-1", "reader-2"].map(|name| pod(ground.namespace(), name, Some(CACHE)));
    for reader in &readers {
        create_pod(ground, reader).await;
    }
    readers
}

/// The resourceVersion of the cache.
async fn version(ground: &Ground) -> Option<Value> {
    let path = format!("{}/{CACHE}", collection(&config_map(ground.namespace(), CACHE, "", "")));
    Some(ground.request("GET", &path, None).await.ok()?["metadata"]["resourceVersion"].clone())
}

/// Waits until these pods are told of the cache as it is now.
async fn wait_until_told(ground: &Ground, pods: &[Value]) -> Value {
    eventually("the pods are told", async || {
        let version = version(ground).await?;
        for pod in pods {
            if told(ground, pod).await != version {
                return None;
            }
        }
        Some(version)
    })
    .await
}

async fn change(ground: &Ground, name: &str) {
    ground.create(&deployment(ground.namespace(), name, &ground.image(name))).await;
}

/// `verb name` of a user's calls about pods.
fn pod_calls(ground: &Ground, user: &str) -> Vec<String> {
    let calls = ground.api_calls(user).into_iter().filter(|call| call.resource == "pods");
    let calls = calls.inspect(|call| assert_eq!(call.namespace.as_deref(), Some(ground.namespace()), "{call:?}"));
    let mut calls: Vec<_> = calls.map(|call| format!("{} {}", call.verb, call.name.unwrap_or_default())).collect();
    calls.sort();
    calls
}

const ONE_CHANGE: [&str; 3] = ["list ", "patch reader-1", "patch reader-2"];

async fn start(ground: &Ground) -> Service {
    ground.service().arguments(["--namespaces", ground.namespace(), "--refresh-mounts"]).start_ready().await
}

async fn the_pods_that_mount_the_cache_are_told_of_a_change(ground: Ground) {
    let namespace = ground.namespace();
    let readers = readers(&ground).await;
    let elsewhere = ground.another_namespace("elsewhere").await;
    let finished = pod(namespace, "finished", Some(CACHE));
    let mut others = vec![
        pod(namespace, "of-another-cache", Some("another-cache")),
        pod(namespace, "unlabelled", None),
        pod(&elsewhere, "elsewhere", Some(CACHE)),
        finished.clone(),
    ];
    let mut ending = pod(namespace, "ending", Some(CACHE));
    ending["metadata"]["finalizers"] = json!(["pushroll.dev/test"]);
    // The embedded API has no finalizers: there a pod that is deleted is gone.
    if ground.is_control_plane() {
        others.push(ending.clone());
    }
    for other in &others {
        create_pod(&ground, other).await;
    }
    let status = format!("{}/finished/status", collection(&finished));
    ground.request("PATCH", &status, Some(json!({"status": {"phase": "Succeeded"}}))).await.unwrap();
    if ground.is_control_plane() {
        ground.delete(&ending).await;
        assert!(ground.get(&ending).await["metadata"]["deletionTimestamp"].is_string());
    }

    let service = start(&ground).await;
    let first = wait_until_told(&ground, &readers).await;
    assert_eq!(pod_calls(&ground, &service.user), ONE_CHANGE);
    for _ in 0..3 {
        assert_eq!(rebuild(&service).await["result"], "unchanged");
    }
    change(&ground, "web").await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    let second = wait_until_told(&ground, &readers).await;
    assert_ne!(first, second);
    let twice: Vec<_> = ONE_CHANGE.iter().flat_map(|call| [*call, *call]).collect();
    assert_eq!(pod_calls(&ground, &service.user), twice, "of two changes, and nothing between them");
    for other in &others {
        assert_eq!(told(&ground, other).await, Value::Null, "{}", other["metadata"]["name"]);
    }
    let done = |status: &Value| status["mount_refresh"]["pods"] == 2 && status["mount_refresh"].get("error").is_none();
    service.wait_for_status("the status shows it", done).await;
    ground.patch(&readers[0], "somebody", json!({"metadata": {"labels": {"pushroll.dev/mounts": null}}})).await;
    change(&ground, "other").await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    wait_until_told(&ground, &readers[1..]).await;
    assert_eq!(told(&ground, &readers[0]).await, second, "it mounts the cache no more");

    let without = ground.service().arguments(["--namespaces", namespace]).start_ready().await;
    change(&ground, "third").await;
    assert_eq!(rebuild(&without).await["result"], "changed");
    assert_eq!(without.status().await.get("mount_refresh"), None);
    assert_eq!(pod_calls(&ground, &without.user), [""; 0], "off by default");
}

async fn a_head_that_is_renewed_is_not_told_to_pods(ground: Ground) {
    let readers = readers(&ground).await;
    let (web, image) = (deployment(ground.namespace(), "web", &ground.image("web")), ground.image("web"));
    ground.create(&web).await;
    let old = Timestamp::now() - SignedDuration::from_hours(1);
    let document = scanned_document(old, Some(&[ground.namespace()]), &[(&image, &[&web])]);
    ground.create(&config_map(ground.namespace(), CACHE, "cache.json", &document.to_string())).await;
    let before = version(&ground).await;
    let service = start(&ground).await;
    assert_eq!(rebuild(&service).await["result"], "unchanged");
    assert_ne!(version(&ground).await, before, "its head was renewed");
    // What was told of would be told by now: changes are told in their order.
    change(&ground, "other").await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    wait_until_told(&ground, &readers).await;
    assert_eq!(pod_calls(&ground, &service.user), ONE_CHANGE);
}

async fn with_a_watch_pods_are_told_of_a_change(ground: Ground) {
    let readers = readers(&ground).await;
    let arguments = ["--namespaces", ground.namespace(), "--refresh-mounts", "--watch"];
    let service = ground.service().arguments(arguments).start_ready().await;
    let first = wait_until_told(&ground, &readers).await;
    change(&ground, "web").await;
    let told_again = async || (wait_until_told(&ground, &readers).await != first).then_some(());
    eventually("the pods are told again", told_again).await;
    drop(service);
}

async fn replicas_do_not_tell_pods_for_ever(ground: Ground) {
    let readers = readers(&ground).await;
    let replicas = [start(&ground).await, start(&ground).await, start(&ground).await];
    let first = wait_until_told(&ground, &readers).await;
    let calls = || -> Vec<String> { replicas.iter().flat_map(|replica| pod_calls(&ground, &replica.user)).collect() };
    let of_reader = |calls: &[String]| calls.iter().filter(|call| *call == "patch reader-1").count();
    let before = calls();
    assert_eq!(of_reader(&before), 1, "one of them has created the cache: {before:?}");

    change(&ground, "web").await;
    let [one, two, three] = &replicas;
    let results = tokio::join!(rebuild(one), rebuild(two), rebuild(three));
    let results = [&results.0["result"], &results.1["result"], &results.2["result"]];
    let writers = results.iter().filter(|result| **result == "changed").count();
    assert!(writers >= 1, "{results:?}");
    assert_ne!(wait_until_told(&ground, &readers).await, first);
    // Many rounds later, each with a look at the ConfigMap and a scan.
    for _ in 0..5 {
        for replica in &replicas {
            assert_ne!(rebuild(replica).await["result"], "changed");
        }
    }
    let after = calls();
    let times = of_reader(&after) - of_reader(&before);
    assert!((1..=writers).contains(&times), "{times} times by {writers} writers: {after:?}");
}

async fn pods_that_cannot_be_told_are_said_once(ground: Ground) {
    let readers = readers(&ground).await;
    let refused = Arc::new(AtomicBool::new(true));
    let rule = Arc::clone(&refused);
    let proxy = ApiProxy::start(&ground, move |request| {
        let is_refused = rule.load(Ordering::Relaxed) && request.method == Method::PATCH;
        let passage = if is_refused && request.uri.contains("/pods/reader-1?") {
            Passage::Refuse(403, "User \"u\" cannot patch resource \"pods\"")
        } else {
            Passage::Forward
        };
        async move { passage }
    });
    let arguments = ["--namespaces", ground.namespace(), "--refresh-mounts"];
    let service = ground.service().arguments(arguments).through(&proxy.await).start_ready().await;
    let says = "1 of 2 pods that mount the ConfigMap";
    let is_said = |status: &Value| status["mount_refresh"]["error"].to_string().contains(says);
    let status = service.wait_for_status("the error is shown", is_said).await;
    let error = status["mount_refresh"]["error"].as_str().unwrap();
    assert!(error.contains("reader-1") && error.contains("cannot patch resource"), "{error}");
    wait_until_told(&ground, &readers[1..]).await;
    change(&ground, "web").await;
    assert_eq!(rebuild(&service).await["result"], "changed", "the cache is written all the same");
    wait_until_told(&ground, &readers[1..]).await;
    assert_eq!(told(&ground, &readers[0]).await, Value::Null);

    refused.store(false, Ordering::Relaxed);
    change(&ground, "other").await;
    assert_eq!(rebuild(&service).await["result"], "changed");
    wait_until_told(&ground, &readers).await;
    let is_well = |status: &Value| status["mount_refresh"].get("error").is_none();
    service.wait_for_status("it is well again", is_well).await;
    assert_eq!(service.warned(says).await, 1, "one error is one warning");
}

async fn rebuild_tells_pods_of_a_change(ground: Ground) {
    let readers = readers(&ground).await;
    change(&ground, "web").await;
    let namespace = ground.namespace();
    let user = ground.fresh_user();
    let arguments = ["rebuild", "--namespaces", namespace, "--refresh-mounts"];
    let dry = ground.run_as(&user, &[&arguments[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry.code, dry.stdout.as_str()), (0, "changed\n"), "{dry:?}");
    assert_eq!(pod_calls(&ground, &user), [""; 0]);
    let ran = ground.run_as(&user, &arguments).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    assert!(ran.stderr.contains("2 pods that mount it were notified"), "{ran:?}");
    wait_until_told(&ground, &readers).await;
    let ran = ground.run_as(&user, &arguments).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "unchanged\n"), "{ran:?}");
    assert_eq!(pod_calls(&ground, &user), ONE_CHANGE);

    change(&ground, "other").await;
    let kubeconfig = ground.kubeconfig(&user);
    let kubeconfig = kubeconfig.to_str().unwrap();
    let arguments = ["rebuild", "--namespaces", namespace, "--kubeconfig", kubeconfig, "-o", "json"];
    let ran = run_with(&arguments, &[("PUSHROLL_REFRESH_MOUNTS", "true")], "").await.json();
    assert_eq!((&ran["result"], &ran["refreshed_pods"]), (&json!("changed"), &json!(2)), "{ran}");
    wait_until_told(&ground, &readers).await;
}
