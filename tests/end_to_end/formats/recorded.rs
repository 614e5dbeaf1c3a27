//! The recorded objects, and how they get into an API server again.

use serde_json::{Map, Value, json};

use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::waiting;

/// The namespace of the recorded workloads; their images are `registry.example/NAMESPACE/NAME:1`.
pub(super) const NAMESPACE: &str = "formats-before";

const FILES: [(&str, &str); 7] = [
    ("Deployment", include_str!("before/deployment.json")),
    ("StatefulSet", include_str!("before/statefulset.json")),
    ("DaemonSet", include_str!("before/daemonset.json")),
    ("cache, plain", include_str!("before/cache_plain.json")),
    ("cache, gzip", include_str!("before/cache_gzip.json")),
    ("cache, version", include_str!("before/cache_version_current.json")),
    ("Lease", include_str!("before/lease.json")),
];

fn text(name: &str) -> &'static str {
    FILES.iter().find(|(file, _)| *file == name).unwrap().1
}

/// A recorded object, as it was.
pub(super) fn recorded(name: &str) -> Value {
    serde_json::from_str(text(name)).unwrap()
}

/// A recorded workload, in the namespace of a test and with images of its own.
pub(super) fn workload_of(ground: &Ground, kind: &str) -> Value {
    serde_json::from_str(&text(kind).replace(NAMESPACE, ground.namespace())).unwrap()
}

/// Creates a recorded object, with the ownership of its fields as it was recorded.
pub(super) async fn restore(ground: &Ground, recorded: &Value) {
    let mut manifest = recorded.clone();
    let metadata = manifest["metadata"].as_object_mut().unwrap();
    for own in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"] {
        metadata.remove(own);
    }
    manifest.as_object_mut().unwrap().remove("status");
    ground.create(&manifest).await;
    let owners = json!({"metadata": {"managedFields": recorded["metadata"]["managedFields"]}});
    ground.patch(recorded, "test-creator", owners).await;
}

/// A recorded ConfigMap or Lease, which belongs in pushroll's namespace.
pub(super) fn in_namespace_of(ground: &Ground, recorded: &Value) -> Value {
    let mut object = recorded.clone();
    object["metadata"]["namespace"] = json!(ground.namespace());
    object
}

/// The record on a workload: image to push.
pub(super) fn record(workload: &Value) -> Map<String, Value> {
    waiting::record(workload).as_object().unwrap().clone()
}

/// The push of which a record, or a deferral, has this.
pub(super) fn push_of(image: &str, recorded: &Value) -> PushMessage {
    let text = |key: &str| recorded[key].as_str().unwrap().to_owned();
    PushMessage {
        image: image.to_owned(),
        digest: text("digest"),
        id: text("message_id"),
        published: text("published").parse().unwrap(),
    }
}
