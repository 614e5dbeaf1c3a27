//! Which paths each listener has.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::app::App;
use super::local_callers::{self, LocalCallers};
use super::{admin, drain, lookup, openapi, probes, problem, push, rollouts, status};

pub(super) fn public(app: &Arc<App>) -> Router {
    let router = Router::new().route("/v1/push", post(push::push));
    drain::closing(finish(router, app), &app.draining)
}

pub(super) fn internal(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .route("/v1/lookup", get(lookup::lookup))
        .route("/v1/status", get(status::status))
        .route("/v1/rollouts", get(rollouts::from_memory))
        .route("/openapi.yaml", get(openapi::openapi));
    finish(router, app)
}

pub(super) fn admin(app: &Arc<App>, callers: LocalCallers) -> Router {
    let router = Router::new()
        .route("/v1/push", post(admin::push))
        .route("/v1/explain", get(admin::explain))
        .route("/v1/rollouts", get(rollouts::looked_at))
        .route("/v1/rebuild", post(admin::rebuild))
        .route("/v1/lookup", get(lookup::lookup))
        .route("/v1/status", get(status::status))
        .route("/openapi.yaml", get(openapi::openapi));
    drain::closing(finish(router, app), &app.draining)
        .layer(middleware::from_fn_with_state(callers, local_callers::check))
}

/// Every answer that no handler gives is a problem document, too.
fn finish(router: Router<Arc<App>>, app: &Arc<App>) -> Router {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(Arc::clone(app))
}
