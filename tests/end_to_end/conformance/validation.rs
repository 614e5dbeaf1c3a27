//! Workloads that are not valid: refused with 422, field by field.

use serde_json::{Value, json};

use super::assert_refused;
use super::refusals::{assert_all_refused, deployments, web};
use crate::support::ground::Ground;
use crate::support::kubernetes::{JSON, MERGE_PATCH};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(an_invalid_workload_is_refused_on_creation);
    suite.on_both(a_patch_that_makes_a_workload_invalid_is_refused);
}

async fn an_invalid_workload_is_refused_on_creation(ground: Ground) {
    const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
        '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let bad_name = format!("metadata.name: Invalid value: \"Web_X\": {NAME_RULE}");
    let cases: [(&str, &[&str], Value, &str); 8] = [
        (
            "no selector",
            &["spec", "selector"],
            Value::Null,
            "[spec.selector: Required value, spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` \
          does not match template `labels`]",
        ),
        (
            "a selector that selects others",
            &["spec", "selector", "matchLabels", "app"],
            json!("other"),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ),
        (
            "no containers",
            &["spec", "template", "spec", "containers"],
            json!([]),
            "spec.template.spec.containers: Required value",
        ),
        (
            "no image",
            &["spec", "template", "spec", "containers"],
            json!([{"name": "main"}]),
            "spec.template.spec.containers[0].image: Required value",
        ),
        (
            "no container name",
            &["spec", "template", "spec", "containers"],
            json!([{"image": "web"}]),
            "spec.template.spec.containers[0].name: Required value",
        ),
        (
            "negative replicas",
            &["spec", "replicas"],
            json!(-1),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "pods that end",
            &["spec", "template", "spec", "restartPolicy"],
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        ("a bad name", &["metadata", "name"], json!("Web_X"), &bad_name),
    ];
    for (what, path, value, error) in cases {
        let mut manifest = web(&ground);
        *path.iter().fold(&mut manifest, |at, key| &mut at[*key]) = value;
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let answer = ground.ask("POST", &deployments(&ground), JSON, manifest.to_string()).await;
        let message = format!("Deployment.apps \"{name}\" is invalid: {error}");
        assert_refused(what, &answer, 422, "Invalid", &message);
    }
    let mut versioned = web(&ground);
    versioned["metadata"]["resourceVersion"] = json!("5");
    let answer = ground.ask("POST", &deployments(&ground), JSON, versioned.to_string()).await;
    let message = "resourceVersion should not be set on objects to be created";
    assert_refused("a resourceVersion", &answer, 500, "", message);
}

async fn a_patch_that_makes_a_workload_invalid_is_refused(ground: Ground) {
    ground.create(&web(&ground)).await;
    let immutable = "Deployment.apps \"web\" is invalid: [spec.template.metadata.labels: Invalid value: \
                     {\"app\":\"web\"}: `selector` does not match template `labels`, spec.selector: Invalid value: \
                     {\"matchLabels\":{\"app\":\"other\"}}: field is immutable]";
    let no_image = "Deployment.apps \"web\" is invalid: spec.template.spec.containers[0].image: Required value";
    let no_object = " \"\" is invalid: patch: Invalid value: \"{…";
    let large = json!({"metadata": {"annotations": {"a": "x".repeat(262_144)}}}).to_string();
    let too_long = "Deployment.apps \"web\" is invalid: metadata.annotations: Too long: may not be more than 262144 \
                    bytes";
    let image = r#"{"spec": {"template": {"spec": {"containers": [{"name": "main", "image": null}]}}}}"#;
    let other_selector = r#"{"spec": {"selector": {"matchLabels": {"app": "other"}}}}"#;
    assert_all_refused(
        &ground,
        &[
            ("PATCH", "/web", MERGE_PATCH, other_selector, 422, "Invalid", immutable),
            ("PATCH", "/web", MERGE_PATCH, image, 422, "Invalid", no_image),
            ("PATCH", "/web", MERGE_PATCH, r#"{"spec": {"replicas": "three"}}"#, 422, "Invalid", no_object),
            ("PATCH", "/web", MERGE_PATCH, r#"{"metadata": {"annotations": {"a": 1}}}"#, 422, "Invalid", no_object),
            ("PATCH", "/web", MERGE_PATCH, &large, 422, "Invalid", too_long),
        ],
    )
    .await;
    assert_eq!(ground.generation(&web(&ground)).await, 1);
}
