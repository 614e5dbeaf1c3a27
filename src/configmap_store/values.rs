//! Keys and their values, and how a merge patch sets them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Keys and their values.
pub type Values = BTreeMap<String, Vec<u8>>;

/// Sets each value in `data` or in `binaryData`, and removes its key from the other: the API refuses a key in both.
/// `binary_keys` are in `binaryData` now, and stay there. A key of `data` moves where its value is no text.
pub(super) fn patch_of(values: &Values, binary_keys: &BTreeSet<String>) -> Value {
    let (mut data, mut binary_data) = (serde_json::Map::new(), serde_json::Map::new());
    for (key, value) in values {
        let (text, binary) = match std::str::from_utf8(value) {
            Ok(text) if !binary_keys.contains(key) => (text.into(), Value::Null),
            Ok(_) | Err(_) => (Value::Null, STANDARD.encode(value).into()),
        };
        data.insert(key.clone(), text);
        binary_data.insert(key.clone(), binary);
    }
    json!({"data": data, "binaryData": binary_data})
}

/// A patch removes a key with `null`; a new object must not have it.
pub(super) fn without_nulls(patch: &Value) -> Value {
    let mut patch = patch.clone();
    for member in ["data", "binaryData"] {
        if let Some(values) = patch[member].as_object_mut() {
            values.retain(|_, value| !value.is_null());
        }
    }
    patch
}
