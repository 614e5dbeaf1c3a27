//! The version before reads what this version writes.

use serde_json::{Value, json};

use super::readers_of_before::{self as before, Digest, Document};
use super::recorded::recorded;
use crate::support::documents::assert_restarted;
use crate::support::fixtures::{PushMessage, config_map, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::wait::eventually;

/// A pod of two images.
fn two_images(ground: &Ground, mut workload: Value) -> Value {
    let sidecar = json!({"name": "sidecar", "image": ground.image("sidecar"), "imagePullPolicy": "Always"});
    workload["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    workload
}

/// `web` and `store` run the sidecar, too.
fn workloads(ground: &Ground) -> [Value; 3] {
    let namespace = ground.namespace();
    [
        two_images(ground, deployment(namespace, "web", &ground.image("web"))),
        two_images(ground, stateful_set(namespace, "store", &ground.image("store"))),
        daemon_set(namespace, "agent", &ground.image("agent")),
    ]
}

pub(super) async fn the_version_before_reads_the_record(ground: Ground) {
    let workloads = workloads(&ground);
    for workload in &workloads {
        ground.create(workload).await;
    }
    let service = ground.service().arguments(["--namespaces", ground.namespace(), "--hold", "60s"]).start_ready().await;
    let pushed = ["web", "store", "agent", "sidecar"].map(|name| PushMessage::now(&ground.image(name), 0xa1));
    for push in &pushed {
        assert_restarted(&service.push(push).await);
    }
    for (workload, images) in workloads.iter().zip([2, 2, 1]) {
        let now = ground.get(workload).await;
        let (record, _) = before::record(&now);
        assert_eq!(record.len(), images, "{now}");
        for (image, found) in &record {
            let push = pushed.iter().find(|push| push.image == *image).unwrap();
            assert_eq!(found.digest, Some(Digest(push.digest.clone())), "{now}");
            assert_eq!(
                found.published.map(|time| time.as_millisecond()),
                Some(push.published.as_millisecond()),
                "{now}"
            );
            assert_eq!(found.message_id.as_ref(), Some(&push.id), "{now}");
        }
    }
}

fn cache(ground: &Ground) -> Value {
    config_map(ground.namespace(), "deployment-image-cache", "cache.json", "")
}

/// What the workloads' images are, by a document.
fn assert_lists_all(ground: &Ground, document: &Document) {
    for (image, expected) in [
        ("web", &["Deployment/web"][..]),
        ("store", &["StatefulSet/store"]),
        ("agent", &["DaemonSet/agent"]),
        ("sidecar", &["StatefulSet/store", "Deployment/web"]),
    ] {
        assert_eq!(document.who_runs(&ground.image(image)), expected, "{document:?}");
    }
    assert!(document.as_of.is_some(), "{document:?}");
    let namespaces = document.scope.as_ref().and_then(|scope| scope.namespaces.clone());
    assert_eq!(namespaces, Some(vec![ground.namespace().to_owned()]), "{document:?}");
}

pub(super) async fn the_version_before_reads_the_document(ground: Ground) {
    for workload in &workloads(&ground) {
        ground.create(workload).await;
    }
    let user = ground.fresh_user();
    let rebuild = async || {
        let ran = ground.run_as(&user, &["rebuild", "--namespaces", ground.namespace()]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
        ground.get(&cache(&ground)).await
    };
    let plain = rebuild().await;
    assert!(plain["data"]["cache.json"].is_string(), "{plain}");
    assert_lists_all(&ground, &Document::of(&plain));

    let mut large = deployment(ground.namespace(), "large", "replaced");
    let containers: Vec<Value> = (0..2000)
        .map(|number| json!({"name": format!("c-{number}"), "image": ground.image(&format!("{}-{number}", "long".repeat(30)))}))
        .collect();
    large["spec"]["replicas"] = json!(0);
    large["spec"]["template"]["spec"]["containers"] = containers.into();
    ground.create(&large).await;
    let gzip = rebuild().await;
    assert!(gzip["binaryData"]["cache.json.gz"].is_string(), "{gzip}");
    let document = Document::of(&gzip);
    assert_lists_all(&ground, &document);
    assert_eq!(document.images.len(), 2004);
}

pub(super) async fn the_version_before_reads_versions_of_the_cache_and_the_lease(ground: Ground) {
    for workload in &workloads(&ground) {
        ground.create(workload).await;
    }
    let rebuild = ["rebuild", "--immutable", "--namespaces", ground.namespace(), "-o", "name"];
    let ran = ground.run_as(&ground.fresh_user(), &rebuild).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let version = ground.get(&config_map(ground.namespace(), ran.stdout.trim_end(), "", "")).await;
    assert_eq!(before::version(&version).0, "deployment-image-cache");
    assert_lists_all(&ground, &Document::of(&version));

    let service = ground.service().arguments(["--namespaces", ground.namespace(), "--watch"]).start_ready().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    ground.create(&deployment(ground.namespace(), "late", &ground.image("late"))).await;
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/deployment-image-cache", ground.namespace());
    let taken = eventually("the Lease is taken", async || ground.request("GET", &path, None).await.ok()).await;
    let (holder, seconds) = before::lease(&taken);
    assert!(!holder.is_empty() && seconds > 0, "{taken}");
    let listed = async || {
        let document = Document::of(&ground.request("GET", &config_map_path(&ground), None).await.ok()?);
        (document.who_runs(&ground.image("late")) == ["Deployment/late"]).then_some(document)
    };
    assert_lists_all(&ground, &eventually("the document has it", listed).await);
}

fn config_map_path(ground: &Ground) -> String {
    crate::support::ground::object_path(&cache(ground))
}

/// Else the tests above would show nothing.
pub(super) async fn the_readers_of_before_read_what_was_recorded() {
    let (record, restarted_at) = before::record(&recorded("StatefulSet"));
    let expected = [("sidecar", "a2"), ("store", "a1")];
    assert_eq!(record.len(), expected.len());
    for (name, byte) in expected {
        let push = &record[&format!("registry.example/formats-before/{name}:1")];
        assert_eq!(push.digest, Some(Digest(format!("sha256:{}", byte.repeat(32)))));
        assert!(push.published.is_some_and(|published| published.as_second() <= restarted_at.as_second()));
        assert!(push.message_id.is_some());
    }
    for (form, images) in [("cache, plain", 4), ("cache, gzip", 2004), ("cache, version", 4)] {
        let document = Document::of(&recorded(form));
        assert_eq!(document.images.len(), images, "{form}");
        let sidecars = document.who_runs("registry.example/formats-before/sidecar:1");
        assert_eq!(sidecars, ["StatefulSet/store", "Deployment/web"], "{form}");
    }
    assert_eq!(before::version(&recorded("cache, version")).0, "deployment-image-cache");
    assert_eq!(before::lease(&recorded("Lease")).1, 15);

    // Fields that this version has added, or may add, in a record and in a document.
    let text = r#"{"web:1": {"digest": null, "message_id": "7", "restarted_at": "2026-11-27T16:19:32Z"}}"#;
    let record: before::Record = serde_json::from_str(text).unwrap();
    assert_eq!(record["web:1"].message_id.as_deref(), Some("7"));
    let text = r#"{"version": 1, "parts": [{"kind": "Deployment", "as_of": "2026-11-27T16:19:32Z"}],
        "images": {"web:1": [{"name": "web", "namespace": "shop", "later": 1}]}}"#;
    let document = Document::of(&json!({"data": {"cache.json": text}}));
    assert!(document.as_of.is_none() && document.scope.is_none(), "it proves nothing");
    assert_eq!(document.who_runs("web:1"), ["Deployment/web"]);
}
