//! Which calls we are permitted to make, as the API server says without making them.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use serde_json::json;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// A permission, in the terms of RBAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `get`, `list`, `patch`, `create`.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The plural name of the resource.
    pub resource: &'static str,
    /// `None`: in all namespaces.
    pub namespace: Option<String>,
    /// `None`: every object, or one that has no name yet.
    pub name: Option<String>,
}

impl Cluster {
    /// Whether we have the permission (`SelfSubjectAccessReview`, which the role `system:basic-user` permits everyone).
    pub async fn is_permitted(&self, access: &Access) -> Result<bool, ApiError> {
        let attributes = json!({
            "verb": access.verb, "group": access.group, "resource": access.resource,
            "namespace": access.namespace.as_deref().unwrap_or_default(),
            "name": access.name.as_deref().unwrap_or_default(),
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let body = Some(("application/json", review.to_string().into_bytes()));
        let resource = Resource::SelfSubjectAccessReviews;
        let call = Call { verb: Verb::Create, resource, uri: REVIEWS.to_owned(), body };
        let review: SelfSubjectAccessReview = self.call_for(call).await?;
        let status = review.status.ok_or_else(|| ApiError::Unreadable("the review has no status".to_owned()))?;
        Ok(status.allowed)
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, group, resource, namespace, name } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in the namespace {namespace}"),
            None => f.write_str(" in all namespaces"),
        }
    }
}
