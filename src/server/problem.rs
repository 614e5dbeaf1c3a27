//! Errors as `application/problem+json` (RFC 9457): what was wrong, where, and what to do.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// When a nacked push should come again at the earliest, in seconds. Pub/Sub has a backoff of its own; proxies
/// and people read this.
const RETRY_AFTER_SECONDS: &str = "5";

/// A problem, with the members of an answer beside it where there is one.
#[derive(Debug, Serialize)]
pub struct Problem<T = ()> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    answer: Option<T>,
}

impl Problem<()> {
    /// A problem of this status; `detail` is a sentence on this very request.
    pub(super) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), answer: None }
    }
}

impl<T: Serialize> Problem<T> {
    /// The problem, with an answer's members beside its own.
    pub(super) fn with_answer<U>(problem: Problem<U>, answer: T) -> Self {
        let Problem { kind, title, status, detail, .. } = problem;
        Self { kind, title, status, detail, answer: Some(answer) }
    }
}

impl<T: Serialize> IntoResponse for Problem<T> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // No `error`, no `scope`, no `realm`: nothing to learn from.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", "there is no such path on this listener")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        "the Allow header names the methods of this path",
    )
}

/// A bug of ours: the request fails, the service goes on.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let detail = "a bug in pushroll; the log has the details";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail).into_response()
}
