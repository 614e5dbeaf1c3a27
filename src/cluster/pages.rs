//! A LIST, page by page.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};

/// Items of one page of a LIST, as in client-go's pager.
pub const PAGE_ITEMS: usize = 500;

/// What a LIST asks for.
#[derive(Clone, Copy)]
pub(super) struct PageQuery<'a> {
    /// A label selector, as `kubectl -l` takes it.
    pub(super) selector: Option<&'a str>,
    /// Items of a page.
    pub(super) limit: usize,
}

impl PageQuery<'_> {
    /// Every object, in pages of the usual size.
    pub(super) const ALL: Self = Self { selector: None, limit: PAGE_ITEMS };
}

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
        let selector = format!("{}={}", label.0, label.1);
        let query = PageQuery { selector: Some(&selector), ..PageQuery::ALL };
        self.each_page(resource, collection, query, |page| {
            let Page { metadata, items } = serde_json::from_slice(page)?;
            objects.extend(items);
            Ok(metadata)
        })
        .await?;
        Ok(objects)
    }

    /// A consistent LIST (`resourceVersion` unset) of a collection. `read` decodes one page after the other and returns
    /// the metadata of each; without `continue` in it, no further page is asked for.
    pub(super) async fn each_page(
        &self,
        resource: Resource,
        collection: &str,
        query: PageQuery<'_>,
        mut read: impl FnMut(&[u8]) -> serde_json::Result<ListMeta>,
    ) -> Result<(), ApiError> {
        let mut first = format!("{collection}?limit={}", query.limit);
        if let Some(selector) = query.selector {
            first.push_str("&labelSelector=");
            first.extend(utf8_percent_encode(selector, NON_ALPHANUMERIC));
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
