//! What a ConfigMap can hold, checked before the API is asked: the API's own messages name no key.

use super::error::StoreError;
use super::values::Values;
use crate::cluster::CONFIG_MAP_BYTES_MAX;
use crate::config_map_names::key_problem;

pub(super) fn check_key(key: &str) -> Result<(), StoreError> {
    match key_problem(key) {
        None => Ok(()),
        Some(problem) => Err(StoreError::BadKey { key: key.chars().take(60).collect(), problem }),
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
