//! LIST of the workloads of a kind, page by page, decoded to what an index needs and no more: some 6 KB of JSON a
//! Deployment become a few names (half of it is `managedFields`).

use std::borrow::Cow;

use serde::Deserialize;

use super::error::ApiError;
use super::request::{Call, Cluster};
use super::workloads::PodSpec;
use crate::workload::{WorkloadKind, WorkloadRef};

/// Items of one page of a LIST, as client-go's pager asks for.
const PAGE_ITEMS: usize = 500;
/// A LIST whose `continue` token has expired is begun again this often.
const LIST_ATTEMPTS: usize = 3;

/// A page of a LIST, borrowed from its bytes.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Vec<PageItem<'a>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

#[derive(Deserialize)]
struct PageItem<'a> {
    #[serde(borrow)]
    metadata: PageItemMetadata<'a>,
    #[serde(borrow)]
    spec: PageItemSpec<'a>,
}

#[derive(Deserialize)]
struct PageItemMetadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PageItemSpec<'a> {
    #[serde(borrow)]
    template: PageItemTemplate<'a>,
}

#[derive(Deserialize)]
struct PageItemTemplate<'a> {
    #[serde(borrow)]
    spec: PodSpec<Text<'a>>,
}

/// Borrowed from the bytes where they hold no escapes, which serde does for a `Cow` only when told.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Cluster {
    /// A consistent LIST of a kind (`resourceVersion` unset: everything that was there when it began),
    /// in one namespace or in all, page by page. `each` is called for every workload with each of its images;
    /// it is told `None` first, and again where the LIST has to begin anew.
    pub async fn list_images(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        mut each: impl FnMut(Option<(&str, WorkloadRef)>),
    ) -> Result<(), ApiError> {
        let mut attempt = 1;
        loop {
            each(None);
            match self.list_pages(kind, namespace, &mut each).await {
                Err(ApiError::Expired(_)) if attempt < LIST_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn list_pages(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        each: &mut impl FnMut(Option<(&str, WorkloadRef)>),
    ) -> Result<(), ApiError> {
        let collection = match namespace {
            None => format!("/apis/apps/v1/{}", kind.plural()),
            Some(namespace) => format!("/apis/apps/v1/namespaces/{namespace}/{}", kind.plural()),
        };
        let mut continue_token: Option<String> = None;
        loop {
            let uri = match &continue_token {
                None => format!("{collection}?limit={PAGE_ITEMS}"),
                // Continue tokens are unpadded URL-safe base64 (Kubernetes: `storage/continue.go`).
                Some(token) => format!("{collection}?limit={PAGE_ITEMS}&continue={token}"),
            };
            let body = self.call(Call { verb: "list", resource: kind.plural(), uri, body: None }).await?;
            let page: Page<'_> =
                serde_json::from_slice(&body).map_err(|error| ApiError::Unreadable(error.to_string()))?;
            for item in &page.items {
                for image in item.spec.template.spec.images() {
                    let workload = WorkloadRef::new(&*item.metadata.namespace, kind, &*item.metadata.name);
                    each(Some((image.image, workload)));
                }
            }
            match page.metadata.continue_token.filter(|token| !token.is_empty()) {
                None => return Ok(()),
                token => continue_token = token,
            }
        }
    }
}
