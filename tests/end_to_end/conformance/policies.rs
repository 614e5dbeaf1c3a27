//! Refusals by an admission policy: worded as forbidden, coded as invalid.

use serde_json::json;

use super::{assert_refused, every_kind, merge_patch, template_annotation};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_policy_refuses_with_its_own_message);
}

/// The name that the embedded API gives its one policy.
const NAME: &str = embedded_kubernetes::POLICY_NAME;
const MESSAGE: &str = "restarts are frozen until Monday";

async fn a_policy_refuses_with_its_own_message(ground: Ground) {
    let manifests = every_kind(&ground);
    for manifest in &manifests {
        ground.create(manifest).await;
    }
    ground.deny_updates(&manifests[0], NAME, MESSAGE).await;
    for manifest in &manifests {
        let (kind, name) = (manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"].as_str().unwrap());
        let refused = merge_patch(&ground, manifest, template_annotation("example.com/note", "x")).await;
        let cause = format!("ValidatingAdmissionPolicy '{NAME}' with binding '{NAME}' denied request: {MESSAGE}");
        let message = format!("{}s.apps \"{name}\" is forbidden: {cause}", kind.to_lowercase());
        assert_refused(kind, &refused, 422, "Invalid", &message);
        assert_eq!(refused.json()["details"]["causes"], json!([{"message": cause}]));
        assert_eq!(ground.generation(manifest).await, 1, "{kind}");
    }
}
