//! `POST /v1/push`: a delivery in, its answer out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::App;
use super::problem::Problem;
use crate::delivery::answer::Answer;
use crate::rollout::restart::Mode;

/// On the public listener. A query is the subscription's own business, but whoever asks for a dry run here must not
/// get a real one.
pub(super) async fn push(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut parameters = query.as_deref().unwrap_or_default().split('&');
    if parameters.any(|parameter| parameter.split('=').next() == Some("dry_run")) {
        let detail = "dry_run is for the admin listener; nothing was done";
        return Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail).into_response();
    }
    handle(&app, &headers, body, Mode::Apply).await
}

/// Reads the body, handles the delivery, and answers.
pub(super) async fn handle(app: &App, headers: &HeaderMap, body: Body, mode: Mode) -> Response {
    let received = app.deliveries.received();
    let body = match read(body, app.max_body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match app.deliveries.deliver(received, header, &body, mode).await {
        Ok(answer) => respond(app, answer),
        Err(error) => {
            tracing::warn!("not a delivery: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "Not a Pub/Sub delivery", error.to_string()).into_response()
        }
    }
}

async fn read(body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, max_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let detail = format!("the body is larger than {max_bytes} bytes; --max-body sets the limit");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", detail))
        }
        Err(error) => {
            let detail = format!("the body could not be read to its end: {error}");
            Err(Problem::new(StatusCode::BAD_REQUEST, "Body broken off", detail))
        }
    }
}

pub(super) fn respond(app: &App, answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status(app.poison)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() {
        return (status, Json(answer)).into_response();
    }
    let (title, detail) = if status == StatusCode::SERVICE_UNAVAILABLE {
        let failed = answer.workloads.iter().find(|workload| workload.code.is_transient_failure());
        let of_workload = failed.map(|workload| format!("{}: {}", workload.workload(), workload.reason));
        ("Not done yet", answer.reason.clone().or(of_workload).unwrap_or_default())
    } else {
        ("Nothing can be done with this message", answer.reason.clone().unwrap_or_default())
    };
    Problem::with_answer(Problem::new(status, title, detail), answer).into_response()
}
