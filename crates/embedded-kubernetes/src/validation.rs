//! What the server refuses with 422 `Invalid`
//! (`pkg/apis/{apps,core,coordination}/validation` of Kubernetes): the rules that pushroll, or a
//! person trying it out, can run into.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::resource::ResourceType;
use super::status::FieldError;

const CONFIG_MAP_MOST_BYTES: usize = 1024 * 1024;
const ANNOTATIONS_MOST_BYTES: usize = 256 * 1024;
const NAME_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
     (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const SET_IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// What is wrong with `new`, which is to take the place of `old` (`None`: a creation).
pub(super) fn errors_of(resource: &ResourceType, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = metadata_errors(new, old);
    match resource.kind {
        "ConfigMap" => errors.extend(config_map_errors(new, old)),
        "Event" => errors.extend(old.map_or_else(|| event_errors(new), |old| event_change_errors(new, old))),
        "Lease" => errors.extend(lease_errors(new)),
        "Pod" => errors.extend(container_errors(&new["spec"], "spec")),
        _ if resource.is_workload() => errors.extend(workload_errors(resource, new, old)),
        _ => {}
    }
    errors
}

fn metadata_errors(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let metadata = &new["metadata"];
    let mut errors = Vec::new();
    match metadata["name"].as_str() {
        None | Some("") => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
        Some(name) if !is_subdomain(name) => {
            errors.push(FieldError::invalid("metadata.name", &metadata["name"], NAME_RULE))
        }
        Some(_) => {}
    }
    let annotations = metadata["annotations"].as_object();
    let annotations_bytes: usize =
        annotations.into_iter().flatten().map(|(key, value)| key.len() + text_bytes(value)).sum();
    if annotations_bytes > ANNOTATIONS_MOST_BYTES {
        errors.push(FieldError::too_long("metadata.annotations", ANNOTATIONS_MOST_BYTES));
    }
    if let Some(old) = old
        && metadata["uid"] != old["metadata"]["uid"]
    {
        errors.push(FieldError::invalid("metadata.uid", &metadata["uid"], "field is immutable"));
    }
    errors
}

fn workload_errors(resource: &ResourceType, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let selector = &spec["selector"];
    let labels = &spec["template"]["metadata"]["labels"];
    let mut errors = Vec::new();
    if let Some(replicas) = spec["replicas"].as_i64().filter(|replicas| *replicas < 0) {
        errors.push(FieldError::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0"));
    }
    let mismatch = "`selector` does not match template `labels`";
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, mismatch));
    } else if selector.as_object().is_none_or(Map::is_empty) {
        let detail = format!("empty selector is invalid for {}", resource.kind.to_lowercase());
        errors.push(FieldError::invalid("spec.selector", selector, &detail));
    } else if !selects(selector, labels) {
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, mismatch));
    }
    errors.extend(container_errors(&spec["template"]["spec"], "spec.template.spec"));
    let restart_policy = &spec["template"]["spec"]["restartPolicy"];
    if !restart_policy.is_null() && restart_policy != "Always" {
        let body = format!("Unsupported value: {restart_policy}: supported values: \"Always\"");
        errors.push(FieldError::unsupported("spec.template.spec.restartPolicy", body));
    }
    if let Some(old) = old
        && *selector != old["spec"]["selector"]
    {
        errors.push(FieldError::invalid("spec.selector", selector, "field is immutable"));
    }
    errors
}

fn container_errors(pod_spec: &Value, path: &str) -> Vec<FieldError> {
    let containers = pod_spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut errors = Vec::new();
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in pod_spec[list].as_array().into_iter().flatten().enumerate() {
            for field in ["name", "image"] {
                if container[field].as_str().is_none_or(str::is_empty) {
                    errors.push(FieldError::required(format!("{path}.{list}[{index}].{field}"), ""));
                }
            }
        }
    }
    errors
}

