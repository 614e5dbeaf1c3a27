//! HTTP: each request recorded, held up by an outage or handled, and answered with the headers that a
//! real API server sends.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};

use super::patch::{Patch, go_kind, go_text};
use super::random::random_uid;
use super::request::{self, RequestInfo};
use super::resource::{self, ResourceType};
use super::state::ServerState;
use super::status::Status;
use super::store::Key;
use super::write::{Change, Write, Written};
use super::{access, list, watch};

/// `--max-request-body-bytes`, as a resource request's body is limited.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

type Answer = Result<(StatusCode, Vec<u8>), Status>;

/// The API as one service: what a path means is [`RequestInfo`]'s to say, so there is one handler.
pub(super) fn router(state: Arc<ServerState>) -> Router {
    Router::new().fallback(handle).with_state(state)
}

async fn handle(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let info = RequestInfo::of(&parts);
    state.calls.lock().push((request::user(&parts).to_owned(), info.api_call(&parts)));

    let mut response = match state.wait_out_outage().await {
        Some(status) => refusal(&status),
        None if access::is_review(&info) => match read(body).await.and_then(|body| access::review(&body)) {
            Ok(review) => json_response(StatusCode::CREATED, review),
            Err(status) => refusal(&status),
        },
        None if !resource::is_served(&info.group, &info.version) || info.plural.is_empty() => plain_path(&parts),
        None if info.verb == "watch" => {
            let watched = info.resource_type().and_then(|resource| watch::watch(&state, resource, &info));
            watched.map_or_else(|status| refusal(&status), |body| json_response(StatusCode::OK, body))
        }
        None => match answer(&state, &info, &parts, body).await {
            Ok((code, body)) => json_response(code, body),
            Err(status) => refusal(&status),
        },
    };
    set_common_headers(&state, response.headers_mut());
    response
}

/// Paths that are no resource.
fn plain_path(parts: &Parts) -> Response {
    match parts.uri.path() {
        "/version" => json_response(StatusCode::OK, version().to_string().into_bytes()),
        "/readyz" | "/livez" | "/healthz" => "ok".into_response(),
        _ => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

async fn answer(state: &ServerState, info: &RequestInfo, parts: &Parts, body: Body) -> Answer {
    let resource = info.resource_type()?;
    if resource.namespaced && info.name.is_some() && info.namespace.is_none() {
        return Err(Status::no_such_path());
    }
    match info.subresource.as_deref() {
        None => {}
        Some("status") if resource.has_status && matches!(info.verb.as_str(), "get" | "update" | "patch") => {}
        Some(_) => return Err(Status::no_such_path()),
    }
    match info.verb.as_str() {
        "list" => list_objects(state, resource, info),
        "get" => get_object(state, resource, info),
        "create" | "update" | "patch" | "delete" => write_object(state, resource, info, parts, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

fn list_objects(state: &ServerState, resource: &'static ResourceType, info: &RequestInfo) -> Answer {
    let list = list::list(&mut state.store(), resource, info)?;
    let body = list.to_bytes().map_err(|error| Status::internal(error.to_string()))?;
    Ok((StatusCode::OK, body))
}

fn get_object(state: &ServerState, resource: &'static ResourceType, info: &RequestInfo) -> Answer {
    let name = info.name.as_deref().unwrap_or_default();
    let key = Key::of(resource, info.namespace.as_deref(), name);
    let found = state.store().get(&key).cloned();
    let object = found.ok_or_else(|| Status::not_found(resource, name))?;
    Ok((StatusCode::OK, typed(resource, &object)))
}

async fn write_object(
    state: &ServerState,
    resource: &'static ResourceType,
    info: &RequestInfo,
    parts: &Parts,
    body: Body,
) -> Answer {
    let verb = info.verb.as_str();
    if (verb == "create") != info.name.is_none() || (resource.namespaced && info.namespace.is_none()) {
        return Err(Status::method_not_allowed());
    }
    let media_type = media_type(parts);
    if verb == "create" || verb == "update" {
        refuse_unless_json(&media_type)?;
    }
    let body = read(body).await?;
    let manager = info.field_manager(parts);
    let name = info.name.as_deref().unwrap_or_default();
    let is_guarded = resource.is_workload() && info.subresource.is_none();
    let write = Write {
        resource,
        namespace: info.namespace.as_deref(),
        name,
        subresource: info.subresource.as_deref(),
        manager: &manager,
        now: state.now(),
        dry_run: info.option("dryRun").is_some_and(|value| value == "All"),
        denial: info.namespace.as_deref().filter(|_| is_guarded).and_then(|namespace| state.denial_of(namespace, name)),
    };
    let written = match verb {
        "create" => write.create(&mut state.store(), decode(resource, &body)?)?,
        "update" => write.update(&mut state.store(), Change::Replace(decode(resource, &body)?))?,
        "patch" => write.update(&mut state.store(), Change::Patch(Patch::decode(&media_type, &body)?))?,
        _ => {
            let options = if body.is_empty() { Value::Null } else { decode(resource, &body)? };
            let status = write.delete(&mut state.store(), &options)?;
            return Ok((StatusCode::OK, status.to_string().into_bytes()));
        }
    };
    Ok(match written {
        Written::Created(object) => (StatusCode::CREATED, typed(resource, &object)),
        Written::Updated(object) => (StatusCode::OK, typed(resource, &object)),
    })
}

async fn read(body: Body) -> Result<Bytes, Status> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| Status::body_too_large(MAX_BODY_BYTES))
}

fn media_type(parts: &Parts) -> String {
    let content_type = request::header(parts, &CONTENT_TYPE);
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// No media type at all is taken for JSON.
fn refuse_unless_json(media_type: &str) -> Result<(), Status> {
    if matches!(media_type, "" | "application/json") {
        return Ok(());
    }
    Err(Status::unsupported_media_type())
}

fn decode(resource: &ResourceType, body: &[u8]) -> Result<Value, Status> {
    let unrecognized = |detail: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {detail} \
             ({})",
            resource.kind,
            summary(body)
        ))
    };
    match serde_json::from_slice(body) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(other) => Err(unrecognized(format!(
            "json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
             Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            go_kind(&other)
        ))),
        Err(error) => Err(unrecognized(go_text(&error))),
    }
}

/// The start of a body that could not be read, in hexadecimal unless it looks like an object (`summarizeData`).
fn summary(body: &[u8]) -> String {
    const MOST_BYTES: usize = 30;
    let start = &body[..body.len().min(MOST_BYTES)];
    let start = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > MOST_BYTES { format!("{start} ...") } else { start }
}

/// A single object says of what kind it is; the items of a list do not.
fn typed(resource: &ResourceType, object: &Value) -> Vec<u8> {
    let mut object = object.clone();
    object["kind"] = json!(resource.kind);
    object["apiVersion"] = json!(resource.api_version());
    object.to_string().into_bytes()
}

fn refusal(status: &Status) -> Response {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(code, status.to_json().to_string().into_bytes());
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_response(code: StatusCode, body: impl IntoResponse) -> Response {
    (code, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

fn set_common_headers(state: &ServerState, headers: &mut HeaderMap) {
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&state.now());
    if let Some(date) = date.ok().and_then(|date| HeaderValue::try_from(date).ok()) {
        headers.insert(DATE, date);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(id) = HeaderValue::try_from(random_uid()) {
        headers.insert(AUDIT_ID, id);
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3+embedded", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "",
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    })
}
