//! What a ConfigMap can hold, checked before the API is asked: the API's own messages name no key.

use super::error::StoreError;
use super::values::Values;
use crate::cluster::CONFIG_MAP_BYTES_MAX;

/// Kubernetes: `IsConfigMapKey`, `DNS1123SubdomainMaxLength`.
const KEY_BYTES_MAX: usize = 253;

pub(super) fn check_key(key: &str) -> Result<(), StoreError> {
    let bad = |problem| Err(StoreError::BadKey { key: key.chars().take(60).collect(), problem });
    if key.is_empty() {
        bad("it is empty")
    } else if key.len() > KEY_BYTES_MAX {
        bad("it is longer than 253 characters")
    } else if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        bad("it has other characters than letters, digits, -, _ and .")
    } else if key == "." || key.starts_with("..") {
        bad("it is \".\" or begins with \"..\"")
    } else {
        Ok(())
    }
}

/// What stays and what is set must fit together.
pub(super) fn check_size<'a>(
    config_map: &str,
    staying: impl Iterator<Item = (&'a String, &'a Vec<u8>)>,
    values: &Values,
) -> Result<(), StoreError> {
    let bytes = staying.map(|(_, value)| value.len()).sum::<usize>() + values.values().map(Vec::len).sum::<usize>();
    if bytes > CONFIG_MAP_BYTES_MAX {
        Err(StoreError::TooLarge { config_map: config_map.to_owned(), bytes })
    } else {
        Ok(())
    }
}
