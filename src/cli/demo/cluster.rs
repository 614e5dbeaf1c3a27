//! The demo's cluster: small and believable.

use serde_json::{Value, json};

use crate::workload::WorkloadKind;

/// What the demo pushes.
pub(super) const IMAGE: &str = "us-docker.pkg.dev/acme/shop/web:1.4";
/// What the tag points to after the push.
pub(super) const DIGEST: &str = "sha256:6ec128e26cd5a1b9d0f7e3f2b4c6d8e0f1a2b3c4d5e6f708192a3b4c5d6e7f80";
/// What it pointed to when someone pinned it.
const OLD_DIGEST: &str = "sha256:1f0e3dad99908345f7439f8ffabdffc4b16a2c8e7d3f50a9c4b5d6e7f8091a2b";
/// Where pushroll lives.
pub(super) const NAMESPACE: &str = "pushroll";

/// A workload of the demo.
pub(super) struct DemoWorkload {
    pub(super) namespace: &'static str,
    pub(super) kind: WorkloadKind,
    pub(super) name: &'static str,
    /// What is special about it, for the first screen.
    pub(super) note: &'static str,
    image: String,
    change: fn(&mut Value),
}

pub(super) const NAMESPACES: [&str; 4] = ["shop", "batch", "edge", NAMESPACE];

/// The workloads, in the order in which they are shown.
pub(super) fn workloads() -> Vec<DemoWorkload> {
    use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
    let plain: fn(&mut Value) = |_| {};
    let of = |namespace, kind, name, image: &str, note, change| DemoWorkload {
        namespace,
        kind,
        name,
        note,
        image: image.to_owned(),
        change,
    };
    vec![
        of("shop", Deployment, "web", IMAGE, "", plain),
        of("shop", Deployment, "web-preview", IMAGE, "paused", |object| object["spec"]["paused"] = json!(true)),
        of("shop", Deployment, "checkout", IMAGE, "opted out", |object| {
            object["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
        }),
        of("shop", Deployment, "web-2025", &format!("{IMAGE}@{OLD_DIGEST}"), "pinned by digest", plain),
        of("shop", StatefulSet, "postgres", "postgres:17", "another image", plain),
        of("batch", StatefulSet, "indexer", "acme/indexer:7", "runs it as init container", |object| {
            let pod = &mut object["spec"]["template"]["spec"];
            pod["initContainers"] = json!([{"name": "assets", "image": IMAGE, "imagePullPolicy": "Always"}]);
        }),
        of("edge", DaemonSet, "gateway", IMAGE, "", plain),
        of("edge", DaemonSet, "log-agent", "fluent/fluent-bit:4.1", "another image", plain),
    ]
}

impl DemoWorkload {
    /// Where it is created.
    pub(super) fn collection(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/{}", self.namespace, self.kind.plural())
    }

    /// As `kubectl create` would send it.
    pub(super) fn manifest(&self) -> Value {
        let labels = json!({"app": self.name});
        let mut object = json!({
            "apiVersion": "apps/v1",
            "kind": self.kind.as_str(),
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "main", "image": self.image, "imagePullPolicy": "Always"}]},
                },
            },
        });
        match self.kind {
            WorkloadKind::StatefulSet => object["spec"]["serviceName"] = json!(self.name),
            WorkloadKind::Deployment => object["spec"]["replicas"] = json!(3),
            WorkloadKind::DaemonSet => {}
        }
        (self.change)(&mut object);
        object
    }
}
