//! `metadata.managedFields`, decoded to who owns which annotation of the pod template. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::annotations::{decides, lengthened, shortened};

/// An entry of `metadata.managedFields` of the object itself (no subresource) that owns something in the pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedFields {
    /// The field manager.
    pub manager: String,
    /// When this manager last changed anything, by the API server's clock.
    pub time: Option<Timestamp>,
    /// The keys of the pod template's annotations that it owns.
    #[serde(serialize_with = "shorter", deserialize_with = "longer")]
    pub template_annotations: Vec<String>,
}

/// As in the API: `fieldsV1` is a tree whose keys are `f:` and a field's name (Kubernetes: structured-merge-diff,
/// `fieldpath/serialize.go`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManagedFields {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default)]
    fields_v1: FieldsOfObject,
}

#[derive(Default, Deserialize)]
struct FieldsOfObject {
    #[serde(default, rename = "f:spec")]
    spec: FieldsOfSpec,
}

#[derive(Default, Deserialize)]
struct FieldsOfSpec {
    #[serde(default, rename = "f:template")]
    template: Option<FieldsOfTemplate>,
}

#[derive(Deserialize)]
struct FieldsOfTemplate {
    #[serde(default, rename = "f:metadata")]
    metadata: FieldsOfMetadata,
}

#[derive(Default, Deserialize)]
struct FieldsOfMetadata {
    #[serde(default, rename = "f:annotations")]
    annotations: BTreeMap<String, IgnoredAny>,
}

pub(super) fn of_pod_template<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ManagedFields>, D::Error> {
    if !deserializer.is_human_readable() {
        return Vec::deserialize(deserializer);
    }
    let entries = Vec::<RawManagedFields>::deserialize(deserializer)?;
    let of_object = entries.into_iter().filter(|entry| entry.subresource.is_empty());
    let of_template = of_object.filter_map(|entry| {
        let annotations = entry.fields_v1.spec.template?.metadata.annotations;
        let keys = annotations.keys().filter_map(|key| key.strip_prefix("f:").filter(|key| decides(key)));
        let template_annotations: Vec<_> = keys.map(str::to_owned).collect();
        let entry = ManagedFields { manager: entry.manager, time: entry.time, template_annotations };
        (!entry.template_annotations.is_empty()).then_some(entry)
    });
    Ok(of_template.collect())
}

fn shorter<S: Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(|key| shortened(key)))
}

fn longer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let keys = Vec::<String>::deserialize(deserializer)?;
    Ok(keys.iter().map(|short| lengthened(short)).collect())
}
