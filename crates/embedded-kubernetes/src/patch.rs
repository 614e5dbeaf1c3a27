//! The three patches that are served: merge (RFC 7386), JSON (RFC 6902), strategic merge.

use serde_json::{Map, Value};

use super::resource::list_map_keys;
use super::status::Status;

/// A patch, read but not yet applied.
#[derive(Debug)]
pub(super) enum Patch {
    Merge(Value),
    StrategicMerge(Value),
    Json(json_patch::Patch),
}

/// What Go's decoder says where there is no more to read.
pub(super) fn go_text(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// What Go's decoder calls a value of the wrong kind.
pub(super) fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

// === impl Patch ===

impl Patch {
    /// Apply patches are not served.
    pub(super) fn decode(media_type: &str, body: &[u8]) -> Result<Self, Status> {
        let broken =
            |error: serde_json::Error| Status::bad_request(format!("error decoding patch: {}", go_text(&error)));
        let decode_object = || match serde_json::from_slice(body).map_err(broken)? {
            patch @ Value::Object(_) => Ok(patch),
            patch => {
                let message = format!(
                    "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    go_kind(&patch)
                );
                Err(Status::bad_request(message))
            }
        };
        match media_type {
            "application/merge-patch+json" => decode_object().map(Self::Merge),
            "application/strategic-merge-patch+json" => decode_object().map(Self::StrategicMerge),
            "application/json-patch+json" => serde_json::from_slice(body).map_err(broken).map(Self::Json),
            _ => Err(Status::unsupported_patch()),
        }
    }

    pub(super) fn apply(&self, object: &mut Value) -> Result<(), Status> {
        match self {
            Self::Merge(patch) => json_patch::merge(object, patch),
            Self::StrategicMerge(patch) => strategic_merge(object, patch, ""),
            Self::Json(patch) => {
                json_patch::patch(object, patch).map_err(|_| Status::unprocessable())?;
            }
        }
        Ok(())
    }
}

/// As a merge patch, but lists of objects with a merge key are merged item by item, and `$patch`
/// says otherwise (`apimachinery/pkg/util/strategicpatch`). What kubectl sends for `rollout restart`,
/// `set image`, `edit`.
fn strategic_merge(target: &mut Value, patch: &Value, field: &str) {
    match patch {
        Value::Object(patch) => merge_map(target, patch),
        Value::Array(patch) => merge_list(target, patch, field),
        scalar => *target = scalar.clone(),
    }
}

fn merge_map(target: &mut Value, patch: &Map<String, Value>) {
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        *target = Value::Object(
            patch.iter().filter(|(key, _)| *key != "$patch").map(|(k, v)| (k.clone(), v.clone())).collect(),
        );
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        match value {
            Value::Null => {
                map.remove(key);
            }
            Value::Object(inner) if inner.get("$patch").and_then(Value::as_str) == Some("delete") => {
                map.remove(key);
            }
            value => strategic_merge(map.entry(key.clone()).or_insert(Value::Null), value, key),
        }
    }
    if let Some(Value::Array(retained)) = patch.get("$retainKeys") {
        map.retain(|key, _| retained.iter().any(|one| one.as_str() == Some(key)));
    }
}

fn merge_list(target: &mut Value, patch: &[Value], field: &str) {
    let is_directive = |item: &Value, directive: &str| item.get("$patch").and_then(Value::as_str) == Some(directive);
    let replaces = patch.iter().any(|item| is_directive(item, "replace"));
    let (Some([merge_key, ..]), Some(list), false) = (list_map_keys(field), target.as_array_mut(), replaces) else {
        let items = patch.iter().filter(|item| item.get("$patch").is_none());
        *target = items.map(without_nulls).collect();
        return;
    };
    for item in patch {
        let position = list.iter().position(|one| one.get(merge_key) == item.get(merge_key));
        match (position, is_directive(item, "delete")) {
            (Some(position), true) => {
                list.remove(position);
            }
            (None, true) => {}
            (Some(position), false) => strategic_merge(&mut list[position], item, ""),
            (None, false) => list.push(without_nulls(item)),
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    let mut fresh = Value::Null;
    strategic_merge(&mut fresh, value, "");
    fresh
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strategic(mut target: Value, patch: Value) -> Value {
        strategic_merge(&mut target, &patch, "");
        target
    }

    #[test]
    fn merge_patches_follow_the_examples_of_rfc_7386() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            Patch::Merge(patch).apply(&mut target).ok();
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn a_strategic_merge_patch_merges_containers_by_name() {
        let target =
            json!({"containers": [{"name": "web", "image": "a:1", "tty": true}, {"name": "sidecar", "image": "b:1"}]});
        let patch = json!({"$setElementOrder/containers": [], "containers": [
            {"name": "web", "image": "a:2", "tty": null}, {"name": "new", "image": "c:1"}, {"name": "sidecar", "$patch": "delete"}]});
        let expected = json!({"containers": [{"name": "web", "image": "a:2"}, {"name": "new", "image": "c:1"}]});
        assert_eq!(strategic(target, patch), expected);
    }

    #[test]
    fn a_strategic_merge_patch_replaces_lists_that_have_no_merge_key() {
        let target = json!({"containers": [{"name": "web", "args": ["--one", "--two"]}]});
        let patch = json!({"containers": [{"name": "web", "args": ["--three"]}]});
        assert_eq!(strategic(target, patch), json!({"containers": [{"name": "web", "args": ["--three"]}]}));
    }

    #[test]
    fn strategic_directives_replace_and_retain() {
        let replaced = strategic(json!({"a": {"b": 1}}), json!({"a": {"$patch": "replace", "c": 2}}));
        assert_eq!(replaced, json!({"a": {"c": 2}}));
        let retained = strategic(
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
        );
        assert_eq!(retained, json!({"strategy": {"type": "Recreate"}}));
    }
}
