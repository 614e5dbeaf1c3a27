//! ConfigMaps through the API: GET, create, a merge patch of single keys, and LIST and delete of labelled ones.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};

/// The API's limit for all values of a ConfigMap together; keys are not counted (Kubernetes: `MaxSecretSize`, 1 MiB).
pub const CONFIG_MAP_BYTES_MAX: usize = 1_048_576;

/// A ConfigMap, without what pushroll does not look at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapObject {
    /// `metadata`
    pub metadata: ConfigMapMetadata,
    /// UTF-8 values.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Values that are not UTF-8, in base64.
    #[serde(default)]
    pub binary_data: BTreeMap<String, String>,
    /// Whether its values can never change.
    #[serde(default)]
    pub immutable: bool,
}

/// `metadata` of a ConfigMap.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapMetadata {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// When it was created, by the API server's clock.
    #[serde(default)]
    pub creation_timestamp: Option<Timestamp>,
    /// The precondition of a PATCH.
    pub resource_version: String,
    /// All its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Who wrote what, and when.
    #[serde(default)]
    managed_fields: Vec<ManagedFieldsEntry>,
}

impl ConfigMapObject {
    /// The size of all values, as the API counts them against its limit: without the keys, and binary values without
    /// their base64.
    pub fn values_bytes(&self) -> usize {
        self.data.values().map(String::len).sum::<usize>()
            + self.binary_data.values().map(|base64| decoded_len(base64)).sum::<usize>()
    }

    /// The size of one value, counted in the same way; 0 where there is none.
    pub fn value_bytes(&self, key: &str) -> usize {
        self.data.get(key).map_or(0, String::len) + self.binary_data.get(key).map_or(0, |base64| decoded_len(base64))
    }

    /// When it was last changed, by the API server's clock; `None` without `managedFields`.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.metadata.managed_fields.iter().filter_map(|fields| fields.time.as_ref()).map(|time| time.0).max()
    }
}

/// The size of what is encoded in base64.
fn decoded_len(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

impl Cluster {
    /// GET of a ConfigMap; `None` where it does not exist.
    pub async fn get_config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMapObject>, ApiError> {
        let uri = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        match self.call_for(Call { verb: Verb::Get, resource: Resource::ConfigMaps, uri, body: None }).await {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The ConfigMaps of a namespace that have the label `(key, value)`.
    pub async fn list_config_maps(
        &self,
        namespace: &str,
        label: (&str, &str),
    ) -> Result<Vec<ConfigMapObject>, ApiError> {
        self.list(Resource::ConfigMaps, &format!("/api/v1/namespaces/{namespace}/configmaps"), label).await
    }

    /// Deletes a ConfigMap that is at `resource_version`; [`ApiError::Conflict`] if it has another.
    pub async fn delete_config_map(&self, namespace: &str, name: &str, resource_version: &str) -> Result<(), ApiError> {
        let uri = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": resource_version},
        });
        let body = Some(("application/json", options.to_string().into_bytes()));
        self.call(Call { verb: Verb::Delete, resource: Resource::ConfigMaps, uri, body }).await.map(drop)
    }

    /// Creates a ConfigMap with these members (`data`, `binaryData`, `immutable`; of `metadata` labels and annotations).
    /// [`ApiError::Conflict`] if one of that name exists.
    pub async fn create_config_map(
        &self,
        namespace: &str,
        name: &str,
        field_manager: &str,
        members: Value,
    ) -> Result<ConfigMapObject, ApiError> {
        self.call_for(create(namespace, name, field_manager, members)).await
    }

    /// Merges these members into a ConfigMap (`null` removes a key). Other keys, labels and annotations stay. With a
    /// `resource_version`, [`ApiError::Conflict`] if the ConfigMap has another.
    pub async fn merge_config_map(
        &self,
        namespace: &str,
        name: &str,
        field_manager: &str,
        resource_version: Option<&str>,
        mut members: Value,
    ) -> Result<ConfigMapObject, ApiError> {
        if let Some(resource_version) = resource_version {
            members["metadata"]["resourceVersion"] = resource_version.into();
        }
        self.call_for(merge(namespace, name, field_manager, &members)).await
    }

    /// Asks whether a create ([`Verb::Create`]) or a patch (any other) would be permitted and valid. Changes nothing.
    pub async fn dry_run_config_map(
        &self,
        verb: Verb,
        namespace: &str,
        name: &str,
        field_manager: &str,
        members: Value,
    ) -> Result<(), ApiError> {
        let mut call = match verb {
            Verb::Create => create(namespace, name, field_manager, members),
            _ => merge(namespace, name, field_manager, &members),
        };
        call.uri.push_str("&dryRun=All");
        self.call(call).await.map(drop)
    }
}

fn create(namespace: &str, name: &str, field_manager: &str, mut members: Value) -> Call {
    members["apiVersion"] = "v1".into();
    members["kind"] = "ConfigMap".into();
    members["metadata"]["name"] = name.into();
    members["metadata"]["namespace"] = namespace.into();
    let uri = format!("/api/v1/namespaces/{namespace}/configmaps?fieldManager={field_manager}");
    let body = Some(("application/json", members.to_string().into_bytes()));
    Call { verb: Verb::Create, resource: Resource::ConfigMaps, uri, body }
}

fn merge(namespace: &str, name: &str, field_manager: &str, members: &Value) -> Call {
    let uri = format!("/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager={field_manager}");
    let body = Some(("application/merge-patch+json", members.to_string().into_bytes()));
    Call { verb: Verb::Patch, resource: Resource::ConfigMaps, uri, body }
}
