//! The admin listener's own: replays that may be dry, explanations, rebuilds. Loopback only, no token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::App;
use super::connections::Connection;
use super::lookup::ImageQuery;
use super::problem::Problem;
use super::query::Parameters;
use crate::cache::configmap::Written;
use crate::rollout::restart::Mode;

/// Longest wait for a scan and its write-back; people are patient.
const REBUILD_LIMIT: Duration = Duration::from_secs(120);

/// A parameter that is mistyped must not turn a dry run into a real one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PushQuery {
    #[serde(default)]
    dry_run: Option<String>,
}

/// `POST /v1/rebuild`: what the scan came to.
#[derive(Debug, Serialize)]
struct Rebuilt {
    result: Written,
    images: usize,
    workloads: usize,
}

/// `POST /v1/push`, with `?dry_run=true`.
pub(super) async fn push(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Arc<Connection>>,
    Parameters(query): Parameters<PushQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mode = match query.dry_run.as_deref() {
        None | Some("false") => Mode::Apply,
        Some("true" | "") => Mode::DryRun,
        Some(other) => {
            let detail = format!("dry_run is {other:?}; it takes true or false");
            return Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail).into_response();
        }
    };
    super::push::handle(app, &connection, headers, body, mode).await
}

/// `GET /v1/explain?image=REF`: what a push of it would do.
pub(super) async fn explain(State(app): State<Arc<App>>, Parameters(query): Parameters<ImageQuery>) -> Response {
    match query.image() {
        Err(problem) => problem.into_response(),
        Ok(image) => super::push::respond(&app, app.deliveries.explain(&image).await.into()),
    }
}

/// `POST /v1/rebuild`: a scan now, in turn with others.
pub(super) async fn rebuild(State(app): State<Arc<App>>) -> Response {
    match app.resolver.rebuild(Instant::now() + REBUILD_LIMIT).await {
        Ok((result, scanned)) => {
            let (images, workloads) = (scanned.index.images(), scanned.index.workloads());
            Json(Rebuilt { result, images, workloads }).into_response()
        }
        Err(reason) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not rebuilt", reason).into_response(),
    }
}
