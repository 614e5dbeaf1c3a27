//! A LIST, page by page.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};

/// Items of one page of a LIST, as in client-go's pager.
pub const PAGE_ITEMS: usize = 500;

/// A page of a LIST.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    pub(super) items: Vec<T>,
}

impl Cluster {
    /// The objects of a collection that have the label `(key, value)`.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        resource: Resource,
        collection: &str,
        label: (&str, &str),
    ) -> Result<Vec<T>, ApiError> {
        let mut objects = Vec::new();
        self.each_page(resource, collection, Some(label), |page| {
            let Page { metadata, items } = serde_json::from_slice(page)?;
            objects.extend(items);
            Ok(metadata)
        })
        .await?;
        Ok(objects)
    }

    /// A consistent LIST (`resourceVersion` unset) of a collection, or of its objects with the label `(key, value)`.
    /// `read` decodes one page after the other and returns the metadata of each.
    pub(super) async fn each_page(
        &self,
        resource: Resource,
        collection: &str,
        label: Option<(&str, &str)>,
        mut read: impl FnMut(&[u8]) -> serde_json::Result<ListMeta>,
    ) -> Result<(), ApiError> {
        let mut first = format!("{collection}?limit={PAGE_ITEMS}");
        if let Some((key, value)) = label {
            first.push_str(&format!("&labelSelector={key}%3D{value}"));
        }
        let mut uri = first.clone();
        loop {
            let body = self.call(Call { verb: Verb::List, resource, uri, body: None }).await?;
            let metadata = read(&body).map_err(|error| ApiError::Unreadable(error.to_string()))?;
            match metadata.continue_.filter(|token| !token.is_empty()) {
                None => return Ok(()),
                // Continue tokens are unpadded URL-safe base64 (Kubernetes: `storage/continue.go`).
                Some(token) => uri = format!("{first}&continue={token}"),
            }
        }
    }
}
