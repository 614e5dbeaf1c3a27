//! `POST /v1/push`: a delivery in, its answer out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt as _, poll};
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::app::App;
use super::listener::in_flight::{self, SMALL_BODY};
use super::listener::{Connection, ConnectionPhase};
use super::metrics::RefusedReason;
use super::problem::Problem;
use crate::delivery::{Delivered, Received, Sender};
use crate::rollout::Code;
use crate::rollout::restart::Mode;

/// The longest pause within a body.
const BODY_STALL: Duration = Duration::from_secs(5);

/// A body. A large one has a permit for its memory.
struct ReadBody {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read: the answer, and the limit that it exceeded, if it did.
struct Unread {
    problem: Problem,
    limit: Option<RefusedReason>,
}

/// A push on the public listener. Its URL may have parameters (a token, for example). A dry run is refused: it is for the
/// admin listener alone, and must not silently become a real push. The token is checked before a byte of the body is read,
/// and so is, for a start, the number of pushes in flight; it is checked for good when the body has been read.
pub(super) async fn push(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(authenticator) = &app.authenticator
        && let Err(problem) = authenticator.check(&parts.headers).await
    {
        return problem.into_response();
    }
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    if parameters.is_ok_and(|parameters| parameters.iter().any(|(name, _)| name == "dry_run")) {
        let detail = "dry runs are on the admin listener alone; this push was not handled";
        return Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail).into_response();
    }
    let too_many = || {
        connection.connections().count_refused(RefusedReason::Requests);
        in_flight::too_many().into_response()
    };
    if app.in_flight.is_full() {
        return too_many();
    }
    let received = app.deliveries.received();
    let body = match read(&app, &connection, body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let Some(place) = app.in_flight.admit() else { return too_many() };
    if !connection.enter(ConnectionPhase::Admitted) {
        // The connection was closed for another one: nobody would get the answer. The next delivery does this push.
        return in_flight::too_many().into_response();
    }
    deliver(app, received, parts.headers, body, Sender::PubSub, Some(place)).await
}

/// A push on the admin listener, which people call: only memory is limited there.
pub(super) async fn handle(
    app: Arc<App>,
    connection: &Connection,
    headers: HeaderMap,
    body: Body,
    mode: Mode,
) -> Response {
    let received = app.deliveries.received();
    match read(&app, connection, body).await {
        Ok(body) => deliver(app, received, headers, body, Sender::Person(mode), None).await,
        Err(problem) => problem.into_response(),
    }
}

/// Handles the delivery and answers. From here on it is finished even if the caller hangs up, within `--hold`, so that
/// what was done is logged and counted.
async fn deliver(
    app: Arc<App>,
    received: Received,
    headers: HeaderMap,
    body: ReadBody,
    sender: Sender,
    place: Option<OwnedSemaphorePermit>,
) -> Response {
    let delivery = async move {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let response = match app.deliveries.deliver(received, header, &body.bytes, sender).await {
            Ok(delivered) => respond(&app, delivered),
            Err(error) => {
                tracing::warn!("not a delivery: {error}");
                Problem::new(StatusCode::BAD_REQUEST, "Not a Pub/Sub delivery", error.to_string()).into_response()
            }
        };
        drop((body, place));
        response
    };
    let mut delivery = Box::pin(AssertUnwindSafe(delivery).catch_unwind());
    // One that waits for nothing needs no task of its own.
    let ended = match poll!(&mut delivery) {
        Poll::Ready(ended) => ended,
        Poll::Pending => tokio::spawn(delivery).await.unwrap_or_else(|error| Err(Box::new(error.to_string()))),
    };
    ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        tracing::error!("a delivery ended badly: {}", text.unwrap_or("it panicked"));
        super::problem::panicked(panic)
    })
}

async fn read(app: &App, connection: &Connection, body: Body) -> Result<ReadBody, Problem> {
    read_whole(app, body).await.map_err(|Unread { problem, limit }| {
        limit.into_iter().for_each(|limit| connection.connections().count_refused(limit));
        problem
    })
}

async fn read_whole(app: &App, mut body: Body) -> Result<ReadBody, Unread> {
    let max_bytes = app.max_body;
    let end = Instant::now() + app.in_flight.body_timeout();
    let declared = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut read = ReadBody { bytes: Vec::new(), room: None };
    let mut is_too_large = declared.is_some_and(|bytes| bytes > max_bytes);
    while !is_too_large {
        let Some(data) = next(&mut body, end).await? else { return Ok(read) };
        let bytes = read.bytes.len() + data.len();
        is_too_large = bytes > max_bytes;
        if bytes > SMALL_BODY && read.room.is_none() && !is_too_large {
            let whole = declared.unwrap_or(max_bytes).max(bytes);
            let room = app.in_flight.room_for(whole);
            read.room = tokio::time::timeout_at(end, room).await.map_err(|_| no_room())?;
            // All of it at once: a body that grows by doubling may take twice its size.
            read.bytes.reserve_exact(whole - read.bytes.len());
        }
        if !is_too_large {
            read.bytes.extend_from_slice(&data);
        }
    }
    drop(read);
    discard(body, max_bytes, end).await;
    let detail = format!("the body is larger than {max_bytes} bytes; --max-body sets the limit");
    let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", detail);
    Err(Unread { problem, limit: Some(RefusedReason::BodySize) })
}

/// The next bytes of a body; `None` at its end.
async fn next(body: &mut Body, end: Instant) -> Result<Option<Bytes>, Unread> {
    loop {
        let stalled = Instant::now() + BODY_STALL;
        match tokio::time::timeout_at(end.min(stalled), body.frame()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                // The other kind of frame is trailers, which are not used.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(error))) => {
                let detail = format!("the body could not be read to its end: {error}");
                let problem = Problem::new(StatusCode::BAD_REQUEST, "Body broken off", detail);
                return Err(Unread { problem, limit: None });
            }
        }
    }
}

fn too_slow() -> Unread {
    let detail = format!("the body did not come in time (--body-timeout), or stopped for {BODY_STALL:?}");
    let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "Body too slow", detail);
    Unread { problem, limit: Some(RefusedReason::BodyTime) }
}

fn no_room() -> Unread {
    let detail = "other large bodies are being handled, and there was no room for this one in time";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many large bodies", detail);
    Unread { problem, limit: Some(RefusedReason::BodyMemory) }
}

/// Reads up to as much again: a caller that is still writing would not get the answer.
async fn discard(mut body: Body, max_bytes: usize, end: Instant) {
    let mut left = max_bytes;
    while let Ok(Some(data)) = next(&mut body, end).await {
        match left.checked_sub(data.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

pub(super) fn respond(app: &App, delivered: Delivered) -> Response {
    let Delivered { answer, json } = delivered;
    let status = StatusCode::from_u16(answer.status(app.poison)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() {
        return (status, [(header::CONTENT_TYPE, "application/json")], json.bytes()).into_response();
    }
    let (title, detail) = if status == StatusCode::SERVICE_UNAVAILABLE {
        // That our own workload waits for the others is a consequence, not a cause.
        let is_cause = |code: Code| code.is_transient_failure() && code != Code::OthersFirst;
        let failed = answer.workloads.iter().find(|workload| is_cause(workload.code));
        let of_workload = failed.map(|workload| format!("{}: {}", workload.workload(), workload.reason));
        ("Not done yet", answer.reason.clone().or(of_workload).unwrap_or_default())
    } else {
        ("Nothing can be done with this message", answer.reason.clone().unwrap_or_default())
    };
    Problem::new(status, title, detail).with_answer(json).into_response()
}