fn config_map_errors(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(old) = old.filter(|old| old["immutable"] == true) {
        if new["immutable"] != true {
            errors.push(FieldError::forbidden("immutable", SET_IMMUTABLE));
        }
        for bag in ["data", "binaryData"] {
            if new[bag] != old[bag] {
                errors.push(FieldError::forbidden(bag, SET_IMMUTABLE));
            }
        }
    }
    let mut bytes = 0;
    for bag in ["data", "binaryData"] {
        for (key, value) in new[bag].as_object().into_iter().flatten() {
            let path = format!("{bag}[{key}]");
            errors.extend(key_errors(key).into_iter().map(|rule| FieldError::invalid(&path, &json!(key), rule)));
            if bag == "data" && !new["binaryData"][key].is_null() {
                errors.push(FieldError::invalid(&path, &json!(key), "duplicate of key present in binaryData"));
            }
            bytes += if bag == "data" { text_bytes(value) } else { decoded_bytes(value) };
        }
    }
    if bytes > CONFIG_MAP_MOST_BYTES {
        errors.push(FieldError::too_long("[]", CONFIG_MAP_MOST_BYTES));
    }
    errors
}

/// `IsConfigMapKey`
fn key_errors(key: &str) -> Vec<&'static str> {
    let is_of_the_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let mut rules = Vec::new();
    if key.len() > 253 {
        rules.push("must be no more than 253 characters");
    }
    if key.is_empty() || !key.bytes().all(is_of_the_alphabet) {
        rules.push(KEY_RULE);
    }
    match key {
        "." => rules.push("must not be '.'"),
        ".." => rules.push("must not be '..'"),
        _ if key.starts_with("..") => rules.push("must not start with '..'"),
        _ => {}
    }
    rules
}

/// `ValidateEventCreate`, as for `events.k8s.io/v1`; fields go by their names in the core group.
fn event_errors(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let empty = json!("");
    let home = event["metadata"]["namespace"].as_str().unwrap_or_default();
    if text_bytes(&event["regarding"]["namespace"]) == 0 && !matches!(home, "default" | "kube-system") {
        errors.push(FieldError::invalid("involvedObject.namespace", &empty, "does not match event.namespace"));
    }
    if event["eventTime"].is_null() {
        errors.push(FieldError::required("eventTime", ""));
    } else {
        let limits = [("reportingController", 253), ("reportingInstance", 128), ("action", 128), ("reason", 128)];
        for (field, most_characters) in limits {
            match text_bytes(&event[field]) {
                0 => errors.push(FieldError::required(field, "")),
                length if length > most_characters => {
                    let detail = format!("can have at most {most_characters} characters");
                    errors.push(FieldError::invalid(field, &empty, &detail));
                }
                _ => {}
            }
        }
        if text_bytes(&event["note"]) > 1024 {
            errors.push(FieldError::invalid("message", &empty, "can have at most 1024 characters"));
        }
    }
    if !matches!(event["type"].as_str(), Some("Normal" | "Warning")) {
        let detail = format!("has invalid value: {}", event["type"].as_str().unwrap_or_default());
        errors.push(FieldError::invalid("type", &empty, &detail));
    }
    errors
}

/// `ValidateEventUpdate`: of an event nothing but the series may change.
fn event_change_errors(new: &Value, old: &Value) -> Vec<FieldError> {
    let fields = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    let changed = fields.into_iter().filter(|(field, _)| new[field] != old[field]);
    changed.map(|(field, core_name)| FieldError::invalid(core_name, &new[field], "field is immutable")).collect()
}

fn lease_errors(lease: &Value) -> Vec<FieldError> {
    let spec = &lease["spec"];
    let mut errors = Vec::new();
    for (field, least, detail) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        if spec[field].as_i64().is_some_and(|value| value < least) {
            errors.push(FieldError::invalid(format!("spec.{field}"), &spec[field], detail));
        }
    }
    errors
}

/// Whether `matchLabels` agrees with the template; `matchExpressions` are taken on trust.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value)
}

fn is_subdomain(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn text_bytes(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

fn decoded_bytes(value: &Value) -> usize {
    STANDARD.decode(value.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.len())
}
