//! An admission policy that refuses to have workloads changed, and a quota that refuses another ConfigMap.

use serde_json::{Value, json};

use super::ground::{Ground, object_path};
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
        let spec = json!({"validations": [{"expression": "false", "message": message}]});
        self.add_policy("validating", namespace, name, spec, json!({"validationActions": ["Deny"]})).await;
        let path = format!("{}?dryRun=All", object_path(workload));
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
        self.remove_policy("validating", name).await;
    }

    /// An admission policy, `validating` or `mutating`, on each update of a workload in a namespace, with this `spec`.
    /// `binding` is added to the `spec` of its binding. When it is in force is for the caller to find out.
    pub async fn add_policy(&self, kind: &str, namespace: &str, name: &str, mut spec: Value, mut binding: Value) {
        let rule = json!({
            "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["deployments", "statefulsets", "daemonsets"],
        });
        spec["failurePolicy"] = json!("Fail");
        spec["matchConstraints"] = json!({"resourceRules": [rule]});
        binding["policyName"] = json!(name);
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        binding["matchResources"] = json!({"namespaceSelector": here});
        for (resource, spec) in [("policies", spec), ("policybindings", binding)] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}admission{resource}");
            let object = json!({"metadata": {"name": name}, "spec": spec});
            self.request("POST", &path, Some(object)).await.unwrap();
        }
    }

    /// Ends [`Self::add_policy`].
    pub async fn remove_policy(&self, kind: &str, name: &str) {
        for resource in ["policybindings", "policies"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}admission{resource}/{name}");
            self.request("DELETE", &path, None).await.unwrap();
        }
    }

    /// What a merge patch of a workload would store.
    pub async fn dry_run(&self, workload: &Value, patch: &Value) -> Result<Value, kube::Error> {
        self.request("PATCH", &format!("{}?dryRun=All", object_path(workload)), Some(patch.clone())).await
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
