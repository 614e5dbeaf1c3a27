//! What a ConfigMap holds at one moment.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::values::Values;
use crate::cluster::ConfigMapObject;

/// All values at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Names this state of the ConfigMap, for [`super::ConfigMapStore::compare_and_set`].
    pub resource_version: String,
    /// Whether it can never change.
    pub immutable: bool,
    /// What it holds.
    pub values: Values,
    /// The keys of the values in `binaryData`.
    pub binary_keys: BTreeSet<String>,
}

impl Snapshot {
    pub(super) fn of(object: &ConfigMapObject) -> Self {
        let text = object.data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let binary =
            object.binary_data.iter().map(|(key, value)| (key.clone(), STANDARD.decode(value).unwrap_or_default()));
        Self {
            resource_version: object.metadata.resource_version.clone(),
            immutable: object.immutable,
            values: text.chain(binary).collect(),
            binary_keys: object.binary_data.keys().cloned().collect(),
        }
    }
}
