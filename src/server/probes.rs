//! Probes and metrics.
//!
//! Live: the mount is being looked at. Ready: an index is loaded and the service is not draining. An API server
//! that is away makes neither fail: the service answers from its mount, and Pub/Sub keeps what cannot be done.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;

/// A check by its name, and why it fails.
type Check = (&'static str, Option<&'static str>);

pub(super) async fn livez(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let poller = if app.resolver.is_alive() { None } else { Some("the mount has not been looked at for too long") };
    report(query.as_deref(), &[("mount-poller", poller)])
}

pub(super) async fn readyz(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let index = if app.resolver.current().is_some() { None } else { Some("no index is loaded yet") };
    let draining = if app.is_draining() { Some("draining") } else { None };
    report(query.as_deref(), &[("index", index), ("shutdown", draining)])
}

/// As Kubernetes' own: `ok`, or each check on a line with `?verbose` or on failure.
fn report(query: Option<&str>, checks: &[Check]) -> Response {
    let failed = checks.iter().any(|(_, problem)| problem.is_some());
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")));
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut text = String::new();
    if failed || verbose {
        for (name, problem) in checks {
            text += &match problem {
                None => format!("[+]{name} ok\n"),
                Some(problem) => format!("[-]{name} failed: {problem}\n"),
            };
        }
        text += if failed { "check failed\n" } else { "check passed\n" };
    } else {
        text += "ok\n";
    }
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    app.resolver.export_watch();
    ([(header::CONTENT_TYPE, content_type)], app.metrics.encode()).into_response()
}
