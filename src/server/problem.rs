//! Errors as `application/problem+json` (RFC 9457): what was wrong, where, and what to do.

use std::any::Any;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use crate::telemetry::Serialized;

/// When a nacked push should come again at the earliest, in seconds. Pub/Sub has a backoff of its own; this is for proxies
/// and people.
const RETRY_AFTER_SECONDS: &str = "5";

/// A problem. If the request has an answer, too, its members stand beside those of the problem.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip)]
    answer: Option<Serialized>,
}

impl Problem {
    /// A problem of this status; `detail` is a sentence about this very request.
    pub(super) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), answer: None }
    }

    /// The problem, with the members of an answer, which is an object.
    pub(super) fn with_answer(self, answer: Serialized) -> Self {
        Self { answer: Some(answer), ..self }
    }

    fn body(&self) -> Bytes {
        let problem = Serialized::of(self);
        let joined = self.answer.as_ref().and_then(|answer| {
            let (head, tail) = (problem.as_str().strip_suffix('}')?, answer.as_str().strip_prefix('{')?);
            Some([head, ",", tail].concat().into())
        });
        joined.unwrap_or_else(|| problem.bytes())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // No `error`, `scope` or `realm`: they would help an attacker.
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

/// The answer after a panic, which is a bug of ours: the request fails, the service goes on.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let detail = "a bug in pushroll; the log has the details";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail).into_response()
}
