//! A cluster to measure on: the real API server with many Deployments.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::control_plane::{ADMIN, ControlPlane};
use crate::support::fixtures::collection;

/// Calls at once while objects are created.
const CONCURRENCY: usize = 32;

pub fn testbed() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/build");
    let output = Command::new(script).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Some 4 KB each, as a cluster's Deployments are: labels, environment, probes.
pub fn deployment(namespace: &str, number: usize, image: &str) -> Value {
    let name = format!("service-{number:05}");
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop", "team": "payments"});
    let environment: Vec<Value> =
        (0..12).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value-{n}-of-{name}")})).collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name, "labels": labels, "annotations": {"team.example/owner": "payments@acme.example"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app.kubernetes.io/name": name}}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": "main", "image": image,
                "env": environment, "ports": [{"containerPort": 8080}],
                "livenessProbe": probe, "readinessProbe": probe,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            }]},
        }},
    })
}

pub async fn client(plane: &ControlPlane) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig(ADMIN)).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

pub async fn post(client: &kube::Client, path: String, body: &Value) {
    let request = http::Request::post(path).header("content-type", "application/json");
    let _: Value = client.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap();
}

/// Creates objects from their manifests.
pub async fn create_all(client: &kube::Client, manifests: impl Iterator<Item = Value> + Send + 'static) {
    let manifests = Arc::new(Mutex::new(manifests));
    let mut workers = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (client, manifests) = (client.clone(), Arc::clone(&manifests));
        workers.spawn(async move {
            loop {
                let Some(manifest) = manifests.lock().next() else { return };
                post(&client, collection(&manifest), &manifest).await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
}

pub fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
