//! This version reads what the version before has written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::recorded::{NAMESPACE, in_namespace_of, push_of, record, recorded, restore, workload_of};
use crate::support::documents::names;
use crate::support::fixtures::{PushMessage, config_map, deployment, result_of};
use crate::support::ground::Ground;
use crate::support::service::Service;
use crate::support::wait::eventually;

async fn service(ground: &Ground) -> Service {
    ground.service().arguments(["--namespaces", ground.namespace(), "--hold", "60s"]).start_ready().await
}

/// What a push comes to at a workload.
async fn code(service: &Service, push: &PushMessage, workload: &Value) -> String {
    let answer = service.push(push).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    result_of(&answer.json(), workload)["code"].as_str().unwrap().to_owned()
}

pub(super) async fn recorded_pushes_are_known(ground: Ground) {
    let workloads = ["Deployment", "StatefulSet", "DaemonSet"].map(|kind| workload_of(&ground, kind));
    for workload in &workloads {
        restore(&ground, workload).await;
    }
    let service = service(&ground).await;
    for workload in &workloads {
        for (image, recorded) in record(workload) {
            let same = push_of(&image, &recorded);
            assert_eq!(code(&service, &same, workload).await, "already_restarted", "{image}");
            let published = same.published - SignedDuration::from_millis(1);
            let older = PushMessage { id: "1".to_owned(), published, ..same };
            assert_eq!(code(&service, &older, workload).await, "newer_push_done", "{image}");
        }
        let now = ground.get(workload).await;
        assert_eq!(record(&now), record(workload), "{now}");
    }

    // The digest is read, too: it is a reason to look at the pods of the StatefulSet. Another digest rolls, and the other
    // image's record stays.
    let store = &workloads[1];
    let image = ground.image("store");
    let lists = || service.api_calls().iter().filter(|call| call.verb == "list" && call.resource == "pods").count();
    let status = json!({"status": {"observedGeneration": ground.generation(store).await, "replicas": 1, "readyReplicas": 1,
        "updatedReplicas": 1}});
    if !ground.is_control_plane() {
        let path = format!("{}/status", crate::support::ground::object_path(store));
        ground.request("PATCH", &path, Some(status)).await.unwrap();
        assert_eq!(lists(), 0);
    }
    assert_eq!(code(&service, &PushMessage::now(&image, 0xa1), store).await, "runs_image", "no pod shows that it runs");
    assert!(ground.is_control_plane() || lists() == 1);
    let newer = PushMessage::now(&image, 0xb1);
    assert_eq!(code(&service, &newer, store).await, "runs_image");
    let (before, after) = (record(store), record(&ground.get(store).await));
    assert_eq!(after[&image]["message_id"], newer.id);
    let sidecar = ground.image("sidecar");
    assert_eq!(after[&sidecar], before[&sidecar]);
}

/// What waited on a workload is not carried over: it is neither done nor in the way, and the same push delivered again
/// restarts the workload.
pub(super) async fn a_recorded_deferral_holds_nothing_up(ground: Ground) {
    let mut web = workload_of(&ground, "Deployment");
    let deferred = web["metadata"]["annotations"]["pushroll.dev/deferred"].as_str().unwrap();
    let deferred: Value = serde_json::from_str(deferred).unwrap();
    let sidecar = ground.image("sidecar");
    let push = push_of(&sidecar, &deferred[&sidecar]);
    // The recording may be younger than its cooldown.
    web["metadata"]["annotations"]["pushroll.dev/cooldown"] = json!("1s");
    restore(&ground, &web).await;
    let service = service(&ground).await;
    assert_eq!(code(&service, &push, &web).await, "runs_image");
    let after = record(&ground.get(&web).await);
    assert_eq!(after[&sidecar]["message_id"], push.id);
    let main = ground.image("web");
    assert_eq!(after[&main]["message_id"], record(&web)[&main]["message_id"]);
    assert_eq!(code(&service, &push, &web).await, "already_restarted");
}

/// With the commands of docs/upgrading.md.
pub(super) async fn what_is_left_of_deferrals_is_removed(ground: Ground) {
    let web = workload_of(&ground, "Deployment");
    restore(&ground, &web).await;
    let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/upgrading.md"));
    let commands: Vec<&str> = docs.lines().filter(|line| line.ends_with(" pushroll.dev/deferred-")).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let arguments = command.strip_prefix("kubectl ").unwrap();
        // The control plane is shared: in the test's own namespace.
        let arguments: Vec<&str> = arguments.split(' ').filter(|argument| *argument != "-A").collect();
        ground.kubectl(&arguments).await;
    }
    let metadata = ground.get(&web).await["metadata"].clone();
    for kind in ["annotations", "labels"] {
        assert!(metadata[kind]["pushroll.dev/deferred"].is_null(), "{metadata}");
    }
    assert_eq!(metadata["annotations"]["pushroll.dev/cooldown"], "1h");
}

/// The workloads that run `registry.example/NAMESPACE/sidecar:1` by the recorded documents.
const SIDECARS: [&str; 2] = ["formats-before/deployment/web", "formats-before/statefulset/store"];

