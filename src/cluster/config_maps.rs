//! ConfigMaps through the API: GET, create, and a merge patch of single keys.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::ApiError;
use super::request::{Call, Cluster};

/// A ConfigMap, without what pushroll does not look at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapObject {
    /// `metadata`
    pub metadata: ConfigMapMetadata,
    /// UTF-8 values.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Whether its values can never change.
    #[serde(default)]
    pub immutable: bool,
}

/// `metadata` of a ConfigMap.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapMetadata {
    /// The precondition of a PATCH.
    pub resource_version: String,
}

impl Cluster {
    /// GET of a ConfigMap; `None` where it does not exist.
    pub async fn get_config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMapObject>, ApiError> {
        let uri = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        match self.call(Call { verb: "get", resource: "configmaps", uri, body: None }).await {
            Ok(body) => {
                serde_json::from_slice(&body).map(Some).map_err(|error| ApiError::Unreadable(error.to_string()))
            }
            Err(ApiError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a ConfigMap with one key. A ConfigMap of that name: [`ApiError::Conflict`].
    pub async fn create_config_map(
        &self,
        namespace: &str,
        name: &str,
        field_manager: &str,
        key: &str,
        value: &str,
    ) -> Result<(), ApiError> {
        let config_map = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {key: value},
        });
        let uri = format!("/api/v1/namespaces/{namespace}/configmaps?fieldManager={field_manager}");
        let body = Some(("application/json", config_map.to_string().into_bytes()));
        self.call(Call { verb: "create", resource: "configmaps", uri, body }).await.map(drop)
    }

    /// Sets one key of a ConfigMap, if it is still at `resource_version`, else [`ApiError::Conflict`].
    /// Other keys, labels and annotations stay.
    pub async fn set_config_map_key(
        &self,
        namespace: &str,
        name: &str,
        field_manager: &str,
        resource_version: &str,
        key: &str,
        value: &str,
    ) -> Result<(), ApiError> {
        let patch = serde_json::json!({"metadata": {"resourceVersion": resource_version}, "data": {key: value}});
        let uri = format!("/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager={field_manager}");
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        self.call(Call { verb: "patch", resource: "configmaps", uri, body }).await.map(drop)
    }
}
