//! `POST /v1/push`: a delivery in, its answer out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::App;
use super::problem::Problem;
use crate::delivery::answer::Answer;
use crate::rollout::Code;
use crate::rollout::restart::Mode;

/// On the public listener. Its URL may carry parameters (a token, say), but a dry run is not to be had here, and
/// must not silently be a real one. Who sends it is known before a byte of the body is read.
pub(super) async fn push(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    if let Some(authenticator) = &app.authenticator
        && let Err(problem) = authenticator.check(&headers).await
    {
        return problem.into_response();
    }
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(&uri);
    if parameters.is_ok_and(|parameters| parameters.iter().any(|(name, _)| name == "dry_run")) {
        let detail = "dry runs are on the admin listener alone; this push was not handled";
        return Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail).into_response();
    }
    handle(app, headers, body, Mode::Apply).await
}

/// Reads the body, handles the delivery, and answers. Once the body is there the delivery is seen to its end, which
/// `--hold` bounds, even if the caller hangs up: what was done is logged and counted.
pub(super) async fn handle(app: Arc<App>, headers: HeaderMap, body: Body, mode: Mode) -> Response {
    let received = app.deliveries.received();
    let body = match read(body, app.max_body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let delivery = tokio::spawn(async move {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match app.deliveries.deliver(received, header, &body, mode).await {
            Ok(answer) => respond(&app, answer),
            Err(error) => {
                tracing::warn!("not a delivery: {error}");
                Problem::new(StatusCode::BAD_REQUEST, "Not a Pub/Sub delivery", error.to_string()).into_response()
            }
        }
    });
    delivery.await.unwrap_or_else(|panicked| {
        tracing::error!("a delivery ended badly: {panicked}");
        super::problem::panicked(Box::new(()))
    })
}

async fn read(body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let mut body = body;
    match Limited::new(&mut body, max_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            discard(body, max_bytes).await;
            let detail = format!("the body is larger than {max_bytes} bytes; --max-body sets the limit");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", detail))
        }
        Err(error) => {
            let detail = format!("the body could not be read to its end: {error}");
            Err(Problem::new(StatusCode::BAD_REQUEST, "Body broken off", detail))
        }
    }
}

/// Reads on for as much again: an answer while the caller still writes would be lost to it.
async fn discard(mut body: Body, max_bytes: usize) {
    let mut left = max_bytes;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

pub(super) fn respond(app: &App, answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status(app.poison)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() {
        return (status, Json(answer)).into_response();
    }
    let (title, detail) = if status == StatusCode::SERVICE_UNAVAILABLE {
        // That our own workload waits for the others is what comes of it, not why.
        let is_cause = |code: Code| code.is_transient_failure() && code != Code::OthersFirst;
        let failed = answer.workloads.iter().find(|workload| is_cause(workload.code));
        let of_workload = failed.map(|workload| format!("{}: {}", workload.workload(), workload.reason));
        ("Not done yet", answer.reason.clone().or(of_workload).unwrap_or_default())
    } else {
        ("Nothing can be done with this message", answer.reason.clone().unwrap_or_default())
    };
    Problem::with_answer(Problem::new(status, title, detail), answer).into_response()
}
