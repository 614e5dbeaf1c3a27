//! Every field of a workload that the API server's schema knows, and what the policy says to a change of it.

use http::Request;
use pushroll::cluster::connect::{ConnectOptions, connect};
use serde_json::{Map, Value, json};

use super::{account, policy_in_force};
use crate::support::fixtures::{daemon_set, deployment, stateful_set};
use crate::support::ground::{Ground, object_path};

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// Where in a workload the fields of a schema stand, and which of them the account may change. A `resourceVersion` is a
/// precondition.
const PLACES: [(&str, &str, &[&str]); 4] = [
    ("/metadata", METADATA, &["annotations", "managedFields", "resourceVersion"]),
    ("/spec/template", "io.k8s.api.core.v1.PodTemplateSpec", &["metadata", "spec"]),
    ("/spec/template/metadata", METADATA, &["annotations"]),
    ("/spec/template/spec", "io.k8s.api.core.v1.PodSpec", &[]),
];

pub(super) async fn the_account_may_change_no_other_field(ground: Ground) {
    let (namespace, image) = (ground.namespace(), ground.image("web"));
    let workloads = [
        ("DeploymentSpec", deployment(namespace, "web", &image)),
        ("StatefulSetSpec", stateful_set(namespace, "web", &image)),
        ("DaemonSetSpec", daemon_set(namespace, "web", &image)),
    ];
    for (_, workload) in &workloads {
        ground.create(workload).await;
    }
    let account = account(&ground).await;
    policy_in_force(&ground, &account, &workloads[0].1).await;
    let options = ConnectOptions { kubeconfig: Some(account.kubeconfig), ..ConnectOptions::default() };
    let client = connect(&options).await.unwrap();
    let openapi = ground.request("GET", "/openapi/v3/apis/apps/v1", None).await.unwrap();
    let schemas = openapi["components"]["schemas"].as_object().unwrap();

    for (spec, workload) in &workloads {
        let spec = format!("io.k8s.api.apps.v1.{spec}");
        let places = PLACES.into_iter().chain([("/spec", spec.as_str(), &["template"][..])]);
        for (place, schema, allowed) in places {
            let properties = schemas[schema]["properties"].as_object().unwrap();
            assert!(properties.len() >= 2, "{schema}");
            let mut refused = Vec::new();
            for (field, schema) in properties.iter().filter(|(field, _)| !allowed.contains(&field.as_str())) {
                let before = ground.get(workload).await;
                let steps = place.rsplit('/').filter(|step| !step.is_empty());
                let patch =
                    steps.fold(json!({field: value_of(schema, schemas, 0)}), |inner, step| json!({step: inner}));
                let request = Request::patch(format!("{}?dryRun=All", object_path(workload)))
                    .header("content-type", "application/merge-patch+json")
                    .body(patch.to_string().into_bytes())
                    .unwrap();
                let pointer = format!("{place}/{field}");
                match client.request::<Value>(request).await {
                    // The API server ignores a change of what it alone sets, such as `uid` and `status`.
                    Ok(after) => assert_eq!(after.pointer(&pointer), before.pointer(&pointer), "{patch}"),
                    Err(kube::Error::Api(status)) if status.message.contains("pushroll may change n") => {
                        refused.push(field.as_str());
                    }
                    // No object may have that value, whoever writes it.
                    Err(kube::Error::Api(status)) if place != "/spec/template/metadata" => {
                        assert!([400, 409, 422].contains(&status.code), "{patch}: {status:?}");
                    }
                    Err(error) => panic!("{patch}: {error}"),
                }
            }
            if place == "/spec/template/metadata" {
                for field in ["finalizers", "labels", "name", "namespace", "ownerReferences"] {
                    assert!(refused.contains(&field), "{field} of {place}: {refused:?}");
                }
            }
        }
    }
}

/// A value that a field with this schema can have.
fn value_of(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Value {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = reference.and_then(|reference| reference.rsplit('/').next()) {
        return if name.ends_with("IntOrString") { json!(1) } else { value_of(&schemas[name], schemas, depth + 1) };
    }
    match schema["type"].as_str() {
        Some("string") if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        Some("string") => json!("probe"),
        Some("integer") => json!(7),
        Some("boolean") => json!(true),
        Some("array") => json!([value_of(&schema["items"], schemas, depth + 1)]),
        _ => {
            let properties = schema["properties"].as_object().filter(|_| depth < 6);
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut fields: Vec<&str> = required.collect();
            if let (Some(properties), true) = (properties, fields.is_empty()) {
                fields.extend(properties.keys().next().map(String::as_str));
            }
            let of_field = |field: &str| (field.to_owned(), value_of(&schema["properties"][field], schemas, depth + 1));
            let mut object: Map<String, Value> = fields.into_iter().map(of_field).collect();
            if schema["additionalProperties"].is_object() {
                object.insert("probe".to_owned(), value_of(&schema["additionalProperties"], schemas, depth + 1));
            }
            object.into()
        }
    }
}
