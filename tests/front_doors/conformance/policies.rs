//! Refusals by an admission policy: worded as forbidden, coded as invalid.

use serde_json::{Value, json};

use super::{assert_refused, every_kind, merge_patch, template_annotation};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both("a_policy_refuses_with_its_own_message", a_policy_refuses_with_its_own_message);
}

/// The name that the embedded API gives its one policy.
const NAME: &str = pushroll::embedded::POLICY_NAME;
const MESSAGE: &str = "restarts are frozen until Monday";

/// Refuses every update of a workload in the test's namespace; in force soon.
async fn deny_updates(ground: &Ground) {
    if !ground.is_control_plane() {
        ground.embedded_kubernetes().deny(ground.namespace(), None, MESSAGE);
        return;
    }
    let policies = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["deployments", "statefulsets", "daemonsets"],
            }]},
            "validations": [{"expression": "false", "message": MESSAGE}],
        },
    });
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": ground.namespace()}});
    let binding = json!({
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}},
    });
    let path = format!("{policies}/validatingadmissionpolicies");
    ground.request("POST", &path, Some(policy)).await.unwrap();
    let path = format!("{policies}/validatingadmissionpolicybindings");
    ground.request("POST", &path, Some(binding)).await.unwrap();
}

async fn a_policy_refuses_with_its_own_message(ground: Ground) {
    let manifests = every_kind(&ground);
    for manifest in &manifests {
        ground.create(manifest).await;
    }
    deny_updates(&ground).await;
    for manifest in &manifests {
        let (kind, name) = (manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"].as_str().unwrap());
        let mut number = 0;
        let refused = eventually("the policy is in force", async || {
            number += 1;
            let patch = template_annotation("example.com/note", &number.to_string());
            Some(merge_patch(&ground, manifest, patch).await).filter(|answer| answer.status != 200)
        });
        let refused = refused.await;
        let message = format!(
            "{}s.apps \"{name}\" is forbidden: ValidatingAdmissionPolicy '{NAME}' with binding '{NAME}' denied request: \
             {MESSAGE}",
            kind.to_lowercase()
        );
        assert_refused(kind, &refused, 422, "Invalid", &message);
        let causes: Value = json!([{"message": message.split_once("forbidden: ").unwrap().1}]);
        assert_eq!(refused.json()["details"]["causes"], causes);
    }
}
