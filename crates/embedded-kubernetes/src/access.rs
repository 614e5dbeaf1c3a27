//! `SelfSubjectAccessReview`. There is no authorization here: everybody may do everything.

use serde_json::{Value, json};

use super::request::RequestInfo;
use super::status::Status;

pub(super) fn is_review(info: &RequestInfo) -> bool {
    (info.group.as_str(), info.version.as_str()) == ("authorization.k8s.io", "v1")
        && (info.plural.as_str(), info.verb.as_str()) == ("selfsubjectaccessreviews", "create")
}

/// The review, answered.
pub(super) fn review(body: &[u8]) -> Result<Vec<u8>, Status> {
    let review: Value = serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    let answered = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": review["spec"], "status": {"allowed": true},
    });
    Ok(answered.to_string().into_bytes())
}
