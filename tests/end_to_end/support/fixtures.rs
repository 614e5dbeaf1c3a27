//! Workloads and messages, as Kubernetes and Pub/Sub write them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A Deployment with one container that is always pulled.
pub fn deployment(namespace: &str, name: &str, image: &str) -> Value {
    let mut workload = workload("Deployment", namespace, name, image);
    workload["spec"]["replicas"] = json!(1);
    workload
}

/// A workload that has no pods: pods that are younger than a push make it done.
pub fn without_pods(mut workload: Value) -> Value {
    workload["spec"]["replicas"] = json!(0);
    workload
}

pub fn stateful_set(namespace: &str, name: &str, image: &str) -> Value {
    let mut workload = workload("StatefulSet", namespace, name, image);
    workload["spec"]["serviceName"] = json!(name);
    workload["spec"]["replicas"] = json!(1);
    workload
}

pub fn daemon_set(namespace: &str, name: &str, image: &str) -> Value {
    workload("DaemonSet", namespace, name, image)
}

fn workload(kind: &str, namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image, "imagePullPolicy": "Always"}]},
            },
        },
    })
}

/// A ConfigMap with one key.
pub fn config_map(namespace: &str, name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {key: value}})
}

/// Where objects of a manifest's kind and namespace live.
pub fn collection(manifest: &Value) -> String {
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap();
    let plural = manifest["kind"].as_str().unwrap().to_lowercase() + "s";
    let group = match manifest["apiVersion"].as_str().unwrap() {
        "v1" => "/api/v1".to_owned(),
        other => format!("/apis/{other}"),
    };
    format!("{group}/namespaces/{namespace}/{plural}")
}

/// What an answer says of one workload, which it must name once.
pub fn result_of(answer: &Value, manifest: &Value) -> Value {
    let metadata = &manifest["metadata"];
    let is_it = |result: &&Value| {
        result["kind"] == manifest["kind"]
            && result["namespace"] == metadata["namespace"]
            && result["name"] == metadata["name"]
    };
    let results: Vec<_> = answer["workloads"].as_array().unwrap().iter().filter(is_it).collect();
    assert_eq!(results.len(), 1, "{metadata} in {answer}");
    results[0].clone()
}

/// Of an answer: name to action and code.
pub fn codes(answer: &Value) -> BTreeMap<String, (String, String)> {
    let workloads = answer["workloads"].as_array().unwrap().iter();
    let text = |workload: &Value, key: &str| workload[key].as_str().unwrap().to_owned();
    workloads.map(|w| (text(w, "name"), (text(w, "action"), text(w, "code")))).collect()
}

/// The same, written down.
pub fn expected(rows: &[(&str, &str, &str)]) -> BTreeMap<String, (String, String)> {
    rows.iter().map(|(name, action, code)| ((*name).to_owned(), ((*action).to_owned(), (*code).to_owned()))).collect()
}

/// A digest made of one repeated byte.
pub fn digest(byte: u8) -> String {
    format!("sha256:{}", format!("{byte:02x}").repeat(32))
}

/// "This image was pushed", as Artifact Registry publishes it and Pub/Sub delivers it.
#[derive(Debug, Clone)]
pub struct PushMessage {
    pub image: String,
    pub digest: String,
    pub id: String,
    pub published: Timestamp,
}

static MESSAGE_IDS: AtomicU64 = AtomicU64::new(1000);

impl PushMessage {
    /// Published now, with an id of its own.
    pub fn now(image: &str, digest_byte: u8) -> Self {
        let id = MESSAGE_IDS.fetch_add(1, Ordering::Relaxed).to_string();
        Self { image: image.to_owned(), digest: digest(digest_byte), id, published: Timestamp::now() }
    }

    pub fn payload(&self) -> Value {
        let repository = self.image.rsplit_once(':').unwrap().0;
        json!({"action": "INSERT", "tag": self.image, "digest": format!("{repository}@{}", self.digest)})
    }

    /// The wrapped body.
    pub fn body(&self) -> String {
        let published = format!("{:.3}", self.published);
        json!({
            "message": {
                "data": STANDARD.encode(self.payload().to_string()),
                "messageId": self.id, "message_id": self.id,
                "publishTime": published, "publish_time": published,
                "attributes": {},
            },
            "subscription": "projects/p/subscriptions/s",
        })
        .to_string()
    }
}