pub(super) async fn recorded_documents_are_read_everywhere(ground: Ground) {
    let sidecar = format!("registry.example/{NAMESPACE}/sidecar:1");
    let user = ground.fresh_user();
    let mut volume = ground.volume();
    let directory = volume.directory().to_str().unwrap().to_owned();
    for form in ["cache, plain", "cache, gzip"] {
        let cache = in_namespace_of(&ground, &recorded(form));
        restore(&ground, &cache).await;
        match cache["data"]["cache.json"].as_str() {
            Some(text) => volume.show_file("cache.json", text),
            None => {
                let base64 = cache["binaryData"]["cache.json.gz"].as_str().unwrap();
                volume.show_file("cache.json.gz", STANDARD.decode(base64).unwrap());
            }
        }
        let through_api: &[&str] = &["lookup", &sidecar, "-o", "name"];
        let mounted = [through_api, &["--no-api", "--cache-dir", &directory]].concat();
        for arguments in [through_api, &mounted] {
            let ran = ground.run_as(&user, arguments).await;
            let mut found: Vec<&str> = ran.stdout.lines().collect();
            found.sort_unstable();
            assert_eq!((ran.code, found.as_slice()), (0, SIDECARS.as_slice()), "{form}: {ran:?}");
        }
        let check = ["check", "--namespaces", NAMESPACE, "--cache-dir", &directory, "-o", "json"];
        let ran = ground.run_as(&user, &check).await;
        let findings = ran.json()["findings"].clone();
        let codes: Vec<&str> =
            findings.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        assert_eq!(ran.code, 0, "{form}: {ran:?}");
        for code in ["valid", "fits", "mounted", "writable"] {
            assert!(codes.contains(&code), "{form}: {code} in {ran:?}");
        }

        // By `serve`: from the ConfigMap, and from the mount.
        let builder = || ground.service().arguments(["--namespaces", NAMESPACE]);
        let mount = volume.directory();
        for (tier, builder) in [("configmap", builder()), ("mount", builder().mount(mount))] {
            let service = builder.start_ready().await;
            let answer = service.lookup(&sidecar).await;
            let mut found = names(&answer);
            found.sort_unstable();
            assert_eq!(found, ["store", "web"], "{form}: {answer}");
            assert_eq!(answer["source"]["tier"], tier, "{form}: {answer}");
            let as_of = answer["source"]["as_of"].as_str().unwrap_or_else(|| panic!("{form}: {answer}"));
            assert!(as_of.starts_with("2026-11-27T16:"), "{form}: {answer}");
        }
        ground.delete(&cache).await;
    }
}

pub(super) async fn a_recorded_version_of_the_cache_is_the_current_one(ground: Ground) {
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    ground.request("POST", "/api/v1/namespaces", Some(namespace)).await.unwrap();
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        restore(&ground, &recorded(kind)).await;
    }
    let version = in_namespace_of(&ground, &recorded("cache, version"));
    restore(&ground, &version).await;
    let name = version["metadata"]["name"].as_str().unwrap();
    let rebuild = ["rebuild", "--immutable", "--namespaces", NAMESPACE];
    let ran = ground.run_as(&ground.fresh_user(), &rebuild).await;
    assert_eq!((ran.code, ran.stdout), (0, format!("unchanged\n{name}\n")), "{}", ran.stderr);
}

/// Its holder is gone: another replica takes it when it has seen no renewal for the recorded duration.
pub(super) async fn a_recorded_lease_is_taken_over(ground: Ground) {
    let lease = recorded("Lease");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", ground.namespace());
    let metadata = json!({"name": lease["metadata"]["name"]});
    let manifest =
        json!({"apiVersion": lease["apiVersion"], "kind": "Lease", "metadata": metadata, "spec": lease["spec"]});
    ground.request("POST", &leases, Some(manifest)).await.unwrap();
    let service = ground.service().arguments(["--namespaces", ground.namespace(), "--watch"]).start_ready().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let path = format!("{leases}/deployment-image-cache");
    let taken = async || {
        let now = ground.request("GET", &path, None).await.unwrap();
        (now["spec"]["holderIdentity"] != lease["spec"]["holderIdentity"]).then_some(())
    };
    eventually("the Lease has another holder", taken).await;
    let written =
        async || ground.cache_document().await.filter(|document| !document["images"][ground.image("web")].is_null());
    eventually("the document is written", written).await;
}

/// What the version after this one may add.
pub(super) async fn fields_of_a_later_version_are_ignored(ground: Ground) {
    let mut agent = workload_of(&ground, "DaemonSet");
    let image = ground.image("agent");
    let mut pushes = record(&agent);
    pushes[&image]["later"] = json!({"by": ["somebody"]});
    agent["spec"]["template"]["metadata"]["annotations"]["pushroll.dev/pushes"] =
        json!(Value::from(pushes.clone()).to_string());
    restore(&ground, &agent).await;
    let entry = json!({"name": "agent", "namespace": ground.namespace(), "kind": "DaemonSet", "later": [1]});
    let document = json!({"version": 1, "later": {"x": null}, "images": {&image: [entry]}});
    let cache = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &document.to_string());
    ground.create(&cache).await;
    let ran = ground.run_as(&ground.fresh_user(), &["lookup", &image, "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout), (0, format!("{}/daemonset/agent\n", ground.namespace())), "{}", ran.stderr);
    let service = service(&ground).await;
    assert_eq!(code(&service, &push_of(&image, &pushes[&image]), &agent).await, "already_restarted");
}
