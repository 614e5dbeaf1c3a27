//! What the admin listener alone has: replays that may be dry, explanations, rebuilds. Loopback only, no token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::app::App;
use super::listener::Connection;
use super::lookup::ImageQuery;
use super::problem::Problem;
use super::query::Parameters;
use crate::cache::UnseenPart;
use crate::cache::configmap::Written;
use crate::cache::proof::Need;
use crate::rollout::restart::Mode;

/// Longest wait for a scan and its write-back.
const REBUILD_LIMIT: Duration = Duration::from_secs(120);

/// A parameter that is mistyped must not turn a dry run into a real one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PushQuery {
    #[serde(default)]
    dry_run: Option<String>,
}

/// The result of a scan.
#[derive(Debug, Serialize)]
pub(super) struct RebuildAnswer {
    result: Written,
    images: usize,
    workloads: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen_parts: Vec<UnseenPart>,
}

/// `POST /v1/push`, with `?dry_run=true`.
pub(super) async fn push(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Arc<Connection>>,
    Parameters(query): Parameters<PushQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mode = match query.dry_run.as_deref() {
        None | Some("false") => Mode::Apply,
        Some("true" | "") => Mode::DryRun,
        Some(other) => {
            let detail = format!("dry_run is {other:?}; it takes true or false");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail));
        }
    };
    Ok(super::push::handle(app, &connection, headers, body, mode).await)
}

/// `GET /v1/explain?image=REF`: what a push of it would do.
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<ImageQuery>,
) -> Result<Response, Problem> {
    let image = query.image()?;
    Ok(super::push::respond(&app, app.deliveries.explain(&image).await.into()))
}

/// `POST /v1/rebuild`: a scan now, in turn with others.
pub(super) async fn rebuild(State(app): State<Arc<App>>) -> Result<Json<RebuildAnswer>, Problem> {
    match app.resolver.rebuild(Instant::now() + REBUILD_LIMIT).await {
        Ok((result, scanned)) => {
            let (images, workloads) = (scanned.index.images(), scanned.index.workloads());
            let unseen_parts = app.resolver.unproven_parts(&scanned, &Need::Any);
            Ok(Json(RebuildAnswer { result, images, workloads, unseen_parts }))
        }
        Err(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not rebuilt", reason)),
    }
}
