//! What the server fills in when a request leaves it out
//! (`pkg/apis/{apps,core}/v1/defaults.go` of Kubernetes).

use serde_json::{Value, json};

use super::resource::ResourceType;

/// Where a DaemonSet still shows how often its template has changed (`DeprecatedTemplateGeneration`).
pub(super) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Fills in an object's defaults. Runs on every write, over what is stored too: so a pull policy is
/// decided once, by the image at creation, and stays when the image changes.
pub(super) fn fill_in(resource: &ResourceType, object: &mut Value) {
    match resource.kind {
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            child(child(object, "metadata"), "labels")["kubernetes.io/metadata.name"] = name;
        }
        "Deployment" => {
            let spec = child(object, "spec");
            defaults(
                spec,
                &[("replicas", json!(1)), ("revisionHistoryLimit", json!(10)), ("progressDeadlineSeconds", json!(600))],
            );
            fill_in_strategy(child(spec, "strategy"), &[("maxSurge", json!("25%")), ("maxUnavailable", json!("25%"))]);
        }
        "StatefulSet" => {
            let spec = child(object, "spec");
            defaults(
                spec,
                &[
                    ("replicas", json!(1)),
                    ("revisionHistoryLimit", json!(10)),
                    ("podManagementPolicy", json!("OrderedReady")),
                    ("persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
                ],
            );
            fill_in_strategy(child(spec, "updateStrategy"), &[("partition", json!(0))]);
        }
        "DaemonSet" => {
            defaults(child(child(object, "metadata"), "annotations"), &[(TEMPLATE_GENERATION, json!("1"))]);
            let spec = child(object, "spec");
            defaults(spec, &[("revisionHistoryLimit", json!(10))]);
            fill_in_strategy(child(spec, "updateStrategy"), &[("maxSurge", json!(0)), ("maxUnavailable", json!(1))]);
        }
        "ReplicaSet" => defaults(child(object, "spec"), &[("replicas", json!(1))]),
        "Pod" => {
            fill_in_pod(child(object, "spec"));
            defaults(child(object, "spec"), &[("enableServiceLinks", json!(true))]);
        }
        _ => {}
    }
    if resource.is_workload() {
        let template = child(child(object, "spec"), "template");
        child(template, "metadata");
        fill_in_pod(child(template, "spec"));
    }
}

fn fill_in_strategy(strategy: &mut Value, rolling_update: &[(&str, Value)]) {
    defaults(strategy, &[("type", json!("RollingUpdate"))]);
    if strategy["type"] == "RollingUpdate" {
        defaults(child(strategy, "rollingUpdate"), rolling_update);
    }
}

fn fill_in_pod(spec: &mut Value) {
    defaults(
        spec,
        &[
            ("restartPolicy", json!("Always")),
            ("terminationGracePeriodSeconds", json!(30)),
            ("dnsPolicy", json!("ClusterFirst")),
            ("securityContext", json!({})),
            ("schedulerName", json!("default-scheduler")),
        ],
    );
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            fill_in_container(container);
        }
    }
}

fn fill_in_container(container: &mut Value) {
    let policy = default_pull_policy(container["image"].as_str().unwrap_or_default());
    defaults(
        container,
        &[
            ("imagePullPolicy", json!(policy)),
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
        ],
    );
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        defaults(port, &[("protocol", json!("TCP"))]);
    }
}

/// `Always` for `latest` (`SetDefaults_Container`). `ParseImageName` puts the tag `latest` only where
/// there is neither tag nor digest.
fn default_pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last_segment = name.rsplit('/').next().unwrap_or_default();
    let tag = last_segment.split_once(':').map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn defaults(object: &mut Value, values: &[(&str, Value)]) {
    for (key, value) in values {
        let slot = &mut map_at(object)[key];
        if slot.is_null() {
            *slot = value.clone();
        }
    }
}

/// The map at `key`, made when it is not there.
fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    map_at(&mut map_at(object)[key])
}

fn map_at(slot: &mut Value) -> &mut Value {
    if !slot.is_object() {
        *slot = json!({});
    }
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        let cases = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.29", "IfNotPresent"),
            ("localhost:5000/web", "Always"),
            ("localhost:5000/web:v1", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:latest@sha256:abc", "Always"),
        ];
        for (image, policy) in cases {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_decided_pull_policy_outlives_the_image() {
        let mut container = json!({"name": "web", "image": "web:v1", "imagePullPolicy": "Always"});
        fill_in_container(&mut container);
        assert_eq!(container["imagePullPolicy"], "Always");
    }
}
