//! The real kubectl, and what the real controllers make of a workload. Control plane only.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;

use super::control_plane::ADMIN;
use super::ground::Ground;
use super::wait::eventually;

impl Ground {
    /// Runs kubectl in the test's own namespace, as one who may do everything; gives its stdout.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs kubectl, which is to fail; gives its stderr.
    pub async fn kubectl_fails(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments).await;
        assert!(!output.status.success(), "kubectl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    async fn try_kubectl(&self, arguments: &[&str]) -> Output {
        let mut command = self.real().kubectl_as(ADMIN);
        command.arg("--namespace").arg(self.namespace()).args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Waits until the controllers have seen the workload as it is now: its revision is written down by then.
    pub async fn observed(&self, manifest: &Value) {
        let seen = async || {
            let workload = self.get(manifest).await;
            (workload["status"]["observedGeneration"] == workload["metadata"]["generation"]).then_some(())
        };
        eventually("the controllers see the workload", seen).await;
    }

    /// Waits, as `kubectl rollout status` does, until every pod is of the newest revision and available.
    pub async fn rolled_out(&self, manifest: &Value) {
        self.kubectl(&["rollout", "status", "--timeout=60s", &kubectl_name(manifest)]).await;
    }

    /// The UIDs of a workload's pods that are not being deleted.
    pub async fn pods(&self, manifest: &Value) -> BTreeSet<String> {
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let namespace = manifest["metadata"]["namespace"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}");
        let list = self.request("GET", &path, None).await.unwrap();
        let pods = list["items"].as_array().unwrap().iter().map(|pod| &pod["metadata"]);
        let live = pods.filter(|metadata| metadata["deletionTimestamp"].is_null());
        live.map(|metadata| metadata["uid"].as_str().unwrap().to_owned()).collect()
    }
}

/// `deployment/web`
pub fn kubectl_name(manifest: &Value) -> String {
    let kind = manifest["kind"].as_str().unwrap().to_lowercase();
    format!("{kind}/{}", manifest["metadata"]["name"].as_str().unwrap())
}
