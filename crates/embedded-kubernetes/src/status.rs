//! `Status`: how the API server says no, and why
//! (`k8s.io/apimachinery/pkg/api/errors`, `.../pkg/util/validation/field`).

use serde_json::{Value, json};

use super::faults::POLICY_NAME;
use super::resource::{CORE_EVENTS, ResourceType};

/// A refusal. Its text is Kubernetes' own, for clients match on it.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

/// What is wrong with one field of an object.
#[derive(Debug, PartialEq)]
pub(super) struct FieldError {
    cause: &'static str,
    field: String,
    body: String,
}

// === impl Status ===

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, resource: &ResourceType, kind: &str, name: &str, causes: Vec<Value>) -> Self {
        let mut details = json!({ "kind": kind });
        for (key, text) in [("name", name), ("group", resource.group)] {
            if !text.is_empty() {
                details[key] = json!(text);
            }
        }
        if !causes.is_empty() {
            details["causes"] = Value::Array(causes);
        }
        self.details = Some(details);
        self
    }

    pub(super) fn not_found(resource: &ResourceType, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified_plural());
        Self::new(404, "NotFound", message).about(resource, resource.plural, name, vec![])
    }

    /// For a path that leads nowhere.
    pub(super) fn no_such_path() -> Self {
        Self {
            details: Some(json!({})),
            ..Self::new(404, "NotFound", "the server could not find the requested resource")
        }
    }

    pub(super) fn already_exists(resource: &ResourceType, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified_plural());
        Self::new(409, "AlreadyExists", message).about(resource, resource.plural, name, vec![])
    }

    pub(super) fn conflict(resource: &ResourceType, name: &str, cause: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {cause}", resource.qualified_plural());
        Self::new(409, "Conflict", message).about(resource, resource.plural, name, vec![])
    }

    /// As [`Self::conflict`], under the kind: so says a DELETE with preconditions.
    pub(super) fn conflict_of_kind(resource: &ResourceType, name: &str, cause: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {cause}", resource.qualified_kind());
        Self::new(409, "Conflict", message).about(resource, resource.kind, name, vec![])
    }

    /// A write whose `resourceVersion` is not the object's.
    pub(super) fn modified_meanwhile(resource: &ResourceType, name: &str) -> Self {
        let cause = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, cause)
    }

    pub(super) fn invalid(resource: &ResourceType, name: &str, errors: &[FieldError]) -> Self {
        // Events are judged in the core group, whatever group they came through.
        let resource = if resource.kind == "Event" { &CORE_EVENTS } else { resource };
        Self::invalid_of(resource, &resource.qualified_kind(), resource.kind, name, errors)
    }

    /// As [`Self::invalid`], under the plural: so says the store itself.
    pub(super) fn invalid_plural(resource: &ResourceType, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_of(resource, &resource.qualified_plural(), resource.plural, name, errors)
    }

    fn invalid_of(resource: &ResourceType, qualified: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(FieldError::text).collect();
        let text = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{qualified} {name:?} is invalid: {text}");
        let causes = errors.iter().map(FieldError::to_json);
        Self::new(422, "Invalid", message).about(resource, kind, name, causes.collect())
    }

    /// As a `ValidatingAdmissionPolicy` refuses: worded as forbidden, coded as invalid.
    pub(super) fn denied(resource: &ResourceType, name: &str, text: &str) -> Self {
        let cause =
            format!("ValidatingAdmissionPolicy '{POLICY_NAME}' with binding '{POLICY_NAME}' denied request: {text}");
        let message = format!("{} {name:?} is forbidden: {cause}", resource.qualified_plural());
        let causes = vec![json!({ "message": cause })];
        Self::new(422, "Invalid", message).about(resource, resource.plural, name, causes)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A JSON patch that does not fit the object.
    pub(super) fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self { details: Some(json!({})), ..Self::new(422, "Invalid", message) }
    }

    /// A patch that makes of the object something that is not of its type.
    pub(super) fn invalid_patch(patched: &str, error: &Self) -> Self {
        let error = FieldError::invalid("patch", &json!(patched), &error.message);
        let message = format!(" \"\" is invalid: {}", error.text());
        let details = json!({ "causes": [error.to_json()] });
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }

    /// A PATCH in none of the media types for it.
    pub(super) fn unsupported_patch() -> Self {
        Self { details: Some(json!({})), ..Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type") }
    }

    /// An error that the API server did not expect: no reason given.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// A body of another media type than those that objects are sent as.
    pub(super) fn unsupported_media_type() -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include: \
                       application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: Some(json!({})), ..Self::new(405, "MethodNotAllowed", message) }
    }

    /// A LIST at a revision that is yet to come.
    pub(super) fn revision_too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
        let details = json!({ "causes": [cause], "retryAfterSeconds": 1 });
        Self { details: Some(details), ..Self::new(504, "Timeout", message) }
    }

    /// A watch from a revision whose changes are forgotten.
    pub(super) fn revision_too_old(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// The next page of a list that is no longer remembered.
    pub(super) fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a \
                       new list without the continue parameter.";
        Self::new(410, "Expired", message)
    }

    /// What nothing but a bug here, or a broken request, can bring about.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// An outage of this code.
    pub(super) fn outage(code: u16) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden: not allowed during the outage"),
            429 => ("TooManyRequests", "Too many requests, please try again later."),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
            _ => ("InternalError", "Internal error occurred: outage"),
        };
        let status = Self::new(code, reason, message);
        if code == 429 { Self { details: Some(json!({ "retryAfterSeconds": 1 })), ..status } } else { status }
    }

    /// For the `Retry-After` header.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        self.details.as_ref()?.get("retryAfterSeconds")?.as_u64()
    }

    pub(super) fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

// === impl FieldError ===

impl FieldError {
    pub(super) fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueRequired", field, "Required value".to_owned(), detail)
    }

    pub(super) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {value}"), detail)
    }

    pub(super) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, "Forbidden".to_owned(), detail)
    }

    /// `body` as it shall read.
    pub(super) fn unsupported(field: impl Into<String>, body: String) -> Self {
        Self::new("FieldValueNotSupported", field, body, "")
    }

    pub(super) fn too_long(field: impl Into<String>, most_bytes: usize) -> Self {
        let detail = format!("may not be more than {most_bytes} bytes");
        Self::new("FieldValueTooLong", field, "Too long".to_owned(), &detail)
    }

    fn new(cause: &'static str, field: impl Into<String>, kind: String, detail: &str) -> Self {
        let body = if detail.is_empty() { kind } else { format!("{kind}: {detail}") };
        Self { cause, field: field.into(), body }
    }

    fn to_json(&self) -> Value {
        json!({ "reason": self.cause, "message": self.body, "field": self.field })
    }

    fn text(&self) -> String {
        format!("{}: {}", self.field, self.body)
    }
}
