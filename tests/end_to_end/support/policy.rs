//! An admission policy that refuses to have workloads changed, and a quota that refuses another ConfigMap.

use serde_json::{Value, json};

use super::fixtures::collection;
use super::ground::Ground;
use super::kubernetes::MERGE_PATCH;
use super::wait::eventually;

impl Ground {
    /// Refuses every update of a workload in the namespace of this one, which exists; in force when this returns.
    /// `name` is the policy's own: on the embedded API it is always [`embedded_kubernetes::POLICY_NAME`].
    pub async fn deny_updates(&self, workload: &Value, name: &str, message: &str) {
        let namespace = workload["metadata"]["namespace"].as_str().unwrap();
        if !self.is_control_plane() {
            return self.embedded_kubernetes().deny(namespace, None, message);
        }
        let rule = json!({
            "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["deployments", "statefulsets", "daemonsets"],
        });
        let policy = json!({
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "false", "message": message}],
            },
        });
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        let binding = json!({
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}},
        });
        for (resource, object) in [("policies", policy), ("policybindings", binding)] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/validatingadmission{resource}");
            self.request("POST", &path, Some(object)).await.unwrap();
        }
        let path = format!("{}/{}?dryRun=All", collection(workload), workload["metadata"]["name"].as_str().unwrap());
        let change = json!({"metadata": {"labels": {"example.com/probe": "x"}}}).to_string();
        let is_refused =
            async || (self.ask("PATCH", &path, MERGE_PATCH, change.clone()).await.status == 422).then_some(());
        eventually("the policy is in force", is_refused).await;
    }

    /// Ends [`Self::deny_updates`].
    pub async fn allow_updates(&self, name: &str) {
        if !self.is_control_plane() {
            return self.embedded_kubernetes().lift_denials();
        }
        for resource in ["policybindings", "policies"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/validatingadmission{resource}/{name}");
            self.request("DELETE", &path, None).await.unwrap();
        }
    }
}

impl Ground {
    /// The namespace has as many ConfigMaps as it may; in force when this returns. The quota's name is `no-more`.
    pub async fn forbid_config_maps(&self) {
        let collection = format!("/api/v1/namespaces/{}/resourcequotas", self.namespace());
        let hard = json!({"count/configmaps": "1"});
        let quota = json!({"metadata": {"name": "no-more"}, "spec": {"hard": hard}});
        self.request("POST", &collection, Some(quota)).await.unwrap();
        // The controller that counts does not run here.
        let status = json!({"status": {"hard": hard, "used": hard}});
        self.request("PATCH", &format!("{collection}/no-more/status"), Some(status)).await.unwrap();
        let probe = json!({"metadata": {"name": "probe"}});
        let path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All", self.namespace());
        let is_refused = async || {
            let refused = self.request("POST", &path, Some(probe.clone())).await.err()?;
            refused.to_string().contains("exceeded quota").then_some(())
        };
        eventually("the quota is in force", is_refused).await;
    }
}
