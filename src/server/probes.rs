//! Probes and metrics.
//!
//! Live: the mount is being looked at. Ready: an index is loaded, there are keys to check tokens with, and the service
//! is not draining. An API server that is away makes neither fail: the service answers from its mount, and Pub/Sub
//! keeps what cannot be done. Nor does an issuer that is away, until its keys are too old to be used.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::app::{App, DRAINING, NO_INDEX, NO_SIGNING_KEYS};
use super::auth::SigningKeysStatus;
use crate::cache::unseen::describe;

/// A check that has passed, with what a person should look at, or why it has failed.
type Checked = Result<Option<String>, String>;

fn failed_if(failed: bool, why: &'static str) -> Checked {
    if failed { Err(why.to_owned()) } else { Ok(None) }
}

pub(super) async fn livez(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let poller = failed_if(!app.resolver.is_alive(), "the mount has not been looked at for too long");
    report(query.as_deref(), &[("mount-poller", poller)])
}

pub(super) async fn readyz(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let mut checks = vec![("index", index(&app))];
    if let Some(authenticator) = &app.authenticator {
        checks.push(("signing-keys", signing_keys(&authenticator.signing_keys())));
    }
    if !app.subscriptions.is_empty() {
        checks.push(("subscriptions", subscriptions(&app)));
    }
    checks.push(("shutdown", failed_if(app.is_draining(), DRAINING)));
    report(query.as_deref(), &checks)
}

fn index(app: &App) -> Checked {
    failed_if(app.resolver.current().is_none(), NO_INDEX)?;
    let unseen = app.resolver.unseen_parts();
    Ok((!unseen.is_empty()).then(|| describe(&unseen)))
}

fn signing_keys(keys: &SigningKeysStatus) -> Checked {
    match (&keys.error, keys.usable_until) {
        _ if !keys.usable => Err(NO_SIGNING_KEYS.to_owned()),
        (Some(error), Some(until)) => Ok(Some(format!("they cannot be fetched anew, used until {until:.0}: {error}"))),
        _ => Ok(None),
    }
}

/// One that could never be read is a mistake in the settings. One that could be is an outage of Pub/Sub or a permission
/// that was taken: to be not ready would mend neither, and would keep out what is pushed.
fn subscriptions(app: &App) -> Checked {
    if let Some(never_read) = app.never_read() {
        return Err(never_read);
    }
    let statuses = app.subscriptions.iter().map(|subscription| subscription.status());
    let errors = statuses.filter_map(|status| Some(format!("{}: {}", status.subscription, status.error?)));
    let errors: Vec<String> = errors.collect();
    Ok((!errors.is_empty()).then(|| errors.join("; ")))
}

/// As the probes of Kubernetes' components: `ok`, or each check on a line with `?verbose` or on failure.
fn report(query: Option<&str>, checks: &[(&str, Checked)]) -> Response {
    let failed = checks.iter().any(|(_, checked)| checked.is_err());
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")));
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut text = String::new();
    if failed || verbose {
        for (name, checked) in checks {
            text += &match checked {
                Ok(None) => format!("[+]{name} ok\n"),
                Ok(Some(now)) => format!("[+]{name} ok: {now}\n"),
                Err(problem) => format!("[-]{name} failed: {problem}\n"),
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
    app.pull_metrics.export(&app.subscriptions, app.clock.now());
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &app.registry);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
