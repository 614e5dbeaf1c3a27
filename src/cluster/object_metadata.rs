//! `metadata`, without the fields that pushroll does not read: `managedFields` are most of an object, and a field that
//! nobody reads must not make an object unreadable.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// `metadata` of a pod or a workload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMetadata {
    /// Its name.
    pub name: String,
    /// All its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Counts the changes of `spec`.
    #[serde(default)]
    pub generation: i64,
    #[serde(default)]
    pub(super) resource_version: Option<String>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
}

impl ObjectMetadata {
    /// Whether it is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}
