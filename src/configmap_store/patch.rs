//! Values as a merge patch.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Values;

/// Each value under its own form's member, and taken away from the other's: a key may stand in one only.
pub(super) fn patch_of(values: &Values) -> Value {
    let (mut data, mut binary_data) = (serde_json::Map::new(), serde_json::Map::new());
    for (key, value) in values {
        let (text, binary) = match std::str::from_utf8(value) {
            Ok(text) => (text.into(), Value::Null),
            Err(_) => (Value::Null, STANDARD.encode(value).into()),
        };
        data.insert(key.clone(), text);
        binary_data.insert(key.clone(), binary);
    }
    json!({"data": data, "binaryData": binary_data})
}

/// A patch removes with `null`; a new object must not have it.
pub(super) fn without_nulls(patch: &Value) -> Value {
    let mut patch = patch.clone();
    for member in ["data", "binaryData"] {
        if let Some(values) = patch[member].as_object_mut() {
            values.retain(|_, value| !value.is_null());
        }
    }
    patch
}
