//! One object on its way in: read, addressed, and rid of what is the server's to say.

use serde_json::{Map, Value, json};

use crate::defaults::TEMPLATE_GENERATION;
use crate::managed_fields;
use crate::resource::{Generation, ResourceType};
use crate::status::Status;

/// `PrepareForCreate`: what of a new object is the server's.
pub(super) fn reset_status(resource: &ResourceType, object: &mut Value) -> Result<(), Status> {
    let status = match resource.kind {
        "Namespace" => json!({ "phase": "Active" }),
        "Pod" => json!({ "phase": "Pending" }),
        "StatefulSet" => json!({ "replicas": 0, "availableReplicas": 0 }),
        _ if resource.has_status => json!({}),
        _ => return Ok(()),
    };
    object["status"] = status;
    if resource.kind == "Namespace" {
        object["spec"] = json!({ "finalizers": ["kubernetes"] });
    }
    *object = decode(resource, object.take())?;
    Ok(())
}

/// `BeforeUpdate` and `PrepareForUpdate`.
pub(super) fn keep_what_is_the_servers(
    resource: &ResourceType,
    subresource: Option<&str>,
    live: &Value,
    new: &mut Value,
) {
    if subresource.is_none() && resource.has_status {
        new["status"] = live["status"].clone();
    }
    let metadata = &mut new["metadata"];
    metadata["creationTimestamp"] = live["metadata"]["creationTimestamp"].clone();
    if metadata["uid"].is_null() {
        metadata["uid"] = live["metadata"]["uid"].clone();
    }
    let annotations_count = resource.generation == Generation::SpecOrAnnotations;
    let has_new_annotations = annotations_of(live) != annotations_of(new);
    let is_next = new["spec"] != live["spec"] || (annotations_count && has_new_annotations);
    if let Some(generation) = live["metadata"]["generation"].as_i64() {
        let is_next = is_next && subresource.is_none();
        new["metadata"]["generation"] = json!(generation + i64::from(is_next));
    }
    if resource.kind == "DaemonSet" {
        let template_generation =
            |object: &Value| object["metadata"]["annotations"][TEMPLATE_GENERATION].as_str()?.parse().ok();
        let before: i64 = template_generation(live).unwrap_or(1);
        let is_next = new["spec"]["template"] != live["spec"]["template"];
        new["metadata"]["annotations"][TEMPLATE_GENERATION] = json!((before + i64::from(is_next)).to_string());
    }
}

/// `CheckGracefulDelete`: how long a pod has to end; `None` for what goes at once.
pub(super) fn grace_period(resource: &ResourceType, live: &Value, options: &Value) -> Option<i64> {
    let is_on_a_node = resource.kind == "Pod" && live["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let has_ended = matches!(live["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if !is_on_a_node || has_ended {
        return None;
    }
    let asked = options["gracePeriodSeconds"].as_i64();
    let seconds = asked.or_else(|| live["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default();
    // Less than nothing is the least.
    Some(if seconds < 0 { 1 } else { seconds }).filter(|seconds| *seconds > 0)
}

/// Through the kind's own type; without `kind` and `apiVersion`.
pub(super) fn decode(resource: &ResourceType, body: Value) -> Result<Value, Status> {
    let ResourceType { kind, group, version, .. } = resource;
    let api_version = resource.api_version();
    let sent = |field: &str, expected: &str| body[field].as_str().unwrap_or(expected).to_owned();
    let (sent_kind, sent_version) = (sent("kind", kind), sent("apiVersion", &api_version));
    if sent_kind != *kind {
        let sent_version = sent_version.rsplit('/').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{sent_kind} in version {sent_version:?} cannot be handled as a {kind}: converting ({sent_version}.{sent_kind}) to \
             ({group}.{kind}): unknown conversion"
        )));
    }
    if sent_version != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({sent_version}) does not match the expected API version ({api_version})"
        )));
    }
    let has_selector = !body["spec"]["selector"].is_null();
    let broken = |error: serde_json::Error| {
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
    };
    let mut object = (resource.decode)(body).map_err(broken)?;
    for field in ["kind", "apiVersion"] {
        remove(&mut object, &[field]);
    }
    if !has_selector {
        // The type cannot tell an empty selector from none.
        remove(&mut object, &["spec", "selector"]);
    }
    drop_empty(&mut object);
    Ok(object)
}

/// `EnsureObjectNamespaceMatchesRequestNamespace`
pub(super) fn settle_namespace(
    resource: &ResourceType,
    namespace: Option<&str>,
    object: &mut Value,
) -> Result<(), Status> {
    let metadata = &mut object["metadata"];
    if metadata.is_null() {
        *metadata = json!({});
    }
    match namespace.filter(|_| resource.namespaced) {
        Some(namespace) => match metadata["namespace"].as_str() {
            None | Some("") => metadata["namespace"] = json!(namespace),
            Some(sent) if sent == namespace => {}
            Some(_) => {
                let message = "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Status::bad_request(message));
            }
        },
        None => {
            remove(metadata, &["namespace"]);
        }
    }
    Ok(())
}

pub(super) fn check_name(name: &str, object: &Value) -> Result<(), Status> {
    match object["metadata"]["name"].as_str() {
        Some(sent) if sent == name => Ok(()),
        Some(sent) if !sent.is_empty() => Err(Status::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({name})"
        ))),
        _ => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
    }
}

/// Nothing to write: all is equal but for the times in `managedFields`.
pub(super) fn is_same(live: &Value, new: &Value) -> bool {
    let without_managed_fields = |object: &Value| {
        let mut object = object.clone();
        object["metadata"]["managedFields"] = Value::Null;
        object
    };
    without_managed_fields(live) == without_managed_fields(new) && managed_fields::same_apart_from_times(live, new)
}

fn annotations_of(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["annotations"].as_object().filter(|annotations| !annotations.is_empty())
}

/// What Go leaves out when it is empty (`omitempty` on maps and lists).
fn drop_empty(object: &mut Value) {
    let is_empty =
        |value: &Value| value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
    for metadata in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = object.pointer_mut(metadata).and_then(Value::as_object_mut) {
            metadata.retain(|key, value| key == "managedFields" || !is_empty(value));
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.retain(|key, value| !matches!(key.as_str(), "data" | "binaryData") || !is_empty(value));
    }
}

fn remove(object: &mut Value, path: &[&str]) {
    let [parents @ .., last] = path else { return };
    let parent = parents.iter().try_fold(object, |at, key| at.get_mut(key));
    if let Some(parent) = parent.and_then(Value::as_object_mut) {
        parent.remove(*last);
    }
}
