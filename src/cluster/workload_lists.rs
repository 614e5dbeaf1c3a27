//! LIST of the workloads of a kind, page by page. For an index, some 6 KB of JSON for a Deployment, half of which is
//! `managedFields`, are decoded to a few names; for restarts, to what a decision looks at.

use std::borrow::Cow;

use serde::Deserialize;

use super::error::ApiError;

use super::metrics::Verb;
use super::pages::{Page, PageQuery};
use super::request::{Call, Cluster};
use super::watched_object::WatchedObject;
use super::workload_object::{FOLLOWING_LABEL, PodSpec, WorkloadObject};
use super::workloads::{Spec, Template};
use crate::workload::{WorkloadKind, WorkloadRef};

/// How often a LIST is tried whose `continue` token expires.
const LIST_ATTEMPTS: usize = 3;

/// An item of a page, borrowed from its bytes.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    metadata: ItemMetadata<'a>,
    #[serde(borrow)]
    spec: Template<Spec<PodSpec<Text<'a>>>>,
}

#[derive(Deserialize)]
struct ItemMetadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
}

/// Borrowed from the bytes where they hold no escapes. serde does that for a `Cow` only with `borrow`.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn collection(kind: WorkloadKind, namespace: Option<&str>) -> String {
    match namespace {
        None => format!("/apis/apps/v1/{}", kind.plural()),
        Some(namespace) => format!("/apis/apps/v1/namespaces/{namespace}/{}", kind.plural()),
    }
}

fn reference(kind: WorkloadKind, object: &WorkloadObject) -> WorkloadRef {
    WorkloadRef::new(object.metadata.namespace.as_str(), kind, object.metadata.name.as_str())
}

impl Cluster {
    /// A consistent LIST of a kind (`resourceVersion` unset: as fresh as a GET of each workload that was made when the
    /// LIST began), in one namespace or in all. `each` is called for every workload, page by page.
    ///
    /// # Errors
    /// As of a call. `each` was called for the pages before.
    pub async fn list_workloads(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        mut each: impl FnMut(WorkloadRef, WorkloadObject),
    ) -> Result<(), ApiError> {
        self.each_page(kind.into(), &collection(kind, namespace), PageQuery::ALL, |page| {
            let page: Page<WorkloadObject> = serde_json::from_slice(page)?;
            page.items.into_iter().for_each(|object| each(reference(kind, &object), object));
            Ok(page.metadata)
        })
        .await
    }

    /// A consistent LIST of the workloads of a kind whose rollouts are followed, in one namespace or in all.
    ///
    /// # Errors
    /// As of a call.
    pub async fn list_followed(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
    ) -> Result<Vec<(WorkloadRef, WatchedObject)>, ApiError> {
        let mut followed = Vec::new();
        let query = PageQuery { selector: Some(FOLLOWING_LABEL), ..PageQuery::ALL };
        self.each_page(kind.into(), &collection(kind, namespace), query, |page| {
            let page: Page<WorkloadObject> = serde_json::from_slice(page)?;
            followed.extend(page.items.iter().map(|object| (reference(kind, object), WatchedObject::new(object))));
            Ok(page.metadata)
        })
        .await?;
        followed.into_iter().map(|(workload, object)| Ok((workload, object?))).collect()
    }

    /// A consistent LIST of a kind (`resourceVersion` unset: everything that was there when it began),
    /// in one namespace or in all, page by page. `each` is called for every workload with each of its images. It is
    /// called with `None` at the start, and again when the LIST starts anew.
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

    /// LIST of a single workload, to find out whether we are permitted to list them.
    pub async fn try_list(&self, kind: WorkloadKind, namespace: Option<&str>) -> Result<(), ApiError> {
        let uri = format!("{}?limit=1", collection(kind, namespace));
        self.call(Call { verb: Verb::List, resource: kind.into(), uri, body: None }).await.map(drop)
    }

    async fn list_pages(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        each: &mut impl FnMut(Option<(&str, WorkloadRef)>),
    ) -> Result<(), ApiError> {
        self.each_page(kind.into(), &collection(kind, namespace), PageQuery::ALL, |page| {
            let page: Page<Item<'_>> = serde_json::from_slice(page)?;
            for item in &page.items {
                for image in item.spec.template.spec.images() {
                    let workload = WorkloadRef::new(&*item.metadata.namespace, kind, &*item.metadata.name);
                    each(Some((image.image, workload)));
                }
            }
            Ok(page.metadata)
        })
        .await
    }
}
